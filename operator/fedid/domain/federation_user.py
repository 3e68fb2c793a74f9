"""The FederationUser as a frozen value, parsed from what the API server holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fedid.domain.fields import (
    Body,
    flag,
    instant_or_none,
    items,
    section,
    text,
    text_or_none,
    texts,
    texts_by_name,
)
from fedid.domain.realm import IdentityProviderLink, is_own_attribute
from fedid.domain.resources import Meta, federation_ref, meta_of, retains
from fedid.errors import InvalidSpecError

__all__ = ["FederationUser", "parse_federation_user"]

SERVICE_ACCOUNT_PREFIX = "service-account-"
"""What the usernames of Keycloak's service accounts begin with."""
_OWN_FIELDS = frozenset({"username", "email", "firstname", "lastname"})
"""Attributes, in small letters, that the user profile has and the spec says elsewhere."""


@dataclass(frozen=True, slots=True)
class FederationUser:
    """A person's account in the realm."""

    meta: Meta
    federation: str | None
    username: str
    email: str | None
    first_name: str | None
    last_name: str | None
    enabled: bool
    groups: frozenset[str]
    realm_roles: frozenset[str]
    client_roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    email_verified: bool = False
    """Whether the address counts as verified without the user's doing."""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    required_actions: frozenset[str] = frozenset()
    """What the user has to do at the first login, by Keycloak's aliases."""
    links: Mapping[str, IdentityProviderLink] = field(default_factory=dict)
    """By alias of the identity provider."""
    initial_password: bool = False
    """Whether the account is made with a password, which goes to Vault."""
    notify: bool = False
    """Whether Keycloak sends the user a mail once the account is made."""
    suspend: bool = False
    expires_at: datetime | None = None
    """From when on the account is suspended (aware UTC, the operator's clock); None: never."""
    retain: bool = False
    """Whether the account outlives its object: disabled, and nobody's."""
    adopt: bool = False
    """Whether an account of that username which nobody owns is taken over."""


def parse_federation_user(body: Body) -> FederationUser:
    """Return the FederationUser.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    spec = section(body, "spec")
    username = text(spec, "spec.username")
    if username.lower().startswith(SERVICE_ACCOUNT_PREFIX):
        message = (
            "spec.username begins with service-account-, as those of Keycloak's service accounts do; for a program, "
            "write a BotClient"
        )
        raise InvalidSpecError(message)
    return FederationUser(
        meta=meta_of(body),
        federation=federation_ref(spec),
        username=username,
        email=text_or_none(spec, "spec.email"),
        first_name=text_or_none(spec, "spec.firstName"),
        last_name=text_or_none(spec, "spec.lastName"),
        enabled=flag(spec, "spec.enabled", default=True),
        groups=frozenset(texts(spec, "spec.groups")),
        realm_roles=frozenset(texts(spec, "spec.realmRoles")),
        client_roles={c: frozenset(roles) for c, roles in texts_by_name(spec, "spec.clientRoles").items() if roles},
        email_verified=flag(spec, "spec.emailVerified", default=False),
        attributes=_attributes(spec),
        required_actions=frozenset(texts(spec, "spec.requiredActions")),
        links=_links(spec),
        initial_password=_generates_password(spec),
        notify=flag(spec, "spec.notify", default=False),
        suspend=flag(spec, "spec.suspend", default=False),
        expires_at=instant_or_none(spec, "spec.expiresAt"),
        retain=retains(spec),
        adopt=flag(spec, "spec.adopt", default=False),
    )


def _attributes(spec: Body) -> dict[str, tuple[str, ...]]:
    found = {name: values for name, values in texts_by_name(spec, "spec.attributes").items() if values}
    for name in found:
        if is_own_attribute(name) or name.lower() in _OWN_FIELDS:
            message = (
                f"spec.attributes names {name}, which is set elsewhere; fedid.* belongs to the operator, and username, "
                "email, firstName and lastName have fields of their own"
            )
            raise InvalidSpecError(message)
    return found


def _links(spec: Body) -> dict[str, IdentityProviderLink]:
    found: dict[str, IdentityProviderLink] = {}
    for path, link in items(spec, "spec.identityProviderLinks"):
        alias, user_id = text(link, f"{path}.identityProvider"), text(link, f"{path}.userId")
        if alias in found:
            message = f"{path}.identityProvider is {alias} again; a user has one link to each identity provider"
            raise InvalidSpecError(message)
        found[alias] = IdentityProviderLink(alias, user_id, text_or_none(link, f"{path}.userName") or user_id)
    return found


def _generates_password(spec: Body) -> bool:
    written = text_or_none(spec, "spec.initialPassword") or "None"
    if written not in {"None", "Generate"}:
        message = f"spec.initialPassword is {written!r}; write Generate or None"
        raise InvalidSpecError(message)
    return written == "Generate"
