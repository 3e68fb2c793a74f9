"""What a bot had, kept while it ends, and presented again afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fedid.domain.bot_authentication import FEDERATED_JWT, SUBJECT_ATTRIBUTE
from fedid.domain.conditions import Reason, rfc3339
from fedid.domain.receipt import ADMIN_API, REFUSED, TOKEN_ENDPOINT, Presented
from fedid.domain.sensitive import Sensitive
from fedid.domain.token_entries import Location
from fedid.domain.tokens import ClientCredentials, MintedToken, PrivateKey, latest_end
from fedid.errors import BackendError, BackendUnavailableError
from fedid.ports import IdentityProvider

__all__ = ["Evidence"]


@dataclass(slots=True)
class Evidence:
    """What is known of the bot's credentials, gathered before they end and presented after."""

    client_id: str
    authority: str
    """Issuer URL of the realm."""
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

    lifetime: timedelta | None = None
    """Of every access token that the client gets; None: the client was gone before anybody looked."""
    seen: list[Presented] = field(default_factory=list)
    """What was presented in this pass, and what answered."""

    def window(self, seen_at: datetime) -> str | None:
        """Return in words until when tokens are good for who never asks Keycloak about them, None if they are not.

        Args:
            seen_at: When all was seen to be refused (aware UTC, Keycloak's clock): nobody got a token later.
        """
        parts = []
        if (published := self._published_until(seen_at)) is not None:
            parts.append(f"a published token until {rfc3339(published)}")
        if (got := self._got_until(seen_at)) is not None:
            parts.append(f"{'one' if parts else 'a token'} that a pod got by itself until {rfc3339(got)}")
        return f"a verifier that only checks signatures may take {', and '.join(parts)}" if parts else None

    def latest_expiry(self, seen_at: datetime) -> datetime | None:
        """Return when the last of those tokens ends, None if there are none."""
        ends = (self._published_until(seen_at), self._got_until(seen_at))
        return max((end for end in ends if end is not None), default=None)

    def _published_until(self, seen_at: datetime) -> datetime | None:
        published = max((t.claims.expires_at for name, t in self.tokens.items() if name), default=seen_at)
        return published if published > seen_at else None

    def _got_until(self, seen_at: datetime) -> datetime | None:
        """Return the end of what somebody who had the credential may have got beside the operator, up to the end."""
        lives = [t.claims.expires_at - t.claims.issued_at for t in self.tokens.values()]
        lives += [self.lifetime] if self.lifetime is not None else []
        return latest_end(seen_at, max(lives)) if lives else None

    def add_secret(self, secret: Sensitive | None) -> None:
        """Remember a secret that is to be presented."""
        if secret is not None and secret not in self.secrets:
            self.secrets.append(secret)

    async def presented(self, provider: IdentityProvider) -> list[str]:
        """Present every credential again and return what was refused how; `seen` has each answer by itself.

        Raises:
            BackendUnavailableError: Something is still accepted (reason `Revoking`).
        """
        refusals = []
        self.seen.clear()
        now = provider.server_now()
        for name, token in sorted(self.tokens.items()):
            what = f"token {name or 'probe'} ({token.claims.token_id})"
            if token.claims.expires_at <= now:
                ended = f"expired at {rfc3339(token.claims.expires_at)}"
                refusals.append(f"{what} {ended}")
                self._note(what, "Keycloak's clock at", ended, now)
            elif await provider.token_accepted(token.token):
                message = f"Keycloak still accepts {what} after it was ended; presenting it again"
                raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
            else:
                refusals.append(f"{what} is refused (401)")
                self._note(what, ADMIN_API, "refused (401)", provider.server_now())
        for number, secret in enumerate(self.secrets, 1):
            if not await provider.credentials_refused(ClientCredentials(self.client_id, secret)):
                message = f"Keycloak still accepts the bot secret of {self.client_id}; presenting it again"
                raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
            what = f"bot secret of client {self.client_id}"
            what += f" ({number} of {len(self.secrets)})" if len(self.secrets) > 1 else ""
            self._note(what, TOKEN_ENDPOINT, REFUSED, provider.server_now())
        for key in self.keys:
            if not await provider.credentials_refused(key):
                message = f"Keycloak still accepts the key {key.key_id} of {self.client_id}; presenting it again"
                raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
            self._note(f"private key {key.key_id}", TOKEN_ENDPOINT, REFUSED, provider.server_now())
        if self.keys:
            several = "the private key is" if len(self.keys) == 1 else f"all {len(self.keys)} private keys are"
            refusals.append(f"{several} {REFUSED}")
        if self.subject is not None and self.client_uuid is not None:
            answer = await self._nobody_stands_for(provider, self.subject, self.client_uuid)
            refusals.append(answer)
            self._note(f"client {self.client_id} of {self.subject}", ADMIN_API, answer, provider.server_now())
        if self.secrets:
            several = "the bot secret is" if len(self.secrets) == 1 else f"all {len(self.secrets)} bot secrets are"
            refusals.append(f"{several} {REFUSED}")
        return refusals

    def _note(self, credential: str, place: str, answer: str, at: datetime) -> None:
        self.seen.append(Presented(credential, f"{place} {self.authority}", answer, at))

    async def _nobody_stands_for(self, provider: IdentityProvider, subject: str, client_uuid: str) -> str:
        """See that the client is gone, or takes no tokens of the ServiceAccount; only its pods could present one."""
        found = await provider.read_client(client_uuid)
        if found is None:
            return f"the client is gone (404), so {subject} authenticates nobody; no token was seen"
        if found.authenticator == FEDERATED_JWT or found.attributes.get(SUBJECT_ATTRIBUTE):
            message = f"Client {self.client_id} still stands for {subject}; ending it again"
            raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
        return f"the client takes no token of {subject} any more; no token was seen"
