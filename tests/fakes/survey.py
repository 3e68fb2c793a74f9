"""The listings of the fake `IdentityProvider`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from fedid.domain.bot_authentication import FEDERATED_JWT, SUBJECT_ATTRIBUTE
from fedid.domain.drift import AdminEvent, Page
from fedid.domain.realm import ClientRecord, Role, UserRecord
from fedid.errors import BackendDeniedError, StaleObjectError
from tests.fakes.realm import FakeRealm

_T = TypeVar("_T")


class FakeSurvey:
    """The part of a fake `IdentityProvider` that lists."""

    realm: FakeRealm
    may_read_events: bool

    async def clients_page(self, owner_prefix: str, first: int, size: int) -> Page[ClientRecord]:
        """Return clients by clientId, those of an owner."""
        await self._begin("clients_page", str(first))
        page = _page(sorted(self.realm.clients.values(), key=lambda one: one.client_id), first, size)
        return Page(tuple(one for one in page if (one.owner or "").startswith(owner_prefix)), len(page))

    async def clients_of_subject(self, subject: str) -> tuple[ClientRecord, ...]:
        """Return the clients that take assertions of a subject."""
        await self._begin("clients_of_subject", subject)
        return tuple(
            replace(one, secret=None, previous_secret=None)
            for one in self.realm.clients.values()
            if one.authenticator == FEDERATED_JWT and one.attributes.get(SUBJECT_ATTRIBUTE) == subject
        )

    async def users_page(self, owner_prefix: str, first: int, size: int) -> Page[UserRecord]:
        """Return users by name, those of an owner."""
        await self._begin("users_page", str(first))
        records = (replace(user.record, links=frozenset()) for user in self.realm.users.values())
        users = sorted(records, key=lambda one: one.username)
        page = _page([one for one in users if (one.owner or "").startswith(owner_prefix)], first, size)
        return Page(tuple(page), len(page))

    async def all_roles(self, client_id: str | None) -> tuple[Role, ...]:
        """Return all roles of the realm or of a client."""
        await self._begin("all_roles", client_id or "")
        found = (role for role in self.realm.roles.values() if role.client_id == client_id)
        return tuple(role for role in found if role.role_id != self.realm.default_role.role_id)

    async def all_groups(self, at_most: int) -> Mapping[str, str]:
        """Return all groups, one more than asked for where there are more."""
        await self._begin("all_groups")
        return dict(sorted(self.realm.groups.items())[: at_most + 1])

    async def role_members(self, role: Role, first: int, size: int) -> tuple[str, ...]:
        """Return who holds a role."""
        await self._begin("role_members", role.name)
        if role.role_id not in self.realm.roles:
            message = "the role is gone"
            raise StaleObjectError(message)
        holders = [user_id for user_id, user in self.realm.users.items() if role.role_id in user.role_ids]
        return tuple(_page(sorted(holders), first, size))

    async def group_members(self, group_id: str, first: int, size: int) -> tuple[str, ...]:
        """Return who is in a group."""
        await self._begin("group_members", group_id)
        path = next((path for path, one in self.realm.groups.items() if one == group_id), None)
        if path is None:
            message = "the group is gone"
            raise StaleObjectError(message)
        members = [user_id for user_id, user in self.realm.users.items() if path in user.groups]
        return tuple(_page(sorted(members), first, size))

    async def admin_events(self, since: datetime, first: int, size: int) -> Page[AdminEvent]:
        """Return what the administrator did; what this provider does is not recorded here."""
        await self._begin("admin_events", str(first))
        if not self.may_read_events:
            message = "the role view-events is missing"
            raise BackendDeniedError(message, backend="keycloak")
        page = _page([event for at, event in self.realm.events if at >= since], first, size)
        return Page(tuple(page), len(page))

    async def _begin(self, operation: str, target: str = "") -> None:
        raise NotImplementedError


def _page(found: Sequence[_T], first: int, size: int) -> Sequence[_T]:
    return found[first : first + size]
