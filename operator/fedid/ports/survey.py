"""The search for what was changed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from fedid.domain.drift import AdminEvent, Page
from fedid.domain.realm import ClientRecord, Role, UserRecord

__all__ = ["Survey"]


class Survey(Protocol):
    """The realm looked over as a whole, in pages, and what others did in it: the search for changes by hand."""

    async def clients_page(self, owner_prefix: str, first: int, size: int) -> Page[ClientRecord]:
        """Return those of `size` clients from the `first` on whose owner mark begins so, with their secrets.

        Nothing of the others leaves the adapter. Clients that come or go meanwhile move the pages: one may be missed.
        """

    async def users_page(self, owner_prefix: str, first: int, size: int) -> Page[UserRecord]:
        """Return users whose owner mark begins so, a page of them; groups not filled."""

    async def all_roles(self, client_id: str | None) -> tuple[Role, ...]:
        """Return all roles of the realm (None) or of a client, afresh, the realm's `default-roles-*` left out."""

    async def all_groups(self, at_most: int) -> Mapping[str, str]:
        """Return the realm's groups, path to id, afresh; once more than so many were met, the rest is left out."""

    async def role_members(self, role: Role, first: int, size: int) -> tuple[str, ...]:
        """Return the ids of `size` users, service accounts included, to whom the role is mapped directly.

        Raises:
            StaleObjectError: The role is gone.
        """

    async def group_members(self, group_id: str, first: int, size: int) -> tuple[str, ...]:
        """Return the ids of `size` direct members of the group.

        Raises:
            StaleObjectError: The group is gone.
        """

    async def clients_of_subject(self, subject: str) -> tuple[ClientRecord, ...]:
        """Return the clients, whoever made them, that take assertions of this subject; without their secrets.

        It reads all clients, page by page.
        """

    async def admin_events(self, since: datetime, first: int, size: int) -> Page[AdminEvent]:
        """Return what others than the operator's own client changed since then (Keycloak's clock), oldest first.

        An event is stored when its change is committed, so one may appear that is older than the newest seen.

        Raises:
            BackendDeniedError: The operator's client may not read them.
        """
