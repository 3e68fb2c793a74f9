"""How long to wait before the next attempt: exponential, capped, with full jitter."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

Uniform = Callable[[float, float], float]
"""A random number between two bounds, like `random.uniform`."""


def backoff_ceiling_seconds(attempt: int, base_seconds: float, cap_seconds: float) -> float:
    """Return the longest delay (seconds) before the next attempt: `min(cap, base * 2 ** (attempt - 1))`.

    Args:
        attempt: How many attempts have failed in a row, this one included (1 or more).
        base_seconds: The ceiling after the first failure (seconds, > 0).
        cap_seconds: What no delay exceeds (seconds, not below the base).

    Raises:
        ValueError: `attempt` is below 1.
    """
    if attempt < 1:
        message = f"attempts are counted from 1, not {attempt}"
        raise ValueError(message)
    # Compared by logarithm: a key that has failed for a week would overflow the power.
    if attempt - 1 >= math.log2(cap_seconds / base_seconds):
        return cap_seconds
    return base_seconds * 2.0 ** (attempt - 1)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: anything from nothing to a ceiling that doubles up to a cap.

    Full jitter rather than a jittered exponent: callers that failed together come back spread over the whole interval,
    which costs the backend the fewest calls.

    Raises:
        ValueError: The base is not above 0, or the cap is below the base.

    Source: AWS Architecture Blog, Marc Brooker, "Exponential Backoff And Jitter" (2015), "Full Jitter".
    """

    base_seconds: float = 0.5
    """Ceiling after the first failure (seconds)."""

    cap_seconds: float = 60.0
    """What no delay exceeds (seconds)."""

    uniform: Uniform = random.uniform
    """The random source."""

    def __post_init__(self) -> None:
        """Refuse bounds that make no interval."""
        if not 0 < self.base_seconds <= self.cap_seconds:
            message = f"a backoff needs 0 < base <= cap, not {self.base_seconds} and {self.cap_seconds}"
            raise ValueError(message)

    def delay_seconds(self, attempt: int) -> float:
        """Return a random delay (seconds) after the given number of failures in a row (1 or more).

        Raises:
            ValueError: `attempt` is below 1.
        """
        return self.uniform(0.0, backoff_ceiling_seconds(attempt, self.base_seconds, self.cap_seconds))
