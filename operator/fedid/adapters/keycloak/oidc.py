"""What a realm offers without an admin token: discovery, keys, the token endpoint and revocation.

Clients authenticate in the form, a secret too and not by HTTP Basic: both work with any character (measured with `:`,
`%`, `+`, space and umlauts), but for Basic client and server must agree on RFC 6749 section 2.3.1's inner encoding,
which servers have got wrong.

Source: OpenID Connect Discovery 1.0; RFC 6749 sections 4.4 and 5.2; RFC 7009; RFC 7662 section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from fedid.adapters.answer import Answer
from fedid.adapters.keycloak.client_authentication import PRIVATE_KEY_REFUSALS, authentication_form
from fedid.adapters.keycloak.refusals import ACCEPT_JSON, BACKEND, explanation, no_keycloak, realm_not_found, said
from fedid.adapters.transport import Transport, segment
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientAuthentication, PrivateKey
from fedid.errors import BackendError, BackendRejectedError

# A wrong secret is answered with 401 unauthorized_client, an unknown or disabled client with 401 invalid_client, both
# with these words. Other uses of unauthorized_client (no service account, public client) mean that the secret is right.
_REFUSED_WORDS = "Invalid client or Invalid client credentials"

# Whatever is wrong with an assertion itself is 400 invalid_client, before the client's keys are looked at.
_ASSERTION_HINTS: Final = {
    "Token is not active": "it has expired: compare the clocks, and see that kubelet renews a ServiceAccount's token",
    "Token was issued in the future": "compare the clocks",
    "Token was issued too far in the past to be used now": (
        "let fedClientAssertionMaxExp of the realm's identity provider be as many seconds as the token lives; without "
        "it Keycloak takes none that is older than five minutes"
    ),
    "Invalid token audience": "it must be for {issuer}: set keycloakToken.audience of the chart to that",
    "Token reuse detected": "set supportsClientAssertionReuse of the realm's identity provider to true",
    "Invalid signature algorithm": "let the client's token.endpoint.auth.signing.alg allow it, or leave it empty",
    "Parameter client_assertion_type is missing": "the client has another authenticator than Client Id and Secret",
}


class CredentialsRefusedError(Exception):
    """The client does not exist, is disabled, or has another secret or key."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """What the token endpoint gave; not verified."""

    token: Sensitive
    lives_seconds: int
    sent: float
    """Monotonic instant (seconds) before it was asked for."""
    received: float
    """Monotonic instant (seconds) at which it was there."""


class OidcEndpoints:
    """The public endpoints of one realm."""

    def __init__(self, transport: Transport, realm: str, issuer_url: str) -> None:
        """Address the realm over this transport; `issuer_url` is what assertions of clients are for."""
        self._transport = transport
        self._realm = realm
        self._issuer_url = issuer_url
        self._base = f"/realms/{segment(realm)}"

    async def issuer(self) -> str:
        """Return the realm's `issuer`, asking even if the breaker is open.

        Raises:
            BackendRejectedError: There is no such realm (reason `RealmNotFound`), or this is no Keycloak.
        """
        path = f"{self._base}/.well-known/openid-configuration"
        answer = await self._transport.request("GET", path, headers=ACCEPT_JSON, probing=True)
        self._expect(answer)
        match answer.json():
            case {"issuer": str(issuer)}:
                return issuer
            case _:
                raise no_keycloak(answer)

    async def keys(self) -> object:
        """Return the realm's key set (JWKS), from where we connect to and not from where it says it is."""
        path = f"{self._base}/protocol/openid-connect/certs"
        answer = await self._transport.request("GET", path, headers=ACCEPT_JSON)
        self._expect(answer)
        return answer.json()

    async def token(self, credentials: ClientAuthentication, scopes: frozenset[str] = frozenset()) -> IssuedToken:
        """Request a token with client credentials, with these scopes beside the client's default ones.

        Raises:
            CredentialsRefusedError: The client or its secret or key is not accepted.
            BackendDeniedError: We have nothing to present: the key or the file is no good.
            BackendRejectedError: They are accepted but there is no token, or what is wrong with the assertion tells
                nothing about them.
        """
        form = {"grant_type": "client_credentials"}
        if scopes:
            form["scope"] = " ".join(sorted(scopes))
        answer = await self._post("token", credentials, form)
        self._expect(answer, credentials)
        match answer.json():
            case {"access_token": str(token), "expires_in": int(seconds)}:
                return IssuedToken(Sensitive(token), seconds, answer.sent, answer.received)
            case _:
                message = f"{answer.origin} answered a token request with something else than a token"
                raise BackendRejectedError(message, backend=BACKEND)

    async def revoke(self, token: Sensitive, credentials: ClientAuthentication) -> None:
        """Revoke a token of that client; one that is not valid any more is no error.

        Raises:
            CredentialsRefusedError: The client or its secret or key is not accepted.
            BackendRejectedError: The token was issued to another client.
        """
        self._expect(await self._post("revoke", credentials, {"token": token.reveal()}), credentials)

    async def introspect_nothing(self, credentials: ClientAuthentication) -> None:
        """Introspect a text that is no token: it is answered to a client that authenticates, and to nobody else.

        Raises:
            CredentialsRefusedError: The client or its secret or key is not accepted.
        """
        self._expect(await self._post("token/introspect", credentials, {"token": "none"}), credentials)

    async def _post(self, endpoint: str, credentials: ClientAuthentication, form: dict[str, str]) -> Answer:
        identity = await authentication_form(credentials, self._issuer_url)
        path = f"{self._base}/protocol/openid-connect/{endpoint}"
        return await self._transport.request("POST", path, headers=ACCEPT_JSON, form=form | identity)

    def _expect(self, answer: Answer, credentials: ClientAuthentication | None = None) -> None:
        """Raise unless the status is 200."""
        if answer.status != HTTPStatus.OK:
            raise self._refusal(answer, credentials)

    def _refusal(
        self, answer: Answer, credentials: ClientAuthentication | None
    ) -> BackendError | CredentialsRefusedError:
        found = said(answer)
        error, words = found.get("error"), found.get("error_description")
        if error is None:
            return no_keycloak(answer)
        if answer.status == HTTPStatus.NOT_FOUND:
            return realm_not_found(self._realm)
        if answer.status == HTTPStatus.UNAUTHORIZED and (
            error == "invalid_client" or (error == "unauthorized_client" and words == _REFUSED_WORDS)
        ):
            return CredentialsRefusedError(str(error))
        invalid = answer.status == HTTPStatus.BAD_REQUEST and error == "invalid_client"
        if invalid and isinstance(credentials, PrivateKey) and words in PRIVATE_KEY_REFUSALS:
            return CredentialsRefusedError(str(error))
        message = f"Keycloak refuses ({answer.status} {error or ''}): {explanation(answer) or 'without a reason'}"
        if invalid and (hint := _ASSERTION_HINTS.get(str(words))):
            message += f"; {hint.format(issuer=self._issuer_url)}"
        return BackendRejectedError(message, backend=BACKEND)
