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
_WITHDRAWN = "#withdrawn-"
_SOONEST = 0.1
"""The part of its period that a token is left alone at least."""
_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """What is to be replaced now, by the annotation or because somebody who saw it may not use it any more.

    What is remembered with each credential is the value of the annotation and the count of such withdrawals.
    """

    value: str
    """Of the annotation; empty: there is none."""
    tokens: bool
    secret: bool
    withdrawals: int = 0
    """How often a namespace lost the bot so far; each time everything is replaced."""

    @property
    def meaningless(self) -> bool:
        """Whether the value asks for nothing that there is."""
        return bool(self.value) and not (self.tokens or self.secret)

    def wants_secret(self, remembered: str | None) -> bool:
        """Tell whether the secret, or key, is to be replaced, by what is remembered with it."""
        return self._wants(remembered, asked=self.secret)

    def wants_token(self, remembered: str | None) -> bool:
        """Tell whether a token is to be replaced, by what is remembered with it."""
        return self._wants(remembered, asked=self.tokens)

    def secret_memory(self, before: str | None) -> str | None:
        """Return what to remember with a secret, or key, that is made now."""
        return self._memory(before, asked=self.secret)

    def token_memory(self, before: str | None) -> str | None:
        """Return what to remember with a token that is made now."""
        return self._memory(before, asked=self.tokens)

    def _wants(self, remembered: str | None, *, asked: bool) -> bool:
        value, withdrawals = _remembered(remembered)
        return (asked and value != self.value) or withdrawals < self.withdrawals

    def _memory(self, before: str | None, *, asked: bool) -> str | None:
        value = self.value if asked else _remembered(before)[0]
        counted = f"{value}{_WITHDRAWN}{self.withdrawals}" if self.withdrawals else value
        return counted or None


def rotation_request(annotations: Mapping[str, str], withdrawals: int = 0) -> RotationRequest | None:
    """Return what `fedid.io/rotate` asks for, and what withdrawals do, None if it is neither.

    A value that means nothing gives a request for nothing, so that the caller can say so once. Whether it was carried
    out is remembered with each credential: the secret, or an opaque token, may have to wait for the end of an overlap.
    """
    value = annotations.get(ROTATE, "")[:LONGEST_REQUEST]
    if not value and not withdrawals:
        return None
    match = _REQUEST.fullmatch(value)
    what = match.group(1) if match else ""
    return RotationRequest(value, what in {"token", "all"}, what in {"secret", "all"}, withdrawals)


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


def _remembered(text: str | None) -> tuple[str, int]:
    value, _, count = (text or "").rpartition(_WITHDRAWN)
    return (value, int(count)) if count.isdecimal() and _WITHDRAWN in (text or "") else (text or "", 0)


def _phase(uid: str) -> float:
    """Return a number from 0 to 1 (excluded), always the same for a uid."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") / 2**32
