"""The plan of a SuperNode's key, for any state and any crash: none is lost, and no stranger's node is touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedid.domain.node_plan import (
    DestroyNodeKeys,
    NodeSlot,
    ProveNode,
    ProveNodesEnded,
    PublishNodeKey,
    RegisterNode,
    StageNodeKey,
    UnregisterNodes,
    look_at_node_again_at,
)
from fedid.domain.rotation import PATIENCE, RotationRequest, rotation_due_at
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import StoredEntry
from fedid.domain.super_node import NodeStatus
from tests.domain.node_model import NODE, OVERLAP, NodeWorld, settled
from tests.domain.samples import OWNER, UID

REQUEST = RotationRequest("secret-1", tokens=False, secret=True)
A_SECOND = timedelta(seconds=1)


def _ask(world: NodeWorld) -> None:
    world.request = REQUEST


def _time_goes_by(world: NodeWorld) -> None:
    world.now += OVERLAP + A_SECOND


def _restarts(world: NodeWorld) -> None:
    """The SuperNode reads the Secret."""
    if world.delivered is not None:
        world.connect(world.delivered)


def _state_lost(world: NodeWorld) -> None:
    world.nodes.clear()


def _burnt(world: NodeWorld) -> None:
    """Somebody unregisters all of our nodes."""
    for node in list(world.nodes.values()):
        if node.name in {NODE.name, ""}:
            world.nodes[node.node_id] = replace(node, status=NodeStatus.UNREGISTERED)


def _taken(world: NodeWorld) -> None:
    """Another account has the key; the SuperLink shows us nothing of it."""
    if world.held.current is not None:
        world.nodes.clear()
        world.hidden.add(world.held.current.public_key)


def _foreign(field: str) -> Callable[[NodeWorld], None]:
    def happen(world: NodeWorld) -> None:
        data = dict(world.stored.data) if world.stored is not None else {}
        world.write({**data, field: world.fresh().private_key})

    happen.__name__ = f"foreign_{field}"
    return happen


def _foreign_previous(world: NodeWorld) -> None:
    """Somebody has Vault name a stranger's node as our previous one."""
    node_id = world.register(world.fresh().public_key, "site-b/other fedid:i/other")
    data = dict(world.stored.data) if world.stored is not None else {}
    world.write({**data, "previous_key_id": Sensitive(world.nodes[node_id].key_id)})


def _garbage(world: NodeWorld) -> None:
    world.write({"private_key": Sensitive("x"), "issued_at": Sensitive("y"), "note": Sensitive("z")})


def _marked_only(world: NodeWorld) -> None:
    world.stored = StoredEntry({}, world.stored.version if world.stored is not None else 0, OWNER)


def _no_entry(world: NodeWorld) -> None:
    world.stored = None


def _forgotten(world: NodeWorld) -> None:
    world.recorded = None


def _late_answer(world: NodeWorld) -> None:
    """A registration that was given up long ago arrives after all."""
    world.register(world.fresh().public_key, NODE.name)


HAPPENINGS: list[Callable[[NodeWorld], None]] = [
    _ask, _time_goes_by, _restarts, _state_lost, _burnt, _taken, _foreign("private_key"),
    _foreign("pending_private_key"), _foreign_previous, _garbage, _marked_only, _no_entry, _forgotten, _late_answer,
]  # fmt: skip


def assert_settled(world: NodeWorld) -> None:
    """See one key in use, the SuperLink and Vault alike, and nothing to do until something is due."""
    for _ in range(3):  # a replacement that was asked for, and the end of what it left
        world.request = None
        world.run()
        _restarts(world)
        world.now += timedelta(minutes=10)
    assert world.plan() == ()
    held = world.held
    assert held.current is not None
    assert (held.pending, held.previous_key_id) == (None, None)
    ours = {node.public_key for node in world.nodes.values() if node.name == NODE.name and not node.ended}
    assert ours == {held.current.public_key}
    assert world.delivered == held.current
    strangers = [node for node in world.nodes.values() if node.name not in {NODE.name, ""}]
    assert not any(node.ended for node in strangers)


def test_the_order() -> None:
    """In Vault, registered, seen, in use; then both; then the former one unregistered, and seen so."""
    world = NodeWorld()
    assert world.run() == (
        StageNodeKey(None),
        RegisterNode(NodeSlot.PENDING),
        ProveNode(NodeSlot.PENDING),
        PublishNodeKey(NodeSlot.PENDING),
    )
    first = world.held.current
    assert first is not None
    world.connect(first)
    assert world.plan() == ()
    world.request = REQUEST
    assert world.run() == (
        StageNodeKey(2),
        RegisterNode(NodeSlot.PENDING),
        ProveNode(NodeSlot.PENDING),
        PublishNodeKey(NodeSlot.PENDING, first.key_id),
    )
    assert len(world.good) == 2
    assert world.plan() == ()  # within the overlap
    _time_goes_by(world)
    assert world.plan() == ()  # the SuperNode still has the former key
    _restarts(world)
    assert world.run() == (UnregisterNodes((1,)), ProveNodesEnded((1,)), PublishNodeKey(NodeSlot.CURRENT))
    assert_settled(world)


def test_patience_ends() -> None:
    """A SuperNode that never changes over keeps its former key for a while, and not for ever."""
    world = settled()
    world.request = REQUEST
    world.run()
    world.now += OVERLAP + PATIENCE - A_SECOND
    assert world.plan() == ()
    world.now += A_SECOND
    assert UnregisterNodes((1,)) in world.plan()


def test_the_overlap_begins_when_the_secret_has_the_key() -> None:
    """As long as nobody could change over, nothing ends; then the SuperNode has all the time that it is given."""
    world = settled()
    world.request = REQUEST
    for _ in range(3):
        world.run(steps=4)  # and the Secret cannot be written
        world.now += OVERLAP + PATIENCE + A_SECOND
        assert world.plan() == ()
    world.run()
    delivered_at = world.now
    assert look_at_node_again_at(world.node, world.observe(), UID, world.now) == delivered_at + OVERLAP
    world.now += OVERLAP + PATIENCE - A_SECOND
    assert world.plan() == ()
    world.now += A_SECOND
    assert UnregisterNodes((1,)) in world.plan()


def test_a_status_that_tells_no_delivery() -> None:
    """A key that an older fedid delivered counts from when it was made."""
    world = settled()
    world.request = REQUEST
    world.run()
    world.delivered_at = None
    _restarts(world)
    assert world.plan() == ()
    _time_goes_by(world)
    assert UnregisterNodes((1,)) in world.plan()


def test_a_node_that_is_not_running_waits_for_the_overlap_alone() -> None:
    """Where no SuperNode is connected, nobody has to change over."""
    world = settled()
    world.nodes[1] = replace(world.nodes[1], status=NodeStatus.OFFLINE)
    world.request = REQUEST
    world.run()
    assert world.plan() == ()
    _time_goes_by(world)
    assert UnregisterNodes((1,)) in world.plan()


def test_a_request_is_carried_out_once() -> None:
    """The same annotation asks for nothing more, another one does; one about tokens never did."""
    world = settled()
    world.request = RotationRequest("token", tokens=True, secret=False)
    assert world.plan() == ()
    world.request = REQUEST
    world.run()
    assert world.rotated_for == REQUEST.value
    assert world.plan() == ()
    world.request = RotationRequest("all-2", tokens=True, secret=True)
    assert world.plan() != ()


def test_a_schedule() -> None:
    """The key is replaced when its time has come, and it is told when that is."""
    every = timedelta(hours=1)
    world = settled()
    world.node = replace(world.node, every=every)
    issued_at = world.held.issued_at
    assert issued_at is not None
    due = rotation_due_at(issued_at, every, UID)
    assert look_at_node_again_at(world.node, world.observe(), UID, world.now) == due
    world.now = due - A_SECOND
    assert world.plan() == ()
    world.now = due
    assert len(world.run()) == 4
    over = due + OVERLAP  # the Secret got it in that pass
    assert look_at_node_again_at(world.node, world.observe(), UID, world.now) == over
    asked_again = look_at_node_again_at(world.node, world.observe(), UID, over)
    assert asked_again is not None
    assert over < asked_again <= over + OVERLAP
    assert look_at_node_again_at(NODE, settled().observe(), UID, world.now) is None
    assert look_at_node_again_at(NODE, NodeWorld().observe(), UID, world.now) is None


def test_state_lost() -> None:
    """A SuperLink that forgot everything is told the same key: the SuperNode goes on with what it has."""
    world = settled()
    before = world.held
    _state_lost(world)
    assert world.run() == (RegisterNode(NodeSlot.CURRENT), ProveNode(NodeSlot.CURRENT))
    assert world.held == before
    assert_settled(world)


@pytest.mark.parametrize("happen", [_burnt, _taken])
def test_a_burnt_key_is_replaced(happen: Callable[[NodeWorld], None]) -> None:
    """A key that can never be registered again gives way to another, in the same pass."""
    world = settled()
    before = world.held.current
    happen(world)
    world.run()
    assert world.held.current not in {None, before}
    assert_settled(world)


def test_a_key_that_is_not_ours_is_never_delivered() -> None:
    """What somebody puts into Vault opens nothing and is replaced."""
    world = settled()
    foreign = world.fresh()
    world.write({**(world.stored.data if world.stored else {}), "private_key": foreign.private_key})
    world.run()
    assert foreign.public_key not in world.good
    assert world.delivered != foreign
    assert_settled(world)


@pytest.mark.parametrize("crashes", [(a, b) for a in range(6) for b in range(6)])
def test_crashes_while_it_is_made(crashes: tuple[int, int]) -> None:
    """Wherever passes end, one node comes out, and no orphan."""
    world = NodeWorld()
    for steps in crashes:
        world.run(steps)
    assert_settled(world)


@pytest.mark.parametrize("crashes", [(a, b, c) for a in range(6) for b in range(4) for c in range(4)])
def test_crashes_in_a_rotation(crashes: tuple[int, int, int]) -> None:
    """The key that the SuperNode has is good at every instant, wherever passes end."""
    world = settled()
    world.request = REQUEST
    for steps in crashes:
        world.run(steps)
        assert world.delivered is not None
        assert world.delivered.public_key in world.good
        _time_goes_by(world)
    assert_settled(world)


@pytest.mark.parametrize("crashes", [(a, b) for a in range(4) for b in range(4)])
def test_crashes_in_a_teardown(crashes: tuple[int, int]) -> None:
    """Wherever passes end, in the middle of a rotation: nothing of ours is good, and Vault has nothing."""
    world = settled()
    world.request = REQUEST
    world.run()
    _late_answer(world)
    stranger = world.register(world.fresh().public_key, "site-b/other fedid:i/other")
    for steps in crashes:
        world.end(steps)
    assert world.end()[-1] in {DestroyNodeKeys(), ProveNodesEnded(())}
    assert world.stored is None
    assert world.good == {world.nodes[stranger].public_key}


def test_a_teardown_of_nothing() -> None:
    """What was never made, or is gone already, needs the proof alone."""
    assert NodeWorld().end() == (ProveNodesEnded(()),)
    world = settled()
    _state_lost(world)
    assert world.end() == (ProveNodesEnded(()), DestroyNodeKeys())


def test_a_teardown_without_vault() -> None:
    """The nodes are found by their name where Vault has lost the keys, by the status where there are no names."""
    world = settled()
    _no_entry(world)
    assert world.end() == (UnregisterNodes((1,)), ProveNodesEnded((1,)))
    nameless = settled(keeps_names=False)
    _no_entry(nameless)
    assert nameless.end() == (UnregisterNodes((1,)), ProveNodesEnded((1,)))


def test_a_superlink_without_names() -> None:
    """Before Flower 1.39 a node is known by its key alone, and the former one by its fingerprint in Vault."""
    world = settled(keeps_names=False)
    world.request = REQUEST
    world.run()
    _restarts(world)
    _time_goes_by(world)
    assert UnregisterNodes((1,)) in world.run()
    assert world.good == {world.delivered.public_key if world.delivered else b""}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 6) | st.none()), max_size=6))
def test_any_history(history: Sequence[tuple[Callable[[NodeWorld], None], int | None]]) -> None:
    """Whatever happens and wherever passes end, it converges, and nothing of a stranger's was ended."""
    world = settled()
    for happen, steps in history:
        happen(world)
        world.run(steps)
    assert_settled(world)
