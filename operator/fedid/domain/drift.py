"""How changes made by hand are found: what the realm's admin events are about, and what one page of it says.

Pure comparisons only: whatever differs is looked at by the ordinary pass over its object, which repairs and tells.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar
from urllib.parse import unquote

from fedid.domain.bot import PREVIOUS_SECRET, DesiredBot, client_entry, has_secret
from fedid.domain.bot_keys import public_keys_in
from fedid.domain.bot_plan import not_before_lies_ahead
from fedid.domain.bot_record import client_differences, desired_client
from fedid.domain.bot_steps import ObservedBot
from fedid.domain.key_plan import keys_as_published, signs
from fedid.domain.realm import ClientRecord, RealmScopes, scope_changes
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import StoredEntry
from fedid.domain.token_entries import token_entry, without_location
from fedid.domain.tokens import MintedToken

__all__ = ["AdminEvent", "Page", "Part", "changes_what_comes_along", "client_differs", "stored_as_published", "touched"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """One page of a listing, without what is not ours."""

    items: tuple[_T, ...]
    seen: int
    """How many entries Keycloak sent; fewer than were asked for: it was the last page."""


@dataclass(frozen=True, slots=True)
class AdminEvent:
    """One change that somebody made through Keycloak's Admin API or console.

    Source: Keycloak Admin REST API, AdminEventRepresentation.
    """

    event_id: str
    path: str
    """Keycloak's `resourcePath`, e.g. `clients/<uuid>/client-secret`."""


class Part(StrEnum):
    """What of a realm an event is about, and by what that is named."""

    CLIENT = "client"
    """By internal id."""
    USER = "user"
    """By id; a service account is one."""
    REALM_ROLE = "realm role"
    """By name."""
    CLIENT_ROLE = "client role"
    """By name, without its client."""
    ROLE = "role"
    """By id, of the realm or of a client."""
    GROUP = "group"
    """By id."""


def touched(event: AdminEvent) -> tuple[Part, str] | None:
    """Return what the event is about; None for what no identity depends on.

    What a role or a group brings along is none of it: `changes_what_comes_along` is about that.
    """
    match [unquote(part) for part in event.path.split("/")]:
        case ["clients", _, "roles", name]:
            return Part.CLIENT_ROLE, name
        case ["clients", _, "roles", *_]:
            return None
        case ["clients", client, *_]:
            return Part.CLIENT, client
        case ["users", user, *_]:
            return Part.USER, user
        case ["roles", name]:
            return Part.REALM_ROLE, name
        case ["roles-by-id", role]:
            return Part.ROLE, role
        case ["groups", group]:
            return Part.GROUP, group
        case _:
            return None


def changes_what_comes_along(event: AdminEvent) -> bool:
    """Tell whether roles or groups may bring other roles along since this event, or lie below other groups."""
    match event.path.split("/"):
        case (
            ["groups", *_]
            | ["roles" | "roles-by-id", _, "composites", *_]
            | ["clients", _, "roles", _, "composites", *_]
        ):
            return True
        case _:
            return False


def client_differs(
    desired: DesiredBot,
    observed: ClientRecord,
    now: datetime,
    realm_scopes: RealmScopes | None = None,
    *,
    key_ids: Collection[str] = (),
) -> bool:
    """Tell whether a client is not what is desired, its secret aside.

    Args:
        desired: The granted part of the spec.
        observed: The client as it was listed.
        now: Keycloak's clock.
        realm_scopes: The client scopes of the realm; None: those of the client are not compared.
        key_ids: Of the keys that it lists, if it takes signed assertions.
    """
    listed = public_keys_in(observed.attributes)
    keys = [listed[key_id] for key_id in key_ids if key_id in listed]
    wanted = desired_client(desired, secret=None, keys=keys)
    if signs(desired) and listed.keys() != set(key_ids):
        return True
    if client_differences(wanted, observed) or not_before_lies_ahead(observed, now):
        return True
    if realm_scopes is None:
        return False
    optional = desired.optional_beside(realm_scopes)
    return any(scope_changes(desired.default_scopes, optional, observed, realm_scopes))


def stored_as_published(desired: DesiredBot, observed: ObservedBot) -> bool:
    """Tell whether Vault holds what was published there, so that nobody need ask Keycloak about it."""
    stored = observed.stored_client
    if signs(desired):
        if not keys_as_published(desired, observed):
            return False
        return stored is not None and _same_version(observed, stored) and _all_tokens(desired, observed)
    secret = stored.data.get("client_secret") if stored is not None else None
    if stored is None or (has_secret(desired) and not secret):
        return False
    if dict(stored.data) != client_entry(desired, secret, stored.data.get(PREVIOUS_SECRET)):
        return False
    if PREVIOUS_SECRET in stored.data and observed.recorded.previous_ends_at is None:
        return False  # only Keycloak tells how long it has been so
    return _same_version(observed, stored) and _all_tokens(desired, observed)


def _same_version(observed: ObservedBot, stored: StoredEntry) -> bool:
    return stored.version == observed.recorded.secret_version


def _all_tokens(desired: DesiredBot, observed: ObservedBot) -> bool:
    return all(_is_token(observed, name) for name in desired.token_names)


def _is_token(observed: ObservedBot, name: str) -> bool:
    stored, claims = observed.stored_tokens.get(name), observed.claims.get(name)
    if (held := observed.opaque.get(name)) is not None:
        recorded = observed.recorded.fingerprints.get(name)
        return recorded in {None, held.fingerprint, held.previous_fingerprint}
    data: Mapping[str, Sensitive] = stored.data if stored is not None else {}
    if claims is None or "token" not in data:
        return False
    return without_location(data) == token_entry(MintedToken(data["token"], claims))
