"""Tests of the work queue, one rule each; their interplay is in test_work_queue_properties."""

from __future__ import annotations

import asyncio
import math

import pytest

from fedid.engine.asks import Priority
from fedid.engine.work_queue import WAKE_BATCH, Item, QueueClosedError, WorkQueue

from .virtual_time import HandClock, in_virtual_time, settle

DELETION, CHANGE, DRIFT = Priority


async def take(queue: WorkQueue[str]) -> Item[str] | None:
    """Take what a worker would get without waiting, or None."""
    worker = asyncio.create_task(queue.get())
    await settle()
    if worker.done():
        return worker.result()
    worker.cancel()
    await asyncio.wait([worker])
    return None


async def order(queue: WorkQueue[str], count: int) -> list[str]:
    """Take keys, without any time passing, and keep them."""
    return [item.key for item in [await take(queue) for _ in range(count)] if item is not None]


async def nothing_ready(queue: WorkQueue[str]) -> bool:
    """Tell whether a worker would have to wait."""
    return await take(queue) is None


class TestAdd:
    """What is asked for now."""

    @in_virtual_time
    async def test_wakes_a_waiting_worker(self) -> None:
        """A worker that waits gets an added key at once, with what is known about it."""
        queue: WorkQueue[str] = WorkQueue()
        worker = asyncio.create_task(queue.get())
        await asyncio.sleep(3)
        queue.add("a")
        assert await worker == Item("a", CHANGE, enqueued_at=3.0, taken_at=3.0)
        assert queue.now() == 3.0

    @in_virtual_time
    async def test_folds_a_burst_into_one(self) -> None:
        """A key that waits already is not queued twice and keeps its place."""
        queue: WorkQueue[str] = WorkQueue()
        for key in ("a", "b", "a", "a"):
            queue.add(key)
            await asyncio.sleep(1)
        assert await order(queue, 2) == ["a", "b"]
        assert await nothing_ready(queue)

    @in_virtual_time
    async def test_most_urgent_first_and_oldest_first_within(self) -> None:
        """Deletions go before changes, changes before drift, and each in the order of asking."""
        queue: WorkQueue[str] = WorkQueue()
        for key, priority in [("d1", DRIFT), ("c1", CHANGE), ("x1", DELETION), ("d2", DRIFT), ("x2", DELETION)]:
            queue.add(key, priority)
            await asyncio.sleep(1)
        assert await order(queue, 5) == ["x1", "x2", "c1", "d1", "d2"]

    @in_virtual_time
    async def test_the_more_urgent_priority_wins(self) -> None:
        """A waiting key takes the more urgent priority, and a less urgent ask does not lower it."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a", DRIFT)
        queue.add("b", CHANGE)
        queue.add("a", DELETION)
        queue.add("a", DRIFT)
        assert queue.depth() == {DELETION: 1, CHANGE: 1, DRIFT: 0}
        assert (await queue.get()).priority is DELETION

    @in_virtual_time
    async def test_supersedes_a_schedule_but_not_its_priority(self) -> None:
        """The retry of a deletion that an event brings forward is still a deletion, and comes once."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add_at("a", 100.0, DELETION)
        queue.add("a", CHANGE)
        item = await queue.get()
        queue.done("a")
        assert item.priority is DELETION
        await asyncio.sleep(200)
        assert await nothing_ready(queue)

    @in_virtual_time
    async def test_during_a_pass_comes_back_after_it(self) -> None:
        """A key in work is handed to nobody else, and comes back once at the most urgent priority asked meanwhile."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await queue.get()
        for priority in (DRIFT, CHANGE, DRIFT):
            queue.add("a", priority)
        assert len(queue) == 0
        assert await nothing_ready(queue)
        await asyncio.sleep(2)
        queue.done("a")
        assert await queue.get() == Item("a", CHANGE, enqueued_at=0.0, taken_at=2.0)
        queue.done("a")
        assert await nothing_ready(queue)


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


def pending_timers() -> list[asyncio.TimerHandle]:
    """Return the loop's timers that are not cancelled."""
    scheduled: list[asyncio.TimerHandle] = getattr(asyncio.get_running_loop(), "_scheduled")  # noqa: B009 - private
    return [timer for timer in scheduled if not timer.cancelled()]


class TestDone:
    """What a pass leaves behind."""

    @in_virtual_time
    async def test_the_result_sets_the_next_look(self) -> None:
        """A pass that asks to be repeated comes back at that instant and at that priority."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await queue.get()
        queue.done("a", 4.0, DELETION)
        assert await queue.get() == Item("a", DELETION, enqueued_at=4.0, taken_at=4.0)

    @in_virtual_time
    async def test_the_newest_result_replaces_earlier_schedules(self) -> None:
        """A schedule from before the pass is void, whether the pass asks for a later instant or for none."""
        queue: WorkQueue[str] = WorkQueue()
        for requeue_at in (50.0, None):
            queue.add_at("a", queue.now() + 10.0)
            queue.add("a")
            await queue.get()
            queue.done("a", requeue_at)
            if requeue_at is not None:
                assert (await queue.get()).taken_at == requeue_at
                queue.done("a")
        await asyncio.sleep(100)
        assert await nothing_ready(queue)

    @in_virtual_time
    async def test_the_result_never_replaces_an_add_that_came_during_the_pass(self) -> None:
        """A later "look again" does not swallow what happened while the pass was looking."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await queue.get()
        queue.add("a", CHANGE)
        queue.reschedule("a", 500.0)
        queue.done("a", 100.0)
        assert await order(queue, 1) == ["a"]

    @in_virtual_time
    async def test_a_schedule_from_during_the_pass_is_folded_with_its_result(self) -> None:
        """Of what the pass asked for and what was asked meanwhile, the earlier instant wins."""
        queue: WorkQueue[str] = WorkQueue()
        for key, asked_at, requeue_at in [("a", 3.0, 9.0), ("b", 9.0, 4.0), ("c", 5.0, None)]:
            queue.add(key)
            await queue.get()
            queue.add_at(key, asked_at)
            queue.done(key, requeue_at)
        items = [await queue.get() for _ in range(3)]
        assert [(item.key, item.taken_at) for item in items] == [("a", 3.0), ("b", 4.0), ("c", 5.0)]

    @in_virtual_time
    async def test_an_instant_that_came_during_the_pass_is_not_lost(self) -> None:
        """A key whose scheduled instant passes while it is in work is ready as soon as the pass ends."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await queue.get()
        queue.add_at("a", 1.0)
        await asyncio.sleep(2)
        assert len(queue) == 0
        queue.done("a", 60.0)
        assert await order(queue, 1) == ["a"]

    @in_virtual_time
    async def test_a_key_that_is_not_in_work_cannot_be_done(self) -> None:
        """A second `done`, or one without a pass, is a mistake of the caller."""
        queue: WorkQueue[str] = WorkQueue()
        with pytest.raises(ValueError, match="not being worked on"):
            queue.done("a")


class TestForget:
    """What is left of a key whose object is gone."""

    @in_virtual_time
    async def test_drops_everything(self) -> None:
        """A forgotten key is not delivered, ready or scheduled, and its failures are forgotten with it."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("ready")
        queue.add_at("scheduled", 1.0)
        for key in ("ready", "scheduled", "unknown"):
            queue.failures.note(key)
            queue.parking.park(key, "vault", since=0.0)
            queue.forget(key)
            assert queue.attempts(key) == 0
        assert queue.wake("vault") == 0
        await asyncio.sleep(2)
        assert (len(queue), queue.scheduled()) == (0, 0)
        assert await nothing_ready(queue)

    @in_virtual_time
    async def test_the_running_pass_does_not_bring_the_key_back(self) -> None:
        """The result of a pass over an object that went meanwhile is dropped, with what it noted."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.forget("a")
        queue.failures.note("a")
        queue.parking.park("a", "vault", since=0.0)
        queue.done("a", 1.0)
        assert (queue.active(), queue.scheduled(), queue.attempts("a"), queue.wake("vault")) == (0, 0, 0, 0)
        assert await nothing_ready(queue)

    @in_virtual_time
    async def test_an_add_afterwards_counts(self) -> None:
        """An object of the same name that is created while the former's last pass runs gets its own pass."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await queue.get()
        queue.forget("a")
        queue.add("a")
        queue.done("a", 100.0)
        assert await order(queue, 1) == ["a"]
        queue.done("a", 50.0)
        assert queue.scheduled() == 1


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


class TestWorkersWait:
    """What waiting workers may rely on."""

    @in_virtual_time
    async def test_each_waiting_worker_gets_a_key_of_its_own(self) -> None:
        """Keys that become due together are spread over all who wait."""
        queue: WorkQueue[str] = WorkQueue()
        workers = [asyncio.create_task(queue.get()) for _ in range(3)]
        await settle()
        for key in ("a", "b", "c"):
            queue.add_at(key, 1.0)
        assert {item.key for item in await asyncio.gather(*workers)} == {"a", "b", "c"}

    @in_virtual_time
    async def test_a_cancelled_worker_takes_no_wake_up_with_it(self) -> None:
        """A key announced to a worker in the instant of its cancellation goes to another that waits."""
        queue: WorkQueue[str] = WorkQueue()
        workers = [asyncio.create_task(queue.get()) for _ in range(2)]
        await settle()
        queue.add("a")
        workers[0].cancel()
        await settle()
        assert workers[0].cancelled()
        assert (await workers[1]).key == "a"


class TestShutdown:
    """What happens at the end."""

    @in_virtual_time
    async def test_closes_for_who_waits_and_who_comes(self) -> None:
        """Every worker is told, also if keys are left, and running passes may still end."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("in work")
        await queue.get()
        workers = [asyncio.create_task(queue.get()) for _ in range(2)]
        await settle()
        queue.add_at("later", 5.0)
        queue.shutdown()
        for worker in workers:
            with pytest.raises(QueueClosedError, match="the work queue is closed"):
                await worker
        queue.done("in work", 1.0)
        assert queue.active() == 0
        with pytest.raises(QueueClosedError):
            await queue.get()

    @in_virtual_time
    async def test_starts_nothing_that_is_left(self) -> None:
        """A ready key is not handed out after the end: this replica may have lost its lease."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        queue.shutdown()
        with pytest.raises(QueueClosedError):
            await queue.get()

    @in_virtual_time
    async def test_ignores_what_is_added_afterwards(self) -> None:
        """The watches that feed the queue need not know that it is closed, and no timer is set."""
        queue: WorkQueue[str] = WorkQueue()
        queue.add_at("before", 5.0)
        timers = len(pending_timers())
        queue.shutdown()
        queue.add("a")
        queue.add_at("b", 5.0)
        queue.reschedule("c", 5.0)
        assert (len(queue), queue.scheduled()) == (0, 1)
        assert len(pending_timers()) == timers - 1


class TestMetrics:
    """What the queue tells about itself."""

    @in_virtual_time
    async def test_counts_and_ages(self) -> None:
        """Ready keys are counted by priority and aged from when they were asked for or due."""
        queue: WorkQueue[str] = WorkQueue()
        assert set(queue.oldest_ages_seconds().values()) == {0.0}
        queue.add("in work", DELETION)
        await queue.get()
        queue.add_at("due", 2.0)
        queue.add_at("later", 50.0)
        await asyncio.sleep(4)
        queue.add("change")
        await asyncio.sleep(1)
        assert queue.depth() == {DELETION: 0, CHANGE: 1, DRIFT: 1}
        assert (len(queue), queue.scheduled(), queue.active()) == (2, 1, 1)
        assert queue.oldest_ages_seconds() == {DELETION: 0.0, CHANGE: 1.0, DRIFT: 3.0}

    @in_virtual_time
    async def test_memory_follows_the_keys(self) -> None:
        """On a replica that only watches, keys that come, change and go for weeks leave nothing behind."""
        queue: WorkQueue[str] = WorkQueue()
        for number in range(1000):
            queue.add_at(f"{number}", 1e6)
            queue.add(f"{number}", DRIFT)
            queue.add(f"{number}", DELETION)
            queue.failures.note(f"{number}")
            queue.forget(f"{number}")
        kept = sum(len(part) for name, part in vars(queue).items() if name in {"_asks", "_active", "failures"})
        assert (kept, len(queue), queue.scheduled()) == (0, 0, 0)
