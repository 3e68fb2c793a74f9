"""Where the engine takes the time from: monotonic seconds that never jump and mean nothing outside the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Clock = Callable[[], float]
"""A reading of monotonic seconds; only differences and comparisons of two readings mean something."""


def loop_time() -> float:
    """Return the running loop's own clock (monotonic seconds), on which its timers fire too.

    Raises:
        RuntimeError: No loop is running in this thread.
    """
    return asyncio.get_running_loop().time()
