"""What a realm is and has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from fedid.domain.realm import RealmFacts, RealmScopes, Role, RoleName, SecretPolicy

__all__ = ["Realm"]


class Realm(Protocol):
    """What a realm is, what it has by name, and what its clock says."""

    async def probe(self) -> RealmFacts:
        """Check that the realm answers, that we may do our work, and what its issuer is.

        Bypasses an open breaker and closes it on success.

        Raises:
            BackendUnavailableError: No answer (its message says refused, timeout or certificate).
            BackendDeniedError: Our client is refused (`invalid_client`) or may not read the realm.
            BackendRejectedError: The realm does not exist (reason `RealmNotFound`).
        """

    def server_now(self) -> datetime:
        """Return a lower bound of Keycloak's clock in whole seconds, aware UTC: tokens from now on say this or later.

        Keycloak sends no `Date`; the bounds come from the `iat` of tokens (our own and bots') plus the time since.

        Raises:
            BackendUnavailableError: There was no token yet; `probe` fetches one.
        """

    def server_now_at_most(self) -> datetime:
        """Return an upper bound of Keycloak's clock in whole seconds, aware UTC: tokens until now say this or earlier.

        What was deleted now is covered by a later `notBefore` only once `server_now()` is beyond this.

        Raises:
            BackendUnavailableError: There was no token yet; `probe` fetches one.
        """

    @property
    def operator_client_id(self) -> str:
        """The clientId that the operator itself signs in with."""

    async def realm_scopes(self, names: frozenset[str]) -> RealmScopes:
        """Return the realm's OpenID Connect client scopes, from a cache that is filled when one of these is missing."""

    async def realm_roles(self, names: frozenset[str]) -> Mapping[str, Role]:
        """Return those of the named realm roles that exist, from a cache that is filled when one is missing in it."""

    async def client_roles(self, client_id: str, names: frozenset[str]) -> Mapping[str, Role]:
        """Return those of the named roles of a client that exist, cached likewise; empty if there is no such client."""

    async def group_ids(self, paths: frozenset[str]) -> Mapping[str, str]:
        """Return those of the group paths that exist with their ids, cached."""

    async def roles_with_role(self, role: RoleName) -> frozenset[RoleName]:
        """Return the roles that somebody has by a role beside it: its composites, theirs and so on; cached.

        None for a role that does not exist. While Keycloak is away, what it said last.
        """

    async def roles_with_group(self, path: str) -> frozenset[RoleName]:
        """Return the roles that a member has by a group: its own, those of the groups above, and what they bring.

        None for a group that does not exist. Cached likewise.
        """

    def forget_brought_roles(self) -> None:
        """Have both ask Keycloak at the next question."""

    async def secret_policy(self, attributes: Mapping[str, str]) -> SecretPolicy | None:
        """Return the realm's policy that lets a client with these attributes have two secrets, cached, or None."""
