"""Roles, groups and client scopes by name, kept for a while: hundreds of identities share a handful of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from keycloak import KeycloakAdmin

from fedid.adapters.keycloak.connection import AdminConnection
from fedid.adapters.keycloak.refusals import NotFoundError
from fedid.adapters.keycloak.representations import role
from fedid.adapters.keycloak.snapshot import Snapshot
from fedid.adapters.transport import segment
from fedid.domain.realm import RealmScopes, Role, RoleName
from fedid.engine import SingleFlight

_OIDC: Final = "openid-connect"
_SERVICE_ACCOUNT: Final = "service_account"
"""Scope that Keycloak (26.7.3) gives to a client when it gets a service account; no default of the realm."""
REALM: Final = None
"""The key of the realm's own roles, beside those of clients by client id."""


@dataclass(frozen=True, slots=True)
class _Shelf:
    roles: Mapping[str, Role]
    filled_at: float


class RoleCatalogue:
    """All roles of the realm, and of each client that was asked for."""

    def __init__(
        self,
        admin: KeycloakAdmin,
        connection: AdminConnection,
        *,
        life: timedelta = timedelta(minutes=5),
        pause: timedelta = timedelta(seconds=3),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty.

        Args:
            admin: The realm.
            connection: The same, for calls that the library lacks.
            life: After so long everything is read again.
            pause: A role that is missing makes us read again, at most this often.
            monotonic: Seconds that never go back.
        """
        self._admin = admin
        self._connection = connection
        self._life_seconds = life.total_seconds()
        self._pause_seconds = pause.total_seconds()
        self._monotonic = monotonic
        self._shelves: dict[str | None, _Shelf] = {}
        self._filling: SingleFlight[str | None, _Shelf] = SingleFlight()

    async def roles(self, client_id: str | None, names: frozenset[str]) -> Mapping[str, Role]:
        """Return those of the named roles that exist; `client_id` None (`REALM`) asks for realm roles."""
        shelf = self._shelves.get(client_id)
        if shelf is None or self._stale(shelf, names):
            shelf = await self._filling.run(client_id, lambda: self._fill(client_id))
        return {name: shelf.roles[name] for name in names & shelf.roles.keys()}

    async def afresh(self, client_id: str | None) -> tuple[Role, ...]:
        """Read all roles of the realm (`REALM`) or of a client now, remember and return them."""
        shelf = await self._filling.run(client_id, lambda: self._fill(client_id))
        return tuple(shelf.roles.values())

    def clear(self) -> None:
        """Forget everything: an id turned out to be of something that is gone."""
        self._shelves.clear()

    def _stale(self, shelf: _Shelf, names: frozenset[str]) -> bool:
        age = self._monotonic() - shelf.filled_at
        return age > self._life_seconds or (not names <= shelf.roles.keys() and age > self._pause_seconds)

    async def _fill(self, client_id: str | None) -> _Shelf:
        found = await (self._realm_roles() if client_id is REALM else self._client_roles(client_id))
        shelf = _Shelf({one.name: one for one in found}, self._monotonic())
        self._shelves[client_id] = shelf
        return shelf

    async def _realm_roles(self) -> list[Role]:
        return [role(found) for found in await self._admin.a_get_realm_roles()]

    async def _client_roles(self, client_id: str) -> list[Role]:
        answer = await self._connection.call("GET", "/clients", params={"clientId": client_id})
        uuid = next((found["id"] for found in answer.json() if found["clientId"] == client_id), None)
        if uuid is None:
            return []
        try:
            found_roles = await self._admin.a_get_client_roles(segment(uuid))
        except NotFoundError:
            return []
        return [role(found, client_id=client_id, client_uuid=uuid) for found in found_roles]


@dataclass(frozen=True, slots=True)
class _Group:
    group_id: str
    roles: frozenset[RoleName]
    """Mapped to it directly."""


class GroupDirectory:
    """Ids of groups by path, and the roles that are mapped to them."""

    def __init__(
        self,
        connection: AdminConnection,
        *,
        life: timedelta = timedelta(minutes=5),
        pause: timedelta = timedelta(seconds=3),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty; a group is asked for again after `life`, one that was missing after `pause`."""
        self._connection = connection
        self._life_seconds = life.total_seconds()
        self._pause_seconds = pause.total_seconds()
        self._monotonic = monotonic
        self._known: dict[str, tuple[_Group | None, float]] = {}
        self._asking: SingleFlight[str, _Group | None] = SingleFlight()

    async def ids(self, paths: frozenset[str]) -> Mapping[str, str]:
        """Return those of the group paths that exist with their ids."""
        found = {path: await self._group(path) for path in sorted(paths)}
        return {path: group.group_id for path, group in found.items() if group is not None}

    async def roles(self, path: str) -> frozenset[RoleName] | None:
        """Return the roles that are mapped to the group itself, None if there is no such group."""
        group = await self._group(path)
        return group.roles if group is not None else None

    def clear(self) -> None:
        """Forget everything: an id turned out to be of a group that is gone."""
        self._known.clear()

    async def _group(self, path: str) -> _Group | None:
        group, asked_at = self._known.get(path, (None, None))
        if asked_at is not None:
            age = self._monotonic() - asked_at
            if age <= (self._life_seconds if group is not None else self._pause_seconds):
                return group
        return await self._asking.run(path, lambda: self._ask(path))

    async def _ask(self, path: str) -> _Group | None:
        # Not by the library, which puts the path into the URL as it is.
        try:
            answer = await self._connection.call("GET", f"/group-by-path/{quote(path.strip('/'), safe='/')}")
        except NotFoundError:
            group = None
        else:
            told = answer.json()
            of_realm: set[RoleName] = {(None, name) for name in told.get("realmRoles") or ()}
            of_clients = {(of, name) for of, names in (told.get("clientRoles") or {}).items() for name in names}
            group = _Group(str(told["id"]), frozenset(of_realm | of_clients))
        self._known[path] = (group, self._monotonic())
        return group


class ScopeCatalogue:
    """All OpenID Connect client scopes of the realm, and which of them a new client gets."""

    def __init__(
        self,
        connection: AdminConnection,
        *,
        life: timedelta = timedelta(minutes=5),
        pause: timedelta = timedelta(seconds=3),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty; everything is read again after `life`, and after `pause` if one was missing."""
        self._connection = connection
        self._snapshot = Snapshot(self._read, life=life, pause=pause, monotonic=monotonic)

    async def scopes(self, names: frozenset[str]) -> RealmScopes:
        """Return what the realm has; read again if one of these is not in it."""
        return await self._snapshot.get(lambda known: names <= known.ids.keys())

    def clear(self) -> None:
        """Forget everything: an id turned out to be of something that is gone."""
        self._snapshot.clear()

    async def _read(self) -> RealmScopes:
        ids = await self._ids("/client-scopes")
        default = await self._ids("/default-default-client-scopes")
        optional = await self._ids("/default-optional-client-scopes")
        of_account = {_SERVICE_ACCOUNT} & ids.keys()
        return RealmScopes(ids, frozenset(default) | of_account, frozenset(optional))

    async def _ids(self, path: str) -> dict[str, str]:
        answer = await self._connection.call("GET", path)
        return {one["name"]: str(one["id"]) for one in answer.json() if one.get("protocol") == _OIDC}
