"""An `IdentityProvider` over a realm in memory, with failures on demand.

tests/contract holds it against a real Keycloak. A planned failure strikes `before` (nothing happened) or
`after` (all happened, only the answer was lost).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from fedid.domain.realm import (
    ClientRecord,
    ClientScope,
    RealmFacts,
    RealmScopes,
    Role,
    RoleName,
    SecretPolicy,
)
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientAuthentication, MintedToken, TokenClaims
from fedid.errors import BackendRejectedError
from tests.fakes.failures import Failures
from tests.fakes.realm import FakeRealm
from tests.fakes.survey import FakeSurvey
from tests.fakes.users import BACKEND, FakeUsers, raise_gone

BROUGHT_LIFE = timedelta(minutes=5)
"""For how long it is remembered what roles and groups bring along."""


@dataclass(frozen=True, slots=True)
class IdentityCall:
    """One call of the port."""

    operation: str
    target: str
    """Internal id, client id, user id or username that it is about; empty if there is none."""


class FakeIdentityProvider(FakeUsers, FakeSurvey):
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
        self._brought: dict[tuple[str | None, str], tuple[frozenset[RoleName], datetime]] = {}

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
            raise_gone("client")
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
            raise_gone("client")
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
            raise_gone("client")
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

    async def roles_with_role(self, role: RoleName) -> frozenset[RoleName]:
        """Return what comes along with a role; from a cache, so not counted as a call."""
        client_id, name = role
        found = [one.role_id for one in (await self._roles(client_id, frozenset({name}))).values()]
        return self._remembered(role, self.realm.brought(found) - {role})

    async def roles_with_group(self, path: str) -> frozenset[RoleName]:
        """Return what a member of a group has by it, likewise."""
        await asyncio.sleep(0)
        above = [
            one for one in self.realm.group_roles if path in self.realm.groups and f"{path}/".startswith(f"{one}/")
        ]
        role_ids = {role_id for one in above for role_id in self.realm.group_roles[one]}
        return self._remembered((None, path), self.realm.brought(role_ids))

    def forget_brought_roles(self) -> None:
        """Empty the cache."""
        self._brought.clear()

    def _remembered(self, source: tuple[str | None, str], now: frozenset[RoleName]) -> frozenset[RoleName]:
        """Return what was answered lately, else what is true now."""
        known = self._brought.get(source)
        if known is None or self.realm.now() - known[1] > BROUGHT_LIFE:
            known = self._brought[source] = (now, self.realm.now())
        return known[0]

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
            raise_gone("client")
        if self.realm.scopes.get(scope.name) != scope.scope_id:
            raise_gone("scope")

    def _issue(self, client: ClientRecord, scopes: frozenset[str] = frozenset()) -> Sensitive:
        if not client.flags["serviceAccountsEnabled"] or client.flags["publicClient"]:
            message = f"client {client.client_id} has no service account or is public"
            raise BackendRejectedError(message, backend=BACKEND)
        return self.realm.issue(client, scopes)
