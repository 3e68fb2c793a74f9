"""Roles, and who they are mapped to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from fedid.adapters.keycloak.access import RealmAccess
from fedid.adapters.keycloak.catalogue import REALM
from fedid.adapters.keycloak.refusals import NotFoundError
from fedid.adapters.keycloak.representations import role
from fedid.adapters.transport import segment
from fedid.domain.realm import Role, RoleMappings, RoleName


class RealmRoles:
    """The part of `IdentityProvider` that is about roles."""

    _access: RealmAccess

    async def realm_roles(self, names: frozenset[str]) -> Mapping[str, Role]:
        """Return those of the named realm roles that exist, from a cache that is filled when one is missing in it."""
        return await self._access.roles.roles(REALM, names)

    async def client_roles(self, client_id: str, names: frozenset[str]) -> Mapping[str, Role]:
        """Return those of the named roles of a client that exist, cached likewise; empty if there is no such client."""
        return await self._access.roles.roles(client_id, names)

    async def roles_with_role(self, role: RoleName) -> frozenset[RoleName]:
        """Return the roles that somebody has by a role beside it, cached; while Keycloak is away, the last answer."""
        return await self._access.brought.with_role(role)

    async def roles_with_group(self, path: str) -> frozenset[RoleName]:
        """Return the roles that a member of a group has by it, likewise."""
        return await self._access.brought.with_group(path)

    def forget_brought_roles(self) -> None:
        """Have both ask Keycloak at the next question."""
        self._access.brought.forget()

    async def role_mappings(self, user_id: str) -> RoleMappings:
        """Return the roles mapped directly to a user, the realm's own `default-roles-*` left out.

        Raises:
            StaleObjectError: The user is gone.
        """
        found = await self._access.admin.a_get_all_roles_of_user(segment(user_id))
        # Source: Keycloak, Constants.DEFAULT_ROLES_ROLE_PREFIX; the realm's name in lower case follows.
        default = f"default-roles-{self._access.realm.lower()}"
        return RoleMappings(
            realm=frozenset(role(one) for one in found.get("realmMappings") or () if one["name"] != default),
            client=frozenset(
                role(one, client_id=client_id, client_uuid=client["id"])
                for client_id, client in (found.get("clientMappings") or {}).items()
                for one in client["mappings"]
            ),
        )

    async def add_roles(self, user_id: str, roles: frozenset[Role]) -> None:
        """Map roles to a user: one call for all realm roles, one per client for client roles.

        Raises:
            StaleObjectError: The user or a role is gone, or the role was made anew under another id.
            BackendDeniedError: It is an administrative role, or our own access lacks `manage-users`.
        """
        user = segment(user_id)
        admin = self._access.admin
        try:
            for client_uuid, some in _by_client(roles):
                if client_uuid is None:
                    await admin.a_assign_realm_roles(user, some)
                else:
                    await admin.a_assign_client_role(user, segment(client_uuid), some)
        except NotFoundError:
            self._access.roles.clear()
            raise

    async def remove_roles(self, user_id: str, roles: frozenset[Role]) -> None:
        """Unmap roles from a user, likewise; one that is not mapped is no error.

        Raises:
            StaleObjectError: The user or a role is gone, or the role was made anew under another id.
        """
        user = segment(user_id)
        admin = self._access.admin
        try:
            for client_uuid, some in _by_client(roles):
                if client_uuid is None:
                    await admin.a_delete_realm_roles_of_user(user, some)
                else:
                    await admin.a_delete_client_roles_of_user(user, segment(client_uuid), some)
        except NotFoundError:
            self._access.roles.clear()
            raise


def _by_client(roles: frozenset[Role]) -> list[tuple[str | None, list[dict[str, str]]]]:
    """Return what to send for each client, the realm's own roles first; Keycloak compares both id and name."""
    found: defaultdict[str | None, list[dict[str, str]]] = defaultdict(list)
    for one in sorted(roles, key=lambda one: (one.client_uuid or "", one.name)):
        found[one.client_uuid].append({"id": one.role_id, "name": one.name})
    return list(found.items())
