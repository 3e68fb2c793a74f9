"""How many requests one backend gets at a time: as many as it takes well."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedid.engine.clock import Clock, loop_time
from fedid.engine.urgency import is_urgent
from fedid.engine.waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True)
class LimiterBounds:
    """Between what a limit may move, and how fast it may fall.

    Raises:
        ValueError: Not `1 <= minimum <= initial <= maximum`.
    """

    minimum: int = 1
    """Requests at a time that a backend gets even when it sheds load: with none there would be no sign of recovery."""

    initial: int = 8
    """Requests at a time before anything is known."""

    maximum: int = 64
    """Requests at a time that are never exceeded; the connection pool should hold as many."""

    halving_interval_seconds: float = 1.0
    """The limit is halved at most once in so long (seconds); about one round trip of the loaded backend."""

    def __post_init__(self) -> None:
        """Refuse bounds that are not in order."""
        if not 1 <= self.minimum <= self.initial <= self.maximum:
            message = f"a limiter needs 1 <= minimum <= initial <= maximum, not {self}"
            raise ValueError(message)


class AdaptiveLimiter:
    """A concurrency limit that grows by one per successful round and halves when the backend says "too much".

    A round is as many successes as the limit allows at a time, which is about one round trip. The limit grows only
    after a round in which it was reached: successes of an idle backend are no evidence that it would take more.

    Slots are given first come, first served, to urgent callers before all others: under load each call of a pass would
    else wait for a call of every other worker. A caller reports how its request went; one that failed for another
    reason, or was cancelled, reports nothing.

        async with limiter.slot() as sent_at:
            answer = await send(request)
            if answer.status in (429, 503):
                limiter.overloaded(sent_at)
            else:
                limiter.succeeded()

    Source: RFC 5681 section 3.1 (additive increase, halving once per round trip); RFC 7661 section 4 (no growth while
    the limit is not used).
    """

    def __init__(self, bounds: LimiterBounds | None = None, *, clock: Clock = loop_time) -> None:
        """Start at `bounds.initial`; `clock` reads monotonic seconds."""
        self._bounds = bounds if bounds is not None else LimiterBounds()
        self._clock = clock
        self._limit = self._bounds.initial
        self._in_use = 0
        self._urgent, self._waiters = Waiters(), Waiters()
        self._halved_at = -math.inf
        self._successes = 0
        self._reached = False

    @property
    def limit(self) -> int:
        """How many slots there are now."""
        return self._limit

    @property
    def in_use(self) -> int:
        """How many slots are taken; above the limit for a while after it was halved."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """How many callers wait for a slot."""
        return len(self._urgent) + len(self._waiters)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Wait for a slot and hold it; yields when it was got (monotonic seconds), to be given to `overloaded`."""
        if self._in_use >= self._limit:
            # Whoever wakes the waiter takes the slot on its behalf, so that no newcomer finds it free and overtakes.
            row = self._urgent if is_urgent() else self._waiters
            await row.wait(on_lost=self._release)
        else:
            self._take()
        try:
            yield self._clock()
        finally:
            self._release()

    def succeeded(self) -> None:
        """Report a request that the backend answered without complaint about its load."""
        self._successes += 1
        if self._successes < self._limit:
            return
        if self._reached:
            self._limit = min(self._limit + 1, self._bounds.maximum)
        self._begin_round()
        self._hand_out()

    def overloaded(self, sent_at: float | None = None) -> None:
        """Report a 429, a 503 or a timeout.

        Args:
            sent_at: When the request got its slot (monotonic seconds). One from before the last halving says nothing
                about the limit since: of sixty requests that run into the same timeout, one counts.
        """
        now = self._clock()
        if now - self._halved_at < self._bounds.halving_interval_seconds:
            return
        if sent_at is not None and sent_at < self._halved_at:
            return
        self._halved_at = now
        self._limit = max(self._limit // 2, self._bounds.minimum)
        self._begin_round()

    def _begin_round(self) -> None:
        self._successes = 0
        self._reached = self._in_use >= self._limit

    def _take(self) -> None:
        self._in_use += 1
        self._reached = self._reached or self._in_use >= self._limit

    def _release(self) -> None:
        self._in_use -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._in_use < self._limit and (self._urgent.wake_one() or self._waiters.wake_one()):
            self._take()
