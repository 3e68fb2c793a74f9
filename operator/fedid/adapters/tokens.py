"""Check a realm's access tokens against its published keys: signature, issuer and kind, but not expiry.

Whoever asks compares the instants itself, because an expired token must still tell whose it was. Only asymmetric
algorithms are let through, and only the one that the key is for: a token that says `HS256` would otherwise be checked
with the public key as its secret.

Source: RFC 7517 (JWKS), RFC 7519 section 4.1 (claims), RFC 8725 sections 3.1 and 3.2 (algorithm verification).
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import jwt

from fedid.domain.claims import is_free_claim
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import TokenClaims
from fedid.engine import SingleFlight
from fedid.errors import BackendError

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
REFRESH_SECONDS: Final = 600.0
"""A key that the realm has withdrawn is trusted for so long at most, as long as the realm can be asked."""
MISS_SECONDS: Final = 30.0
"""A token with an unknown key makes us ask again at most this often, or anybody could make us flood the realm."""

FetchKeys = Callable[[], Awaitable[object]]


class UntrustedTokenError(Exception):
    """The token is not one that this realm signed; the message tells why and nothing of the token."""


class TokenVerifier:
    """One realm's keys and what its tokens say."""

    def __init__(self, issuer: str, fetch: FetchKeys, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start without keys.

        Args:
            issuer: What `iss` must be, to the letter.
            fetch: Asks the realm for its key set (JWKS); raises only `fedid.errors`.
            monotonic: Seconds that never go back.
        """
        self._issuer = issuer
        self._fetch = fetch
        self._monotonic = monotonic
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at = -math.inf
        self._refreshing: SingleFlight[str, None] = SingleFlight()

    async def refresh(self) -> None:
        """Fetch the keys, once for all who ask at the same time."""
        await self._refreshing.run("keys", self._refresh)

    async def claims(self, token: Sensitive, *, requested_at: float | None = None) -> TokenClaims:
        """Return what the token says. Normally without a call.

        Args:
            token: From anywhere.
            requested_at: Monotonic instant (seconds) at which the realm was asked for this very token, so that a key
                which it was made with since is fetched without the usual pause.

        Raises:
            UntrustedTokenError: This realm did not sign it, or it is no access token.
            BackendUnavailableError: The keys are not known and cannot be fetched.
        """
        text = token.reveal()
        try:
            key_id = jwt.get_unverified_header(text).get("kid")
        except jwt.PyJWTError:
            # Not chained, here and below: PyJWT puts pieces of the token into some of its messages.
            message = "it is no JWT"
            raise UntrustedTokenError(message) from None
        key = await self._key(key_id, requested_at)
        try:
            payload = jwt.decode(
                text,
                key=key.key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                options={
                    "require": ["exp", "iat", "iss"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_aud": False,
                },
            )
        except jwt.InvalidIssuerError:
            message = f"its iss is not {self._issuer}: does issuerUrl fit the realm's frontend URL?"
            raise UntrustedTokenError(message) from None
        except jwt.MissingRequiredClaimError as error:
            message = f"it has no {error.claim}"
            raise UntrustedTokenError(message) from None
        except jwt.PyJWTError:
            message = "its signature or form is not valid"
            raise UntrustedTokenError(message) from None
        if payload.get("typ") != "Bearer":
            message = "it is no access token (typ is not Bearer)"
            raise UntrustedTokenError(message)
        return _claims(payload)

    async def _key(self, key_id: object, requested_at: float | None) -> jwt.PyJWK:
        message = "its key is not one of the realm's"
        if not isinstance(key_id, str):
            raise UntrustedTokenError(message)
        known = self._keys.get(key_id)
        age = self._monotonic() - self._fetched_at
        if known is None and (age > MISS_SECONDS or (requested_at is not None and self._fetched_at < requested_at)):
            await self.refresh()
        elif known is not None and age > REFRESH_SECONDS:
            try:
                await self.refresh()
            except BackendError:
                # A realm that is away withdraws no key; its tokens stay what they were.
                return known
        if key_id not in self._keys:
            raise UntrustedTokenError(message)
        return self._keys[key_id]

    async def _refresh(self) -> None:
        asked_at = self._monotonic()
        found = await self._fetch()
        entries = found.get("keys") if isinstance(found, Mapping) else None
        keys = {}
        for entry in entries if isinstance(entries, list) else ():
            if entry.get("use", "sig") != "sig" or entry.get("alg") not in ALGORITHMS or "kid" not in entry:
                continue
            try:
                keys[entry["kid"]] = jwt.PyJWK(entry)
            except jwt.PyJWTError:
                # One key of a kind that we cannot handle must not cost us the others.
                continue
        self._keys = keys
        self._fetched_at = asked_at


def _claims(payload: Mapping[str, object]) -> TokenClaims:
    audience = payload.get("aud") or ()
    clients = payload.get("resource_access")
    return TokenClaims(
        issuer=str(payload["iss"]),
        subject=str(payload.get("sub") or ""),
        authorized_party=str(payload.get("azp") or ""),
        token_id=str(payload.get("jti") or ""),
        issued_at=_instant(payload["iat"]),
        expires_at=_instant(payload["exp"]),
        audiences=frozenset((audience,)) if isinstance(audience, str) else _texts(audience),
        realm_roles=_roles(payload.get("realm_access")),
        client_roles={str(name): _roles(access) for name, access in clients.items()}
        if isinstance(clients, Mapping)
        else {},
        scopes=frozenset(str(payload.get("scope") or "").split()),
        extra={name: value for name, value in payload.items() if isinstance(value, str) and is_free_claim(name)},
    )


def _instant(seconds: object) -> datetime:
    if not isinstance(seconds, int | float):
        message = "its instants are not numbers"
        raise UntrustedTokenError(message)
    return datetime.fromtimestamp(seconds, UTC)


def _roles(access: object) -> frozenset[str]:
    return _texts(access.get("roles")) if isinstance(access, Mapping) else frozenset()


def _texts(values: object) -> frozenset[str]:
    return frozenset(str(value) for value in values) if isinstance(values, list | tuple) else frozenset()
