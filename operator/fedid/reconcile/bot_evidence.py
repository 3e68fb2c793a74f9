"""What a bot had, kept while it ends, and presented again afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedid.domain.bot_authentication import FEDERATED_JWT, SUBJECT_ATTRIBUTE
from fedid.domain.conditions import Reason, rfc3339
from fedid.domain.sensitive import Sensitive
from fedid.domain.token_entries import Location
from fedid.domain.tokens import ClientCredentials, MintedToken, PrivateKey
from fedid.errors import BackendError, BackendUnavailableError
from fedid.ports import IdentityProvider

__all__ = ["Evidence"]


@dataclass(slots=True)
class Evidence:
    """What is known of the bot's credentials, gathered before they end and presented after."""

    client_id: str
    tokens: dict[str, MintedToken] = field(default_factory=dict)
    """Published tokens by name, and a probe under the empty name."""
    secrets: list[Sensitive] = field(default_factory=list)
    """Those in Vault, then those that Keycloak holds, where they are others: in a rotation there are two."""
    keys: list[PrivateKey] = field(default_factory=list)
    """Private keys in Vault, those included that are not in use yet or not any more."""
    subject: str | None = None
    """Of the ServiceAccount that the client stands for, where there is neither secret nor key."""
    client_uuid: str | None = None
    """Of the client, if one was made."""
    copies: list[Location] = field(default_factory=list)
    """Where tokens lie outside fedid's folder."""
    vault_paths: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What stays in Vault because it is not ours, in words."""
    vault_error: BackendError | None = None
    """Vault was away, or refuses us: the authority goes first, and the published tokens are looked at later."""

    def add_secret(self, secret: Sensitive | None) -> None:
        """Remember a secret that is to be presented."""
        if secret is not None and secret not in self.secrets:
            self.secrets.append(secret)

    async def presented(self, provider: IdentityProvider) -> list[str]:
        """Present every credential again and return what was refused how.

        Raises:
            BackendUnavailableError: Something is still accepted (reason `Revoking`).
        """
        refusals = []
        now = provider.server_now()
        for name, token in sorted(self.tokens.items()):
            what = f"token {name or 'probe'} ({token.claims.token_id})"
            if token.claims.expires_at <= now:
                refusals.append(f"{what} expired at {rfc3339(token.claims.expires_at)}")
            elif await provider.token_accepted(token.token):
                message = f"Keycloak still accepts {what} after it was ended; presenting it again"
                raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
            else:
                refusals.append(f"{what} is refused (401)")
        for secret in self.secrets:
            if not await provider.credentials_refused(ClientCredentials(self.client_id, secret)):
                message = f"Keycloak still accepts the bot secret of {self.client_id}; presenting it again"
                raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
        for key in self.keys:
            if not await provider.credentials_refused(key):
                message = f"Keycloak still accepts the key {key.key_id} of {self.client_id}; presenting it again"
                raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
        if self.keys:
            several = "the private key is" if len(self.keys) == 1 else f"all {len(self.keys)} private keys are"
            refusals.append(f"{several} refused (invalid_client)")
        if self.subject is not None and self.client_uuid is not None:
            refusals.append(await self._nobody_stands_for(provider, self.subject, self.client_uuid))
        if self.secrets:
            several = "the bot secret is" if len(self.secrets) == 1 else f"all {len(self.secrets)} bot secrets are"
            refusals.append(f"{several} refused (invalid_client)")
        return refusals

    async def _nobody_stands_for(self, provider: IdentityProvider, subject: str, client_uuid: str) -> str:
        """See that the client is gone, or takes no tokens of the ServiceAccount; only its pods could present one."""
        found = await provider.read_client(client_uuid)
        if found is None:
            return f"the client is gone (404), so {subject} authenticates nobody; no token was seen"
        if found.authenticator == FEDERATED_JWT or found.attributes.get(SUBJECT_ATTRIBUTE):
            message = f"Client {self.client_id} still stands for {subject}; ending it again"
            raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
        return f"the client takes no token of {subject} any more; no token was seen"
