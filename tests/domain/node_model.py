"""The smallest world that the plan of a SuperNode can act on: one entry in Vault, one SuperLink, one SuperNode.

It carries out each step as the application of a plan does, and can stop after any step, as a crash would.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fedid.adapters.node_keys import new_node_key, readable_node_key
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
    plan_node,
    plan_node_end,
)
from fedid.domain.rotation import RotationRequest
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import StoredEntry
from fedid.domain.super_node import HeldNodeKeys, NodeKey, NodeRecord, NodeStatus, held_node_keys, node_entry
from tests.domain.samples import NOW, OWNER, UID

OVERLAP = timedelta(minutes=1)
NODE = DesiredNode("site-a/trainer fedid:i/u", "https://superlink:8000", overlap=OVERLAP)
_KEYS = [new_node_key() for _ in range(60)]
"""Made once: a world takes the next of them, in each world from the first on."""


@dataclass
class NodeWorld:
    """Vault, the SuperLink, the status and the SuperNode of one PodIdentity, as they stand."""

    node: DesiredNode = NODE
    now: datetime = NOW
    stored: StoredEntry | None = None
    nodes: dict[int, NodeRecord] = field(default_factory=dict)
    hidden: set[bytes] = field(default_factory=set)
    """Keys that another account has."""
    recorded: str | None = None
    delivered_at: datetime | None = None
    rotated_for: str | None = None
    request: RotationRequest | None = None
    delivered: NodeKey | None = None
    """The key in the Secret."""
    keeps_names: bool = True
    """A SuperLink before 1.39 does not."""
    made: int = 0

    @property
    def held(self) -> HeldNodeKeys:
        """What Vault has."""
        return held_node_keys(self.stored.data, readable_node_key) if self.stored is not None else HeldNodeKeys()

    @property
    def good(self) -> set[bytes]:
        """Keys that are let in."""
        return {node.public_key for node in self.nodes.values() if not node.ended}

    def fresh(self) -> NodeKey:
        """Return a key that this world has not seen."""
        self.made += 1
        return _KEYS[self.made]

    def observe(self, taken: frozenset[str] = frozenset()) -> ObservedNode:
        """Return what a pass sees."""
        nodes = tuple(self.nodes.values())
        told = self.recorded, self.delivered_at, self.rotated_for
        return ObservedNode(self.stored, self.held, nodes, *told, taken)

    def plan(self, taken: frozenset[str] = frozenset()) -> tuple[NodeStep, ...]:
        """Return the plan of a pass now."""
        return plan_node(self.node, self.observe(taken), self.request, UID, self.now)

    def run(self, steps: int | None = None) -> tuple[NodeStep, ...]:
        """Run one pass and return its plan; with `steps` it stops after so many and never writes its status."""
        plan = self.plan()
        left = itertools.count() if steps is None else range(steps)
        for _, step in zip(left, plan, strict=False):
            if (taken := self.take(step)) is None:
                continue
            for other in self.plan(frozenset({taken})):
                assert self.take(other) is None
            break
        if steps is None:
            self.delivered, recorded = self.held.current, self.recorded
            assert self.delivered is not None
            self.recorded = self.delivered.key_id
            self.delivered_at = self.now if recorded != self.recorded else self.delivered_at
            if self.request is not None and recorded != self.recorded:
                self.rotated_for = self.request.value
        return plan

    def end(self, steps: int | None = None) -> tuple[NodeStep, ...]:
        """Run one pass of a teardown."""
        plan = plan_node_end(self.node, self.observe())
        for step in plan[:steps]:
            self.take(step)
        return plan

    def register(self, public_key: bytes, name: str, status: NodeStatus = NodeStatus.REGISTERED) -> int:
        """Add a node."""
        node_id = len(self.nodes) + 1
        self.nodes[node_id] = NodeRecord(node_id, public_key, status, name if self.keeps_names else "")
        return node_id

    def connect(self, key: NodeKey) -> None:
        """Let the SuperNode connect with a key, and with no other any more."""
        for node in list(self.nodes.values()):
            if not node.ended:
                status = NodeStatus.ONLINE if node.public_key == key.public_key else NodeStatus.OFFLINE
                self.nodes[node.node_id] = replace(node, status=status)

    def write(self, data: dict[str, Sensitive]) -> None:
        """Write Vault's entry."""
        self.stored = StoredEntry(data, (self.stored.version if self.stored is not None else 0) + 1, OWNER)

    def take(self, step: NodeStep) -> str | None:
        """Carry out one step; return the key that the SuperLink calls in use without listing it."""
        match step:
            case StageNodeKey(version):
                assert version == (self.stored.version if self.stored is not None else None), "check-and-set refuses it"
                self.write(node_entry(self.node.super_link_url, replace(self.held, pending=self.fresh())))
            case RegisterNode(slot):
                return self._register(self._key(slot))
            case ProveNode(slot):
                assert self._key(slot).public_key in self.good
            case PublishNodeKey(slot, previous):
                key = self._key(slot)
                assert key.public_key in self.good, "a key is published that the SuperLink refuses"
                issued_at = self.now if slot is NodeSlot.PENDING else self.held.issued_at or self.now
                self.write(node_entry(self.node.super_link_url, HeldNodeKeys(key, None, previous, issued_at)))
            case UnregisterNodes(node_ids):
                for node_id in node_ids:
                    assert self.nodes[node_id].name in {self.node.name, ""}, "a stranger's node is ended"
                    self.nodes[node_id] = replace(self.nodes[node_id], status=NodeStatus.UNREGISTERED)
            case ProveNodesEnded(node_ids):
                assert all(node_id not in self.nodes or self.nodes[node_id].ended for node_id in node_ids)
            case DestroyNodeKeys():
                self.stored = None
        return None

    def _key(self, slot: NodeSlot) -> NodeKey:
        key: NodeKey | None = self.held.pending if slot is NodeSlot.PENDING else self.held.current
        assert key is not None, "a crash would lose the key"
        return key

    def _register(self, key: NodeKey) -> str | None:
        if key.public_key in self.hidden:
            return key.key_id
        known = {node.public_key: node for node in self.nodes.values()}
        if (node := known.get(key.public_key)) is not None:
            return key.key_id if node.ended else None
        self.register(key.public_key, self.node.name)
        return None


def settled(*, keeps_names: bool = True) -> NodeWorld:
    """Return the world after a node was made and its SuperNode is connected."""
    world = NodeWorld(keeps_names=keeps_names)
    world.run()
    assert world.delivered is not None
    world.connect(world.delivered)
    return world
