"""Clients and their service accounts."""

from __future__ import annotations

from fedid.adapters.keycloak.access import RealmAccess
from fedid.adapters.keycloak.refusals import NotFoundError, TakenError
from fedid.adapters.keycloak.representations import client_record, client_representation
from fedid.adapters.transport import segment
from fedid.domain.realm import ClientRecord, ClientScope, RealmScopes


class RealmClients:
    """The part of `IdentityProvider` that is about clients."""

    _access: RealmAccess

    @property
    def operator_client_id(self) -> str:
        """The clientId that the operator itself signs in with."""
        return self._access.client_id

    async def create_client(self, client: ClientRecord) -> bool:
        """Create a client under the id, secret and notBefore given; False if its id or clientId is taken (409).

        Raises:
            BackendRejectedError: Keycloak refuses the representation.
        """
        try:
            await self._access.admin.a_create_client(client_representation(client))
        except TakenError:
            return False
        return True

    async def read_client(self, client_uuid: str) -> ClientRecord | None:
        """Return the client by internal id, with its secret if it carries an owner mark."""
        try:
            found = await self._access.admin.a_get_client(segment(client_uuid))
        except NotFoundError:
            return None
        return client_record(found, with_secret=True)

    async def find_client(self, client_id: str) -> ClientRecord | None:
        """Return the client by clientId, without its secret."""
        answer = await self._access.connection.call("GET", "/clients", params={"clientId": client_id})
        found = next((found for found in answer.json() if found["clientId"] == client_id), None)
        return None if found is None else client_record(found, with_secret=False)

    async def update_client(self, client: ClientRecord) -> None:
        """Make the existing client equal to the record.

        A secret of None and a notBefore of 0 stay as they are, mappers are replaced, flags and attributes that the
        record does not name stay.

        Raises:
            StaleObjectError: The client is gone.
        """
        await self._access.admin.a_update_client(segment(client.client_uuid), client_representation(client))

    async def delete_client(self, client_uuid: str) -> None:
        """Delete the client; success if it is gone."""
        try:
            await self._access.admin.a_delete_client(segment(client_uuid))
        except NotFoundError:
            return

    async def service_account_id(self, client_uuid: str) -> str:
        """Return the user id of the client's service account (the `sub` of its tokens).

        Raises:
            StaleObjectError: The client is gone.
            BackendRejectedError: It has no service account.
        """
        found = await self._access.admin.a_get_client_service_account_user(segment(client_uuid))
        return str(found["id"])

    async def realm_scopes(self, names: frozenset[str]) -> RealmScopes:
        """Return the realm's OpenID Connect client scopes, from a cache that is filled when one of these is missing."""
        return await self._access.scopes.scopes(names)

    async def add_client_scope(self, client_uuid: str, scope: ClientScope) -> None:
        """Give the client a scope that it has in neither way; one that it has stays as it is.

        Raises:
            StaleObjectError: The client or the scope is gone.
        """
        await self._change_scope("PUT", client_uuid, scope)

    async def remove_client_scope(self, client_uuid: str, scope: ClientScope) -> None:
        """Take a scope from the client, whichever way it has it; one that it has not is no error.

        Raises:
            StaleObjectError: The client or the scope is gone.
        """
        await self._change_scope("DELETE", client_uuid, scope)

    async def _change_scope(self, method: str, client_uuid: str, scope: ClientScope) -> None:
        how = "optional-client-scopes" if scope.optional else "default-client-scopes"
        path = f"/clients/{segment(client_uuid)}/{how}/{segment(scope.scope_id)}"
        try:
            await self._access.connection.call(method, path)
        except NotFoundError:
            self._access.scopes.clear()
            raise
