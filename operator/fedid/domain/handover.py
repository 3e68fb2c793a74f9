"""How far a secret or a key that replaces another has come: the former ends once those who present it have the new."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fedid.domain.acceptance import OTHERS_SEE
from fedid.domain.rotation import PATIENCE

__all__ = ["Handover", "room_for_files"]


def room_for_files(overlap: timedelta) -> timedelta:
    """Return how long pods have both at least: what a mounted file takes, or half of an overlap that is short."""
    return min(overlap / 2, OTHERS_SEE)


@dataclass(frozen=True, slots=True)
class Handover:
    """What is known of all who mount it."""

    missing: bool = False
    """Whether a Secret still holds the former one alone."""
    held_from: datetime | None = None
    """When pods have what the other Secrets hold (Keycloak's clock); None: nobody mounts it."""

    def lets_end(self, ends_at: datetime, overlap: timedelta, now: datetime) -> bool:
        """Tell whether the former one may end.

        Who cannot be reached holds that up, but only so long: the API server may be away, or a tenant in the way. Who
        was reached late, at the end of that time even, still has the time that a file takes.

        Args:
            ends_at: When its overlap is over.
            overlap: How long that is.
            now: Keycloak's clock, as the other instants.
        """
        given_up = ends_at + max(overlap, PATIENCE)
        if now < ends_at or (self.missing and now < given_up):
            return False
        return self.held_from is None or self.held_from <= now or now >= given_up + OTHERS_SEE
