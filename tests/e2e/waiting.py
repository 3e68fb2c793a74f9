"""Wait for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""Far more than anything takes on a busy two-core machine; only a red test waits that long."""
_GLANCE_SECONDS = 0.1
_LONGEST_GLANCE_SECONDS = 0.4
_SLOWER = 1.1
"""From look to look: what takes long is not seen any earlier by looks that take the cores from it."""


def eventually(look: Callable[[], T | None], what: str, *, seconds: float = PATIENCE_SECONDS) -> T:
    """Return the first truthy answer of `look`.

    Raises:
        AssertionError: None came in time; says what was waited for and the last answer.
    """
    deadline, pause = time.monotonic() + seconds, _GLANCE_SECONDS
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > deadline:
            message = f"not within {seconds:.0f} s: {what}; last seen: {answer!r}"
            raise AssertionError(message)
        time.sleep(pause)
        pause = min(pause * _SLOWER, _LONGEST_GLANCE_SECONDS)


def steadily(look: Callable[[], bool], what: str, *, seconds: float) -> None:
    """Assert that `look` stays true for a while: for what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert look(), what
        time.sleep(_GLANCE_SECONDS)
