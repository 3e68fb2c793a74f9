"""What lies in Vault for a bearer token: the entry of its own, and the copy in a platform's own layout.

The entry of its own is the truth: it is written by check-and-set and says where the copy lies, before the copy is
written. So no copy is ever lost, whatever happens in between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fedid.domain.conditions import instant_in, rfc3339
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import MintedToken

__all__ = [
    "JWT",
    "OPAQUE",
    "EndingToken",
    "Location",
    "OpaqueToken",
    "copy_of",
    "delivered_to",
    "ending_tokens",
    "opaque_entry",
    "opaque_in",
    "opaque_tokens",
    "token_entry",
    "with_location",
    "without_location",
]

JWT, OPAQUE = "jwt", "opaque"
"""`type` of a token in the spec; an opaque one is also told by `token_type` of its entry."""

_BEARER = "Bearer"
_DELIVERED_TO = "delivered_to"
_TOKENS = ("token", "previous_token", "pending_token")
_DIGITS = 64
"""Hexadecimal digits of an opaque token: 256 bits."""
_GOOD_MARKS = ("fingerprint", "previousFingerprint")
"""Where a status tells of tokens that clients were given."""
_MOST_ENDING = 32


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in Vault outside fedid's own folder."""

    mount: str
    path: str
    """Relative to the mount."""

    def __str__(self) -> str:
        """Return it as an entry remembers it; neither part can hold a colon."""
        return f"{self.mount}:{self.path}"


@dataclass(frozen=True, slots=True)
class OpaqueToken:
    """An opaque token as its entry tells it; the fingerprints tell nothing about the tokens."""

    issued_at: datetime
    expires_at: datetime
    fingerprint: str
    previous_fingerprint: str | None = None
    previous_ends_at: datetime | None = None
    """Until when the one before is good too; None: it is not."""
    pending_fingerprint: str | None = None
    """Of the one that is to take its place once every server takes that too; no client has seen it."""

    @property
    def fingerprints(self) -> frozenset[str]:
        """All that servers are to take now."""
        held = (self.fingerprint, self.previous_fingerprint, self.pending_fingerprint)
        return frozenset(one for one in held if one is not None)


@dataclass(frozen=True, slots=True)
class EndingToken:
    """An opaque token that its bot has no more, and that servers may still take."""

    name: str
    fingerprint: str

    def field(self) -> dict[str, str]:
        """Return it as `status.endingTokens` holds it."""
        return {"name": self.name, "fingerprint": self.fingerprint}


def ending_tokens(status: Mapping[str, Any], held: Mapping[str, Collection[str]]) -> tuple[EndingToken, ...]:
    """Return the opaque tokens that a status tells of, as good or as ending, and that are none of the bot's any more.

    Found by comparison, so that no crash between Vault and the status loses one.

    Args:
        status: As it was written last.
        held: Token name to the fingerprints that lie in Vault now.
    """
    told = [(one["name"], one.get(mark)) for one in status.get("tokens") or () for mark in _GOOD_MARKS]
    told += [(one["name"], one["fingerprint"]) for one in status.get("endingTokens") or ()]
    gone = dict.fromkeys((name, mark) for name, mark in told if mark is not None and mark not in held.get(name, ()))
    return tuple(EndingToken(name, mark) for name, mark in gone)[:_MOST_ENDING]


def token_entry(minted: MintedToken) -> dict[str, Sensitive]:
    """Return the entry of a jwt; instants in RFC 3339."""
    return {
        "token": minted.token,
        "token_type": Sensitive(_BEARER),
        "issued_at": Sensitive(rfc3339(minted.claims.issued_at)),
        "expires_at": Sensitive(rfc3339(minted.claims.expires_at)),
    }


def opaque_entry(
    token: Sensitive,
    *,
    issued_at: datetime,
    lifetime: timedelta,
    previous: tuple[Sensitive, datetime] | None = None,
    pending: Sensitive | None = None,
) -> dict[str, Sensitive]:
    """Return the entry of an opaque token.

    Args:
        token: 64 hexadecimal digits.
        issued_at: Aware UTC.
        lifetime: How long it is good.
        previous: The token before it, and until when that is good too.
        pending: The token that is to take its place.
    """
    entry = {
        "token": token,
        "token_type": Sensitive(OPAQUE),
        "issued_at": Sensitive(rfc3339(issued_at)),
        "expires_at": Sensitive(rfc3339(issued_at + lifetime)),
    }
    if previous is not None:
        entry |= {"previous_token": previous[0], "previous_ends_at": Sensitive(rfc3339(previous[1]))}
    if pending is not None:
        entry["pending_token"] = pending
    return entry


def opaque_in(data: Mapping[str, Sensitive]) -> OpaqueToken | None:
    """Return the opaque token that an entry holds, None if it holds none or was changed into something else."""
    token, previous, pending = (data.get(name) for name in _TOKENS)
    issued_at, expires_at = _instant(data.get("issued_at")), _instant(data.get("expires_at"))
    ends_at = _instant(data.get("previous_ends_at"))
    kind = data.get("token_type")
    if kind is None or kind.reveal() != OPAQUE or token is None or not _is_hex(token):
        return None
    if issued_at is None or expires_at is None or (previous is None) != (ends_at is None):
        return None
    if pending is not None and not _is_hex(pending):
        return None
    former = previous.fingerprint() if previous is not None else None
    coming = pending.fingerprint() if pending is not None else None
    return OpaqueToken(issued_at, expires_at, token.fingerprint(), former, ends_at, coming)


def opaque_tokens(data: Mapping[str, Sensitive], known: Collection[str]) -> tuple[Sensitive, ...]:
    """Return what of an entry servers are to take: the one in use first.

    Args:
        data: The entry of its own.
        known: Fingerprints of what the operator made; whoever can write into Vault must not be able to add to them.
    """
    held = (data.get(name) for name in _TOKENS)
    return tuple(token for token in held if token is not None and token.fingerprint() in known)


def copy_of(data: Mapping[str, Sensitive], key: str) -> dict[str, Sensitive]:
    """Return the copy of an entry in a platform's layout: the token under its key, and the one before while it is good.

    Args:
        data: The entry of its own.
        key: What the platform reads.
    """
    copy = {key: data["token"]}
    if (previous := data.get("previous_token")) is not None:
        copy[f"previous_{key}"] = previous
    return copy


def delivered_to(data: Mapping[str, Sensitive]) -> Location | None:
    """Return where the copy of an entry lies, or was about to be written."""
    text = data.get(_DELIVERED_TO)
    mount, _, path = text.reveal().partition(":") if text is not None else ("", "", "")
    return Location(mount, path) if mount and path else None


def with_location(data: Mapping[str, Sensitive], location: Location | None) -> dict[str, Sensitive]:
    """Return the entry that says where its copy lies."""
    place = {_DELIVERED_TO: Sensitive(str(location))} if location is not None else {}
    return without_location(data) | place


def without_location(data: Mapping[str, Sensitive]) -> dict[str, Sensitive]:
    """Return the entry as it would be without a copy."""
    return {key: value for key, value in data.items() if key != _DELIVERED_TO}


def _is_hex(token: Sensitive) -> bool:
    text = token.reveal()
    return len(text) == _DIGITS and all(digit in "0123456789abcdef" for digit in text)


def _instant(text: Sensitive | None) -> datetime | None:
    return instant_in(text.reveal()) if text is not None else None
