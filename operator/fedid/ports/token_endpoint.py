"""What the realm answers to those who present something."""

from __future__ import annotations

from typing import Protocol

from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientAuthentication, MintedToken, TokenClaims

__all__ = ["TokenEndpoint"]


class TokenEndpoint(Protocol):
    """What a client or a bearer of a token gets from the realm; each proof of the operator is one of these calls."""

    async def mint(self, credentials: ClientAuthentication, scopes: frozenset[str] = frozenset()) -> MintedToken | None:
        """Request a token with client credentials and verify it locally; None if refused (`invalid_client`).

        Args:
            credentials: Of the client.
            scopes: Client scopes to ask for beside the client's default ones.

        Raises:
            BackendRejectedError: Another refusal, or a token that our own check rejects.
        """

    async def verify(self, token: Sensitive) -> TokenClaims | None:
        """Return the claims if this realm signed the token (expired or not), else None. Normally no call."""

    async def token_accepted(self, token: Sensitive) -> bool:
        """Ask Keycloak whether it accepts the token: `GET /admin/realms/<realm>` answers 403 (yes) or 401 (no)."""

    async def credentials_refused(self, credentials: ClientAuthentication) -> bool:
        """Present secret or key at the token endpoint; True if the client or what it presents is not accepted.

        Raises:
            BackendRejectedError: Refused for another reason (time, audience), which proves nothing about them.
        """

    async def authenticates(self, credentials: ClientAuthentication) -> bool:
        """Tell whether a client with a secret or key authenticates so, also where it may not get tokens for itself.

        Raises:
            BackendRejectedError: Refused for another reason, which proves nothing about them.
        """

    async def revoke(self, token: Sensitive, credentials: ClientAuthentication) -> None:
        """Revoke the token (RFC 7009) as the client it was issued to; success if it is not valid any more."""
