"""hvac over `Transport`: what hvac returns becomes something to await.

hvac's API classes build a URL and a body and return what their adapter's `request` returns. Here that is a coroutine,
so every such method can be awaited, and `Transport` brings pool, limiter, breaker and fence. Methods that look into the
answer themselves do not work and are not used: `login(use_token=True)`, `kv.v2.patch`, `kv.v1` with `method=None`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

from hvac.adapters import JSONAdapter
from hvac.exceptions import VaultError

from fedid.adapters.vault.failures import BACKEND, explain
from fedid.errors import BackendRejectedError, BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from fedid.adapters.answer import Answer
    from fedid.adapters.transport import Transport
    from fedid.domain.sensitive import Sensitive

STANDBY: Final = frozenset({429, 472, 473})
"""What `sys/health` answers on a node that is unsealed but not the active one; requests are forwarded from there.

Source: https://developer.hashicorp.com/vault/api-docs/system/health
"""


class TokenSource(Protocol):
    """Where the token of each request comes from."""

    async def current(self) -> Sensitive:
        """Return a token that should be good."""

    async def instead_of(self, refused: Sensitive, *, invalid: bool) -> Sensitive | None:
        """Return another token than the one that was just refused, None if there is no point in it."""


class FixedToken:
    """A token source that has one token, so that a renewal does not wait for itself."""

    def __init__(self, token: Sensitive) -> None:
        """Hold the token."""
        self._token = token

    async def current(self) -> Sensitive:
        """Return it."""
        return self._token

    async def instead_of(self, refused: Sensitive, *, invalid: bool) -> Sensitive | None:  # noqa: ARG002 - the port
        """Return nothing: there is no other."""
        return None


class HvacAdapter(JSONAdapter):  # type: ignore[misc]  # hvac has no types
    """Sends what hvac composes; `tokens` None: anonymously."""

    def __init__(self, transport: Transport, tokens: TokenSource | None = None) -> None:
        """Keep what is needed; hvac's own constructor would open a requests.Session and read the environment."""
        self._transport = transport
        self._tokens = tokens

    def as_holder(self, token: Sensitive) -> HvacAdapter:
        """Return one that sends with this very token."""
        return HvacAdapter(self._transport, FixedToken(token))

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,  # noqa: FBT001, FBT002 - hvac's signature
        **kwargs: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Return the coroutine that sends the request.

        It returns the decoded body, None if there is none, and raises hvac's exceptions for 4xx (their `text` is
        never set, `json` only for a 404, where KV v2 puts the metadata of a deleted version).
        """
        # `headers` and `wrap_ttl` are in hvac's signature; nothing that we call uses them.
        del headers
        return self._request(method, url, kwargs.get("params"), kwargs.get("json"), judged=raise_exception)

    async def _request(
        self, method: str, url: str, params: Mapping[str, object] | None, body: object, *, judged: bool
    ) -> Any:
        token = None if self._tokens is None else await self._tokens.current()
        answer = await self._send(method, url, params, body, token, judged=judged)
        if token is not None and self._tokens is not None and answer.status == HTTPStatus.FORBIDDEN:
            invalid = b"invalid token" in answer.body
            # A 403 did nothing, so the same request may follow, whatever it is.
            if (other := await self._tokens.instead_of(token, invalid=invalid)) is not None:
                answer = await self._send(method, url, params, body, other, judged=judged)
        if judged and answer.status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(answer, method, url)
        return answer.json() if answer.body else None

    async def _send(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        url: str,
        params: Mapping[str, object] | None,
        body: object,
        token: Sensitive | None,
        *,
        judged: bool,
    ) -> Answer:
        headers = {"X-Vault-Request": "true"}
        if token is not None:
            headers["X-Vault-Token"] = token.reveal()
        query = {name: str(value) for name, value in (params or {}).items()}
        if method == "list":
            # LIST is no method that every proxy lets through; Vault takes this for the same.
            method, query["list"] = "get", "true"
        return await self._transport.request(
            method.upper(),
            url,
            headers=headers,
            params=query,
            json=body,
            explain=explain,
            passing=frozenset() if judged else STANDBY,
            # Only the health check comes unjudged: it is how an open breaker finds out.
            probing=not judged,
        )


def _refusal(answer: Answer, method: str, url: str) -> VaultError | BackendUnavailableError:
    if answer.status == HTTPStatus.PRECONDITION_FAILED:
        message = f"the Vault node at {answer.origin} has not caught up with the active one yet; asking again"
        return BackendUnavailableError(message, backend=BACKEND)
    body: Any = {}
    try:
        body = answer.json() if answer.body else {}
    except BackendRejectedError:
        if answer.status == HTTPStatus.NOT_FOUND:
            # A proxy's own 404 page must never be taken for "nothing lies there".
            raise
    body = body if isinstance(body, dict) else {}
    errors = [text for text in body.get("errors") or () if isinstance(text, str)]
    kept = {name: value for name, value in body.items() if name in {"data", "warnings"}}
    json = kept if answer.status == HTTPStatus.NOT_FOUND else None
    refusal: VaultError = VaultError.from_status(
        answer.status, None, errors=errors, method=method, url=url.removeprefix("/v1/"), json=json
    )
    return refusal
