"""What a worker would get of a work queue now, taken without any time passing, and the timers that the loop has set."""

from __future__ import annotations

import asyncio

from fedid.engine.asks import Priority
from fedid.engine.work_queue import Item, WorkQueue

from .virtual_time import settle

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


def pending_timers() -> list[asyncio.TimerHandle]:
    """Return the loop's timers that are not cancelled."""
    scheduled: list[asyncio.TimerHandle] = getattr(asyncio.get_running_loop(), "_scheduled")  # noqa: B009 - private
    return [timer for timer in scheduled if not timer.cancelled()]
