"""What a FederationUser becomes: the account, groups, roles and links that its spec and the grants ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fedid.domain.federation_user import FederationUser
from fedid.domain.grants import ADOPT_ASK, EMAIL_VERIFIED_ASK, RETAIN_ASK, Ask, AskKind
from fedid.domain.judgement import Verdict
from fedid.domain.realm import IdentityProviderLink, UserRecord
from fedid.domain.suspension import Suspension, suspension

__all__ = [
    "UPDATE_PASSWORD",
    "AppliedToUser",
    "DesiredUser",
    "applied_by",
    "applied_in",
    "asks_of_user",
    "desired_user",
    "user_as_wanted",
    "user_differences",
    "user_suspension",
]

UPDATE_PASSWORD = "UPDATE_PASSWORD"
"""Alias of the required action with which Keycloak asks for another password."""


@dataclass(frozen=True, slots=True)
class DesiredUser:
    """The part of a user's spec that the grants cover, made definite."""

    username: str
    owner: str
    object_name: str
    enabled: bool
    email: str | None
    first_name: str | None
    last_name: str | None
    groups: frozenset[str] = frozenset()
    realm_roles: frozenset[str] = frozenset()
    client_roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    email_verified: bool = False
    """Whether we say so; if not, it is left to the user."""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    links: Mapping[str, IdentityProviderLink] = field(default_factory=dict)
    required_actions: frozenset[str] = frozenset()
    """Of an account that is made; one who is notified always has something to do."""
    initial_password: bool = False
    notify: bool = False
    adopt: bool = False

    @property
    def record(self) -> UserRecord:
        """The account as it is made."""
        return UserRecord(
            user_id=None,
            username=self.username,
            owner=self.owner,
            object_name=self.object_name,
            enabled=self.enabled,
            email=self.email,
            first_name=self.first_name,
            last_name=self.last_name,
            groups=self.groups,
            attributes=self.attributes,
            email_verified=self.email_verified,
            required_actions=self.required_actions,
            links=frozenset(self.links.values()),
        )


@dataclass(frozen=True, slots=True)
class AppliedToUser:
    """What the manifest gave an account among things that others may give it too; only this is ever taken back.

    A user may link accounts elsewhere, verify an address, and fill in attributes that the realm leaves to users.
    """

    attributes: frozenset[str] = frozenset()
    """Names."""
    links: frozenset[str] = frozenset()
    """Aliases of identity providers."""
    email_verified: bool = False

    def fields(self) -> dict[str, Any] | None:
        """Return it for the status, None if there is nothing."""
        told = {
            "attributes": sorted(self.attributes),
            "identityProviders": sorted(self.links),
            "emailVerified": self.email_verified,
        }
        return {name: value for name, value in told.items() if value} or None

    def __or__(self, other: AppliedToUser) -> AppliedToUser:
        """Return what either of the two says."""
        return AppliedToUser(
            self.attributes | other.attributes,
            self.links | other.links,
            self.email_verified or other.email_verified,
        )


def applied_in(status: Mapping[str, Any]) -> AppliedToUser:
    """Return what the status tells was given."""
    told = status.get("applied") or {}
    return AppliedToUser(
        frozenset(told.get("attributes") or ()),
        frozenset(told.get("identityProviders") or ()),
        bool(told.get("emailVerified")),
    )


def applied_by(desired: DesiredUser) -> AppliedToUser:
    """Return what the account is given where all of it is done."""
    return AppliedToUser(frozenset(desired.attributes), frozenset(desired.links), desired.email_verified)


def asks_of_user(spec: FederationUser) -> frozenset[Ask]:
    """Return what the spec asks the grants for."""
    asks = {Ask(AskKind.REALM_ROLE, role) for role in spec.realm_roles}
    asks |= {Ask(AskKind.CLIENT_ROLE, role, client) for client, roles in spec.client_roles.items() for role in roles}
    asks |= {Ask(AskKind.GROUP, path) for path in spec.groups}
    asks |= {Ask(AskKind.ATTRIBUTE, name) for name in spec.attributes}
    asks |= {Ask(AskKind.IDENTITY_PROVIDER, alias) for alias in spec.links}
    if spec.email_verified:
        asks.add(EMAIL_VERIFIED_ASK)
    if spec.retain:
        asks.add(RETAIN_ASK)
    if spec.adopt:
        asks.add(ADOPT_ASK)
    return frozenset(asks)


def desired_user(spec: FederationUser, verdict: Verdict, *, owner: str) -> DesiredUser:
    """Return what the granted part of the spec asks for."""
    denied = verdict.denied
    client_roles = {
        client: granted
        for client, roles in spec.client_roles.items()
        if (granted := frozenset(r for r in roles if Ask(AskKind.CLIENT_ROLE, r, client) not in denied))
    }
    actions = spec.required_actions
    if spec.initial_password or (spec.notify and not actions):
        actions |= {UPDATE_PASSWORD}
    return DesiredUser(
        username=spec.username,
        owner=owner,
        object_name=str(spec.meta.key),
        enabled=spec.enabled,
        email=spec.email.lower() if spec.email else None,
        first_name=spec.first_name,
        last_name=spec.last_name,
        groups=frozenset(g for g in spec.groups if Ask(AskKind.GROUP, g) not in denied),
        realm_roles=frozenset(r for r in spec.realm_roles if Ask(AskKind.REALM_ROLE, r) not in denied),
        client_roles=client_roles,
        email_verified=spec.email_verified and EMAIL_VERIFIED_ASK not in denied,
        attributes={n: v for n, v in spec.attributes.items() if Ask(AskKind.ATTRIBUTE, n) not in denied},
        links={a: link for a, link in spec.links.items() if Ask(AskKind.IDENTITY_PROVIDER, a) not in denied},
        required_actions=actions,
        initial_password=spec.initial_password,
        notify=spec.notify,
        adopt=spec.adopt and ADOPT_ASK not in denied,
    )


def user_suspension(spec: FederationUser, now: datetime, *, made: bool = True) -> Suspension | None:
    """Return why the account is to be disabled, or not made, whatever else the spec says; None if it is not.

    Args:
        spec: As parsed.
        now: The operator's clock (aware UTC).
        made: Whether there is an account; only the words are others.
    """
    return suspension(
        suspend=spec.suspend,
        expires_at=spec.expires_at,
        now=now,
        effect="the account is disabled and its sessions are ended" if made else "there is no account",
        return_for="to let the user log in anew",
    )


def user_as_wanted(desired: DesiredUser, observed: UserRecord, applied: AppliedToUser) -> UserRecord:
    """Return the account as an update is to leave it, with what others gave it."""
    withdrawn = applied.attributes - desired.attributes.keys()
    kept = {name: values for name, values in observed.attributes.items() if name not in withdrawn}
    # Keycloak leaves an address verified when it becomes another one.
    ours_no_more = applied.email_verified or (desired.email or None) != (observed.email or None)
    return replace(
        desired.record,
        user_id=observed.user_id,
        attributes={**kept, **desired.attributes},
        email_verified=desired.email_verified or (bool(observed.email_verified) and not ours_no_more),
        required_actions=observed.required_actions,
        links=observed.links,
    )


def user_differences(wanted: UserRecord, observed: UserRecord) -> tuple[str, ...]:
    """Return the fields in which the observed user is not what is wanted, by Keycloak's names."""
    pairs = (
        ("username", wanted.username, observed.username),
        ("enabled", wanted.enabled, observed.enabled),
        ("email", wanted.email, observed.email),
        ("emailVerified", wanted.email_verified, observed.email_verified),
        ("firstName", wanted.first_name, observed.first_name),
        ("lastName", wanted.last_name, observed.last_name),
        ("attributes[fedid.owner]", wanted.owner, observed.owner),
        ("attributes[fedid.object]", wanted.object_name, observed.object_name),
        *(
            # Keycloak keeps no order among the values of one.
            (f"attributes[{name}]", sorted(wanted.attributes.get(name, ())), sorted(observed.attributes.get(name, ())))
            for name in sorted(wanted.attributes.keys() | observed.attributes.keys())
        ),
    )
    return tuple(name for name, wished, found in pairs if (wished or None) != (found or None))
