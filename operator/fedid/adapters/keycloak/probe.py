"""Find out whether we can work in a realm, by things that do no harm, and warm what the first identity needs."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fedid.adapters.keycloak.access import RealmAccess
from fedid.adapters.keycloak.catalogue import REALM
from fedid.adapters.keycloak.connection import own_claims
from fedid.adapters.keycloak.refusals import (
    BACKEND,
    MANAGE_CLIENTS,
    MANAGE_USERS,
    NEEDED_ROLES,
    VIEW_EVENTS,
    VIEW_REALM,
    ForbiddenError,
)
from fedid.adapters.keycloak.representations import user_rules
from fedid.domain.realm import OBJECT_ATTRIBUTE, OWNER_ATTRIBUTE, RealmFacts
from fedid.errors import BackendDeniedError, BackendRejectedError

_COVERED_BY: Final = {
    MANAGE_CLIENTS: frozenset({MANAGE_CLIENTS, "realm-admin"}),
    MANAGE_USERS: frozenset({MANAGE_USERS, "realm-admin"}),
    VIEW_REALM: frozenset({VIEW_REALM, "manage-realm", "realm-admin"}),
}


async def realm_facts(access: RealmAccess) -> RealmFacts:
    """Return what the realm is and what we lack in it.

    Seven calls, none of which writes; one more if our token names no roles.

    Raises:
        BackendUnavailableError: No answer.
        BackendDeniedError: Our client is refused, or has no right at all in the realm.
        BackendRejectedError: There is no such realm (reason `RealmNotFound`), or tokens will carry another issuer than
            the one configured (reason `IssuerMismatch`).
    """
    issuer = await access.oidc.issuer()
    if issuer != access.issuer_url:
        message = f"the realm's issuer is {issuer}, but keycloak.issuerUrl says {access.issuer_url}: "
        message += "make them equal (the default of issuerUrl is keycloak.url followed by /realms/ and the realm)"
        raise BackendRejectedError(message, backend=BACKEND, reason="IssuerMismatch")
    recorded = await _enter(access)
    missing = await _missing_roles(access)
    kept = await _owner_attributes_kept(access, missing)
    if missing:
        await _ask_anew(access)
    readable = recorded and await _events_readable(access)
    return RealmFacts(issuer, kept, tuple(sorted(missing)), recorded, readable)


async def _ask_anew(access: RealmAccess) -> None:
    """Let the next look come with a new token: one keeps the roles that it was made with."""
    access.token.drop(await access.token.current())


async def _enter(access: RealmAccess) -> bool:
    """Look at the realm, fetch the keys that later tokens are checked with; return if it records admin events."""
    try:
        answer = await access.connection.call("GET", "")
    except ForbiddenError as error:
        await _ask_anew(access)
        message = f"the operator's client {access.client_id} has no right in realm {access.realm}: give its service "
        message += f"account the roles {', '.join(NEEDED_ROLES)} of the client realm-management"
        raise BackendDeniedError(message, backend=BACKEND) from error
    await access.verifier.refresh()
    return bool(answer.json().get("adminEventsEnabled"))


async def _events_readable(access: RealmAccess) -> bool:
    """Tell whether we may read the admin events; our token says so, and only one that says nothing needs a try."""
    claims = own_claims(await access.token.current())
    if "resource_access" in claims:
        held = frozenset(claims["resource_access"].get("realm-management", {}).get("roles", ()))
        return bool(held & {VIEW_EVENTS, "manage-events", "realm-admin"})
    return await _readable(access, "/admin-events")


async def _missing_roles(access: RealmAccess) -> set[str]:
    """Return the needed roles that neither our token names nor a harmless read shows that we have."""
    missing = set()
    for needed, path in ((MANAGE_CLIENTS, "/clients"), (MANAGE_USERS, "/users")):
        if not await _readable(access, path):
            missing.add(needed)
    try:
        await access.roles.roles(REALM, frozenset())
    except ForbiddenError:
        missing.add(VIEW_REALM)
    claims = own_claims(await access.token.current())
    # A lightweight access token names no roles; then what can be read must do.
    if "resource_access" in claims:
        held = frozenset(claims["resource_access"].get("realm-management", {}).get("roles", ()))
        missing |= {needed for needed in NEEDED_ROLES if not _COVERED_BY[needed] & held}
    return missing


async def _readable(access: RealmAccess, path: str) -> bool:
    try:
        answer = await access.connection.call("GET", path, params={"first": "0", "max": "1"})
    except ForbiddenError:
        return False
    return answer.status == HTTPStatus.OK


async def _owner_attributes_kept(access: RealmAccess, missing: set[str]) -> bool:
    """Return whether Keycloak will keep our marks on users; it drops undeclared attributes without a word."""
    try:
        profile: Mapping[str, Any] = await access.admin.a_get_realm_users_profile()
    except ForbiddenError:
        missing.add(MANAGE_USERS)
        return False
    rules = user_rules({}, profile, ())
    return rules.takes_any_attribute or rules.attributes >= {OWNER_ATTRIBUTE, OBJECT_ATTRIBUTE}
