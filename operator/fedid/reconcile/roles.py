"""Looks up roles and client scopes by name before anything is made that would need them."""

from __future__ import annotations

from collections.abc import Mapping

from fedid.domain.conditions import Reason
from fedid.domain.grants import Ask, AskKind
from fedid.domain.realm import ClientScope, RealmScopes, Role
from fedid.errors import BackendRejectedError
from fedid.reconcile.world import Backends

__all__ = ["ask_of", "existing_roles", "existing_scopes", "role_names", "scope_names"]


def ask_of(role: Role) -> Ask:
    """Return what a grant has to cover for somebody to have the role."""
    if role.client_id is None:
        return Ask(AskKind.REALM_ROLE, role.name)
    return Ask(AskKind.CLIENT_ROLE, role.name, role.client_id)


def role_names(roles: frozenset[Role]) -> list[str]:
    """Return the roles as people write them, `<client id>/<name>` for a client's, sorted."""
    return sorted(f"{role.client_id}/{role.name}" if role.client_id else role.name for role in roles)


async def existing_roles(
    backends: Backends, realm_roles: frozenset[str], client_roles: Mapping[str, frozenset[str]]
) -> frozenset[Role]:
    """Return the named roles with their ids.

    Raises:
        BackendRejectedError: One does not exist (reason `RoleMissing`).
    """
    provider, realm = backends.identity_provider, backends.federation.keycloak.realm
    found = await provider.realm_roles(realm_roles) if realm_roles else {}
    missing = [f"realm role {name}" for name in sorted(realm_roles - set(found))]
    roles = set(found.values())
    for client_id, names in sorted(client_roles.items()):
        of_client = await provider.client_roles(client_id, names)
        missing += [f"role {name} of client {client_id}" for name in sorted(names - set(of_client))]
        roles |= set(of_client.values())
    if missing:
        verb = "does" if len(missing) == 1 else "do"
        message = f"{', '.join(missing)} {verb} not exist in realm {realm}; create it there, or take it out of the spec"
        raise BackendRejectedError(message, backend="keycloak", reason=Reason.ROLE_MISSING)
    return frozenset(roles)


def scope_names(scopes: frozenset[ClientScope]) -> list[str]:
    """Return the names of client scopes, sorted."""
    return sorted({scope.name for scope in scopes})


async def existing_scopes(backends: Backends, names: frozenset[str]) -> RealmScopes:
    """Return the realm's client scopes, among which all of these are.

    Raises:
        BackendRejectedError: One does not exist (reason `ScopeMissing`).
    """
    found = await backends.identity_provider.realm_scopes(names)
    if missing := sorted(names - found.ids.keys()):
        realm = backends.federation.keycloak.realm
        verb = "does" if len(missing) == 1 else "do"
        message = (
            f"client scope {', '.join(missing)} {verb} not exist in realm {realm} (for OpenID Connect); "
            "create it there, or take it out of the spec"
        )
        raise BackendRejectedError(message, backend="keycloak", reason=Reason.SCOPE_MISSING)
    return found
