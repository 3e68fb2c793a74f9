"""Which keys wait for what, so that they can be woken when it is there."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Parking(Generic[K]):
    """Keys by the cause that they wait for, at most one each."""

    def __init__(self) -> None:
        """Start empty."""
        self._causes: dict[K, str] = {}
        # A dict of None rather than a set: keys are woken in the order in which they were parked.
        self._keys: dict[str, dict[K, None]] = {}
        self._released_at: dict[str, float] = {}

    def park(self, key: K, cause: str, *, since: float) -> bool:
        """Park the key, unless the cause has passed meanwhile, and return whether it is parked.

        Args:
            key: Who waits.
            cause: What for.
            since: When the key began the pass that met the cause (monotonic seconds). If the cause was released after
                that, nobody would wake the key again.
        """
        if self._released_at.get(cause, -math.inf) >= since:
            return False
        self.leave(key)
        self._causes[key] = cause
        self._keys.setdefault(cause, {})[key] = None
        return True

    def leave(self, key: K) -> None:
        """Take the key out, if it is parked."""
        cause = self._causes.pop(key, None)
        if cause is not None:
            del self._keys[cause][key]

    def release(self, cause: str, now: float) -> list[K]:
        """Take out all keys that wait for the cause and return them, longest-parked first; `now` in monotonic s."""
        self._released_at[cause] = now
        keys = list(self._keys.pop(cause, {}))
        for key in keys:
            del self._causes[key]
        return keys

    def count(self, cause: str) -> int:
        """Return how many keys wait for the cause."""
        return len(self._keys.get(cause, {}))

    def counts(self) -> dict[str, int]:
        """Return how many keys wait for each cause for which any ever did since its last release."""
        return {cause: len(keys) for cause, keys in self._keys.items()}
