"""Tests of the work queue, one rule each; their interplay is in test_work_queue_properties."""

from __future__ import annotations

import asyncio

import pytest

from fedid.engine.work_queue import Item, QueueClosedError, WorkQueue

from .taking import CHANGE, DELETION, DRIFT, nothing_ready, order, pending_timers
from .virtual_time import in_virtual_time, settle


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
