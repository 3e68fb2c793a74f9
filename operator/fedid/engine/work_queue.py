"""The keyed, level-triggered work queue.

The rules, which everything here serves:

- A key waits at most once. What is asked of a waiting key is folded into it: the earlier instant and the more urgent
  priority win.
- A key is worked on by one worker at a time. What is asked of it meanwhile is kept and comes back after `done`.
- A pass looks at everything as it is when it begins. So it serves whatever was asked of its key before, schedules
  included, and only its own result, or what is asked while it runs, brings the key back.
- Nothing is delivered before its instant.

Source: kubernetes/client-go `util/workqueue/queue.go` (dirty and processing sets), `delaying_queue.go`;
kubernetes-sigs/controller-runtime `pkg/controller/priorityqueue`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fedid.engine.asks import Ask, Priority
from fedid.engine.clock import Clock, loop_time
from fedid.engine.failures import Failures
from fedid.engine.keyed_heap import KeyedHeap
from fedid.engine.parking import Parking
from fedid.engine.waiters import Waiters

K = TypeVar("K", bound=Hashable)

WAKE_BATCH = 500
"""Parked keys that are woken in one go; about 4 ms of the loop's time."""


class QueueClosedError(Exception):
    """The queue was shut down: the worker that asked for more ends."""


@dataclass(frozen=True, slots=True)
class Item(Generic[K]):
    """A key that was handed to a worker, which owes the queue one `done`."""

    key: K
    priority: Priority
    """The most urgent priority that was asked since the last pass began."""

    enqueued_at: float
    """Since when it was ready (monotonic seconds): when it was first asked for, or the instant it was scheduled for."""

    taken_at: float
    """When it was handed out (monotonic seconds)."""


class WorkQueue(Generic[K]):
    """Keys to work on, each at most once, most urgent first, oldest first within a priority.

    Not thread-safe: every call is made on the loop. Delayed keys sit in a heap behind one loop timer, so ten
    thousand of them cost memory and nothing else.

    Once closed, adds are ignored: the watches that feed the queue outlive it by a moment.
    """

    def __init__(self, *, promote_after_seconds: float = 60.0, clock: Clock = loop_time) -> None:
        """Start empty and open.

        Args:
            promote_after_seconds: A DRIFT key that has been ready for so long counts as CHANGE, ordered by its age, so
                that a steady stream of changes cannot starve rotations. Nothing is ever promoted to DELETION: those
                end with the objects they delete.
            clock: Monotonic seconds. Timers run on the loop's own clock and read this one again when they fire.
        """
        self.failures: Failures[K] = Failures()
        """Failures in a row; `forget` drops them along with the rest."""
        self.parking: Parking[K] = Parking()
        """What keys wait for; a key leaves with its next pass."""
        self._promote_after_seconds = promote_after_seconds
        self._clock = clock
        # The ask of a key that is being worked on is in neither heap; any other is in _scheduled until its instant has
        # come, then in the heap of its priority.
        self._asks: dict[K, Ask] = {}
        self._ready: dict[Priority, KeyedHeap[K]] = {priority: KeyedHeap() for priority in Priority}
        self._scheduled: KeyedHeap[K] = KeyedHeap()
        self._active: dict[K, bool] = {}  # the value tells whether the key was forgotten during the pass
        self._waiters = Waiters()
        # Of those who take nothing but deletions.
        self._reserve = Waiters()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._closed = False

    def __len__(self) -> int:
        """Return how many keys are ready: those that a free worker would get now."""
        return sum(self.depth().values())

    def now(self) -> float:
        """Return the queue's clock (monotonic seconds), in which all its instants are given."""
        return self._clock()

    def depth(self) -> dict[Priority, int]:
        """Return how many keys are ready, by the priority that was asked."""
        return {priority: len(heap) for priority, heap in self._ready.items()}

    def scheduled(self) -> int:
        """Return how many keys wait for an instant to come."""
        return len(self._scheduled)

    def active(self) -> int:
        """Return how many keys are being worked on."""
        return len(self._active)

    def oldest_ages_seconds(self) -> dict[Priority, float]:
        """Return for how long (seconds) the oldest ready key of each priority has been ready; 0 where none is."""
        now, oldest = self._clock(), {priority: heap.first_rank() for priority, heap in self._ready.items()}
        return {priority: 0.0 if since is None else now - since for priority, since in oldest.items()}

    def add(self, key: K, priority: Priority = Priority.CHANGE) -> None:
        """Ask for a pass over the key now.

        A schedule that the key had is superseded, its priority is not: the retry of a deletion that an unrelated event
        brings forward is still a deletion.
        """
        self._fold(key, Ask(self._clock(), priority))

    def add_at(self, key: K, at: float, priority: Priority = Priority.DRIFT) -> None:
        """Ask for a pass over the key at an instant, or earlier if one was asked for already.

        Args:
            key: Whom to work on.
            at: Monotonic seconds; an instant that has passed means now.
            priority: Folded into what was asked already, also when that is for an earlier instant.

        Raises:
            ValueError: `at` is infinite or not a number.
        """
        self._fold(key, self._ask_at(at, priority))

    def reschedule(self, key: K, at: float, priority: Priority = Priority.DRIFT) -> None:
        """Replace the key's schedule, also by a later instant.

        Never replaces an ask whose instant has come: a key that is ready, or was asked for during its running pass,
        stays so. A reconcile's own "look again at T" needs no call of this: `done` takes it.

        Args:
            key: Whom to work on.
            at: Monotonic seconds; an instant that has passed means now.
            priority: Replaces the schedule's priority.

        Raises:
            ValueError: `at` is infinite or not a number.
        """
        ask = self._ask_at(at, priority)
        old = self._asks.get(key)
        if old is None or old.at > self._clock():
            self._place(key, ask)

    def wake(self, cause: str) -> int:
        """Bring forward to now every key that is parked on this cause, each at the priority it has.

        A pass that is running and is yet to fail for the same cause is not left behind: `parking` refuses it then.
        Thousands of keys take several rounds of the loop, so that it is not held up.

        Returns:
            How many keys were parked.
        """
        keys = self.parking.release(cause, self._clock())
        self._bring_forward(keys)
        return len(keys)

    async def get(self, *, only_deletions: bool = False) -> Item[K]:
        """Wait for the next key and mark it as being worked on until `done`.

        Args:
            only_deletions: Leave everything else to other workers.

        Raises:
            QueueClosedError: The queue was shut down, also if keys are left: a replica that may have lost its lease
                starts nothing more.
        """
        while not self._closed:
            item = self._take(only_deletions=only_deletions)
            if item is not None:
                return item
            # What was announced to a worker that is being cancelled is announced to the next one.
            row = self._reserve if only_deletions else self._waiters
            await row.wait(on_lost=self._announce)
        message = "the work queue is closed"
        raise QueueClosedError(message)

    def done(self, key: K, requeue_at: float | None = None, priority: Priority = Priority.DRIFT) -> None:
        """End the pass over a key.

        The result replaces every schedule from before the pass, since the pass has seen what they were made for; and
        it is folded with what was asked during the pass, which the pass may not have seen.

        Args:
            key: One that `get` handed out.
            requeue_at: When to look again (monotonic seconds), or None for only when asked.
            priority: That of `requeue_at`. A failed or unfinished pass keeps its own, so that a deletion stays one.

        Raises:
            ValueError: The key is not being worked on, or `requeue_at` is infinite or not a number. Nothing changes.
        """
        if key not in self._active:
            message = f"{key!r} is not being worked on"
            raise ValueError(message)
        result = None if requeue_at is None else self._ask_at(requeue_at, priority)
        forgotten = self._active.pop(key)
        if forgotten:
            result = None
            self._drop_history(key)
        ask = self._asks.pop(key, None)
        ask = result.folded_with(ask) if result is not None else ask
        if ask is not None:
            self._place(key, ask)

    def forget(self, key: K) -> None:
        """Drop all that is kept of a key whose object is gone: its asks, its schedule, its failures.

        A running pass ends normally, but its result does not bring the key back. An `add` after this does.
        """
        self._remove(key)
        self._drop_history(key)
        if key in self._active:
            self._active[key] = True

    def attempts(self, key: K) -> int:
        """Return how many counted attempts have failed in a row."""
        return self.failures.attempts(key)

    def shutdown(self) -> None:
        """Close for good: every `get`, waiting or to come, raises; running passes may still say `done`."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._waiters.wake_one() or self._reserve.wake_one():
            pass

    def _bring_forward(self, keys: list[K]) -> None:
        for key in keys[:WAKE_BATCH]:
            # In a later round it may have been forgotten, or be in work again.
            if key in self._asks:
                # At the least urgent priority, which leaves the key its own.
                self.add(key, Priority.DRIFT)
        if len(keys) > WAKE_BATCH:
            asyncio.get_running_loop().call_soon(self._bring_forward, keys[WAKE_BATCH:])

    def _drop_history(self, key: K) -> None:
        self.failures.reset(key)
        self.parking.leave(key)

    def _ask_at(self, at: float, priority: Priority) -> Ask:
        if not math.isfinite(at):
            message = f"not an instant: {at}"
            raise ValueError(message)
        # An instant of long ago must not make the key the oldest of all: it has been waiting here only since now.
        return Ask(max(at, self._clock()), priority)

    def _fold(self, key: K, ask: Ask) -> None:
        old = self._asks.get(key)
        folded = ask.folded_with(old)
        if folded != old:
            self._place(key, folded)

    def _place(self, key: K, ask: Ask) -> None:
        if self._closed:
            return
        self._remove(key)
        self._asks[key] = ask
        if key in self._active:
            return
        if ask.at <= self._clock():
            self._ready[ask.priority].put(key, ask.at)
            self._announce()
        else:
            self._scheduled.put(key, ask.at)
            self._arm_timer()

    def _remove(self, key: K) -> None:
        ask = self._asks.pop(key, None)
        if ask is not None:
            self._ready[ask.priority].discard(key)
            self._scheduled.discard(key)

    def _announce(self) -> None:
        """Wake a worker for a key that is ready; one that finds nothing it may take waits again."""
        if not self._waiters.wake_one() and self._ready[Priority.DELETION].first_rank() is not None:
            self._reserve.wake_one()

    def _take(self, *, only_deletions: bool) -> Item[K] | None:
        self._release_due()
        now = self._clock()
        first = self._first_ready(now)
        if first is None or (only_deletions and first is not Priority.DELETION):
            return None
        key = self._ready[first].pop()
        ask = self._asks.pop(key)
        self._active[key] = False
        self.parking.leave(key)
        return Item(key=key, priority=ask.priority, enqueued_at=ask.at, taken_at=now)

    def _first_ready(self, now: float) -> Priority | None:
        """Return the priority whose oldest key goes next; within each heap that key is the first."""
        heads = [
            (self._promoted(priority, since, now), since, priority)
            for priority, heap in self._ready.items()
            if (since := heap.first_rank()) is not None
        ]
        return min(heads)[2] if heads else None

    def _promoted(self, priority: Priority, since: float, now: float) -> Priority:
        if priority is Priority.DRIFT and now - since >= self._promote_after_seconds:
            return Priority.CHANGE
        return priority

    def _release_due(self) -> None:
        now = self._clock()
        while (at := self._scheduled.first_rank()) is not None and at <= now:
            key = self._scheduled.pop()
            self._ready[self._asks[key].priority].put(key, at)
            self._announce()

    def _arm_timer(self) -> None:
        at = self._scheduled.first_rank()
        # A timer that is set too early, for a key that was forgotten or moved since, fires for nothing, once.
        if at is None or self._timer_at <= at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._release_due()
        # The loop may fire a timer early by its clock's resolution: then nothing was due yet and this sets it again.
        self._arm_timer()
