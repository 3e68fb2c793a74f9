"""One SuperLink: its nodes."""

from __future__ import annotations

from typing import Protocol

from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeRecord

__all__ = ["NodeRegistry"]


class NodeRegistry(Protocol):
    """The SuperNodes that one SuperLink knows, as one of its accounts sees them.

    `account` is the access token to act as; None where the SuperLink has no accounts.
    """

    async def register(self, public_key: bytes, name: str, account: Sensitive | None = None) -> int | None:
        """Register a key under a name and return its node id, None if the key is in use, or was and is burnt.

        Raises:
            BackendDeniedError: The SuperLink refuses the account, or wants one.
            BackendRejectedError: It refuses the key, or is none (reason `UnexpectedAnswer`).
        """

    async def nodes(self, account: Sensitive | None = None) -> tuple[NodeRecord, ...]:
        """Return all nodes of the account; unregistered ones stay listed."""

    async def unregister(self, node_id: int, account: Sensitive | None = None) -> None:
        """Refuse a node from now on, and its key for ever; success if there is no such node of the account."""

    async def aclose(self) -> None:
        """Close its connections."""
