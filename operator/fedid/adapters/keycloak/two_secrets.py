"""Two secrets of one client at once: Keycloak's preview feature `client-secret-rotation`.

A client policy of the realm with the executor `secret-rotation` makes a new secret leave the former one good, as the
client's rotated secret. What is not in the documentation (26.7.3): the rotated secret is shown among the client's
attributes; setting a secret by PUT leaves it as it is; its periods belong to the policy and not to the client.

Source: Keycloak Server Administration Guide, "Client secret rotation"; ClientSecretRotationExecutor of 26.7.3.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedid.adapters.keycloak.access import RealmAccess
from fedid.adapters.keycloak.refusals import NotFoundError
from fedid.adapters.transport import segment
from fedid.domain.realm import SecretPolicy


class RealmSecrets:
    """The part of `IdentityProvider` that is about two secrets of a client."""

    _access: RealmAccess

    async def secret_policy(self, attributes: Mapping[str, str]) -> SecretPolicy | None:
        """Return the realm's policy that lets a client with these attributes have two secrets, cached, or None."""
        return await self._access.policies.applying(attributes)

    async def keep_secret(self, client_uuid: str) -> bool:
        """Put a secret of Keycloak's in the place of the one in use, which stays good as the previous one.

        Raises:
            StaleObjectError: The client is gone.
        """
        uuid = segment(client_uuid)
        await self._access.connection.call("POST", f"/clients/{uuid}/client-secret")
        try:
            answer = await self._access.connection.call("GET", f"/clients/{uuid}/client-secret/rotated")
        except NotFoundError:
            self._access.policies.clear()
            return False
        return bool(answer.json().get("value"))

    async def end_previous_secret(self, client_uuid: str) -> None:
        """End the previous secret; success if there is none, or the client is gone."""
        try:
            await self._access.connection.call("DELETE", f"/clients/{segment(client_uuid)}/client-secret/rotated")
        except NotFoundError:
            return
