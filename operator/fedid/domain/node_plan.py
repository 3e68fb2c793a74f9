"""What has to happen so that a PodIdentity has one SuperNode key that its SuperLink takes, and no other.

A key lies in Vault, pending, before the SuperLink hears of it; it is registered, seen in the SuperLink's listing, and
only then current. The former key stays registered while its SuperNode changes over, and is then seen unregistered. The
listing is the one record of which keys are good: whichever node carries our name is ours to end, whatever Vault knows,
and what somebody puts into Vault opens nothing unless it is listed under our name. A SuperLink that lost its state is
told the same key again; one that remembers the key as unregistered gets another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fedid.domain.handover import Handover
from fedid.domain.rotation import RotationRequest, rotation_due_at
from fedid.domain.stored import StoredEntry
from fedid.domain.super_node import HeldNodeKeys, NodeKey, NodeRecord, node_entry

__all__ = [
    "DesiredNode",
    "DestroyNodeKeys",
    "NodeSlot",
    "NodeStep",
    "ObservedNode",
    "ProveNode",
    "ProveNodesEnded",
    "PublishNodeKey",
    "RegisterNode",
    "StageNodeKey",
    "UnregisterNodes",
    "look_at_node_again_at",
    "node_key_unrecorded",
    "nodes_to_end",
    "plan_node",
    "plan_node_end",
]


_ASK_AGAIN = timedelta(seconds=10)


class NodeSlot(StrEnum):
    """Which of the keys."""

    CURRENT = "current"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class StageNodeKey:
    """Make a key and put it into Vault as the pending one, over version `version` (None: nothing is there)."""

    version: int | None


@dataclass(frozen=True, slots=True)
class RegisterNode:
    """Tell the SuperLink the public key of this slot."""

    slot: NodeSlot


@dataclass(frozen=True, slots=True)
class ProveNode:
    """See the key of this slot in the SuperLink's listing, under our name and good."""

    slot: NodeSlot


@dataclass(frozen=True, slots=True)
class PublishNodeKey:
    """Write the key of this slot to Vault as the current one."""

    slot: NodeSlot
    previous_key_id: str | None = None
    """Of the key before, while its node may still be registered."""


@dataclass(frozen=True, slots=True)
class UnregisterNodes:
    """Unregister these nodes."""

    node_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProveNodesEnded:
    """See that the listing shows each of these nodes as unregistered, or not at all."""

    node_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DestroyNodeKeys:
    """Delete the entry in Vault with all versions."""


NodeStep = (
    StageNodeKey
    | RegisterNode
    | ProveNode
    | PublishNodeKey
    | UnregisterNodes
    | ProveNodesEnded
    | DestroyNodeKeys
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DesiredNode:
    """The node of one PodIdentity."""

    name: str
    """Under which it is registered; it holds the owner mark."""
    super_link_url: str
    every: timedelta | None = None
    """How often the key is replaced; None: only when somebody asks."""
    overlap: timedelta = timedelta()
    """How long the former key stays registered at least."""


@dataclass(frozen=True, slots=True)
class ObservedNode:
    """What Vault, the SuperLink and the status say."""

    stored: StoredEntry | None
    keys: HeldNodeKeys
    nodes: tuple[NodeRecord, ...]
    """All that the SuperLink shows to our account."""
    recorded_key_id: str | None = None
    """The key that the status names."""
    delivered_at: datetime | None = None
    """When the Secret got that key (aware UTC); None: an older fedid did not tell."""
    rotated_for: str | None = None
    """The request that was last carried out."""
    taken: frozenset[str] = frozenset()
    """Keys that the SuperLink calls in use without listing them: another account's, or burnt before it hid them."""


def plan_node(
    desired: DesiredNode, observed: ObservedNode, request: RotationRequest | None, uid: str, now: datetime
) -> tuple[NodeStep, ...]:
    """Return the ordered side effects that make the node true; empty when nothing differs.

    Args:
        desired: What is asked.
        observed: What there is.
        request: What a person asks to be replaced.
        uid: Of the PodIdentity, which spreads rotations over time.
        now: Aware UTC.
    """
    held, steps = observed.keys, list[NodeStep]()
    if not _is_good(desired, observed):
        return (*_make(desired, observed), PublishNodeKey(NodeSlot.PENDING, _replaced(observed)))
    assert held.current is not None  # noqa: S101 - what `_is_good` says
    if not _is_listed(desired, observed, held.current):
        steps += [RegisterNode(NodeSlot.CURRENT), ProveNode(NodeSlot.CURRENT)]
    if held.pending is not None or _is_due(desired, observed, request, uid, now):
        return (*steps, *_make(desired, observed), PublishNodeKey(NodeSlot.PENDING, held.current.key_id))
    ending = nodes_to_end(desired, observed)
    if (ending or held.previous_key_id is not None) and _overlap_is_over(desired, observed, ending, now):
        ids = tuple(node.node_id for node in ending)
        steps += [UnregisterNodes(ids), ProveNodesEnded(ids)] if ids else []
        return (*steps, PublishNodeKey(NodeSlot.CURRENT)) if _differs(desired, observed, None) else tuple(steps)
    if _differs(desired, observed, held.previous_key_id):
        steps.append(PublishNodeKey(NodeSlot.CURRENT, held.previous_key_id))
    return tuple(steps)


def plan_node_end(desired: DesiredNode, observed: ObservedNode) -> tuple[NodeStep, ...]:
    """Return what makes every key of the node useless, with the proof, and then takes them out of Vault.

    The proof is a step of its own even when nothing is left to unregister: it is what a deletion waits for.
    """
    ids = tuple(node.node_id for node in _ours(desired, observed) if not node.ended)
    steps: tuple[NodeStep, ...] = (UnregisterNodes(ids),) if ids else ()
    return (*steps, ProveNodesEnded(ids), *((DestroyNodeKeys(),) if observed.stored is not None else ()))


def look_at_node_again_at(desired: DesiredNode, observed: ObservedNode, uid: str, now: datetime) -> datetime | None:
    """Return when something will be due by itself, None if never: the end of an overlap, or the next rotation.

    Nothing tells us that a SuperNode has changed over, so once the overlap has passed the listing is asked for it.
    """
    since = observed.keys.issued_at
    if since is None:
        return None
    if observed.keys.previous_key_id is not None or nodes_to_end(desired, observed):
        over = (_in_use_since(observed) or now) + desired.overlap  # this pass delivers what none did
        return over if now < over else now + _ASK_AGAIN
    return rotation_due_at(since, desired.every, uid) if desired.every is not None else None


def node_key_unrecorded(observed: ObservedNode) -> bool:
    """Tell whether the current key was published by a pass that ended before its status was written."""
    current = observed.keys.current
    return current is not None and observed.recorded_key_id != current.key_id


def nodes_to_end(desired: DesiredNode, observed: ObservedNode) -> tuple[NodeRecord, ...]:
    """Return our nodes that are not in use, or not to be."""
    kept = {key.key_id for key in (observed.keys.current, observed.keys.pending) if key is not None}
    return tuple(node for node in _ours(desired, observed) if not node.ended and node.key_id not in kept)


def _ours(desired: DesiredNode, observed: ObservedNode) -> Iterable[NodeRecord]:
    """Return the nodes that carry our name, or, where the SuperLink keeps no names, one of our keys."""
    known = observed.keys.key_ids | ({observed.recorded_key_id} if observed.recorded_key_id else set())
    for node in observed.nodes:
        if node.name == desired.name or (not node.name and node.key_id in known):
            yield node


def _is_listed(desired: DesiredNode, observed: ObservedNode, key: NodeKey) -> bool:
    return any(not node.ended and node.public_key == key.public_key for node in _ours(desired, observed))


def _is_good(desired: DesiredNode, observed: ObservedNode) -> bool:
    """Tell whether the current key is ours and can still be used, be it that the SuperLink has to be told again."""
    current = observed.keys.current
    if current is None or current.key_id in observed.taken:
        return False
    if any(node.public_key == current.public_key and node.ended for node in observed.nodes):
        return False
    return observed.recorded_key_id == current.key_id or _is_listed(desired, observed, current)


def _make(desired: DesiredNode, observed: ObservedNode) -> tuple[NodeStep, ...]:
    """Return the steps to a pending key that is proven; one that is not listed was never used, and another is made."""
    pending, stored = observed.keys.pending, observed.stored
    if pending is not None and _is_listed(desired, observed, pending):
        return (ProveNode(NodeSlot.PENDING),)
    version = stored.version if stored is not None else None
    return (StageNodeKey(version), RegisterNode(NodeSlot.PENDING), ProveNode(NodeSlot.PENDING))


def _replaced(observed: ObservedNode) -> str | None:
    current = observed.keys.current
    return observed.recorded_key_id or (current.key_id if current is not None else observed.keys.previous_key_id)


def _is_due(
    desired: DesiredNode, observed: ObservedNode, request: RotationRequest | None, uid: str, now: datetime
) -> bool:
    since = observed.keys.issued_at
    if node_key_unrecorded(observed):
        return False
    if request is not None and request.secret and observed.rotated_for != request.value:
        return True
    return desired.every is not None and since is not None and now >= rotation_due_at(since, desired.every, uid)


def _in_use_since(observed: ObservedNode) -> datetime | None:
    """Return since when the Secret holds the current key, None as long as it may hold the former one alone."""
    return None if node_key_unrecorded(observed) else observed.delivered_at or observed.keys.issued_at


def _overlap_is_over(
    desired: DesiredNode, observed: ObservedNode, ending: tuple[NodeRecord, ...], now: datetime
) -> bool:
    """Tell whether the SuperNode has changed over, or was given time enough.

    That begins with the Secret: while a server is away that delivers the key, nobody could change over. Only the
    PodIdentity whose key it is can be in the way of that, and would hold up what it alone has asked for.
    """
    since, current = _in_use_since(observed), observed.keys.current
    if since is None or current is None:
        return False
    online = {node.key_id for node in observed.nodes if node.online}
    changed_over = current.key_id in online or not any(node.online for node in ending)
    return Handover(missing=not changed_over).lets_end(since + desired.overlap, desired.overlap, now)


def _differs(desired: DesiredNode, observed: ObservedNode, previous_key_id: str | None) -> bool:
    held, stored = observed.keys, observed.stored
    wanted = HeldNodeKeys(current=held.current, previous_key_id=previous_key_id, issued_at=held.issued_at)
    return held.issued_at is None or stored is None or dict(stored.data) != node_entry(desired.super_link_url, wanted)
