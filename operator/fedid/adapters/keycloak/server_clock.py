"""Keycloak's clock, as far as its answers tell.

Keycloak sends no `Date` header (one that a reverse proxy adds is the proxy's own), but each token says in which second
it was issued. That was after the request was sent and before the answer came, so each token bounds the clock from both
sides; from then on our monotonic clock counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fedid.errors import BackendUnavailableError

TRUST_SECONDS: Final = 600.0
"""Bounds older than this are replaced instead of narrowed: two clocks drift apart by up to 0.3 s in that time."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Keycloak's clock minus our monotonic one, in seconds."""

    low: float
    high: float
    made_at: float


class ServerClock:
    """A lower and an upper bound of Keycloak's clock."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start without a reading; `monotonic` reads seconds that never go back."""
        self._monotonic = monotonic
        self._bounds: _Bounds | None = None

    def saw(self, issued_at: datetime, *, sent: float, received: float) -> None:
        """Note that a token was issued in the second `issued_at` (aware UTC) between two monotonic instants.

        It narrows what is known; if it contradicts that, Keycloak's clock was set, or another node answered, and the
        newest reading holds.
        """
        second = math.floor(issued_at.timestamp())
        low, high = second - received, second + 1 - sent
        known = self._bounds
        if known is not None and received - known.made_at < TRUST_SECONDS and low <= known.high and known.low <= high:
            self._bounds = _Bounds(max(low, known.low), min(high, known.high), known.made_at)
        else:
            self._bounds = _Bounds(low, high, received)

    def at_least(self) -> datetime:
        """Return the lower bound in whole seconds, aware UTC: a token issued from now on says this second or later.

        Raises:
            BackendUnavailableError: Nothing was heard from Keycloak yet.
        """
        return self._second(self._known().low)

    def at_most(self) -> datetime:
        """Return the upper bound in whole seconds, aware UTC: a token issued until now says this second or earlier.

        Raises:
            BackendUnavailableError: Nothing was heard from Keycloak yet.
        """
        return self._second(self._known().high)

    def _known(self) -> _Bounds:
        if self._bounds is None:
            message = "the clock of Keycloak is not known before its first token"
            raise BackendUnavailableError(message, backend="keycloak")
        return self._bounds

    def _second(self, offset: float) -> datetime:
        return datetime.fromtimestamp(math.floor(self._monotonic() + offset), UTC)
