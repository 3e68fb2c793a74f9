"""Something of a realm that is read as a whole and kept for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Generic, TypeVar

from fedid.engine import SingleFlight

T = TypeVar("T")


class Snapshot(Generic[T]):
    """What was read last, read again when it is old or does not suffice; never twice at once."""

    def __init__(
        self,
        read: Callable[[], Coroutine[Any, Any, T]],
        *,
        life: timedelta,
        pause: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty; `read` is asked again after `life`, and after `pause` if something was missing."""
        self._read = read
        self._life_seconds = life.total_seconds()
        self._pause_seconds = pause.total_seconds()
        self._monotonic = monotonic
        self._known: T | None = None
        self._filled_at = 0.0
        self._filling: SingleFlight[str, T] = SingleFlight()

    async def get(self, suffices: Callable[[T], bool]) -> T:
        """Return it; read again, after a pause, if what is remembered does not suffice."""
        known, age = self._known, self._monotonic() - self._filled_at
        if known is not None and age <= self._life_seconds and (suffices(known) or age <= self._pause_seconds):
            return known
        return await self._filling.run("all", self._fill)

    def clear(self) -> None:
        """Forget it: a part of it turned out to be another one by now."""
        self._known = None

    async def _fill(self) -> T:
        asked_at = self._monotonic()
        self._known = found = await self._read()
        self._filled_at = asked_at
        return found
