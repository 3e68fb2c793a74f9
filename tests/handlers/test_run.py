"""Standing by, leading and stopping, as far as it is nobody else's."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from fedid.errors import BackendUnavailableError
from fedid.handlers.run import _lead

SECONDS = 30.0
"""Far more than it takes."""


async def test_one_that_leads_and_cannot_list_yet_stops_when_it_is_told() -> None:
    """It is told in two ways at the same instant; it once heard only the first, and renewed its Lease for ever."""
    listing = asyncio.Event()

    async def relist() -> None:
        listing.set()
        message = "away"
        raise BackendUnavailableError(message, backend="kubernetes")

    async def at_once() -> None:
        return

    operator: Any = SimpleNamespace(
        elector=SimpleNamespace(identity="one", acquire=at_once, keep=asyncio.Event().wait), relist=relist
    )
    over, prepared = asyncio.Event(), asyncio.Event()
    prepared.set()
    leading = asyncio.create_task(_lead(operator, over, prepared))
    await listing.wait()
    await asyncio.sleep(0)  # now it pauses before it tries again

    over.set()
    leading.cancel()

    await asyncio.wait({leading}, timeout=SECONDS)
    assert leading.cancelled()
