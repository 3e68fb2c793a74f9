"""Whether an identity is to be usable now: what `spec.suspend` and `spec.expiresAt` say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fedid.domain.conditions import Reason, rfc3339

__all__ = ["Suspension", "suspension"]


@dataclass(frozen=True, slots=True)
class Suspension:
    """Why an identity may not be used, although its object exists."""

    reason: Reason
    """`Suspended` or `Expired`."""
    message: str


def suspension(
    *, suspend: bool, expires_at: datetime | None, now: datetime, effect: str, return_for: str
) -> Suspension | None:
    """Return why an identity may not be used, None if it may.

    Args:
        suspend: As the spec says.
        expires_at: Likewise (aware UTC).
        now: The operator's clock (aware UTC); the very instant of `expires_at` is too late.
        effect: What is the case then, for the message.
        return_for: What one gets by taking it back, for the message.
    """
    if suspend:  # before the other: an instant that passes meanwhile changes nothing, the status included
        message = f"spec.suspend is true, so {effect}; set it to false, or take it out, {return_for}"
        return Suspension(Reason.SUSPENDED, message)
    if expires_at is not None and expires_at <= now:
        message = f"spec.expiresAt was {rfc3339(expires_at)}, so {effect}; set a later instant, or take it out, "
        return Suspension(Reason.EXPIRED, message + return_for)
    return None
