"""How the operator gets a Vault token of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hvac.api.auth_methods import JWT, AppRole, Token
from hvac.exceptions import Forbidden, VaultError

from fedid.adapters.projected_token import projected_token
from fedid.adapters.vault.failures import BACKEND, login_refused
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError

if TYPE_CHECKING:
    from pathlib import Path

    from fedid.adapters.vault.hvac_adapter import HvacAdapter


@dataclass(frozen=True, slots=True)
class Lease:
    """What Vault says about a token that it made, knows or renewed."""

    token: Sensitive
    lifetime_seconds: int
    """0: it does not end by itself, or Vault does not say when."""
    renewable: bool
    ours: bool = True
    """Whether it was made for us, so that we give it back at the end."""


@dataclass(frozen=True, slots=True)
class JwtLogin:
    """Log in with the operator's projected ServiceAccount token.

    Vault's auth methods `jwt` and `kubernetes` take the same request, so this serves both.
    """

    role: str
    token_file: Path
    """Read afresh at every login: kubelet replaces it before it ends."""
    mount: str = "jwt"
    bindings: str = "bound_audiences and bound_subject"
    """What of the role decides whether we are let in, for the message: the methods call it differently."""

    async def request(self, anonymous: HvacAdapter) -> Lease:
        """Log in.

        Args:
            anonymous: Sends without a token.

        Raises:
            BackendDeniedError: The token file is missing, or Vault refuses the token or the role.
            BackendUnavailableError: No answer.
        """
        jwt = projected_token(
            self.token_file, backend=BACKEND, of_whom="Vault", value="vaultToken", variable="FEDID_VAULT_TOKEN_PATH"
        )
        try:
            # `use_token` would have hvac look into an answer that is yet to be awaited.
            answer = await JWT(anonymous).jwt_login(self.role, jwt.reveal(), use_token=False, path=self.mount)
        except VaultError as error:
            refusal = login_refused(
                error,
                where=f"auth/{self.mount} as role {self.role}",
                check=f"that the auth method is mounted there, that the role exists, and its {self.bindings}",
                credential=jwt,
            )
            # Not chained: Vault's own sentence was judged above, and its exception would carry it along.
            raise refusal from None
        return lease_in(answer)


@dataclass(frozen=True, slots=True)
class AppRoleLogin:
    """Log in with a role id and a secret id."""

    role_id: Sensitive
    secret_id: Sensitive
    mount: str = "approle"

    async def request(self, anonymous: HvacAdapter) -> Lease:
        """Log in.

        Args:
            anonymous: Sends without a token.

        Raises:
            BackendDeniedError: Vault refuses one of the two ids.
            BackendUnavailableError: No answer.
        """
        try:
            answer = await AppRole(anonymous).login(
                self.role_id.reveal(), self.secret_id.reveal(), use_token=False, mount_point=self.mount
            )
        except VaultError as error:
            refusal = login_refused(
                error,
                where=f"auth/{self.mount}",
                check=(
                    "that the auth method is mounted there, and the keys role-id and secret-id of the Secret in "
                    "vault.auth.approle (a secret id ends after its secret_id_ttl or secret_id_num_uses: make another)"
                ),
                credential=self.secret_id,
            )
            raise refusal from None
        return lease_in(answer)


@dataclass(frozen=True, slots=True)
class StaticToken:
    """Use a token that somebody made for us; it is renewed where it can be, and never given back."""

    token: Sensitive

    async def request(self, anonymous: HvacAdapter) -> Lease:
        """Ask Vault how long the token lives.

        Args:
            anonymous: Sends without a token.

        Raises:
            BackendDeniedError: Vault does not know the token, or not any more.
            BackendUnavailableError: No answer.
        """
        try:
            answer = await Token(anonymous.as_holder(self.token)).lookup_self()
        except VaultError as error:
            if isinstance(error, Forbidden) and "invalid token" not in " ".join(error.errors or ()):
                # A token without the policy `default` may not look at itself; what it may do shows in use.
                return Lease(self.token, 0, renewable=False, ours=False)
            message = (
                "Vault does not know the operator's token, or not any more: make another (`vault token create "
                "-orphan -period=24h -policy=<policy>`) and put it into the key token of the Secret in vault.auth.token"
            )
            raise BackendDeniedError(message, backend=BACKEND) from None
        found = answer["data"]
        # 0 with an instant of expiry: the last second runs.
        lifetime = int(found.get("ttl") or 0) or int(bool(found.get("expire_time")))
        return Lease(self.token, lifetime, renewable=bool(found.get("renewable")), ours=False)


def lease_in(answer: object, *, ours: bool = True) -> Lease:
    """Return the token in an answer of a login or a renewal.

    Args:
        answer: What Vault sent, decoded.
        ours: Whether the token was made for us.

    Raises:
        BackendDeniedError: There is none (a login that asks for a second factor).
    """
    match answer:
        case {"auth": {"client_token": str(token), "lease_duration": int(seconds), "renewable": bool(renewable)}}:
            return Lease(Sensitive(token), seconds, renewable, ours)
        case _:
            message = "Vault's answer to the login holds no token: the role must not ask for a second factor"
            raise BackendDeniedError(message, backend=BACKEND)
