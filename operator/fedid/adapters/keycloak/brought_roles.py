"""Which roles come along with a role or a group, kept for a while.

A role without composites costs no call, and a group none beside the one that finds its id. A composite costs one call
for each composite in it, and one for each client that is met there for the first time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fedid.adapters.keycloak.catalogue import GroupDirectory, RoleCatalogue
from fedid.adapters.keycloak.connection import AdminConnection
from fedid.adapters.keycloak.refusals import NotFoundError
from fedid.adapters.transport import segment
from fedid.domain.realm import RoleName
from fedid.engine import SingleFlight
from fedid.errors import BackendUnavailableError

_Source = tuple[str, str | None, str]
"""`role`, its client and name; or `group`, None and its path."""


@dataclass(frozen=True, slots=True)
class _Answer:
    roles: frozenset[RoleName]
    asked_at: float


class BroughtRoles:
    """What roles and groups bring along."""

    def __init__(
        self,
        connection: AdminConnection,
        roles: RoleCatalogue,
        groups: GroupDirectory,
        *,
        life: timedelta = timedelta(minutes=5),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty; an answer is asked for again after `life`."""
        self._connection, self._roles, self._groups = connection, roles, groups
        self._life_seconds = life.total_seconds()
        self._monotonic = monotonic
        self._known: dict[_Source, _Answer] = {}
        self._asking: SingleFlight[_Source, frozenset[RoleName]] = SingleFlight()
        self._client_ids: dict[str, str] = {}
        """Client id by internal id."""
        self._forgotten_at = float("-inf")

    async def with_role(self, role: RoleName) -> frozenset[RoleName]:
        """Return the roles that come along with a role, itself not among them."""
        return await self._answer(("role", *role), lambda: self._of_role(role))

    async def with_group(self, path: str) -> frozenset[RoleName]:
        """Return the roles that a member of a group has by it."""
        return await self._answer(("group", None, path), lambda: self._of_group(path))

    def forget(self) -> None:
        """Have everything asked for anew; an answer stays only for the time that Keycloak is away."""
        self._forgotten_at = self._monotonic()
        self._client_ids.clear()
        self._roles.clear()
        self._groups.clear()

    async def _answer(
        self, source: _Source, ask: Callable[[], Coroutine[Any, Any, frozenset[RoleName]]]
    ) -> frozenset[RoleName]:
        known = self._known.get(source)
        now = self._monotonic()
        if known is not None and known.asked_at > self._forgotten_at and now - known.asked_at <= self._life_seconds:
            return known.roles
        try:
            found = await self._asking.run(source, ask)
        except BackendUnavailableError:
            if known is None:
                raise
            return known.roles
        self._known[source] = _Answer(found, now)
        return found

    async def _of_role(self, role: RoleName) -> frozenset[RoleName]:
        client_id, name = role
        found = (await self._roles.roles(client_id, frozenset({name}))).get(name)
        if found is None or not found.composite:
            return frozenset()
        return await self._closure([found.role_id]) - {role}

    async def _of_group(self, path: str) -> frozenset[RoleName]:
        names = path.strip("/").split("/")
        held: set[RoleName] = set()
        for depth in range(len(names), 0, -1):
            group_roles = await self._groups.roles("/" + "/".join(names[:depth]))
            if group_roles is None:
                break  # there is no such group, and so none below it
            held |= group_roles
        found = set(held)
        for role in sorted(held, key=str):
            found |= await self.with_role(role)
        return frozenset(found)

    async def _closure(self, role_ids: list[str]) -> frozenset[RoleName]:
        """Return what these composites hold, and the composites among that in turn; one may hold itself."""
        met, waiting, found = set(role_ids), list(role_ids), set()
        while waiting:
            for one in await self._members(waiting.pop()):
                found.add(await self._name(one))
                if one.get("composite") and one["id"] not in met:
                    met.add(one["id"])
                    waiting.append(one["id"])
        return frozenset(found)

    async def _members(self, role_id: str) -> list[Mapping[str, Any]]:
        try:
            answer = await self._connection.call("GET", f"/roles-by-id/{segment(role_id)}/composites")
        except NotFoundError:
            return []  # it went meanwhile
        members: list[Mapping[str, Any]] = answer.json()
        return members

    async def _name(self, role: Mapping[str, Any]) -> RoleName:
        if not role.get("clientRole"):
            return None, str(role["name"])
        uuid = str(role["containerId"])
        if uuid not in self._client_ids:
            answer = await self._connection.call("GET", f"/clients/{segment(uuid)}")
            self._client_ids[uuid] = str(answer.json()["clientId"])
        return self._client_ids[uuid], str(role["name"])
