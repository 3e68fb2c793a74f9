"""A smaller story that fails in the same way."""

from __future__ import annotations

import time
from dataclasses import replace

from tests.simulation.simulation import Result, simulate
from tests.simulation.story import Action, Story


def shrunk(failed: Result, seconds: float) -> Result:
    """Leave actions out, in halves, quarters and so on, while the same invariant is broken; for so long at most.

    What is drawn while a story runs follows from its seed and from what was done, so a smaller story takes another
    course: that it fails again is tried, not known.

    Args:
        failed: A result with a violation.
        seconds: Real time to spend.
    """
    best, ends_at = failed, time.monotonic() + seconds
    size = max(1, len(best.story.actions) // 2)
    while time.monotonic() < ends_at:
        first, smaller = 0, False
        while first < len(best.story.actions) and time.monotonic() < ends_at:
            actions = best.story.actions
            tried = simulate(_with(best.story, actions[:first] + actions[first + size :]))
            if _fails_alike(tried, failed):
                best, smaller = tried, True
            else:
                first += size
        if size == 1 and not smaller:
            break
        size = max(1, size // 2)
    return best


def _with(story: Story, actions: tuple[Action, ...]) -> Story:
    return replace(story, actions=actions)


def _fails_alike(tried: Result, failed: Result) -> bool:
    assert failed.violation is not None
    return tried.violation is not None and tried.violation.invariant == failed.violation.invariant
