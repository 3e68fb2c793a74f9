"""How the operator gets a Vault token of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hvac.api.auth_methods import JWT
from hvac.exceptions import VaultError

from fedid.adapters.vault.failures import BACKEND, login_refused
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError

if TYPE_CHECKING:
    from pathlib import Path

    from fedid.adapters.vault.hvac_adapter import HvacAdapter


@dataclass(frozen=True, slots=True)
class Lease:
    """What Vault says about a token that it made or renewed."""

    token: Sensitive
    lifetime_seconds: int
    """0: it does not end by itself."""
    renewable: bool


@dataclass(frozen=True, slots=True)
class JwtLogin:
    """Log in with the operator's projected ServiceAccount token.

    Vault's auth methods `jwt` and `kubernetes` take the same request, so this serves both.
    """

    role: str
    token_file: Path
    """Read afresh at every login: kubelet replaces it before it ends."""
    mount: str = "jwt"

    async def request(self, anonymous: HvacAdapter) -> Lease:
        """Log in.

        Args:
            anonymous: Sends without a token.

        Raises:
            BackendDeniedError: The token file is missing, or Vault refuses the token or the role.
            BackendUnavailableError: No answer.
        """
        jwt = self._read_token()
        try:
            # `use_token` would have hvac look into an answer that is yet to be awaited.
            answer = await JWT(anonymous).jwt_login(self.role, jwt.reveal(), use_token=False, path=self.mount)
        except VaultError as error:
            refusal = login_refused(error, mount=self.mount, role=self.role, credential=jwt)
            # Not chained: Vault's own sentence was judged above, and its exception would carry it along.
            raise refusal from None
        return lease_in(answer)

    def _read_token(self) -> Sensitive:
        try:
            return Sensitive(self.token_file.read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError) as error:
            message = (
                f"the operator's token for Vault cannot be read from {self.token_file}: check that the pod mounts it "
                "(chart value vaultToken) and that FEDID_VAULT_TOKEN_PATH points to it"
            )
            raise BackendDeniedError(message, backend=BACKEND) from error


def lease_in(answer: object) -> Lease:
    """Return the token in an answer of a login or a renewal.

    Raises:
        BackendDeniedError: There is none (a login that asks for a second factor).
    """
    match answer:
        case {"auth": {"client_token": str(token), "lease_duration": int(seconds), "renewable": bool(renewable)}}:
            return Lease(Sensitive(token), seconds, renewable)
        case _:
            message = "Vault's answer to the login holds no token: the role must not ask for a second factor"
            raise BackendDeniedError(message, backend=BACKEND)
