"""The workers: take a key, run one pass over it, and see to it that it comes back when it should."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fedid.engine.asks import Priority
from fedid.engine.backoff import Backoff
from fedid.engine.cancellation import is_being_cancelled
from fedid.engine.listeners import tell
from fedid.engine.urgency import urgency
from fedid.engine.work_queue import Item, QueueClosedError, WorkQueue

K = TypeVar("K", bound=Hashable)


class StrayCancellationError(Exception):
    """A pass ended as cancelled although nobody cancelled its worker; the cause is chained."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass that did not fail wants next."""

    requeue_at: float | None = None
    """When to look again (monotonic seconds on the queue's clock); None: only when asked."""

    priority: Priority = Priority.DRIFT
    """That of the next look. A teardown that waits for its proof says DELETION."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How a failed pass is tried again.

    Raises:
        ValueError: `after_seconds` is negative, infinite or not a number.
    """

    after_seconds: float | None = None
    """The least delay (seconds), where the backend or the kind of failure names one; the key's own jittered backoff
    comes on top, so that all keys that were told the same instant do not come back at it together."""

    count_attempt: bool = True
    """Whether the failure is the key's own; an outage is not."""

    parked_on: str | None = None
    """What the key waits for, such as the name of a backend: `WorkQueue.wake` of it ends the delay."""

    is_bug: bool = False
    """Whether the failure is the program's own, to be logged with its traceback and counted as such."""

    def __post_init__(self) -> None:
        """Refuse a delay that would leave the key waiting for ever."""
        if self.after_seconds is not None and not 0 <= self.after_seconds < math.inf:
            message = f"not a delay: {self.after_seconds}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class PassReport(Generic[K]):
    """How one pass went, for logs and metrics."""

    item: Item[K]
    took_seconds: float
    """How long the pass ran (seconds)."""

    error: Exception | None = None
    """Why it failed, with its traceback, or None."""

    retry: Retry | None = None
    """How the failure was classified, or None."""

    attempts: int = 0
    """Attempts that the key has spent in a row."""

    next_at: float | None = None
    """When the pass asked to come back (monotonic seconds), or None; what was asked meanwhile may be earlier."""

    @property
    def retry_after_seconds(self) -> float | None:
        """How long after its end a pass that failed is tried again (seconds), None if it did not fail."""
        if self.error is None or self.next_at is None:
            return None
        return self.next_at - self.item.taken_at - self.took_seconds


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What becomes of a pass that raises."""

    classify: Callable[[Exception], Retry]
    """Tells how to retry. If it raises itself, that counts as a bug of the pass."""

    backoff: Backoff = field(default_factory=Backoff)
    """The delay by number of failures in a row; carries the random source."""


class Workers(Generic[K]):
    """A fixed number of asyncio workers on one queue, and a few more that take nothing but deletions.

    Those few are there so that a deletion never waits for a pass to end; its calls then overtake those of other passes
    before each backend (`urgency`).

    Whatever a pass raises, its key comes back after its backoff and the worker goes on. Only the cancellation of the
    worker itself ends it; the key it was at comes back at once, should the queue outlive the worker.
    """

    def __init__(  # noqa: PLR0913 - what works, on what, and how many of them
        self,
        queue: WorkQueue[K],
        process: Callable[[K, Priority], Awaitable[Outcome]],
        policy: RetryPolicy,
        report: Callable[[PassReport[K]], None],
        *,
        count: int,
        reserved: int = 0,
    ) -> None:
        """Prepare the workers without starting them.

        Args:
            queue: Where the keys come from; the workers close it when they stop.
            process: One pass over one key. It may be cancelled at any await.
            policy: What becomes of a pass that raises.
            report: Told about every pass that ended by itself, for logs and metrics.
            count: How many passes run at the same time (1 or more).
            reserved: How many passes over deletions may run besides (0 or more).

        Raises:
            ValueError: `count` is below 1, or `reserved` below 0.
        """
        if count < 1:
            message = f"at least one worker is needed, not {count}"
            raise ValueError(message)
        if reserved < 0:
            message = f"no fewer than 0 workers can be reserved, not {reserved}"
            raise ValueError(message)
        self._queue = queue
        self._process = process
        self._policy = policy
        self._report = report
        self._count, self._reserved = count, reserved
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start taking keys, once.

        Raises:
            RuntimeError: Called twice, or no loop is running.
        """
        if self._tasks:
            message = "the workers were started before"
            raise RuntimeError(message)
        self._tasks = [
            asyncio.create_task(self._work(only_deletions=number >= self._count), name=f"worker-{number}")
            for number in range(self._count + self._reserved)
        ]

    def alive(self) -> int:
        """Return how many workers have been started and have not ended; all of them, as long as none was stopped."""
        return sum(not task.done() for task in self._tasks)

    async def stop(self, grace_seconds: float) -> None:
        """Close the queue, give running passes the grace to end, cancel those that do not, and wait until they have.

        Args:
            grace_seconds: Seconds; with 0 they are cancelled at their next await. If this call itself is cancelled,
                the grace is over.
        """
        self._queue.shutdown()
        if not self._tasks:
            return
        try:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        finally:
            for task in self._tasks:
                task.cancel()
        await asyncio.wait(self._tasks)

    async def _work(self, *, only_deletions: bool) -> None:
        while True:
            try:
                item = await self._queue.get(only_deletions=only_deletions)
            except QueueClosedError:
                return
            tell(self._report, await self._pass(item))
            # Neither `get` nor a pass that finds nothing to do needs to wait for anything: without this, ten thousand
            # such keys would hold the loop until the last one is through.
            await asyncio.sleep(0)

    async def _pass(self, item: Item[K]) -> PassReport[K]:
        try:
            with urgency(item.priority is Priority.DELETION):
                outcome = await self._process(item.key, item.priority)
            # Within the try: an outcome that makes no sense is a bug of the pass, not the end of the worker.
            self._queue.done(item.key, outcome.requeue_at, outcome.priority)
        except asyncio.CancelledError as cancellation:
            if is_being_cancelled():
                self._queue.done(item.key, self._queue.now(), item.priority)
                raise
            error = StrayCancellationError("the pass was cancelled from within")
            error.__cause__ = cancellation
            return self._back_off(item, error)
        except Exception as error:  # noqa: BLE001 - classified, reported and retried; nothing is swallowed
            return self._back_off(item, error)
        self._queue.failures.reset(item.key)
        return PassReport(item, self._queue.now() - item.taken_at, next_at=outcome.requeue_at)

    def _back_off(self, item: Item[K], error: Exception) -> PassReport[K]:
        try:
            retry = self._policy.classify(error)
        except Exception as bug:  # noqa: BLE001 - reported as a bug, with the pass's own error as its context
            error, retry = bug, Retry(is_bug=True)
        now = self._queue.now()
        failures = self._queue.failures.note(item.key, counted=retry.count_attempt)
        delay_seconds = self._policy.backoff.delay_seconds(failures)
        cause = retry.parked_on
        # If what the key would wait for has come while the pass was failing, there is no reason left for the pause.
        if cause is None or self._queue.parking.park(item.key, cause, since=item.taken_at):
            delay_seconds += retry.after_seconds or 0.0
        self._queue.done(item.key, now + delay_seconds, item.priority)
        return PassReport(
            item,
            now - item.taken_at,
            error=error,
            retry=retry,
            attempts=self._queue.attempts(item.key),
            next_at=now + delay_seconds,
        )
