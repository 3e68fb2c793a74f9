"""How often each key has failed in a row."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Streaks:
    attempts: int = 0
    stalls: int = 0


class Failures(Generic[K]):
    """Failures in a row by key, of two kinds that back off separately.

    An *attempt* is spent by a failure of the key's own. A *stall* is the fault of something that all keys share, a
    backend that is away: it spends no attempt, so a key whose backend was down for an hour does not wait for the
    longest backoff once it is back, yet backs off meanwhile. Only keys that fail are kept.
    """

    def __init__(self) -> None:
        """Start with no failures."""
        self._streaks: dict[K, _Streaks] = {}

    def __len__(self) -> int:
        """Return how many keys are failing."""
        return len(self._streaks)

    def note(self, key: K, *, counted: bool = True) -> int:
        """Note one more failure and return how many of its kind there were in a row (1 or more).

        Args:
            key: Whose pass failed.
            counted: Whether it spends an attempt. One that does ends a row of stalls: the backend did answer.
        """
        streaks = self._streaks.setdefault(key, _Streaks())
        if counted:
            streaks.attempts += 1
            streaks.stalls = 0
            return streaks.attempts
        streaks.stalls += 1
        return streaks.stalls

    def reset(self, key: K) -> None:
        """Forget the key's failures: it succeeded, or it is gone."""
        self._streaks.pop(key, None)

    def attempts(self, key: K) -> int:
        """Return how many attempts the key has spent in a row."""
        streaks = self._streaks.get(key)
        return streaks.attempts if streaks is not None else 0
