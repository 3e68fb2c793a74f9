"""An `IdentityProvider` over a realm in memory, with failures on demand.

tests/contract/test_identity_provider.py holds it against a real Keycloak. A planned failure strikes `before` (nothing
happened) or `after` (all happened, only the answer was lost).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from fedid.domain.realm import (
    ClientRecord,
    ClientScope,
    RealmFacts,
    RealmScopes,
    Role,
    RoleMappings,
    SecretPolicy,
    UserRecord,
)
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientAuthentication, MintedToken, TokenClaims
from fedid.errors import BackendRejectedError, OwnershipConflictError, StaleObjectError
from tests.fakes.failures import Failures
from tests.fakes.realm import FakeRealm, FakeUser
from tests.fakes.survey import FakeSurvey

BACKEND = "keycloak"


@dataclass(frozen=True, slots=True)
class IdentityCall:
    """One call of the port."""

    operation: str
    target: str
    """Internal id, client id, user id or username that it is about; empty if there is none."""


class FakeIdentityProvider(FakeSurvey):
    """An `IdentityProvider`; `realm` is what lies behind it."""

    def __init__(
        self, realm: FakeRealm | None = None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Look at a realm.

        Args:
            realm: None: an empty one.
            now: Keycloak's clock (aware UTC) of the empty one.
        """
        self.realm = realm if realm is not None else FakeRealm(now=now)
        self.calls: list[IdentityCall] = []
        """Every call that Keycloak would have seen, in order."""
        self.writes: list[IdentityCall] = []
        """The calls that changed something; a token request does not."""
        self.failures = Failures()
        self.missing_permissions: tuple[str, ...] = ()
        self.may_read_events = True
        self.clock_uncertainty = timedelta()
        """By how much the upper bound of Keycloak's clock lies above the lower one."""
        self.closed = False

    async def probe(self) -> RealmFacts:
        """Return what a healthy realm would."""
        await self._begin("probe")
        recorded = self.realm.records_events
        readable = recorded and self.may_read_events
        kept = self.realm.owner_attributes_kept
        return RealmFacts(self.realm.issuer_url, kept, self.missing_permissions, recorded, readable)

    def server_now(self) -> datetime:
        """Return Keycloak's clock."""
        return datetime.fromtimestamp(int(self.realm.now().timestamp()), UTC)

    def server_now_at_most(self) -> datetime:
        """Return Keycloak's clock, or what it may be at most."""
        return datetime.fromtimestamp(int((self.realm.now() + self.clock_uncertainty).timestamp()), UTC)

    # Clients

    @property
    def operator_client_id(self) -> str:
        """Return a clientId that no bot has."""
        return "fedid-operator"

    async def create_client(self, client: ClientRecord) -> bool:
        """Create a client unless its id or clientId is taken."""
        await self._begin("create_client", client.client_uuid)
        if client.client_uuid in self.realm.clients or self.realm.client(client.client_id) is not None:
            return False
        self.realm.put_client(replace(client, owner=client.owner or None, object_name=client.object_name or None))
        self._wrote("create_client", client.client_uuid)
        return True

    async def read_client(self, client_uuid: str) -> ClientRecord | None:
        """Return a client; its secret only if it carries an owner mark."""
        await self._begin("read_client", client_uuid)
        client = self.realm.clients.get(client_uuid)
        if client is None or client.owner:
            return client
        return replace(client, secret=None, previous_secret=None)

    async def find_client(self, client_id: str) -> ClientRecord | None:
        """Return a client without its secret."""
        await self._begin("find_client", client_id)
        client = self.realm.client(client_id)
        return None if client is None else replace(client, secret=None, previous_secret=None)

    async def update_client(self, client: ClientRecord) -> None:
        """Change what the record names."""
        await self._begin("update_client", client.client_uuid)
        old = self.realm.clients.get(client.client_uuid)
        if old is None:
            _raise_gone("client")
        attributes = {**old.attributes, **client.attributes}
        uris = {**old.uris, **client.uris}
        self.realm.clients[client.client_uuid] = replace(
            client,
            secret=client.secret or old.secret,
            flags={**old.flags, **client.flags},
            uris={name: tuple(sorted(values)) for name, values in uris.items() if values},
            attributes={name: value for name, value in attributes.items() if value},
            mappers=tuple(sorted(client.mappers, key=lambda mapper: mapper.name)),
            previous_secret=old.previous_secret,
            previous_since=old.previous_since,
            not_before=client.not_before or old.not_before,
            default_scopes=old.default_scopes,
            optional_scopes=old.optional_scopes,
        )
        self.realm.keep_account(client.client_uuid)
        self._wrote("update_client", client.client_uuid)

    async def delete_client(self, client_uuid: str) -> None:
        """Delete a client if it is there."""
        await self._begin("delete_client", client_uuid)
        if client_uuid in self.realm.clients:
            self.realm.delete_client(client_uuid)
            self._wrote("delete_client", client_uuid)

    async def service_account_id(self, client_uuid: str) -> str:
        """Return the id of a client's service account."""
        await self._begin("service_account_id", client_uuid)
        client = self.realm.clients.get(client_uuid)
        if client is None:
            _raise_gone("client")
        if not client.flags.get("serviceAccountsEnabled"):
            message = f"client {client.client_id} has no service account"
            raise BackendRejectedError(message, backend=BACKEND)
        return str(self.realm.account_of(client_uuid).record.user_id)

    async def realm_scopes(self, names: frozenset[str]) -> RealmScopes:
        """Return all client scopes; from a cache, so not counted as a call."""
        del names
        await asyncio.sleep(0)
        realm = self.realm
        return RealmScopes(dict(realm.scopes), frozenset(realm.default_scopes), frozenset(realm.optional_scopes))

    async def add_client_scope(self, client_uuid: str, scope: ClientScope) -> None:
        """Give a client a scope unless it has it."""
        await self._begin("add_client_scope", client_uuid)
        self._check_scope(client_uuid, scope)
        self.realm.give_scope(client_uuid, scope.name, optional=scope.optional)
        self._wrote("add_client_scope", client_uuid)

    async def remove_client_scope(self, client_uuid: str, scope: ClientScope) -> None:
        """Take a scope from a client."""
        await self._begin("remove_client_scope", client_uuid)
        self._check_scope(client_uuid, scope)
        self.realm.take_scope(client_uuid, scope.name)
        self._wrote("remove_client_scope", client_uuid)

    # Two secrets

    async def secret_policy(self, attributes: Mapping[str, str]) -> SecretPolicy | None:
        """Return the realm's policy, which is about clients that carry fedid's attribute; not counted as a call."""
        await asyncio.sleep(0)
        return self.realm.secret_policy if attributes.get("fedid.secret-rotation") == "true" else None

    async def keep_secret(self, client_uuid: str) -> bool:
        """Put a secret of Keycloak's in the place of the one in use."""
        await self._begin("keep_secret", client_uuid)
        client = self.realm.clients.get(client_uuid)
        if client is None:
            _raise_gone("client")
        kept = self.realm.regenerate_secret(client_uuid)
        self._wrote("keep_secret", client_uuid)
        return kept

    async def end_previous_secret(self, client_uuid: str) -> None:
        """End the previous secret."""
        await self._begin("end_previous_secret", client_uuid)
        client = self.realm.clients.get(client_uuid)
        if client is not None and client.previous_secret is not None:
            self.realm.change_client(client_uuid, previous_secret=None, previous_since=None)
            self._wrote("end_previous_secret", client_uuid)

    # Roles

    async def realm_roles(self, names: frozenset[str]) -> Mapping[str, Role]:
        """Return those realm roles that exist."""
        return await self._roles(None, names)

    async def client_roles(self, client_id: str, names: frozenset[str]) -> Mapping[str, Role]:
        """Return those roles of a client that exist."""
        return await self._roles(client_id, names)

    async def role_mappings(self, user_id: str) -> RoleMappings:
        """Return what is mapped to a user, the realm's default role left out."""
        await self._begin("role_mappings", user_id)
        user = self._user(user_id)
        held = {self.realm.roles[one] for one in user.role_ids if one != self.realm.default_role.role_id}
        return RoleMappings(
            realm=frozenset(role for role in held if role.client_id is None),
            client=frozenset(role for role in held if role.client_id is not None),
        )

    async def add_roles(self, user_id: str, roles: frozenset[Role]) -> None:
        """Map roles, all or none."""
        await self._begin("add_roles", user_id)
        user = self._user(user_id)
        user.role_ids |= self._ids(roles)
        self._wrote("add_roles", user_id)

    async def remove_roles(self, user_id: str, roles: frozenset[Role]) -> None:
        """Unmap roles, all or none."""
        await self._begin("remove_roles", user_id)
        user = self._user(user_id)
        user.role_ids -= self._ids(roles)
        self._wrote("remove_roles", user_id)

    # Users

    async def create_user(self, user: UserRecord) -> str | None:
        """Create a user unless its name is taken."""
        await self._begin("create_user", user.username)
        if missing := sorted(user.groups - self.realm.groups.keys()):
            message = f"there is no group {', '.join(missing)}"
            raise BackendRejectedError(message, backend=BACKEND, reason="GroupMissing")
        self._check_fields(user)
        if self.realm.user(user.username) is not None:
            return None
        self._check_email(user)
        user_id = self.realm.put_user(user)
        self._wrote("create_user", user.username)
        return user_id

    async def read_user(self, user_id: str) -> UserRecord | None:
        """Return a user by id."""
        await self._begin("read_user", user_id)
        user = self.realm.users.get(user_id)
        return None if user is None else user.record

    async def find_user(self, username: str) -> UserRecord | None:
        """Return a user by name."""
        await self._begin("find_user", username)
        user = self.realm.user(username)
        return None if user is None else user.record

    async def user_groups(self, user_id: str) -> Mapping[str, str]:
        """Return a user's groups."""
        await self._begin("user_groups", user_id)
        return {path: self.realm.groups[path] for path in sorted(self._user(user_id).groups)}

    async def group_ids(self, paths: frozenset[str]) -> Mapping[str, str]:
        """Return those groups that exist; from a cache, so not counted as a call."""
        await asyncio.sleep(0)
        return {path: self.realm.groups[path] for path in sorted(paths) if path in self.realm.groups}

    async def update_user(self, user: UserRecord) -> None:
        """Replace a user's own fields."""
        user_id = user.user_id or ""
        await self._begin("update_user", user_id)
        old = self._user(user_id)
        self._check_fields(user)
        self._check_email(user)
        old.record = self.realm.kept(replace(user, username=old.record.username, groups=frozenset()))
        self._wrote("update_user", user_id)

    async def join_group(self, user_id: str, group_id: str) -> None:
        """Add a user to a group."""
        await self._begin("join_group", user_id)
        path = self._path(group_id)
        if path is None:
            _raise_gone("group")
        self._user(user_id).groups.add(path)
        self._wrote("join_group", user_id)

    async def leave_group(self, user_id: str, group_id: str) -> None:
        """Take a user out of a group."""
        await self._begin("leave_group", user_id)
        path, user = self._path(group_id), self.realm.users.get(user_id)
        if path is not None and user is not None and path in user.groups:
            user.groups.discard(path)
            self._wrote("leave_group", user_id)

    async def end_sessions(self, user_id: str) -> None:
        """End all sessions of a user."""
        await self._begin("end_sessions", user_id)
        user = self.realm.users.get(user_id)
        if user is not None:
            user.sessions.clear()
            self._wrote("end_sessions", user_id)

    async def delete_user(self, user_id: str) -> None:
        """Delete a user if it is there."""
        await self._begin("delete_user", user_id)
        if self.realm.users.pop(user_id, None) is not None:
            self._wrote("delete_user", user_id)

    # Tokens

    async def mint(self, credentials: ClientAuthentication, scopes: frozenset[str] = frozenset()) -> MintedToken | None:
        """Issue a token if the secret is right."""
        await self._begin("mint", credentials.client_id)
        client = self.realm.authenticated(credentials)
        if client is None:
            return None
        if unknown := scopes - client.default_scopes - client.optional_scopes:
            message = f"Keycloak refuses (400 invalid_scope): Invalid scopes: {' '.join(sorted(unknown))}"
            raise BackendRejectedError(message, backend=BACKEND)
        token = self._issue(client, scopes)
        self.failures.strike("mint", credentials.client_id, "after")
        return MintedToken(token, self.realm.tokens[token.reveal()])

    async def verify(self, token: Sensitive) -> TokenClaims | None:
        """Return what a token says if this realm issued it; not counted as a call."""
        await asyncio.sleep(0)
        return self.realm.tokens.get(token.reveal())

    async def token_accepted(self, token: Sensitive) -> bool:
        """Tell whether a token is good now."""
        await self._begin("token_accepted")
        return self.realm.accepts(token)

    async def credentials_refused(self, credentials: ClientAuthentication) -> bool:
        """Tell whether a secret is refused."""
        await self._begin("credentials_refused", credentials.client_id)
        client = self.realm.authenticated(credentials)
        if client is None:
            return True
        self.realm.revoked.add(self.realm.tokens[self._issue(client).reveal()].token_id)
        return False

    async def authenticates(self, credentials: ClientAuthentication) -> bool:
        """Tell whether a client with a secret or key authenticates so."""
        await self._begin("authenticates", credentials.client_id)
        client = self.realm.client(credentials.client_id)
        if client is not None and client.flags["publicClient"]:
            message = "Keycloak refuses (403 invalid_request): Client not allowed."
            raise BackendRejectedError(message, backend=BACKEND)
        return self.realm.authenticated(credentials) is not None

    async def revoke(self, token: Sensitive, credentials: ClientAuthentication) -> None:
        """Revoke a token as its client."""
        await self._begin("revoke", credentials.client_id)
        client, claims = self.realm.authenticated(credentials), self.realm.tokens.get(token.reveal())
        if client is None:
            if self.realm.accepts(token):
                message = f"{credentials.client_id} is refused and its token is not"
                raise BackendRejectedError(message, backend=BACKEND)
            return
        if claims is None or claims.expires_at <= self.realm.now():
            return
        if claims.authorized_party != client.client_id:
            message = "the token is another client's"
            raise BackendRejectedError(message, backend=BACKEND)
        self.realm.revoked.add(claims.token_id)
        self._wrote("revoke", credentials.client_id)

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    async def _begin(self, operation: str, target: str = "") -> None:
        # A turn of the loop, so that calls at the same time interleave as they would with a server.
        await asyncio.sleep(0)
        self.calls.append(IdentityCall(operation, target))
        self.failures.strike(operation, target, "before")

    def _wrote(self, operation: str, target: str) -> None:
        self.writes.append(IdentityCall(operation, target))
        self.failures.strike(operation, target, "after")

    async def _roles(self, client_id: str | None, names: frozenset[str]) -> Mapping[str, Role]:
        await asyncio.sleep(0)
        found = self.realm.roles.values()
        return {role.name: role for role in found if role.client_id == client_id and role.name in names}

    def _check_scope(self, client_uuid: str, scope: ClientScope) -> None:
        if client_uuid not in self.realm.clients:
            _raise_gone("client")
        if self.realm.scopes.get(scope.name) != scope.scope_id:
            _raise_gone("scope")

    def _ids(self, roles: frozenset[Role]) -> set[str]:
        if any(self.realm.roles.get(role.role_id) is None for role in roles):
            _raise_gone("role")
        return {role.role_id for role in roles}

    def _user(self, user_id: str) -> FakeUser:
        user = self.realm.users.get(user_id)
        if user is None:
            _raise_gone("user")
        return user

    def _path(self, group_id: str) -> str | None:
        return next((path for path, one in self.realm.groups.items() if one == group_id), None)

    def _check_fields(self, user: UserRecord) -> None:
        if user.email and "@" not in user.email:
            message = "email: error-invalid-email"
            raise BackendRejectedError(message, backend=BACKEND)

    def _check_email(self, user: UserRecord) -> None:
        email = (user.email or "").lower()
        for other in self.realm.users.values():
            if email and other.record.email == email and other.record.user_id != user.user_id:
                message = "the e-mail address belongs to another user"
                raise OwnershipConflictError(message, backend=BACKEND)

    def _issue(self, client: ClientRecord, scopes: frozenset[str] = frozenset()) -> Sensitive:
        if not client.flags["serviceAccountsEnabled"] or client.flags["publicClient"]:
            message = f"client {client.client_id} has no service account or is public"
            raise BackendRejectedError(message, backend=BACKEND)
        return self.realm.issue(client, scopes)


def _raise_gone(what: str) -> NoReturn:
    message = f"the {what} is gone"
    raise StaleObjectError(message)
