"""What the statuses tell of credentials in use and of revocations without proof; the source of what is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from fedid.domain.conditions import instant_in
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FINALIZER, POD_IDENTITY, Body

__all__ = [
    "CredentialKind",
    "CredentialLife",
    "WorstCredentials",
    "WorstRevocations",
    "credentials_in_use",
    "proof_seconds",
    "unproven_since",
]


class CredentialKind(StrEnum):
    """Kinds of credentials that have an age."""

    JWT = "jwt"
    OPAQUE = "opaque"
    BOT_SECRET = "bot_secret"
    PRIVATE_KEY = "private_key"
    SERVER_SECRET = "server_secret"
    NODE_KEY = "node_key"


@dataclass(frozen=True, slots=True)
class CredentialLife:
    """When one credential was made, is replaced and ends (aware UTC); None where nobody knows or it never is."""

    kind: CredentialKind
    name: str
    """Of a token, as in `spec.tokens`; empty where an object has one of the kind."""
    issued_at: datetime | None
    due_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorstCredentials:
    """The credentials of one kind; instants are POSIX seconds, None where none of them has one."""

    count: int
    issued: float | None
    """When the oldest was made."""
    due: float | None
    """When the first is replaced, or should have been."""
    expires: float | None
    """When the first ends."""


@dataclass(frozen=True, slots=True)
class WorstRevocations:
    """Revocations without proof, of objects of one kind."""

    count: int
    since: float
    """When the first of them was asked for (POSIX seconds)."""


def credentials_in_use(body: Body) -> tuple[CredentialLife, ...]:
    """Return the credentials of an object that are to stay good; none of one whose end was asked for."""
    if asked_to_end_at(body) is not None:
        return ()
    status: Mapping[str, Any] = body.get("status") or {}
    if body["kind"] == BOT_CLIENT:
        return (*_tokens(status), *_secret(status))
    if body["kind"] == POD_IDENTITY:
        return tuple(
            _life(kind, status[field])
            for kind, field in ((CredentialKind.SERVER_SECRET, "oidcClient"), (CredentialKind.NODE_KEY, "superNode"))
            if (status.get(field) or {}).get("issuedAt")
        )
    return ()


def asked_to_end_at(body: Body) -> datetime | None:
    """Return since when an object, or everything of it, is to end; None: it is not."""
    begun = instant_in(((body.get("status") or {}).get("revocation") or {}).get("startedAt"))
    return instant_in(body["metadata"].get("deletionTimestamp")) or begun


def unproven_since(body: Body) -> datetime | None:
    """Return since when the end of an identity is asked for and not proven; None: it is proven, or not asked for."""
    revocation = (body.get("status") or {}).get("revocation") or {}
    waits = revocation or FINALIZER in (body["metadata"].get("finalizers") or ())
    if body["kind"] == FEDERATION or not waits or revocation.get("provenAt"):
        return None
    return asked_to_end_at(body)


def proof_seconds(before: Body, after: Body, now: datetime) -> float | None:
    """Return how long a proof took that the later of two versions of an object has first; None: it has none."""
    proven = [((body.get("status") or {}).get("revocation") or {}).get("provenAt") for body in (before, after)]
    asked = asked_to_end_at(after)
    if proven[0] or not proven[1] or asked is None:
        return None
    return max(0.0, (now - asked).total_seconds())


def _tokens(status: Mapping[str, Any]) -> Iterator[CredentialLife]:
    for token in status.get("tokens") or ():
        # Only what is random needs a fingerprint to be told from another.
        kind = CredentialKind.OPAQUE if "fingerprint" in token else CredentialKind.JWT
        yield _life(kind, token, token["name"])


def _secret(status: Mapping[str, Any]) -> Iterator[CredentialLife]:
    secret = status.get("secret") or {}
    if "issuedAt" in secret:
        yield _life(CredentialKind.PRIVATE_KEY if "keyId" in secret else CredentialKind.BOT_SECRET, secret)


def _life(kind: CredentialKind, told: Mapping[str, Any], name: str = "") -> CredentialLife:
    issued_at, due_at, expires_at = (
        instant_in(told.get(field)) for field in ("issuedAt", "nextRotationAt", "expiresAt")
    )
    return CredentialLife(kind, name, issued_at, due_at, expires_at)
