"""The operator's own Vault token: got once for all who wait, renewed at two thirds of its life."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from hvac.api.auth_methods import Token
from hvac.exceptions import VaultError

from fedid.adapters.vault.hvac_adapter import FixedToken, HvacAdapter
from fedid.adapters.vault.login import Lease, lease_in
from fedid.engine import SingleFlight
from fedid.errors import BackendUnavailableError, Error

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedid.adapters.transport import Transport
    from fedid.domain.sensitive import Sensitive

_log = logging.getLogger(__name__)

RENEW_AT: Final = 2 / 3
"""Share of a token's life after which it is renewed."""
RELOGIN_PAUSE_SECONDS: Final = 60.0
"""A missing permission looks like an old token (403), so for that alone no more than one login in this time."""
REVOKE_SECONDS: Final = 5.0
"""How long a shutdown waits for Vault to take the token back."""


class LoginMethod(Protocol):
    """How to get a token: `JwtLogin`, `AppRoleLogin`, `StaticToken`."""

    async def request(self, anonymous: HvacAdapter) -> Lease:
        """Log in."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A token in use; instants are monotonic seconds."""

    lease: Lease
    first_lifetime_seconds: int
    """As granted at the login; a renewal that gives less has met the role's maximum."""
    since: float
    refresh_at: float
    ends_at: float


class VaultSession:
    """The `TokenSource` of all requests of one store."""

    def __init__(self, transport: Transport, login: LoginMethod, monotonic: Callable[[], float]) -> None:
        """Prepare; nothing is asked before the first token is needed.

        Args:
            transport: To Vault.
            login: How to get a token.
            monotonic: Seconds that never go back.
        """
        self._transport = transport
        self._login = login
        self._monotonic = monotonic
        self._held: _Held | None = None
        self._flights: SingleFlight[str, Sensitive] = SingleFlight()

    async def current(self) -> Sensitive:
        """Return a good token, after a login or a renewal that all callers share where one is due.

        Raises:
            BackendDeniedError: The login is refused.
            BackendUnavailableError: No answer, and the old token has ended.
        """
        held = self._held
        if held is not None and self._monotonic() < held.refresh_at:
            return held.lease.token
        return await self._flights.run("token", self._refresh)

    async def instead_of(self, refused: Sensitive, *, invalid: bool) -> Sensitive | None:
        """Return a newer token than the one refused, after a login if that may help.

        Args:
            refused: What a request was just refused with (403).
            invalid: Whether Vault says that the token itself is not valid (revoked, or lost with its storage).
        """
        held = self._held
        if held is not None and held.lease.token == refused:
            if not invalid and self._monotonic() < held.since + RELOGIN_PAUSE_SECONDS:
                return None
            self._held = None
        return await self.current()

    async def revoke(self) -> None:
        """Give the token back as far as possible, if it is ours; never raises for a Vault that is away."""
        held, self._held = self._held, None
        if held is None or not held.lease.ours:
            return
        try:
            async with asyncio.timeout(REVOKE_SECONDS):
                await Token(HvacAdapter(self._transport, FixedToken(held.lease.token))).revoke_self()
        except (Error, VaultError, TimeoutError):
            _log.debug("Vault did not take back the operator's token; it ends by itself")

    async def _refresh(self) -> Sensitive:
        held = self._held
        try:
            held = await self._renewed(held) or self._hold(await self._login.request(HvacAdapter(self._transport)))
        except BackendUnavailableError:
            now = self._monotonic()
            if held is None or now >= held.ends_at:
                raise
            # The token is still good: nobody has to fail now, and the next try comes before it ends.
            held = _Held(held.lease, held.first_lifetime_seconds, held.since, (now + held.ends_at) / 2, held.ends_at)
        self._held = held
        return held.lease.token

    async def _renewed(self, held: _Held | None) -> _Held | None:
        """Return the token with a new life, or None if a login must follow."""
        if held is None or not held.lease.renewable or self._monotonic() >= held.ends_at:
            return None
        try:
            answer = await Token(HvacAdapter(self._transport, FixedToken(held.lease.token))).renew_self()
        except VaultError:
            # Revoked, or its role is gone: the login tells which, in words of its own.
            return None
        lease = lease_in(answer, ours=held.lease.ours)
        if lease.lifetime_seconds < held.first_lifetime_seconds:
            return None
        return self._hold(lease)

    def _hold(self, lease: Lease) -> _Held:
        now = self._monotonic()
        lifetime = lease.lifetime_seconds or float("inf")
        return _Held(lease, lease.lifetime_seconds, now, now + lifetime * RENEW_AT, now + lifetime)
