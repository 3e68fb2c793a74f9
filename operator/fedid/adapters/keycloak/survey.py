"""Listings of a realm by pages, and its admin events: what a search for changes made by hand reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fedid.adapters.keycloak.access import RealmAccess
from fedid.adapters.keycloak.connection import own_claims
from fedid.adapters.keycloak.representations import client_record, user_record
from fedid.adapters.transport import segment
from fedid.domain.bot_authentication import FEDERATED_JWT, SUBJECT_ATTRIBUTE
from fedid.domain.drift import AdminEvent, Page
from fedid.domain.realm import OWNER_ATTRIBUTE, ClientRecord, Role, UserRecord

_GROUPS_AT_ONCE: Final = 100
_CLIENTS_AT_ONCE: Final = 100


class RealmSurvey:
    """The part of `IdentityProvider` that lists."""

    _access: RealmAccess

    async def clients_page(self, owner_prefix: str, first: int, size: int) -> Page[ClientRecord]:
        """Return those of a page of clients whose owner mark begins so, with their secrets."""
        # Not by `q`: unless the server was configured for that attribute, its answers are wrong (26.7.3).
        found = await self._list("/clients", first, size)
        ours = (one for one in found if _mark(one).startswith(owner_prefix))
        return Page(tuple(client_record(one, with_secret=True) for one in ours), len(found))

    async def clients_of_subject(self, subject: str) -> tuple[ClientRecord, ...]:
        """Return the clients that take assertions of this subject, from all pages."""
        found: list[ClientRecord] = []
        first = 0
        while page := await self._list("/clients", first, _CLIENTS_AT_ONCE):
            records = (client_record(one, with_secret=False) for one in page)
            found += [
                one
                for one in records
                if one.authenticator == FEDERATED_JWT and one.attributes.get(SUBJECT_ATTRIBUTE) == subject
            ]
            first += _CLIENTS_AT_ONCE
        return tuple(found)

    async def users_page(self, owner_prefix: str, first: int, size: int) -> Page[UserRecord]:
        """Return users whose owner mark begins so, a page of them."""
        # `exact=false` looks for a part of the value, in whatever case.
        found = await self._list("/users", first, size, q=f'{OWNER_ATTRIBUTE}:"{owner_prefix}"', exact="false")
        users = (user_record(one) for one in found)
        return Page(tuple(one for one in users if (one.owner or "").startswith(owner_prefix)), len(found))

    async def all_roles(self, client_id: str | None) -> tuple[Role, ...]:
        """Return all roles of the realm (None) or of a client, afresh."""
        found = await self._access.roles.afresh(client_id)
        # Source: Keycloak, Constants.DEFAULT_ROLES_ROLE_PREFIX; the realm's name in lower case follows.
        default = f"default-roles-{self._access.realm.lower()}"
        return tuple(one for one in found if client_id is not None or one.name != default)

    async def all_groups(self, at_most: int) -> Mapping[str, str]:
        """Return the realm's groups, path to id; a call per hundred, and one for each that has others below it."""
        known: dict[str, str] = {}
        folders = ["/groups"]
        while folders and len(known) <= at_most:
            folder, first = folders.pop(), 0
            while len(known) <= at_most:
                found = await self._list(folder, first, _GROUPS_AT_ONCE)
                known |= {one["path"]: one["id"] for one in found}
                folders += [f"/groups/{segment(one['id'])}/children" for one in found if one.get("subGroupCount")]
                if len(found) < _GROUPS_AT_ONCE:
                    break
                first += _GROUPS_AT_ONCE
        return known

    async def role_members(self, role: Role, first: int, size: int) -> tuple[str, ...]:
        """Return the ids of users to whom the role is mapped directly.

        Raises:
            StaleObjectError: The role is gone.
        """
        area = "" if role.client_uuid is None else f"/clients/{segment(role.client_uuid)}"
        path = f"{area}/roles/{segment(role.name)}/users"
        return tuple(one["id"] for one in await self._list(path, first, size, briefRepresentation="true"))

    async def group_members(self, group_id: str, first: int, size: int) -> tuple[str, ...]:
        """Return the ids of direct members of the group.

        Raises:
            StaleObjectError: The group is gone.
        """
        path = f"/groups/{segment(group_id)}/members"
        return tuple(one["id"] for one in await self._list(path, first, size, briefRepresentation="true"))

    async def admin_events(self, since: datetime, first: int, size: int) -> Page[AdminEvent]:
        """Return what others than the operator's own client changed since then, oldest first.

        Raises:
            BackendDeniedError: The operator's client may not read them.
        """
        # An event names its author by ids: those of a client and of a user, here the service account that is our `sub`.
        own = own_claims(await self._access.token.current()).get("sub")
        milliseconds = str(int(since.timestamp() * 1000))
        found = await self._list("/admin-events", first, size, dateFrom=milliseconds, direction="asc")
        others = (one for one in found if own is None or (one.get("authDetails") or {}).get("userId") != own)
        return Page(tuple(AdminEvent(one["id"], one.get("resourcePath") or "") for one in others), len(found))

    async def _list(self, path: str, first: int, size: int, **params: str) -> list[Mapping[str, Any]]:
        page = {"first": str(first), "max": str(size), **params}
        found: list[Mapping[str, Any]] = (await self._access.connection.call("GET", path, params=page)).json()
        return found


def _mark(client: Mapping[str, Any]) -> str:
    return str((client.get("attributes") or {}).get(OWNER_ATTRIBUTE) or "")
