"""Make concurrent callers of the same thing share one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fedid.engine.cancellation import is_being_cancelled
from fedid.engine.urgency import urgency

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SharedCallCancelledError(Exception):
    """The shared call was cancelled from within, not by its callers: ask again."""


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    callers: int = 0


class SingleFlight(Generic[K, T]):
    """Shares one running call per key; keeps nothing once it is over.

    The call runs in a task of its own, in the context of who came first, save that it is urgent: who comes next may be.
    A caller that is cancelled leaves the others alone; when the last one has left, the call is cancelled too, so that
    nothing goes on that nobody waits for.

    Source: pkg.go.dev/golang.org/x/sync/singleflight (which has no cancellation).
    """

    def __init__(self) -> None:
        """Start with nothing running."""
        self._flights: dict[K, _Flight[T]] = {}

    def __len__(self) -> int:
        """Return how many calls are running."""
        return len(self._flights)

    async def run(self, key: K, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the running call of this key, after starting `call` if there is none.

        Raises:
            SharedCallCancelledError: The call ended as cancelled although the caller was not.
            Exception: What the call raised; every caller gets the same instance.
        """
        flight = self._flights.get(key)
        # One that is done has its result from before this call and is merely yet to be cleared away.
        if flight is None or flight.task.done():
            flight = self._start(key, call)
        flight.callers += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            message = "the shared call was cancelled from within"
            raise SharedCallCancelledError(message) from None
        finally:
            flight.callers -= 1
            if not flight.callers:
                self._abandon(key, flight)

    def _start(self, key: K, call: Callable[[], Coroutine[Any, Any, T]]) -> _Flight[T]:
        with urgency(True):
            flight = _Flight(asyncio.create_task(call()))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda _: self._land(key, flight))
        return flight

    def _land(self, key: K, flight: _Flight[T]) -> None:
        # A flight that was abandoned may have been replaced before it ended.
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.task.cancelled():
            # Marks the exception as seen: whoever wanted it may be gone, and asyncio would complain.
            flight.task.exception()

    def _abandon(self, key: K, flight: _Flight[T]) -> None:
        if not flight.task.done():
            # Nobody may join a call that is about to end as cancelled.
            del self._flights[key]
            flight.task.cancel()
