"""When a credential is replaced: by schedule, spread over time, or because an annotation asks for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = [
    "PATIENCE",
    "REVOKE_NOW",
    "ROTATE",
    "RotationRequest",
    "renewal_due_at",
    "revocation_request",
    "rotation_due_at",
    "rotation_request",
]

ROTATE = "fedid.io/rotate"
"""Annotation: `token`, `secret` or `all`, optionally `-<anything>` behind it; each new value is carried out once."""
REVOKE_NOW = "fedid.io/revoke-now"
"""Annotation with any value: end everything that is valid, then make it anew; each new value once."""
LONGEST_REQUEST = 128
"""Characters of an annotation's value that are looked at."""

PATIENCE = timedelta(minutes=5)
"""How long consumers that cannot be reached hold up the end of a former secret or key at least."""
_REQUEST = re.compile(r"(token|secret|all)(-.*)?", re.DOTALL)
_SOONEST = 0.1
"""The part of its period that a token is left alone at least."""
_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """What a person asks to be replaced now."""

    value: str
    """Of the annotation; kept in the status with each credential that was replaced for it."""
    tokens: bool
    secret: bool

    @property
    def meaningless(self) -> bool:
        """Whether the value asks for nothing that there is."""
        return not (self.tokens or self.secret)


def rotation_request(annotations: Mapping[str, str]) -> RotationRequest | None:
    """Return what `fedid.io/rotate` asks for, None if it is not there.

    A value that means nothing gives a request for nothing, so that the caller can say so once. Whether it was carried
    out is remembered with each credential: the secret, or an opaque token, may have to wait for the end of an overlap.
    """
    value = annotations.get(ROTATE, "")[:LONGEST_REQUEST]
    if not value:
        return None
    match = _REQUEST.fullmatch(value)
    what = match.group(1) if match else ""
    return RotationRequest(value, tokens=what in {"token", "all"}, secret=what in {"secret", "all"})


def revocation_request(annotations: Mapping[str, str], handled: str | None) -> str | None:
    """Return the value of `fedid.io/revoke-now`, None if it is empty or was carried out."""
    value = annotations.get(REVOKE_NOW, "")[:LONGEST_REQUEST]
    return value if value and value != handled else None


def renewal_due_at(
    issued_at: datetime, expires_at: datetime, uid: str, renew_before: timedelta | None = None
) -> datetime:
    """Return when a token is to be replaced, at the latest `renew_before` its end (None: a third of its life).

    Each uid has a beat of its own, and a token is renewed at a beat: bots that were applied together are spread over a
    whole period from their first renewal on, and stay spread, since a beat does not move with the renewals. The first
    token of a bot is therefore replaced sooner, after a tenth of the period at least.
    """
    life = expires_at - issued_at
    latest = life - min(renew_before, life * 0.9) if renew_before is not None else life * (2 / 3)
    period = (latest / (1 + _SOONEST)).total_seconds()
    first = issued_at.timestamp() + _SOONEST * period
    until_beat = (_phase(uid) * period - first) % period
    return datetime.fromtimestamp(first + until_beat, UTC)


def rotation_due_at(issued_at: datetime, every: timedelta, uid: str) -> datetime:
    """Return when a secret of that age is to be replaced: after `every`, less up to a tenth by the uid."""
    return issued_at + every * (1 - _SPREAD * _phase(uid))


def _phase(uid: str) -> float:
    """Return a number from 0 to 1 (excluded), always the same for a uid."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") / 2**32
