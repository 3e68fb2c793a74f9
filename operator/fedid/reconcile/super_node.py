"""Carries out what the SuperNode key of one PodIdentity needs: in Vault, at the SuperLink, and the proof of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from fedid.domain.naming import ObjectKey, vault_path
from fedid.domain.node_plan import (
    DesiredNode,
    DestroyNodeKeys,
    NodeSlot,
    NodeStep,
    ObservedNode,
    ProveNode,
    ProveNodesEnded,
    PublishNodeKey,
    RegisterNode,
    StageNodeKey,
    UnregisterNodes,
    look_at_node_again_at,
    node_key_unrecorded,
    plan_node,
    plan_node_end,
)
from fedid.domain.receipt import Presented
from fedid.domain.rotation import RotationRequest
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import Retention, StoredEntry, VaultMark
from fedid.domain.super_node import HeldNodeKeys, NodeKey, good_node, held_node_keys, node_entry, node_name
from fedid.errors import BackendError, BackendRejectedError, BackendUnavailableError, OwnershipConflictError
from fedid.ports import Entries, NodeRegistry
from fedid.reconcile.receipts import leave_receipt_of_credential
from fedid.reconcile.world import World

__all__ = ["SUPERLINK", "NodeIdentity", "NodeState", "RecordedNode", "SuperNode", "node_path"]

_RETENTION: Final = Retention(max_versions=2, delete_version_after=None)
_VAULT: Final = "vault"
SUPERLINK: Final = "superlink"


def node_path(prefix: str, identity: ObjectKey) -> str:
    """Return where the keys of a PodIdentity's SuperNode lie in Vault, relative to the mount."""
    return vault_path(prefix, identity.namespace, "pods", identity.name, "keys", "supernode")


@dataclass(frozen=True, slots=True)
class RecordedNode:
    """What the status says of the node."""

    key_id: str | None = None
    delivered_at: datetime | None = None
    """When the Secret got that key (aware UTC)."""
    rotated_for: str | None = None
    """The request that was last carried out."""


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Whose node it is, and where."""

    key: ObjectKey
    """Of the PodIdentity."""
    uid: str
    url: str
    """Of the SuperLink."""
    registry: NodeRegistry
    store: Entries
    path: str
    account: Sensitive | None = None
    """Access token to act as at the SuperLink, where it has accounts."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node that is registered, and seen so."""

    key: NodeKey
    node_id: int
    issued_at: datetime
    """When the key came into use (aware UTC)."""
    rotated_for: str | None
    again_at: datetime | None
    """When something will be due by itself (aware UTC)."""
    replaced: bool
    """Whether the pass put another key in the place of one that was in use."""


class SuperNode:
    """The SuperNode key of one PodIdentity."""

    def __init__(self, world: World, identity: NodeIdentity, desired: DesiredNode | None = None) -> None:
        """Work on this node; without `desired` nothing can be made, only ended."""
        self._world, self._node = world, identity
        owner = world.owner(identity.uid)
        self._mark = VaultMark(owner, str(identity.key))
        name = node_name(identity.key, owner)
        self._desired = replace(desired, name=name) if desired else DesiredNode(name, identity.url)

    async def ensure(self, recorded: RecordedNode, request: RotationRequest | None, now: datetime) -> NodeState:
        """Bring Vault and the SuperLink in line and return the node, proven.

        Raises:
            Error: A backend is away or refuses; what was done is found again by the next pass.
        """
        run = _Run(await self._observe(recorded, now), now)
        before, unrecorded = run.observed.keys.current, node_key_unrecorded(run.observed)
        await self._carry_out(plan_node(self._desired, run.observed, request, self._node.uid, now), run)
        if run.observed.taken:
            # What Vault holds is known to the SuperLink and lost to us: another key.
            await self._carry_out(plan_node(self._desired, run.observed, request, self._node.uid, now), run)
        current, issued_at = run.observed.keys.current, run.observed.keys.issued_at
        node = good_node(run.observed.nodes, current) if current is not None else None
        if current is None or node is None or issued_at is None:
            message = f"The SuperNode key of {self._node.key} changed meanwhile; looking again"
            raise BackendUnavailableError(message, backend=_VAULT)
        replaced = current != before
        carried_out = request is not None and (replaced or unrecorded)
        return NodeState(
            key=current,
            node_id=node.node_id,
            issued_at=issued_at,
            rotated_for=request.value if request is not None and carried_out else recorded.rotated_for,
            again_at=look_at_node_again_at(self._desired, run.observed, self._node.uid, now),
            replaced=replaced and before is not None,
        )

    async def end(self, recorded: RecordedNode, now: datetime) -> None:
        """Unregister whatever is ours, see it gone, then take the keys out of Vault.

        A Vault that is away holds up no end at the SuperLink: whoever has the key may use it there.

        Raises:
            Error: A backend is away or refuses, so nothing is proven yet.
        """
        stored, away = None, None
        try:
            stored = await self._node.store.read(self._node.path, self._mark.owner)
        except BackendError as error:
            away = error
        if stored is not None and stored.owner != self._mark.owner:
            stored = None
        run = _Run(await self._observed(stored, recorded, now), now)
        await self._carry_out(plan_node_end(self._desired, run.observed), run)
        if away is not None:
            raise away

    async def _carry_out(self, steps: tuple[NodeStep, ...], run: _Run) -> None:
        """Take the steps in order; none more once a key turns out to be taken."""
        for step in steps:
            taken = run.observed.taken
            await self._take(step, run)
            if run.observed.taken != taken:
                return

    async def _observe(self, recorded: RecordedNode, now: datetime) -> ObservedNode:
        stored = await self._node.store.read(self._node.path, self._mark.owner)
        if stored is not None and stored.owner != self._mark.owner:
            whose = f"belongs to {stored.owner}" if stored.owner else "was not made by fedid"
            message = f"What lies at {self._node.path} in Vault {whose}; it is left untouched. Have its owner delete it"
            raise OwnershipConflictError(message, backend=_VAULT)
        return await self._observed(stored, recorded, now)

    async def _observed(self, stored: StoredEntry | None, recorded: RecordedNode, now: datetime) -> ObservedNode:
        nodes = await self._node.registry.nodes(self._node.account)
        keys = held_node_keys(stored.data, self._world.read_node_key) if stored is not None else HeldNodeKeys()
        if keys.issued_at is not None and keys.issued_at > now:
            # Our clock was fast when the key came into use; what counts from there begins now, and is written so.
            keys = replace(keys, issued_at=now.replace(microsecond=0))
        return ObservedNode(stored, keys, nodes, recorded.key_id, recorded.delivered_at, recorded.rotated_for)

    async def _take(self, step: NodeStep, run: _Run) -> None:
        match step:
            case StageNodeKey():
                await self._write(run, replace(run.observed.keys, pending=self._world.fresh_node_key()))
                self._audit("StageNodeKey", path=self._node.path, key_id=run.key(NodeSlot.PENDING).key_id)
            case RegisterNode(slot):
                await self._register(run, slot)
            case ProveNode(slot):
                await self._prove(run, run.key(slot))
            case PublishNodeKey(slot, previous):
                held, key = run.observed.keys, run.key(slot)
                if slot is NodeSlot.CURRENT and previous is None and held.previous_key_id is not None:
                    await self._leave_receipt(held.previous_key_id)
                fresh = slot is NodeSlot.PENDING or held.issued_at is None
                issued_at = run.now.replace(microsecond=0) if fresh else held.issued_at  # as it will be read back
                await self._write(run, HeldNodeKeys(key, None, previous, issued_at))
                self._audit("PublishNodeKey", path=self._node.path, key_id=key.key_id)
            case UnregisterNodes(node_ids):
                for node_id in node_ids:
                    await self._node.registry.unregister(node_id, self._node.account)
                    self._audit("UnregisterNode", superlink=self._node.url, node_id=str(node_id))
            case ProveNodesEnded(node_ids):
                await self._prove_ended(run, node_ids)
            case DestroyNodeKeys():
                await self._node.store.destroy(self._node.path, self._mark.owner)
                self._audit("DestroyNodeKeys", path=self._node.path)

    async def _register(self, run: _Run, slot: NodeSlot) -> None:
        key = run.key(slot)
        node_id = await self._node.registry.register(key.public_key, self._desired.name, self._node.account)
        if node_id is not None:
            self._audit("RegisterNode", superlink=self._node.url, node_id=str(node_id), key_id=key.key_id)
            return
        await self._list(run)  # in use: by us, if an answer was lost, or never again by us
        if good_node(run.observed.nodes, key) is None:
            if slot is NodeSlot.PENDING:
                message = f"The SuperLink {self._node.url} calls a new key in use, but lists it for another account"
                raise BackendRejectedError(message, backend=SUPERLINK)
            run.observed = replace(run.observed, taken=frozenset({key.key_id}))

    async def _prove(self, run: _Run, key: NodeKey) -> None:
        await self._list(run)
        if good_node(run.observed.nodes, key) is None:
            message = f"The SuperLink {self._node.url} does not list the key that it registered; asking again"
            raise BackendUnavailableError(message, backend=SUPERLINK)

    async def _prove_ended(self, run: _Run, node_ids: tuple[int, ...]) -> None:
        if node_ids:
            await self._list(run)
        alive = [node.node_id for node in run.observed.nodes if node.node_id in node_ids and not node.ended]
        if alive:
            message = f"The SuperLink {self._node.url} still lists node {alive[0]} as registered; asking again"
            raise BackendUnavailableError(message, backend=SUPERLINK)
        self._audit("ProveNodesEnded", superlink=self._node.url, node_ids=[str(node_id) for node_id in node_ids])

    async def _leave_receipt(self, former_key_id: str) -> None:
        """Tell of a key that a rotation ended, before Vault forgets its id; its nodes were seen unregistered."""
        body = self._world.directory.get(self._node.key)
        if body is None:
            return
        what, where = f"SuperNode key {former_key_id}", f"SuperLink {self._node.url}"
        seen = [Presented(what, where, "unregistered, or not listed at all", self._world.clock.now())]
        await leave_receipt_of_credential(self._world, body, seen, what=what)

    async def _list(self, run: _Run) -> None:
        run.observed = replace(run.observed, nodes=await self._node.registry.nodes(self._node.account))

    async def _write(self, run: _Run, held: HeldNodeKeys) -> None:
        stored = run.observed.stored
        version = stored.version if stored is not None else None
        data = node_entry(self._desired.super_link_url, held)
        written = await self._node.store.write(self._node.path, data, self._mark, version=version, retention=_RETENTION)
        run.observed = replace(run.observed, stored=StoredEntry(data, written, self._mark.owner), keys=held)

    def _audit(self, step: str, **details: Any) -> None:
        self._world.audit(step, key=self._node.key, **details)


@dataclass(slots=True)
class _Run:
    """What is known within a pass."""

    observed: ObservedNode
    now: datetime

    def key(self, slot: NodeSlot) -> NodeKey:
        keys = self.observed.keys
        key: NodeKey | None = keys.pending if slot is NodeSlot.PENDING else keys.current
        if key is None:
            message = "The SuperNode key is not known; looking at Vault again"
            raise BackendUnavailableError(message, backend=_VAULT)
        return key
