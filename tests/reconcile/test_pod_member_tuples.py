"""Whose a tuple in OpenFGA is, whatever is lost or crashes: no stranger's is touched, and none of ours stays behind."""

from __future__ import annotations

import pytest

from fedid.domain.conditions import ConditionType
from fedid.domain.openfga import RelationTuple
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from fedid.errors import BackendDeniedError, BackendUnavailableError
from tests.reconcile.grid import BOT, LINK, OBJECT, USER, Grid
from tests.reconcile.small_operator import NAMESPACE


async def test_a_tuple_that_is_still_there_after_its_deletion_is_no_proof() -> None:
    """It is deleted again; nothing ends before it was read back as absent."""
    grid = await Grid.begun()
    kept = next(one for one in grid.tuples.tuples if one.user == grid.of(BOT))
    listed = type(grid.tuples).users

    async def stale(object_: str, relation: str) -> frozenset[str]:
        return await listed(grid.tuples, object_, relation) | {kept.user}

    grid.tuples.users = stale  # type: ignore[method-assign]
    grid.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await grid.advance(60)
    assert grid.condition(ConditionType.OPENFGA_SYNCED)["message"].startswith(f"Tuple {kept} is still there")
    assert BOT in grid.cluster.bodies
    del grid.tuples.users  # type: ignore[method-assign]
    await grid.advance(60)
    assert BOT not in grid.cluster.bodies


async def test_a_strangers_tuple_is_never_touched() -> None:
    """Not written over, not deleted with the member or the SuperLink; the condition says whose is in the way."""
    grid = Grid()
    await grid.advance(20)
    foreign = RelationTuple(grid.of(BOT), "has_access", OBJECT)
    other = RelationTuple("flwr_aid:somebody", "has_access", OBJECT)
    grid.tuples.tuples |= {foreign, other}
    grid.link()
    await grid.advance(20)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "Conflict")
    assert str(BOT) in grid.condition(ConditionType.OPENFGA_SYNCED)["message"]
    assert grid.told(ConditionType.READY) == ("False", "Conflict")
    assert grid.users() == {foreign.user, other.user, grid.of(USER)}
    grid.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await grid.advance(30)
    assert BOT not in grid.cluster.bodies
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(30)
    assert LINK not in grid.cluster.bodies
    assert grid.tuples.tuples == {foreign, other}


async def test_a_strangers_tuple_that_came_in_between_is_a_strangers() -> None:
    """It was absent, was recorded, and is there when it is written for the first time: so it is not ours."""
    grid = Grid()
    await grid.advance(20)
    foreign = RelationTuple(grid.of(BOT), "has_access", OBJECT)
    write = type(grid.tuples).write

    async def late(wanted: RelationTuple) -> bool:
        grid.tuples.tuples.add(foreign)
        return await write(grid.tuples, wanted)

    grid.tuples.write = late  # type: ignore[method-assign]
    grid.link()
    await grid.advance(20)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "Conflict")
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(30)
    assert LINK not in grid.cluster.bodies
    assert grid.tuples.tuples == {foreign}


@pytest.mark.parametrize("at", ["before", "after"])
async def test_a_crash_between_the_record_and_the_tuple_leaves_no_orphan(at: str) -> None:
    """Whether the tuple was written or not, another process finishes it, and its end takes it away."""
    grid = Grid()
    await grid.advance(20)
    grid.tuples.failures.add("write", RuntimeError("killed"), at=at)
    grid.link()
    with pytest.raises(RuntimeError, match="killed"):
        await grid.settle()
    recorded = grid.status(POD_IDENTITY, "superlink")["openFga"]["members"]
    assert [one["state"] for one in recorded] == ["Writing", "Writing"]
    assert len(grid.users()) == (1 if at == "after" else 0)
    grid.restart()
    await grid.advance(20)
    assert grid.told(ConditionType.READY) == ("True", "Ready")
    assert grid.users() == {grid.of(BOT), grid.of(USER)}
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(30)
    assert grid.users() == set()


async def test_an_answer_that_was_lost_does_not_make_our_tuple_a_strangers() -> None:
    """It was sent and may have arrived: it stays on record, and the next pass finds it."""
    grid = Grid()
    await grid.advance(20)
    lost = BackendUnavailableError("the answer was lost", backend="openfga", outcome_unknown=True)
    grid.tuples.failures.add("write", lost, at="after")
    grid.link()
    await grid.advance(20)
    assert grid.told(ConditionType.READY) == ("True", "Ready")
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(30)
    assert grid.tuples.tuples == set()


async def test_a_refused_write_is_not_recorded_as_ours() -> None:
    """Whoever writes that tuple afterwards keeps it."""
    grid = Grid()
    await grid.advance(20)
    grid.tuples.failures.add("write", BackendDeniedError("read only", backend="openfga"), times=None)
    grid.link()
    await grid.advance(5)
    assert grid.status(POD_IDENTITY, "superlink")["openFga"]["members"] == []
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "BackendDenied")
    foreign = RelationTuple(grid.of(BOT), "has_access", OBJECT)
    grid.tuples.tuples.add(foreign)
    grid.tuples.failures.clear()
    await grid.advance(30)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "Conflict")


async def test_nothing_is_written_before_its_record_is() -> None:
    """A status that cannot be written stops the tuple."""
    grid = Grid()
    await grid.advance(20)
    grid.cluster.failures.add(
        "patch_status",
        BackendUnavailableError("no answer", backend="kubernetes"),
        times=None,
        when=lambda at: "superlink" in at,
    )
    grid.link()
    await grid.advance(5)
    assert grid.users() == set()


async def test_a_tuple_that_a_hand_deleted_is_written_again() -> None:
    """Within the resync period, as all that is ours."""
    grid = await Grid.begun()
    grid.tuples.tuples.clear()
    await grid.advance(700)
    assert grid.users() == {grid.of(BOT), grid.of(USER)}
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(30)
    assert grid.users() == set()
