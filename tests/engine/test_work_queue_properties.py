"""The work queue against any interleaving of what can be done to it.

The machine keeps, per key, the plain list of everything that was asked and not yet served. The queue folds that into
one entry in one of several heaps; the list is never folded, so the two cannot share a mistake.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedid.engine.asks import Priority
from fedid.engine.backoff import Backoff
from fedid.engine.work_queue import Item, QueueClosedError, WorkQueue

from .virtual_time import VirtualTimeLoop, settle

if TYPE_CHECKING:
    from collections.abc import Coroutine

PROMOTE_AFTER_SECONDS = 8.0
# Multiples of a quarter are exact in binary, so instants can be compared for equality.
DELAYS = st.integers(0, 40).map(lambda quarters: quarters / 4)
KEYS = st.sampled_from("abc")
PRIORITIES = st.sampled_from(Priority)


class QueueMachine(RuleBasedStateMachine):
    """Asks, workers, passes and time in any order; what is delivered is judged at the moment of delivery."""

    def __init__(self) -> None:
        """Start with an empty queue at 0 s."""
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.queue: WorkQueue[str] = WorkQueue(promote_after_seconds=PROMOTE_AFTER_SECONDS, clock=self.loop.time)
        self.asked: dict[str, list[tuple[float, Priority]]] = defaultdict(list)
        self.in_work: dict[str, Item[str]] = {}
        self.forgotten: set[str] = set()
        self.failures: dict[str, int] = defaultdict(int)
        self.tasks: list[asyncio.Task[None]] = []
        self.settled = True

    # What the machine knows.

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something on the loop; afterwards every worker has got what it could get."""

        async def and_settle() -> None:
            await work
            await settle()

        self.loop.run_until_complete(and_settle())
        assert self.loop.complaints == []
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            if not task.cancelled():
                task.result()
        self.settled = True

    def since(self, key: str) -> float:
        """Return the earliest instant that was asked of the key."""
        return min(at for at, _ in self.asked[key])

    def urgency(self, key: str) -> Priority:
        """Return the most urgent priority that was asked of the key."""
        return min(priority for _, priority in self.asked[key])

    def rank(self, key: str) -> tuple[Priority, float]:
        """Return what decides who goes first."""
        since, urgency = self.since(key), self.urgency(key)
        promoted = urgency is Priority.DRIFT and self.loop.time() - since >= PROMOTE_AFTER_SECONDS
        return Priority.CHANGE if promoted else urgency, since

    def waiting(self) -> list[str]:
        """Return the keys that are asked for and not in work."""
        return [key for key, asks in self.asked.items() if asks and key not in self.in_work]

    def ready(self) -> list[str]:
        """Return the keys that a free worker must get."""
        return [key for key in self.waiting() if self.since(key) <= self.loop.time()]

    async def work(self) -> None:
        """Be a worker that takes one key, and judge what it got."""
        try:
            item = await self.queue.get()
        except QueueClosedError:
            return
        key, now = item.key, self.loop.time()
        assert key not in self.in_work, "two workers on one key"
        assert self.asked[key], "delivered without having been asked for"
        assert self.since(key) <= now, "delivered before its instant"
        assert item == Item(key, self.urgency(key), enqueued_at=self.since(key), taken_at=now)
        assert self.rank(key) == min(self.rank(other) for other in self.ready()), "something more urgent was ready"
        self.in_work[key] = item
        self.asked[key].clear()

    # What may happen.

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: str, priority: Priority) -> None:
        """Ask for a key now."""
        self.queue.add(key, priority)
        self.asked[key].append((self.loop.time(), priority))
        self.settled = False

    @rule(key=KEYS, delay=DELAYS, priority=PRIORITIES)
    def add_at(self, key: str, delay: float, priority: Priority) -> None:
        """Ask for a key at an instant."""
        with self.loop.entered():
            self.queue.add_at(key, self.loop.time() + delay, priority)
        self.asked[key].append((self.loop.time() + delay, priority))
        self.settled = False

    @rule(key=KEYS, delay=DELAYS, priority=PRIORITIES)
    def reschedule(self, key: str, delay: float, priority: Priority) -> None:
        """Replace the schedule of a key."""
        at = self.loop.time() + delay
        with self.loop.entered():
            self.queue.reschedule(key, at, priority)
        if not self.asked[key] or self.since(key) > self.loop.time():
            self.asked[key] = [(at, priority)]
        self.settled = False

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        """Forget a key."""
        self.queue.forget(key)
        self.asked[key].clear()
        self.failures[key] = 0
        if key in self.in_work:
            self.forgotten.add(key)

    @rule(count=st.integers(1, 3))
    def start_workers(self, count: int) -> None:
        """Let more workers come, which run at the next opportunity."""
        self.tasks += [self.loop.create_task(self.work()) for _ in range(count)]
        self.settled = False

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel_worker(self, data: st.DataObject) -> None:
        """Cancel a worker that waits, or that has just been woken."""
        data.draw(st.sampled_from(self.tasks)).cancel()
        self.settled = False

    @precondition(lambda self: self.tasks)
    @rule(key=KEYS, priority=PRIORITIES)
    def add_as_a_worker_goes(self, key: str, priority: Priority) -> None:
        """Ask for a key in the round of the loop in which the worker that is next in line is cancelled."""
        self.run(settle())
        self.add(key, priority)
        if self.tasks:
            self.tasks[0].cancel()

    @precondition(lambda self: self.in_work)
    @rule(data=st.data())
    def forget_in_work(self, data: st.DataObject) -> None:
        """Forget a key during its pass."""
        self.forget(data.draw(st.sampled_from(sorted(self.in_work))))

    @precondition(lambda self: self.in_work)
    @rule(data=st.data(), delay=st.none() | DELAYS, priority=PRIORITIES)
    def succeed(self, data: st.DataObject, delay: float | None, priority: Priority) -> None:
        """End a pass well, with or without a next look."""
        key = data.draw(st.sampled_from(sorted(self.in_work)))
        self.queue.failures.reset(key)
        self.failures[key] = 0
        self.end_pass(key, None if delay is None else self.loop.time() + delay, priority)

    @precondition(lambda self: self.in_work)
    @rule(data=st.data(), counted=st.booleans(), quarters=st.integers(0, 40))
    def fail(self, data: st.DataObject, quarters: int, *, counted: bool) -> None:
        """End a pass badly: it backs off and keeps its priority."""
        key = data.draw(st.sampled_from(sorted(self.in_work)))
        failures = self.queue.failures.note(key, counted=counted)
        self.failures[key] += counted
        delay = Backoff(uniform=lambda _, high: min(high, quarters / 4)).delay_seconds(failures)
        self.end_pass(key, self.loop.time() + delay, self.in_work[key].priority)

    @rule()
    def let_run(self) -> None:
        """Let everything run that can run now."""
        self.run(settle())

    @rule(seconds=DELAYS)
    def pass_time(self, seconds: float) -> None:
        """Let time pass and with it instants come."""
        self.run(asyncio.sleep(seconds))

    # What must hold.

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        """Once everything has run, no worker waits while a key is ready."""
        if self.settled:
            assert not (self.tasks and self.ready()), "a wake-up was lost"

    @invariant()
    def counts_are_true(self) -> None:
        """What the queue tells about itself is what was asked of it."""
        if not self.settled:
            return
        ready = self.ready()
        assert self.queue.depth() == {
            priority: sum(self.urgency(key) is priority for key in ready) for priority in Priority
        }
        assert len(self.queue) == len(ready)
        assert self.queue.scheduled() == len(self.waiting()) - len(ready)
        assert self.queue.active() == len(self.in_work)
        now = self.loop.time()
        assert self.queue.oldest_ages_seconds() == {
            priority: max((now - self.since(key) for key in ready if self.urgency(key) is priority), default=0.0)
            for priority in Priority
        }
        for key, failures in self.failures.items():
            assert self.queue.attempts(key) == failures

    def teardown(self) -> None:
        """Drain: with workers enough and time enough, everything that was asked is served and nothing is left."""
        self.run(settle())
        for _ in range(100):
            for key in list(self.in_work):
                self.end_pass(key, None, Priority.DRIFT)
            while len(self.tasks) < len("abc"):
                self.start_workers(1)
            self.run(asyncio.sleep(100))
            if not self.in_work:
                break
        assert not any(self.asked.values()), "something that was asked was not followed by a pass"
        assert (len(self.queue), self.queue.scheduled(), self.queue.active()) == (0, 0, 0)
        self.queue.shutdown()
        self.run(settle())
        assert not self.tasks, "a worker waits at a closed queue"
        self.loop.close()

    # How it is done.

    def end_pass(self, key: str, requeue_at: float | None, priority: Priority) -> None:
        """Say `done` and note what the result asks for."""
        del self.in_work[key]
        with self.loop.entered():
            self.queue.done(key, requeue_at, priority)
        if key in self.forgotten:
            self.forgotten.remove(key)
            self.failures[key] = 0
        elif requeue_at is not None:
            self.asked[key].append((requeue_at, priority))
        self.settled = False


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
