"""Bearer tokens as values: what is asked of Keycloak and as whom, what came back, and whether it is good.

Source: RFC 6749 section 4.4 (client credentials), RFC 7519 section 4.1 (claims), RFC 7523 section 2.2 (assertions of
clients), RFC 9068 (JWT access tokens).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from fedid.domain.sensitive import Sensitive

__all__ = [
    "AssertionFile",
    "ClientAuthentication",
    "ClientCredentials",
    "MintedToken",
    "PrivateKey",
    "TokenClaims",
    "TokenExpectation",
    "latest_end",
    "outlives",
    "token_faults",
    "wider_than",
]

_ROUNDING = timedelta(seconds=5)
_SHORTEST = timedelta(seconds=10)
_WHOLE_SECOND = timedelta(seconds=1)
"""What is hidden by Keycloak, which rounds both ends of a token's life, and by a status, which cuts its instants."""
"""What a token has to live for at least; one that the realm caps above that is good, and renewed by the life it has."""


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A client's id and its secret, which it sends along (`client_secret_post`)."""

    client_id: str
    secret: Sensitive


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A client's id and its key, which signs an assertion for each request and never leaves us (`private_key_jwt`)."""

    client_id: str
    key: Sensitive
    """PEM, not encrypted: an elliptic curve (P-256, P-384, P-521), Ed25519 or RSA; it decides about the algorithm."""
    key_id: str | None = None
    """`kid` by which Keycloak finds the key; None will do as long as the client has one key."""


@dataclass(frozen=True, slots=True)
class AssertionFile:
    """A ready-made assertion: the projected token of a ServiceAccount, as kubelet keeps it fresh in a file."""

    path: Path
    """Read afresh for each request."""
    client_id: str = ""
    """Sent along unless empty; Keycloak finds the client by issuer and subject of the token (`federated-jwt`)."""


ClientAuthentication = ClientCredentials | PrivateKey | AssertionFile
"""What a client authenticates with at the token endpoint and wherever else clients do."""


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """The verified claims of a Keycloak access token (signature and issuer checked, expiry not)."""

    issuer: str
    subject: str
    authorized_party: str
    token_id: str
    issued_at: datetime
    expires_at: datetime
    audiences: frozenset[str]
    realm_roles: frozenset[str]
    client_roles: Mapping[str, frozenset[str]]
    scopes: frozenset[str] = frozenset()
    """Scopes that it names; Keycloak leaves out those that say so."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further claims that are texts, and neither the protocol's nor Keycloak's own."""


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A token with its verified claims: what may be published."""

    token: Sensitive
    claims: TokenClaims


@dataclass(frozen=True, slots=True)
class TokenExpectation:
    """What a bot's token must say before it is published."""

    client_id: str
    lifetime: timedelta
    audiences: frozenset[str]
    realm_roles: frozenset[str]
    client_roles: Mapping[str, frozenset[str]]
    scopes: frozenset[str] = frozenset()
    """Asked for with this very token."""
    claims: Mapping[str, str] = field(default_factory=dict)


def token_faults(claims: TokenClaims, expected: TokenExpectation) -> tuple[str, ...]:
    """Return what is wrong with a freshly minted or published token, as short phrases; empty means good.

    More roles or audiences than expected are no fault: the realm's default roles and scopes add theirs.
    """
    faults = []
    if claims.authorized_party != expected.client_id:
        faults.append(f"azp is {claims.authorized_party}, not {expected.client_id}")
    if not claims.subject:
        faults.append("it has no sub (does the realm's default client scope `basic` exist?)")
    if missing := sorted(expected.audiences - claims.audiences):
        faults.append(f"audience {', '.join(missing)} is missing")
    if missing := sorted(expected.realm_roles - claims.realm_roles):
        faults.append(f"realm role {', '.join(missing)} is missing (is the client scope `roles` a realm default?)")
    for client_id, roles in sorted(expected.client_roles.items()):
        if missing := sorted(roles - claims.client_roles.get(client_id, frozenset())):
            faults.append(f"role {', '.join(missing)} of client {client_id} is missing")
    if missing := sorted(expected.scopes - claims.scopes):
        faults.append(f"scope {', '.join(missing)} is missing (is it in the client scope's own token scope?)")
    if wrong := sorted(name for name, value in expected.claims.items() if claims.extra.get(name) != value):
        faults.append(f"claim {', '.join(wrong)} is not as declared (does a client scope set it too?)")
    lifetime = claims.expires_at - claims.issued_at
    if lifetime > expected.lifetime + _ROUNDING:
        faults.append(f"it lives {lifetime}, longer than the {expected.lifetime} asked for")
    if lifetime < min(_SHORTEST, expected.lifetime / 2):
        faults.append(f"it lives {lifetime}, not {expected.lifetime}: the realm's SSO Session Max caps it")
    return tuple(faults)


def outlives(claims: TokenClaims, limit: timedelta | None) -> bool:
    """Tell whether a token was given a longer life than the limit (None: there is none) lets it have."""
    return limit is not None and claims.expires_at - claims.issued_at > limit + _ROUNDING


def latest_end(seen_at: datetime, lifetime: timedelta) -> datetime:
    """Return when every token has ended that anybody got before an instant (Keycloak's clock)."""
    return seen_at + lifetime + _WHOLE_SECOND


def wider_than(old: TokenClaims, new: TokenClaims, *, declared: Collection[str] = ()) -> bool:
    """Tell whether the old token says something that the new one does not, so that it must be revoked.

    Args:
        old: The published one.
        new: The one that takes its place.
        declared: Claims whose values are compared too. Of others only the names are: a mapper of the realm may give
            every token another value, and a routine renewal must not end the token that it replaces.
    """
    return bool(
        old.realm_roles - new.realm_roles
        or old.audiences - new.audiences
        or any(roles - new.client_roles.get(client_id, frozenset()) for client_id, roles in old.client_roles.items())
        or old.scopes - new.scopes
        or old.extra.keys() - new.extra.keys()
        or any(old.extra.get(name, value) != value for name, value in new.extra.items() if name in declared)
    )
