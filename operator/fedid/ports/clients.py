"""The clients of a realm."""

from __future__ import annotations

from typing import Protocol

from fedid.domain.realm import ClientRecord, ClientScope

__all__ = ["Clients"]


class Clients(Protocol):
    """The clients of a realm, with their secrets and scopes."""

    async def create_client(self, client: ClientRecord) -> bool:
        """Create a client under the id, secret and notBefore given; False if its id or clientId is taken (409).

        Raises:
            BackendRejectedError: Keycloak refuses the representation.
        """

    async def read_client(self, client_uuid: str) -> ClientRecord | None:
        """Return the client by internal id. `secret` is filled; the caller looks at `owner` before it uses it."""

    async def find_client(self, client_id: str) -> ClientRecord | None:
        """Return the client by clientId, without its secret."""

    async def update_client(self, client: ClientRecord) -> None:
        """Make the existing client equal to the record (a secret of None stays, mappers are replaced).

        A `not_before` of 0 stays as it is, flags and attributes that the record does not name stay, an owner of None
        takes the mark off.

        Raises:
            StaleObjectError: The client is gone. So it is with every write to, or list of, something that is gone.
        """

    async def delete_client(self, client_uuid: str) -> None:
        """Delete the client; success if it is gone."""

    async def service_account_id(self, client_uuid: str) -> str:
        """Return the user id of the client's service account (the `sub` of its tokens)."""

    async def add_client_scope(self, client_uuid: str, scope: ClientScope) -> None:
        """Give the client a scope that it has in neither way; one that it has stays as it is."""

    async def remove_client_scope(self, client_uuid: str, scope: ClientScope) -> None:
        """Take a scope from the client, whichever way it has it; one that it has not is no error."""

    async def keep_secret(self, client_uuid: str) -> bool:
        """Put a secret of Keycloak's in the place of the one in use, which stays good as the previous one.

        Returns:
            False if it does not: the realm has no such policy, and the former secret ended at once.

        Raises:
            StaleObjectError: The client is gone.
        """

    async def end_previous_secret(self, client_uuid: str) -> None:
        """End the previous secret; success if there is none, or the client is gone."""
