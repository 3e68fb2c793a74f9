"""python-keycloak's connection, moved onto our transport.

The library's own HTTP (requests and httpx) is never used: httpx costs ten to thirty times the CPU and collapses at 200
requests in flight, the library asks for one token per concurrent caller, and its errors carry the whole body of the
answer. So the four `a_raw_*` methods that everything else goes through end here: they add the operator's token, repeat
once after a 401 (which Keycloak answers before it does anything), and raise our own errors for every 4xx. The library
only ever sees success.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import jwt
from keycloak import KeycloakOpenIDConnection

from fedid.adapters.answer import Answer
from fedid.adapters.keycloak.client_authentication import client_refused
from fedid.adapters.keycloak.oidc import CredentialsRefusedError, IssuedToken, OidcEndpoints
from fedid.adapters.keycloak.refusals import ACCEPT_JSON, no_keycloak, refusal
from fedid.adapters.transport import Explain, Transport, segment
from fedid.domain.tokens import ClientAuthentication
from fedid.engine import SingleFlight

LIFE_FRACTION = 0.8
"""A token is replaced after this part of its life, so that none expires under way."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in the shape that python-keycloak reads."""

    answer: Answer = field(repr=False)

    @property
    def status_code(self) -> int:
        """Return the HTTP status."""
        return self.answer.status

    @property
    def content(self) -> bytes:
        """Return the body."""
        return self.answer.body

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers."""
        return self.answer.headers

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            ValueError: There is no body; the library takes that for an answer without content.
            BackendRejectedError: The body is not JSON.
        """
        if not self.answer.body:
            message = "no content"
            raise ValueError(message)
        return self.answer.json()


class AdminToken:
    """The operator's own access token: asked for once for all who need it, replaced before it expires."""

    def __init__(
        self,
        oidc: OidcEndpoints,
        credentials: ClientAuthentication,
        on_token: Callable[[IssuedToken], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without a token; `on_token` is told about each one."""
        self._oidc = oidc
        self._credentials = credentials
        self._on_token = on_token
        self._monotonic = monotonic
        self._current: IssuedToken | None = None
        self._renewing: SingleFlight[str, IssuedToken] = SingleFlight()

    async def current(self) -> IssuedToken:
        """Return a token that is good for a while.

        Raises:
            BackendDeniedError: Keycloak refuses the operator's client.
        """
        held = self._current
        if held is not None and self._monotonic() < held.received + LIFE_FRACTION * held.lives_seconds:
            return held
        return await self._renewing.run("token", self._renew)

    def drop(self, refused: IssuedToken) -> None:
        """Forget a token that was refused, unless it was replaced meanwhile."""
        if self._current is refused:
            self._current = None

    async def _renew(self) -> IssuedToken:
        try:
            issued = await self._oidc.token(self._credentials)
        except CredentialsRefusedError as error:
            raise client_refused(self._credentials) from error
        self._on_token(issued)
        self._current = issued
        return issued


class AdminConnection(KeycloakOpenIDConnection):
    """The Admin API of one realm, as the operator's client."""

    def __init__(self, transport: Transport, realm: str, client_id: str, token: AdminToken) -> None:
        """Address the realm over this transport; nothing connects yet."""
        # verify=False saves 25 ms of loading CAs for sessions that are thrown away two lines below.
        super().__init__(server_url=transport.base_url, realm_name=segment(realm), client_id=client_id, verify=False)
        self._s.close()
        # Whatever in the library should go past the methods below fails loudly now instead of connecting by itself.
        del self._s, self.async_s
        self._transport = transport
        self._realm = realm
        self._operator_client_id = client_id
        self._admin_token = token
        self._base = f"/admin/realms/{segment(realm)}"

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: object = None,
        explain: Explain | None = None,
    ) -> Answer:
        """Call the Admin API below the realm, where python-keycloak has no method or takes more than one call.

        Args:
            method: In capitals.
            path: What follows the realm's name, percent-encoded; empty for the realm, else starting with `/`.
            params: The query.
            data: What is sent as JSON; None: nothing.
            explain: Knows better what an answer of 5xx means.
        """
        body = json.dumps(data).encode() if data is not None else None
        return await self._authorised(method, self._base + path, params, body, explain)

    async def a_raw_get(self, *args: Any, **kwargs: Any) -> Any:
        """Send a GET."""
        return await self._raw("GET", *args, **kwargs)

    async def a_raw_post(self, *args: Any, **kwargs: Any) -> Any:
        """Send a POST."""
        return await self._raw("POST", *args, **kwargs)

    async def a_raw_put(self, *args: Any, **kwargs: Any) -> Any:
        """Send a PUT."""
        return await self._raw("PUT", *args, **kwargs)

    async def a_raw_delete(self, *args: Any, **kwargs: Any) -> Any:
        """Send a DELETE."""
        return await self._raw("DELETE", *args, **kwargs)

    async def _raw(self, method: str, path: str, data: str | None = None, **query: object) -> Reply:
        params = {key: _query_text(value) for key, value in query.items() if value is not None}
        answer = await self._authorised(method, f"/{path}", params, data.encode() if data else None)
        if method == "GET" and not answer.body:
            raise no_keycloak(answer)
        return Reply(answer)

    async def _authorised(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        explain: Explain | None = None,
    ) -> Answer:
        token = await self._admin_token.current()
        answer = await self._once(method, path, params, body, token, explain)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            # Keycloak restarted with other keys, or somebody ended our token: a new one once.
            self._admin_token.drop(token)
            token = await self._admin_token.current()
            answer = await self._once(method, path, params, body, token, explain)
        if answer.status < HTTPStatus.BAD_REQUEST:
            return answer
        below = path.removeprefix(self._base).lstrip("/")
        raise refusal(answer, realm=self._realm, client_id=self._operator_client_id, method=method, path=below)

    async def _once(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        token: IssuedToken,
        explain: Explain | None,
    ) -> Answer:
        headers = {"Authorization": f"Bearer {token.token.reveal()}", **ACCEPT_JSON}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return await self._transport.request(method, path, headers=headers, params=params, body=body, explain=explain)


def own_claims(issued: IssuedToken) -> Mapping[str, Any]:
    """Return the claims of our own token, unverified: it came from the token endpoint just now."""
    try:
        claims: dict[str, Any] = jwt.decode(issued.token.reveal(), options={"verify_signature": False})
    except jwt.PyJWTError:
        return {}
    return claims


def _query_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
