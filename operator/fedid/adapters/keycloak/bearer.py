"""Bearer tokens of bots: request, verify, ask about, revoke."""

from __future__ import annotations

from http import HTTPStatus

from fedid.adapters.keycloak.access import RealmAccess
from fedid.adapters.keycloak.oidc import CredentialsRefusedError
from fedid.adapters.keycloak.refusals import ACCEPT_JSON, BACKEND, explanation, no_keycloak, realm_not_found, said
from fedid.adapters.tokens import UntrustedTokenError
from fedid.adapters.transport import segment
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientAuthentication, MintedToken, TokenClaims
from fedid.errors import BackendRejectedError


class RealmTokens:
    """The part of `IdentityProvider` that is about bots' tokens and secrets."""

    _access: RealmAccess

    async def mint(self, credentials: ClientAuthentication, scopes: frozenset[str] = frozenset()) -> MintedToken | None:
        """Request a token with client credentials and verify it locally; None if refused (`invalid_client`).

        Raises:
            BackendRejectedError: Another refusal, or a token that our own check rejects.
        """
        try:
            issued = await self._access.oidc.token(credentials, scopes)
            claims = await self._access.verifier.claims(issued.token, requested_at=issued.sent)
        except CredentialsRefusedError:
            return None
        except UntrustedTokenError as error:
            message = f"Keycloak gave {credentials.client_id} a token that is not good: {error}"
            raise BackendRejectedError(message, backend=BACKEND, reason="TokenRejected") from error
        self._access.clock.saw(claims.issued_at, sent=issued.sent, received=issued.received)
        return MintedToken(issued.token, claims)

    async def verify(self, token: Sensitive) -> TokenClaims | None:
        """Return the claims if this realm signed the token (expired or not), else None. Normally no call."""
        try:
            return await self._access.verifier.claims(token)
        except UntrustedTokenError:
            return None

    async def token_accepted(self, token: Sensitive) -> bool:
        """Ask Keycloak whether it accepts the token: the realm answers 401 if not, else 403 or (to an admin) 200."""
        answer = await self._access.transport.request(
            "GET",
            f"/admin/realms/{segment(self._access.realm)}",
            headers={"Authorization": f"Bearer {token.reveal()}", **ACCEPT_JSON},
        )
        # A 401 is a proof of revocation, so it must be Keycloak's own and not that of a proxy before it.
        if not said(answer):
            raise no_keycloak(answer)
        match answer.status:
            case HTTPStatus.UNAUTHORIZED:
                return False
            case HTTPStatus.FORBIDDEN | HTTPStatus.OK:
                return True
            case HTTPStatus.NOT_FOUND:
                raise realm_not_found(self._access.realm)
            case _:
                message = f"Keycloak does not say whether a token is good ({answer.status}): {explanation(answer)}"
                raise BackendRejectedError(message, backend=BACKEND)

    async def credentials_refused(self, credentials: ClientAuthentication) -> bool:
        """Present them at the token endpoint; True if the client or its secret or key is not accepted.

        A token that this yields is revoked at once.

        Raises:
            BackendRejectedError: Refused for another reason, which proves nothing about them.
        """
        try:
            issued = await self._access.oidc.token(credentials)
        except CredentialsRefusedError:
            return True
        await self.revoke(issued.token, credentials)
        return False

    async def authenticates(self, credentials: ClientAuthentication) -> bool:
        """Tell whether the client authenticates so, also where it may not get tokens for itself (RFC 7662 section 2.1).

        Raises:
            BackendRejectedError: Refused for another reason, which proves nothing about them.
        """
        try:
            await self._access.oidc.introspect_nothing(credentials)
        except CredentialsRefusedError:
            return False
        return True

    async def revoke(self, token: Sensitive, credentials: ClientAuthentication) -> None:
        """Revoke the token (RFC 7009) as the client it was issued to; success if it is not valid any more.

        Raises:
            BackendRejectedError: The client is refused while the token is still accepted, or it is another client's.
        """
        try:
            await self._access.oidc.revoke(token, credentials)
        except CredentialsRefusedError as error:
            if await self.token_accepted(token):
                message = f"Keycloak accepts a token of {credentials.client_id} but refuses the client that revokes it"
                raise BackendRejectedError(message, backend=BACKEND) from error
