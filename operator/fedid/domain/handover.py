"""How far a credential that replaces another has come: the former ends once those who present it have the new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fedid.domain.acceptance import OTHERS_SEE
from fedid.domain.conditions import instant_in, rfc3339
from fedid.domain.rotation import PATIENCE

__all__ = ["Handover", "held_from", "held_since"]


def held_since(before: Mapping[str, Any], version: int | None, now: datetime) -> str | None:
    """Return since when a Secret holds a version of a secret in the place of another (RFC 3339).

    None: it held no other before, so nobody has a file of the former; or that is not known. Who makes objects, one
    after the other, holds up nothing by that.

    Args:
        before: What `status.bot` told so far.
        version: Of the secret in Vault that is held now.
        now: Keycloak's clock.
    """
    if before.get("secretVersion") in {None, version}:
        return before.get("secretSince")
    return rfc3339(now)


def held_from(since: str | None, overlap: timedelta, now: datetime) -> datetime | None:
    """Return from when on pods have what their Secret holds since then, None if nothing is known.

    That takes as long as a mounted file does, or half of an overlap that is short.
    """
    at = instant_in(since)
    if at is None or at > now + OTHERS_SEE:
        return None  # a clock was off
    return at + min(overlap / 2, OTHERS_SEE)


@dataclass(frozen=True, slots=True)
class Handover:
    """What is known of all who mount it."""

    missing: bool = False
    """Whether one of them still has the former alone, as far as is known."""
    held_from: datetime | None = None
    """When pods have what the other Secrets hold (Keycloak's clock); None: nothing is known of a former one there."""
    reachable_since: datetime | None = None
    """Since when, without a break, servers were there that bring it to who misses it (Keycloak's clock); None: always.
    """

    def lets_end(self, ends_at: datetime, overlap: timedelta, now: datetime) -> bool:
        """Tell whether the former one may end.

        Who misses it holds that up, but only so long: a tenant may be in the way. That time does not pass while it
        could not be brought to anybody. Who got it late, after that time even, still has the time that a file takes.

        Args:
            ends_at: When its overlap is over.
            overlap: How long that is.
            now: Keycloak's clock, as the other instants.
        """
        given_up = ends_at + max(overlap, PATIENCE)
        if self.reachable_since is not None:
            given_up = max(given_up, self.reachable_since + PATIENCE)
        if now < ends_at or (self.missing and now < given_up):
            return False
        return self.held_from is None or self.held_from <= now
