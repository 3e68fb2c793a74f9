"""What is wanted of a key: a pass, when, and how urgently."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """What goes first among ready keys; the lower the number, the more urgent."""

    DELETION = 0
    """Something must end: every second is a second more of a valid credential."""

    CHANGE = 1
    """Somebody changed something and waits for it."""

    DRIFT = 2
    """Nobody waits: resync, rotation, expiry."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A pass that is wanted at `at` (monotonic seconds) or later."""

    at: float
    priority: Priority

    def folded_with(self, other: Ask | None) -> Ask:
        """Return the one ask that satisfies both: the earlier instant, the more urgent priority."""
        if other is None:
            return self
        return Ask(at=min(self.at, other.at), priority=min(self.priority, other.priority))
