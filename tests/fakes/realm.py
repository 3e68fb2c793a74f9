"""A Keycloak realm in memory, and what its administrator does to it by hand.

It behaves as Keycloak 26.7.3 was seen to: a token is good as long as it has not expired, was not revoked, and a client
of its clientId exists, is enabled and has a `notBefore` that is not later than the token. So a client that is made anew
under a clientId makes the old tokens good again, unless something was done against it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from fedid.domain.drift import AdminEvent
from fedid.domain.realm import (
    ClientRecord,
    IdentityProviderLink,
    ProtocolMapper,
    Role,
    RoleName,
    SecretPolicy,
    UserRecord,
)
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientAuthentication, TokenClaims
from tests.fakes.authentication import authenticated

DEFAULT_LIFETIME = timedelta(minutes=5)
DEFAULT_ROLES = ("offline_access", "uma_authorization")
KEYCLOAK_FLAGS = {
    "surrogateAuthRequired": False,
    "alwaysDisplayInConsole": False,
    "bearerOnly": False,
    "consentRequired": False,
    "standardFlowEnabled": True,
    "implicitFlowEnabled": False,
    "directAccessGrantsEnabled": False,
    "serviceAccountsEnabled": False,
    "publicClient": True,
    "frontchannelLogout": False,
    "fullScopeAllowed": True,
}
"""What Keycloak adds to a client that does not say otherwise."""
DEFAULT_SCOPES = ("acr", "basic", "email", "profile", "roles", "service_account", "web-origins")
"""What a new client with a service account gets in a new realm."""
OPTIONAL_SCOPES = ("address", "microprofile-jwt", "offline_access", "organization", "phone")
NAMED_IN_TOKENS = ("email", "profile")
"""Those of them that a token names."""
KEYCLOAK_ATTRIBUTES = {"realm_client": "false", "backchannel.logout.session.required": "true"}


@dataclass(slots=True)
class FakeSession:
    """One login of a user."""

    offline: bool


@dataclass(slots=True)
class FakeUser:
    """A user, or the service account of a client."""

    record: UserRecord
    client_uuid: str | None = None
    """Whose service account it is."""
    role_ids: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    sessions: list[FakeSession] = field(default_factory=list)
    password: Sensitive | None = None


class FakeRealm:
    """The state; a test looks at it and changes it as an administrator would."""

    def __init__(
        self,
        name: str = "fl",
        issuer_url: str = "https://keycloak.test/realms/fl",
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Start with Keycloak's own roles only.

        Args:
            name: Of the realm.
            issuer_url: The `iss` of its tokens.
            now: Keycloak's clock (aware UTC).
        """
        self.name = name
        self.issuer_url = issuer_url
        self.now = now
        self.clients: dict[str, ClientRecord] = {}
        """By internal id, each with its secret."""
        self.users: dict[str, FakeUser] = {}
        """By id, service accounts included."""
        self.roles: dict[str, Role] = {}
        """By id."""
        self.members: dict[str, set[str]] = {}
        """Ids of the roles that a composite role brings along, by its id."""
        self.groups: dict[str, str] = {}
        """Id by path."""
        self.group_roles: dict[str, set[str]] = {}
        """Ids of the roles that are mapped to a group itself, by path."""
        self.scopes: dict[str, str] = {}
        self.scope_roles: dict[str, set[str]] = {}
        """Id by name."""
        self.default_scopes, self.optional_scopes = set(DEFAULT_SCOPES), set(OPTIONAL_SCOPES)
        """What a new client gets."""
        self.records_events = False
        self.events: list[tuple[datetime, AdminEvent]] = []
        """What was done by hand and where, oldest first."""
        self.tokens: dict[str, TokenClaims] = {}
        """Every token ever issued."""
        self.assertions: dict[str, str] = {}
        """Subjects of the ServiceAccount tokens that the cluster made."""
        self.revoked: set[str] = set()
        """Ids (`jti`) of revoked tokens."""
        self.longest_token: timedelta | None = None
        """What the realm's SSO Session Max caps every token to."""
        self.secret_policy: SecretPolicy | None = None
        """Lets clients with fedid's attribute have two secrets."""
        self.declared_attributes: set[str] = set()
        """Of the user profile, besides our marks; others are dropped without a word."""
        self.required_actions = {"CONFIGURE_TOTP", "UPDATE_PASSWORD", "UPDATE_PROFILE", "VERIFY_EMAIL"}
        """Those that are switched on."""
        self.identity_providers: set[str] = set()
        self.password_policy = ""
        self.sends_mail = False
        self.mail_failure: str | None = None
        """What Keycloak says when its mail server does not take a mail."""
        self.mails: list[tuple[str, frozenset[str]]] = []
        """To which user (id), and for which required actions."""
        self.owner_attributes_kept = True
        """Whether the user profile declares our marks; if not they are dropped without a word."""
        for scope in (*DEFAULT_SCOPES, *OPTIONAL_SCOPES):
            self.add_scope(scope)
        for role in DEFAULT_ROLES:
            self.add_role(role)
        self.default_role = self.add_role(f"default-roles-{name.lower()}", brings=DEFAULT_ROLES)

    def note(self, path: str) -> None:
        """Record a change by hand, where the realm does so."""
        if self.records_events:
            self.events.append((self.now(), AdminEvent(new_id(), path)))

    # Roles and groups

    def add_role(self, name: str, *, client_id: str | None = None, brings: Iterable[str] = ()) -> Role:
        """Make a realm role, or one of a client; `brings` names the realm roles that it is made of."""
        client = None if client_id is None else self.client(client_id)
        client_uuid = None if client is None else client.client_uuid
        members = {self.role(one).role_id for one in brings}
        role = Role(new_id(), name, client_id, client_uuid, composite=bool(members))
        self.roles[role.role_id] = role
        self.members[role.role_id] = members
        return role

    def bring(self, name: str, brought: str, *, client_id: str | None = None, of_client: str | None = None) -> None:
        """Have a role (of a client) bring another (of a client) along, by hand."""
        role = self.role(name, client_id)
        area = f"clients/{role.client_uuid}/" if role.client_uuid is not None else ""
        self.note(f"{area}roles/{name}/composites")
        self.members[role.role_id].add(self.role(brought, of_client).role_id)
        self.roles[role.role_id] = replace(role, composite=True)

    def map_group_role(self, path: str, name: str, client_id: str | None = None) -> None:
        """Map a role to a group by hand."""
        area = "realm" if client_id is None else "clients/" + self.role(name, client_id).client_uuid
        self.note(f"groups/{self.groups[path]}/role-mappings/{area}")
        self.group_roles.setdefault(path, set()).add(self.role(name, client_id).role_id)

    def brought(self, role_ids: Iterable[str]) -> frozenset[RoleName]:
        """Return these roles, and all that come along with them."""
        return frozenset((self.roles[one].client_id, self.roles[one].name) for one in self._with_members(role_ids))

    def role(self, name: str, client_id: str | None = None) -> Role:
        """Return a role by name."""
        return next(role for role in self.roles.values() if (role.name, role.client_id) == (name, client_id))

    def delete_role(self, name: str, client_id: str | None = None) -> None:
        """Delete a role, and with it whom it was mapped to."""
        role = self.role(name, client_id)
        gone = role.role_id
        self.note(f"clients/{role.client_uuid}/roles/{name}" if client_id else f"roles/{name}")
        del self.roles[gone]
        for user in self.users.values():
            user.role_ids.discard(gone)

    def map_role(self, user_id: str, name: str, client_id: str | None = None) -> None:
        """Map a role to a user by hand."""
        self.note(f"users/{user_id}/role-mappings/realm")
        self.users[user_id].role_ids.add(self.role(name, client_id).role_id)

    def unmap_role(self, user_id: str, name: str, client_id: str | None = None) -> None:
        """Unmap a role by hand."""
        self.note(f"users/{user_id}/role-mappings/realm")
        self.users[user_id].role_ids.discard(self.role(name, client_id).role_id)

    def add_group(self, path: str) -> str:
        """Make a group and those above it; return its id."""
        names = path.strip("/").split("/")
        for depth in range(1, len(names) + 1):
            self.groups.setdefault("/" + "/".join(names[:depth]), new_id())
        return self.groups[path]

    def delete_group(self, path: str) -> None:
        """Delete a group and those below it; their members leave them."""
        self.note(f"groups/{self.groups[path]}")
        for gone in [one for one in self.groups if one == path or one.startswith(f"{path}/")]:
            del self.groups[gone]
            self.group_roles.pop(gone, None)
            for user in self.users.values():
                user.groups.discard(gone)

    def add_scope(self, name: str, *, roles: Iterable[str] = ()) -> str:
        """Make a client scope; `roles` names the realm roles that it lists. Return its id."""
        self.scopes[name] = new_id()
        self.scope_roles[name] = {self.role(one).role_id for one in roles}
        return self.scopes[name]

    def delete_scope(self, name: str) -> None:
        """Delete a client scope; no client has it any more."""
        del self.scopes[name]
        self.default_scopes.discard(name)
        self.optional_scopes.discard(name)
        for client_uuid in self.clients:
            self.take_scope(client_uuid, name)

    def give_scope(self, client_uuid: str, name: str, *, optional: bool = False) -> None:
        """Give a client a scope by hand, unless it has it in either way."""
        client = self.clients[client_uuid]
        if name not in client.default_scopes | client.optional_scopes:
            field_name = "optional_scopes" if optional else "default_scopes"
            self.change_client(client_uuid, **{field_name: getattr(client, field_name) | {name}})

    def take_scope(self, client_uuid: str, name: str) -> None:
        """Take a scope from a client by hand, whichever way it has it."""
        client = self.clients[client_uuid]
        self.change_client(
            client_uuid,
            default_scopes=client.default_scopes - {name},
            optional_scopes=client.optional_scopes - {name},
        )

    # Clients

    def client(self, client_id: str) -> ClientRecord | None:
        """Return a client by clientId, whoever made it."""
        return next((client for client in self.clients.values() if client.client_id == client_id), None)

    def add_client(self, client_id: str, *, owner: str | None = None, secret: Sensitive | None = None) -> ClientRecord:
        """Make a client as somebody else does: by hand, or as another installation (`owner`)."""
        client = ClientRecord(
            client_uuid=new_id(),
            client_id=client_id,
            owner=owner,
            object_name=None,
            description="",
            enabled=True,
            secret=secret,
            flags={"serviceAccountsEnabled": True, "publicClient": False},
            attributes={},
            mappers=(),
        )
        return self.put_client(client)

    def put_client(self, client: ClientRecord) -> ClientRecord:
        """Make a client, with all that Keycloak adds to it."""
        public = client.flags.get("publicClient", KEYCLOAK_FLAGS["publicClient"])
        has_account = bool(client.flags.get("serviceAccountsEnabled"))
        client = replace(
            client,
            secret=None if public else client.secret or Sensitive(new_id()),
            flags={**KEYCLOAK_FLAGS, **client.flags},
            attributes={**KEYCLOAK_ATTRIBUTES, **{k: v for k, v in client.attributes.items() if v}},
            mappers=tuple(sorted(client.mappers, key=lambda mapper: mapper.name)),
            uris=_uris(client),
            default_scopes=frozenset(self.default_scopes) - (set() if has_account else {"service_account"}),
            optional_scopes=frozenset(self.optional_scopes),
        )
        self.clients[client.client_uuid] = client
        self.keep_account(client.client_uuid)
        return self.clients[client.client_uuid]

    def keep_account(self, client_uuid: str) -> None:
        """Make the service account of a client that is to have one and has none; one that it has stays."""
        client = self.clients[client_uuid]
        if not client.flags.get("serviceAccountsEnabled"):
            return
        if any(user.client_uuid == client_uuid for user in self.users.values()):
            return
        name = f"service-account-{client.client_id.lower()}"
        account = UserRecord(new_id(), name, None, None, True, None, None, None)
        self.users[str(account.user_id)] = FakeUser(account, client_uuid, {self.default_role.role_id})
        if "service_account" in self.default_scopes:
            self.clients[client_uuid] = replace(client, default_scopes=client.default_scopes | {"service_account"})

    def change_client(self, client_uuid: str, **changes: object) -> None:
        """Change fields of a client by hand (names as in `ClientRecord`)."""
        self.note(f"clients/{client_uuid}")
        self.clients[client_uuid] = replace(self.clients[client_uuid], **changes)  # type: ignore[arg-type]

    def regenerate_secret(self, client_uuid: str) -> bool:
        """Give a client another secret, as the console's button does; True if the former one is good too."""
        client, policy = self.clients[client_uuid], self.secret_policy
        kept = policy is not None and client.attributes.get("fedid.secret-rotation") == "true"
        second = datetime.fromtimestamp(int(self.now().timestamp()), UTC)
        self.change_client(
            client_uuid,
            secret=Sensitive(new_id()),
            previous_secret=client.secret if kept else None,
            previous_since=second if kept else None,
        )
        return kept

    def add_mapper(self, client_uuid: str, name: str) -> None:
        """Add a protocol mapper to a client by hand."""
        client = self.clients[client_uuid]
        config = {"claim.name": name, "claim.value": "by hand", "access.token.claim": "true"}
        mapper = ProtocolMapper(name, "oidc-hardcoded-claim-mapper", config)
        self.change_client(client_uuid, mappers=(*client.mappers, mapper))

    def delete_client(self, client_uuid: str) -> None:
        """Delete a client and its service account."""
        del self.clients[client_uuid]
        account = next((id_ for id_, user in self.users.items() if user.client_uuid == client_uuid), None)
        if account is not None:
            del self.users[account]

    def account_of(self, client_uuid: str) -> FakeUser:
        """Return the service account of a client."""
        return next(user for user in self.users.values() if user.client_uuid == client_uuid)

    # Users

    def user(self, username: str) -> FakeUser | None:
        """Return a user by name, whoever made it."""
        return next((user for user in self.users.values() if user.record.username == username.lower()), None)

    def add_user(self, username: str, *, email: str | None = None, owner: str | None = None) -> str:
        """Make a user as somebody else does; return its id."""
        return self.put_user(UserRecord(None, username, owner, None, True, email, None, None))

    def link_user(self, user_id: str, alias: str, whom: str) -> None:
        """Link a user to an identity at a provider by hand."""
        self.note(f"users/{user_id}/federated-identity/{alias}")
        user = self.users[user_id]
        others = {link for link in user.record.links if link.alias != alias}
        user.record = replace(user.record, links=frozenset({*others, IdentityProviderLink(alias, whom, whom)}))

    def put_user(self, user: UserRecord, password: Sensitive | None = None) -> str:
        """Make a user with its groups, and what else comes with a create; return its id."""
        user_id = new_id()
        actions = user.required_actions & self.required_actions
        made = replace(
            user,
            user_id=user_id,
            username=user.username.lower(),
            groups=frozenset(),
            required_actions=actions | ({"UPDATE_PASSWORD"} if password is not None else set()),
            links=frozenset(link for link in user.links if link.alias in self.identity_providers),
        )
        self.users[user_id] = FakeUser(
            self.kept(made),
            role_ids={self.default_role.role_id},
            groups=set(user.groups),
            password=password,
        )
        return user_id

    def kept(self, user: UserRecord) -> UserRecord:
        """Return what Keycloak keeps of a user."""
        email = user.email.lower() if user.email else None
        kept = replace(
            user,
            email=email,
            first_name=user.first_name or None,
            last_name=user.last_name or None,
            email_verified=bool(user.email_verified),
            attributes={name: v for name, v in user.attributes.items() if v and name in self.declared_attributes},
        )
        return kept if self.owner_attributes_kept else replace(kept, owner=None, object_name=None)

    def change_user(self, user_id: str, **changes: object) -> None:
        """Change fields of a user by hand (names as in `UserRecord`)."""
        self.note(f"users/{user_id}")
        user = self.users[user_id]
        user.record = replace(user.record, **changes)  # type: ignore[arg-type]

    def open_session(self, user_id: str, *, offline: bool = False) -> None:
        """Log a user in."""
        self.users[user_id].sessions.append(FakeSession(offline))

    # Tokens

    def issue(self, client: ClientRecord, scopes: frozenset[str] = frozenset()) -> Sensitive:
        """Issue a token to a client."""
        now = datetime.fromtimestamp(int(self.now().timestamp()), UTC)
        lifespan = client.attributes.get("access.token.lifespan")
        lifetime = timedelta(seconds=int(lifespan)) if lifespan else DEFAULT_LIFETIME
        account = self.account_of(client.client_uuid)
        role_ids = self._with_members(account.role_ids)
        if not client.flags["fullScopeAllowed"]:
            listed = [self.scope_roles[one] for one in client.default_scopes | scopes]
            role_ids &= self._with_members(role_id for some in listed for role_id in some)
        held = [self.roles[one] for one in role_ids]
        clients = sorted({role.client_id for role in held if role.client_id is not None})
        claims = TokenClaims(
            issuer=self.issuer_url,
            subject=str(account.record.user_id),
            authorized_party=client.client_id,
            token_id=f"trrtcc:{new_id()}",
            issued_at=now,
            expires_at=now + min(lifetime, self.longest_token or lifetime),
            audiences=frozenset({*(("account",) if held else ()), *clients, *_audiences(client.mappers)}),
            realm_roles=frozenset(role.name for role in held if role.client_id is None),
            client_roles={one: frozenset(role.name for role in held if role.client_id == one) for one in clients},
            scopes=frozenset(client.default_scopes - (set(DEFAULT_SCOPES) - set(NAMED_IN_TOKENS))) | scopes,
            extra=_hardcoded(client.mappers),
        )
        token = Sensitive(f"header.{claims.token_id}.signature")
        self.tokens[token.reveal()] = claims
        return token

    def service_account_token(self, subject: str) -> str:
        """Return a token of a ServiceAccount as the cluster makes them, whose assertions the realm takes."""
        token = f"assertion.{new_id()}.of-the-cluster"
        self.assertions[token] = subject
        return token

    def authenticated(self, credentials: ClientAuthentication) -> ClientRecord | None:
        """Return the client that authenticates so, None if it is refused.

        Raises:
            BackendRejectedError: A secret, for a client that must sign: Keycloak misses the assertion.
        """
        return authenticated(credentials, self.clients.values(), self.assertions)

    def accepts(self, token: Sensitive) -> bool:
        """Tell whether Keycloak takes a token for valid now."""
        claims = self.tokens.get(token.reveal())
        if claims is None or claims.token_id in self.revoked or claims.expires_at <= self.now():
            return False
        client = self.client(claims.authorized_party)
        return client is not None and client.enabled and claims.issued_at.timestamp() >= client.not_before

    def _with_members(self, role_ids: Iterable[str]) -> set[str]:
        found: set[str] = set()
        waiting = list(role_ids)
        while waiting:
            one = waiting.pop()
            if one not in found and one in self.roles:
                found.add(one)
                waiting += self.members[one]
        return found


def new_id() -> str:
    """Return an id as Keycloak makes them."""
    return str(uuid.uuid4())


def _uris(client: ClientRecord) -> dict[str, tuple[str, ...]]:
    """Return the addresses of a new client: without webOrigins, those are made of its redirect URIs."""
    redirects = client.uris.get("redirectUris", ())
    origins = {f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, redirects) if parts.scheme != ""}
    found = {"redirectUris": redirects, "webOrigins": tuple(sorted(origins)), **client.uris}
    return {name: tuple(sorted(values)) for name, values in found.items() if values}


def _hardcoded(mappers: Iterable[ProtocolMapper]) -> dict[str, str]:
    """Return the claims of the mappers that have a fixed text for the access token."""
    return {
        mapper.config["claim.name"]: mapper.config["claim.value"]
        for mapper in mappers
        if mapper.type == "oidc-hardcoded-claim-mapper" and mapper.config.get("access.token.claim") == "true"
    }


def _audiences(mappers: Iterable[ProtocolMapper]) -> set[str]:
    return {
        audience
        for mapper in mappers
        if mapper.type == "oidc-audience-mapper" and mapper.config.get("access.token.claim") == "true"
        if (audience := mapper.config.get("included.custom.audience") or mapper.config.get("included.client.audience"))
    }
