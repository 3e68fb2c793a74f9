"""Coroutines that wait their turn, first come first served, and may be cancelled at any moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Waiters:
    """A first-in, first-out row of waiting coroutines.

    The hard case is a wake-up that reaches a coroutine in the same round of the loop as its cancellation: nobody would
    act on it, and whatever it announced would lie there with others still waiting for it. Whoever waits says what to
    do then.
    """

    def __init__(self) -> None:
        """Start with nobody waiting."""
        # A dict for its order and for removal in the middle at constant cost.
        self._row: dict[asyncio.Future[None], None] = {}

    def __len__(self) -> int:
        """Return how many wait, those included that are cancelled and have not run since."""
        return len(self._row)

    async def wait(self, on_lost: Callable[[], object]) -> None:
        """Wait at the end of the row to be woken.

        Args:
            on_lost: Called when the wake-up came but cannot be acted on, since the caller is being cancelled: it must
                pass on what the wake-up announced.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._row[waiter] = None
        try:
            await waiter
        except asyncio.CancelledError:
            self._row.pop(waiter, None)
            if not waiter.cancelled():
                on_lost()
            raise

    def wake_one(self) -> bool:
        """Wake the first that is still there and return whether there was one."""
        while self._row:
            waiter = next(iter(self._row))
            del self._row[waiter]
            if not waiter.done():
                waiter.set_result(None)
                return True
        return False
