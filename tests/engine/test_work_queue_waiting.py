"""Tests of what waits in the work queue, one rule each: for an instant, for a cause, or behind what is more urgent."""

from __future__ import annotations

import asyncio
import math

import pytest

from fedid.engine.work_queue import WAKE_BATCH, Item, WorkQueue

from .taking import CHANGE, DELETION, DRIFT, nothing_ready, order, pending_timers
from .virtual_time import HandClock, in_virtual_time, settle


class TestSchedule:
    """What is asked for later."""

    @in_virtual_time
    async def test_nothing_comes_before_its_instant(self) -> None:
        """A scheduled key is delivered at its instant, not before and not after."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add_at("b", 7.5)
        queue.add_at("a", 2.5)
        assert queue.scheduled() == 2
        assert await queue.get() == Item("a", DRIFT, enqueued_at=2.5, taken_at=2.5)
        assert await queue.get() == Item("b", DRIFT, enqueued_at=7.5, taken_at=7.5)
        assert queue.scheduled() == 0

    @in_virtual_time
    async def test_the_earlier_instant_wins(self) -> None:
        """Of two schedules of a key the earlier one stays, whichever came first, with the more urgent priority."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add_at("a", 5.0)
        queue.add_at("a", 9.0, CHANGE)
        queue.add_at("b", 9.0)
        queue.add_at("b", 6.0)
        assert await queue.get() == Item("a", CHANGE, enqueued_at=5.0, taken_at=5.0)
        assert (await queue.get()).taken_at == 6.0

    @in_virtual_time
    async def test_a_ready_key_is_not_put_off(self) -> None:
        """A schedule neither delays a key that is ready nor brings it back a second time."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        queue.add_at("a", 9.0)
        queue.reschedule("a", 9.0)
        assert await order(queue, 1) == ["a"]
        queue.done("a")
        assert queue.scheduled() == 0

    @in_virtual_time
    async def test_an_instant_that_has_passed_means_now(self) -> None:
        """An overdue key is ready at once, and does not count as having waited since its instant."""
        queue: WorkQueue[str] = WorkQueue()
        await asyncio.sleep(500)
        queue.add_at("a", 1.0)
        assert set(queue.oldest_ages_seconds().values()) == {0.0}
        assert await order(queue, 1) == ["a"]

    @pytest.mark.parametrize("at", [math.inf, -math.inf, math.nan])
    @in_virtual_time
    async def test_what_is_no_instant_is_refused(self, at: float) -> None:
        """An instant that never comes is a mistake of the caller, and changes nothing."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await queue.get()
        with pytest.raises(ValueError, match="not an instant"):
            queue.add_at("b", at)
        with pytest.raises(ValueError, match="not an instant"):
            queue.reschedule("b", at)
        with pytest.raises(ValueError, match="not an instant"):
            queue.done("a", at)
        assert (queue.active(), len(queue), queue.scheduled()) == (1, 0, 0)

    @in_virtual_time
    async def test_reschedule_moves_both_ways(self) -> None:
        """A replaced schedule is gone, whether it was earlier or later, and its priority with it."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add_at("later", 5.0, DELETION)
        queue.reschedule("later", 8.0)
        queue.add_at("earlier", 50.0)
        queue.reschedule("earlier", 6.0)
        queue.reschedule("new", 7.0)
        items = [await queue.get() for _ in range(3)]
        assert [(item.key, item.priority, item.taken_at) for item in items] == [
            ("earlier", DRIFT, 6.0),
            ("new", DRIFT, 7.0),
            ("later", DRIFT, 8.0),
        ]

    @in_virtual_time
    async def test_an_earlier_key_moves_the_timer(self) -> None:
        """A worker that waits for a far instant is woken for a nearer one that is scheduled later."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add_at("far", 100.0)
        worker = asyncio.create_task(queue.get())
        await settle()
        queue.add_at("near", 1.0)
        assert await worker == Item("near", DRIFT, enqueued_at=1.0, taken_at=1.0)
        assert (await queue.get()).taken_at == 100.0

    @in_virtual_time
    async def test_one_timer_serves_any_number_of_keys(self) -> None:
        """Ten thousand scheduled keys set one timer between them, and come in the order of their instants."""
        queue: WorkQueue[int] = WorkQueue()
        before = len(pending_timers())
        for number in range(10_000):
            queue.add_at(number, 1.0 + (5000 + number * 7919) % 10_000)
        assert len(pending_timers()) - before == 1
        instants = [(await queue.get()).taken_at for _ in range(10_000)]
        assert instants == [1.0 + number for number in range(10_000)]

    @in_virtual_time
    async def test_a_timer_that_fires_early_delivers_nothing(self) -> None:
        """When the loop's clock is ahead of the queue's, the key still waits for the queue's."""
        clock = HandClock()
        queue: WorkQueue[str] = WorkQueue(clock=clock)
        queue.add_at("a", 1.0)
        worker = asyncio.create_task(queue.get())
        await asyncio.sleep(1.5)
        assert not worker.done()
        clock.now = 1.0
        await asyncio.sleep(1)
        assert (await worker).key == "a"

    @in_virtual_time
    async def test_what_is_due_competes_before_the_timer_has_fired(self) -> None:
        """A worker that comes between an instant and its timer sees the key that is due."""
        clock = HandClock()
        queue: WorkQueue[str] = WorkQueue(clock=clock)
        queue.add_at("deletion", 1.0, DELETION)
        clock.now = 0.75
        assert await nothing_ready(queue)
        queue.add("change")
        clock.now = 1.0
        assert await order(queue, 2) == ["deletion", "change"]


class TestWake:
    """What waits for a cause."""

    @in_virtual_time
    async def test_brings_forward_what_is_parked_at_its_own_priority(self) -> None:
        """Keys that wait for the cause are ready at once and as urgent as they were; the others keep waiting."""
        queue: WorkQueue[str] = WorkQueue()
        for key, priority, cause in [("a", DRIFT, "vault"), ("b", DELETION, "vault"), ("c", CHANGE, "keycloak")]:
            queue.add_at(key, 100.0, priority)
            queue.parking.park(key, cause, since=1.0)
        assert queue.wake("vault") == 2
        assert queue.depth() == {DELETION: 1, CHANGE: 0, DRIFT: 1}
        assert queue.scheduled() == 1

    @in_virtual_time
    async def test_thousands_are_woken_without_holding_the_loop(self) -> None:
        """They are woken in batches, between which others have their turn, and who goes meanwhile stays gone."""
        queue: WorkQueue[int] = WorkQueue()
        for number in range(10_000):
            queue.add_at(number, 100.0)
            queue.parking.park(number, "vault", since=1.0)
        assert queue.wake("vault") == 10_000
        assert len(queue) == WAKE_BATCH
        assert (await queue.get()).key == 0
        queue.forget(9_999)
        for rounds in range(1, 20):
            await asyncio.sleep(0)
            assert len(queue) <= WAKE_BATCH * (rounds + 1)
        assert (len(queue), queue.scheduled()) == (9_998, 0)

    @in_virtual_time
    async def test_a_key_that_came_back_by_itself_is_no_longer_parked(self) -> None:
        """A key that is in work again is not woken for what it waited for before."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add_at("a", 1.0)
        queue.parking.park("a", "vault", since=0.0)
        await queue.get()
        assert queue.wake("vault") == 0
        queue.done("a")
        assert await nothing_ready(queue)


class TestStarvation:
    """What a steady stream of changes must not do."""

    @in_virtual_time
    async def test_old_drift_takes_turns_with_changes(self) -> None:
        """Drift that has been ready for the promised time goes by its age among the changes, not before."""
        queue: WorkQueue[str] = WorkQueue(promote_after_seconds=10.0)
        queue.add("drift", DRIFT)
        taken = []
        for number in range(14):
            queue.add(f"change {number}")
            taken += await order(queue, 1)
            await asyncio.sleep(1)
        assert taken.index("drift") == 10

    @in_virtual_time
    async def test_promoted_drift_waits_for_older_changes(self) -> None:
        """Promotion gives a place by age: changes that have waited even longer go first."""
        queue: WorkQueue[str] = WorkQueue(promote_after_seconds=10.0)
        queue.add("older change", CHANGE)
        await asyncio.sleep(1)
        queue.add("drift", DRIFT)
        await asyncio.sleep(1)
        queue.add("younger change", CHANGE)
        await asyncio.sleep(9)
        assert await order(queue, 3) == ["older change", "drift", "younger change"]

    @in_virtual_time
    async def test_nothing_overtakes_a_deletion(self) -> None:
        """However old, drift and changes go after every deletion that is ready."""
        queue: WorkQueue[str] = WorkQueue(promote_after_seconds=10.0)
        queue.add("drift", DRIFT)
        queue.add("change", CHANGE)
        await asyncio.sleep(1000)
        queue.add("deletion", DELETION)
        assert await order(queue, 3) == ["deletion", "change", "drift"]
