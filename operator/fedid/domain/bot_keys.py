"""The keys of a bot that signs its assertions: as they lie in Vault, and as its client lists their public parts.

Vault has one entry with up to three: the one in use, one that is made and not in use yet (pending), and the one before
while it is good too (previous). What the client lists is Keycloak's word on which of them are good.

Source: RFC 7517 section 5 (JWK Set).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from fedid.domain.bot_authentication import SigningKey, thumbprint
from fedid.domain.conditions import instant_in
from fedid.domain.sensitive import Sensitive

__all__ = ["JWKS", "HeldKeys", "KeyReader", "KeySlot", "held_keys", "lists_exactly", "public_keys_in"]

JWKS: Final = "jwks.string"
"""Attribute of a client that holds its key set."""
KeyReader = Callable[[Sensitive], SigningKey | None]
"""Returns the whole pair of a private key (PEM), None if the text is no key of ours."""


class KeySlot(StrEnum):
    """Which of a bot's keys."""

    CURRENT = "current"
    PENDING = "pending"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class HeldKeys:
    """The keys in Vault that are well-formed."""

    current: SigningKey | None = None
    pending: SigningKey | None = None
    previous: SigningKey | None = None
    issued_at: datetime | None = None
    """When the current one came into use (aware UTC, Keycloak's clock), and so since when another is the previous."""

    @property
    def by_slot(self) -> dict[KeySlot, SigningKey]:
        """Those that there are."""
        found = {
            KeySlot.CURRENT: self.current,
            KeySlot.PENDING: self.pending,
            KeySlot.PREVIOUS: self.previous,
        }
        return {slot: key for slot, key in found.items() if key is not None}


def held_keys(data: Mapping[str, Sensitive], read: KeyReader) -> HeldKeys:
    """Return the keys of an entry; what is no key of ours is left out."""

    def key(field: str) -> SigningKey | None:
        text = data.get(field)
        return read(text) if text else None

    issued_at = data.get("issued_at")
    return HeldKeys(
        current=key("private_key"),
        pending=key("pending_private_key"),
        previous=key("previous_private_key"),
        issued_at=instant_in(issued_at.reveal()) if issued_at is not None else None,
    )


def public_keys_in(attributes: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """Return the public keys (JWK) that a client lists, by `kid`.

    One whose `kid` is not its thumbprint is none of ours, and found under no name that one of ours can have.
    """
    try:
        told = json.loads(attributes.get(JWKS) or "{}")
        listed = told["keys"] if isinstance(told, dict) and "keys" in told else ()
        return {_name(key, number): key for number, key in enumerate(listed)}
    except (ValueError, TypeError):
        return {"": {}}  # not a key set at all


def lists_exactly(attributes: Mapping[str, str], key_ids: Collection[str]) -> bool:
    """Tell whether a client lists these keys and no others."""
    return public_keys_in(attributes).keys() == set(key_ids)


def _name(key: Mapping[str, str], number: int) -> str:
    try:
        named = str(key["kid"])
        return named if thumbprint(key) == named else f"#{number}"
    except (KeyError, TypeError):
        return f"#{number}"
