"""What fedid makes in a Keycloak realm, as values: desired by a spec or observed through the Admin API.

Source: Keycloak Admin REST API, ClientRepresentation, UserRepresentation, MappingsRepresentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fedid.domain.sensitive import Sensitive

__all__ = [
    "CLIENT_SECRET",
    "DEVICE_FLOW",
    "SERVICE_ACCOUNTS",
    "TOKEN_LIFESPAN",
    "ClientRecord",
    "ClientScope",
    "IdentityProviderLink",
    "ProtocolMapper",
    "RealmFacts",
    "RealmScopes",
    "Role",
    "RoleMappings",
    "RoleName",
    "SecretPolicy",
    "UserRecord",
    "UserRules",
    "UserSessions",
    "is_own_attribute",
    "role_changes",
    "scope_changes",
]

OWNER_ATTRIBUTE = "fedid.owner"
OBJECT_ATTRIBUTE = "fedid.object"
CLIENT_SECRET = "client-secret"
"""Keycloak's `clientAuthenticatorType` for clients that sign in with a secret."""
SERVICE_ACCOUNTS = "serviceAccountsEnabled"
"""The flag of a client that lets it get tokens for itself."""
DEVICE_FLOW = "oauth2.device.authorization.grant.enabled"
"""The attribute of a client that is `true` where people sign in by it on another screen."""
TOKEN_LIFESPAN = "access.token.lifespan"
"""The attribute of a client that says how many seconds its access tokens live."""


@dataclass(frozen=True, slots=True)
class ProtocolMapper:
    """One protocol mapper of a client (what adds a claim to its tokens)."""

    name: str
    type: str
    """Keycloak's `protocolMapper`, e.g. `oidc-audience-mapper`."""
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """A Keycloak client as far as fedid sets or compares it."""

    client_uuid: str
    """Keycloak's internal id; chosen by fedid (`POST /clients` keeps it)."""
    client_id: str
    """The human id, OAuth's `client_id`."""
    owner: str | None
    """Owner mark `<installation id>/<CR uid>`; None: nobody's or made by hand."""
    object_name: str | None
    """`<kind>/<namespace>/<name>` of the custom resource, for people who look in the console."""
    description: str
    enabled: bool
    secret: Sensitive | None
    """None on write: leave as it is. None on read: not ours, so not looked at."""
    flags: Mapping[str, bool]
    """Boolean fields of the representation by Keycloak's names, e.g. `serviceAccountsEnabled`."""
    attributes: Mapping[str, str]
    """Client attributes without the two owner attributes; on write an empty one is taken off."""
    mappers: tuple[ProtocolMapper, ...]
    uris: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Addresses of the client by Keycloak's names, e.g. `redirectUris`; on write an empty one is taken off."""
    authenticator: str = CLIENT_SECRET
    """Keycloak's `clientAuthenticatorType`."""
    previous_secret: Sensitive | None = None
    """On read: the secret before, which is good too where the realm keeps two. Never written."""
    previous_since: datetime | None = None
    """When it became the previous one (aware UTC, Keycloak's clock)."""
    default_scopes: frozenset[str] = frozenset()
    optional_scopes: frozenset[str] = frozenset()
    """Names of its client scopes; only read: a new client gets the realm's, and an update leaves them alone."""
    not_before: int = 0
    """Tokens issued before this instant (seconds since the epoch, Keycloak's clock) are refused."""

    @property
    def token_lifetime(self) -> timedelta | None:
        """How long its access tokens live; None: as the realm says."""
        written = self.attributes.get(TOKEN_LIFESPAN, "")
        return timedelta(seconds=int(written)) if written.isdecimal() else None


@dataclass(frozen=True, slots=True, order=True)
class ClientScope:
    """A client scope as one client has it, or is to have it."""

    name: str
    scope_id: str
    optional: bool
    """Whether it counts only where a token request names it (RFC 6749 section 3.3)."""


@dataclass(frozen=True, slots=True)
class RealmScopes:
    """The OpenID Connect client scopes of a realm."""

    ids: Mapping[str, str]
    """Keycloak's id by name."""
    default: frozenset[str]
    """Names of those that every new client with a service account gets."""
    optional: frozenset[str]
    """Names of those that every new client gets as optional ones."""


@dataclass(frozen=True, slots=True, order=True)
class IdentityProviderLink:
    """Somebody at an identity provider of the realm who may log in as a user here.

    Source: Keycloak, FederatedIdentityRepresentation.
    """

    alias: str
    """Of the identity provider."""
    user_id: str
    """Who it is there, by the id that never changes."""
    user_name: str
    """What that person is called there; only shown."""


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A Keycloak user as far as fedid sets or compares it."""

    user_id: str | None
    """Keycloak's id; None before it exists (`POST /users` ignores a chosen one)."""
    username: str
    owner: str | None
    object_name: str | None
    enabled: bool
    email: str | None
    first_name: str | None
    last_name: str | None
    groups: frozenset[str] = frozenset()
    """Group paths; on read only filled by `user_groups`."""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Attributes besides the two marks; on write all that are to be left."""
    email_verified: bool | None = None
    """None on write: leave it as it is."""
    required_actions: frozenset[str] = frozenset()
    """What the user has to do at the next login, by Keycloak's aliases; an update leaves them alone."""
    links: frozenset[IdentityProviderLink] = frozenset()
    """On read only filled for one user by id; an update leaves them alone."""


@dataclass(frozen=True, slots=True)
class UserSessions:
    """How many sessions a user has."""

    online: int = 0
    offline: int = 0
    """Clients that hold offline tokens of the user."""

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self.online or self.offline)

    def __str__(self) -> str:
        """Return them in words."""
        return f"{self.online} online and {self.offline} offline sessions"


@dataclass(frozen=True, slots=True)
class UserRules:
    """What a realm lets its users have."""

    attributes: frozenset[str]
    """Declared in the user profile, for administrators to set."""
    takes_any_attribute: bool
    """Whether administrators may set others as well (`unmanagedAttributePolicy`)."""
    required_actions: frozenset[str]
    """Aliases of those that are switched on."""
    password_policy: str
    """As Keycloak writes it, such as `length(12) and digits(1)`; empty: none."""
    sends_mail: bool
    """Whether the realm has a mail server and a sender."""


RoleName = tuple[str | None, str]
"""A role as a grant names it: the client that has it (None: the realm itself), and its name."""


@dataclass(frozen=True, slots=True)
class Role:
    """A realm role, or a client role when `client_id` is set."""

    role_id: str
    name: str
    client_id: str | None = None
    client_uuid: str | None = None
    composite: bool = False


@dataclass(frozen=True, slots=True)
class RoleMappings:
    """The roles mapped directly to a user (a service account is one)."""

    realm: frozenset[Role]
    client: frozenset[Role]


@dataclass(frozen=True, slots=True)
class RealmFacts:
    """What a probe of the realm found."""

    issuer: str
    """`issuer` of the realm's OpenID configuration."""
    owner_attributes_kept: bool
    """The realm's user profile declares (or admits) the two owner attributes, so Keycloak will not drop them."""
    missing_permissions: tuple[str, ...]
    """realm-management roles that the operator's client lacks, by name."""
    admin_events_recorded: bool = False
    """The realm keeps what administrators do."""
    admin_events_readable: bool = False
    """The operator's client may read that."""


@dataclass(frozen=True, slots=True)
class SecretPolicy:
    """The realm's policy that lets a client have two secrets at once (Keycloak's executor `secret-rotation`).

    Its periods hold for all clients alike.
    """

    name: str
    expires_after: timedelta
    """How old a secret gets before any change of its client replaces it."""
    previous_lives: timedelta
    """How long the former secret is good at most."""


def is_own_attribute(name: str) -> bool:
    """Tell whether an attribute of a user is fedid's own, or may become so."""
    return name.lower().startswith("fedid.")


def role_changes(held: RoleMappings | None, wanted: frozenset[Role]) -> tuple[frozenset[Role], frozenset[Role]]:
    """Return (roles to unmap, roles to map); compared by id, since a role made anew under its name is another one."""
    mapped = held.realm | held.client if held is not None else frozenset()
    mapped_ids, wanted_ids = {role.role_id for role in mapped}, {role.role_id for role in wanted}
    return (
        frozenset(role for role in mapped if role.role_id not in wanted_ids),
        frozenset(role for role in wanted if role.role_id not in mapped_ids),
    )


def scope_changes(
    default: frozenset[str], optional: frozenset[str], client: ClientRecord | None, realm: RealmScopes
) -> tuple[frozenset[ClientScope], frozenset[ClientScope]]:
    """Return (scopes to take from the client, scopes to give to it).

    A client has the realm's own and the declared ones, and no others. A scope is default or optional, never both: what
    is declared goes before what the realm says, and default before optional.

    Args:
        default: Names of the declared default scopes.
        optional: Names of the declared optional scopes.
        client: As observed; None: it is new, and has what the realm gives.
        realm: Its scopes; what it does not have is left out.
    """
    wanted_default = default | (realm.default - optional)
    wanted_optional = (optional | realm.optional) - wanted_default
    wanted = {(name, False) for name in wanted_default} | {(name, True) for name in wanted_optional}
    had_default = client.default_scopes if client is not None else realm.default
    had_optional = client.optional_scopes if client is not None else realm.optional
    had = {(name, False) for name in had_default} | {(name, True) for name in had_optional}

    def known(some: set[tuple[str, bool]]) -> frozenset[ClientScope]:
        return frozenset(ClientScope(name, realm.ids[name], optional) for name, optional in some if name in realm.ids)

    return known(had - wanted), known(wanted - had)
