"""A SuperLink's nodes in memory: a `NodeRegistry` with the semantics of flwr 1.41.

tests/contract/test_node_registry.py holds it against a real SuperLink. Calls can be made to fail `before` and `after`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeRecord, NodeStatus
from fedid.errors import BackendDeniedError, BackendRejectedError
from tests.fakes.failures import Failures

NOBODY = "<id:none>"
"""The account of everybody where a SuperLink has no accounts."""


class FakeNodeRegistry:
    """A `NodeRegistry`; `records` is the SuperLink's database."""

    def __init__(self, accounts: dict[str, str] | None = None) -> None:
        """Start with an empty database.

        Args:
            accounts: Access token to account; None: the SuperLink has no accounts.
        """
        self.records: dict[int, NodeRecord] = {}
        self.accounts = accounts
        self.calls: list[str] = []
        """Every call, in order."""
        self.writes: list[str] = []
        """The calls that changed something."""
        self.failures = Failures()
        self.closed = False
        self._made = 0

    async def register(self, public_key: bytes, name: str, account: Sensitive | None = None) -> int | None:
        """Register a key."""
        owner = await self._begin("register", account)
        try:
            key = load_pem_public_key(public_key)
        except ValueError:
            key = None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            message = "the SuperLink takes no key but of the curve P-384"
            raise BackendRejectedError(message, backend="superlink")
        if any(node.public_key == public_key for node in self.records.values()):
            return None
        self._made += 1
        node_id = 2**63 + self._made
        self.records[node_id] = NodeRecord(node_id, public_key, NodeStatus.REGISTERED, name, owner)
        self.writes.append("register")
        self.failures.strike("register", name, "after")
        return node_id

    async def nodes(self, account: Sensitive | None = None) -> tuple[NodeRecord, ...]:
        """Return the account's nodes."""
        owner = await self._begin("nodes", account)
        return tuple(node for node in self.records.values() if node.owner == owner)

    async def unregister(self, node_id: int, account: Sensitive | None = None) -> None:
        """End a node."""
        owner = await self._begin("unregister", account)
        node = self.records.get(node_id)
        if node is not None and node.owner == owner and not node.ended:
            self.records[node_id] = replace(node, status=NodeStatus.UNREGISTERED)
            self.writes.append("unregister")
        self.failures.strike("unregister", str(node_id), "after")

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def forget(self) -> None:
        """Lose the state, as a SuperLink without a database does at a restart."""
        self.records.clear()

    def set_status(self, node_id: int, status: NodeStatus) -> None:
        """Let a SuperNode come or go."""
        self.records[node_id] = replace(self.records[node_id], status=status)

    def good_keys(self) -> list[bytes]:
        """Return the keys with which a SuperNode is let in."""
        return [node.public_key for node in self.records.values() if not node.ended]

    async def _begin(self, operation: str, account: Sensitive | None) -> str:
        # A turn of the loop, so that calls at the same time interleave as they would with a server.
        await asyncio.sleep(0)
        self.calls.append(operation)
        self.failures.strike(operation, "", "before")
        if self.accounts is None:
            return NOBODY
        owner = self.accounts.get(account.reveal()) if account is not None else None
        if owner is None:
            message = "the SuperLink wants an account"
            raise BackendDeniedError(message, backend="superlink")
        return owner
