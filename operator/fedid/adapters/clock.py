"""The operator's own clocks, as the machine has them."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """The `Clock` of a running operator; tests use one that they move by hand."""

    def now(self) -> datetime:
        """Return the wall clock, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back, of unknown origin."""
        return time.monotonic()


def awake_or_not() -> float:
    """Return seconds that never go back and count those in which the machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
