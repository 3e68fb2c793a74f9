"""HTTP to one backend: a bounded pool, hard time limits, and one place where failures become `fedid.errors`.

The backends share these rules. A request is sent at most once (a read that met a closed keep-alive connection:
twice), because a write that is repeated blindly may undo what happened in between. Redirects are not followed, proxies
of the environment and cookies are ignored. No message ever holds a query string, a header or a body: only host, port
and what to do next.

Source: RFC 9110 section 9.2 (safe and idempotent methods).
"""

from __future__ import annotations

import asyncio
import json as json_codec
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from yarl import URL

from fedid import __version__
from fedid.adapters.answer import AWAY, Answer, Call
from fedid.adapters.clock import awake_or_not
from fedid.adapters.transport_failures import failure_of
from fedid.engine import Breaker, BreakerOpenError
from fedid.errors import BackendError, BackendRejectedError, BackendUnavailableError, InvalidSpecError

READS: Final = frozenset({"GET", "HEAD"})

Explain = Callable[[Answer], BackendError | None]


class Limiter(Protocol):
    """How many requests may be in flight at once: `fedid.engine.AdaptiveLimiter`."""

    def slot(self) -> AbstractAsyncContextManager[float]:
        """Wait for a place and hold it while the context lasts; yields when it was got (monotonic seconds)."""

    def succeeded(self) -> None:
        """Take note of an answer in time."""

    def overloaded(self, sent_at: float | None = None) -> None:
        """Take note of 429, 503 or a timeout of what was sent at that instant (monotonic seconds)."""


def segment(text: str) -> str:
    """Return the text percent-encoded as one segment of a path, slashes included."""
    return quote(text, safe="")


def trust(ca_bundle: str | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the bundle and nothing else, or the system's store if there is no bundle.

    Raises:
        InvalidSpecError: The bundle holds no certificate in PEM.
    """
    try:
        # Not the text itself where it is empty: then the library would trust the system's store without a word.
        return ssl.create_default_context(cadata=ca_bundle if ca_bundle is None else ca_bundle or "none")
    except (ssl.SSLError, ValueError) as error:
        message = "caBundle holds no valid certificate: paste the CA in PEM, from BEGIN CERTIFICATE to END CERTIFICATE"
        raise InvalidSpecError(message) from error


class Transport:
    """Requests to one backend over one pool of connections."""

    def __init__(  # noqa: PLR0913 - one keyword for each thing that the composition root may bound or observe
        self,
        backend: str,
        base_url: str,
        *,
        ca_bundle: str | None = None,
        connections: int = 32,
        connect_timeout: timedelta = timedelta(seconds=5),
        total_timeout: timedelta = timedelta(seconds=15),
        limiter: Limiter | None = None,
        breaker: Breaker | None = None,
        fence: Callable[[], None] | None = None,
        on_call: Callable[[Call], None] | None = None,
        replica: str | None = None,
        monotonic: Callable[[], float] = awake_or_not,
    ) -> None:
        """Prepare; nothing connects before the first request.

        Args:
            backend: `keycloak`, `vault`, `superlink`, `openfga` or `kubernetes`: for errors and metrics.
            base_url: `http(s)://host[:port][/prefix]`.
            ca_bundle: PEM text of the only CAs to trust; None: the system's.
            connections: Upper bound of open connections (> 0).
            connect_timeout: For the TCP and TLS handshake.
            total_timeout: For one request, from having a slot (and waiting for a free connection) to the last byte.
            limiter: Bounds what is in flight; None: only the pool does.
            breaker: Asked before each request that is not `probing`.
            fence: Called right before each write is sent; raises if this replica may not write any more.
            on_call: Told about each finished request.
            replica: Name of this process, for the backend's own log: it is sent as a part of `User-Agent`.
            monotonic: Seconds that never go back; stamps each `Answer`, and adapters tell the time by it too: of
                tokens that end, and of the backend's own clock. Neither sleeps when our machine does.

        Raises:
            InvalidSpecError: The URL or the bundle is unusable.
        """
        self.backend = backend
        self.base_url = base_url.rstrip("/")
        self.origin = _origin(backend, base_url)
        self._tls = trust(ca_bundle) if base_url.startswith("https:") else None
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(
            total=total_timeout.total_seconds(), sock_connect=connect_timeout.total_seconds()
        )
        self._limiter = limiter
        self._breaker = breaker
        self._fence = fence
        self._on_call = on_call
        self._agent = f"fedid/{__version__}" + (f" ({replica})" if replica else "")
        self.monotonic = monotonic
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        # What the backend was last away with: sentence and reason.
        self._trouble: tuple[str, str | None] | None = None

    async def request(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: object = None,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
        explain: Explain | None = None,
        passing: frozenset[int] = frozenset(),
        probing: bool = False,
        reads: bool = False,
    ) -> Answer:
        """Send one request and return the answer if its status is 2xx or 4xx, save 429.

        Args:
            method: In capitals.
            path: Below the base URL, starting with `/`, already percent-encoded (see `segment`).
            headers: Sent as they are; a content type is added to `json` and `form` if there is none.
            params: The query; encoded here.
            json: Body as JSON, unless None.
            form: Body as a form.
            body: Body as it is.
            explain: Asked first about an answer that would raise: a more exact error (Vault's "sealed"), or None.
            passing: Statuses to return although they would raise (Vault's health uses them to say what it is).
            probing: Ask even if the breaker is open.
            reads: It changes nothing, although its method says otherwise (a remote procedure call is always POST).

        Raises:
            BackendUnavailableError: No answer, 429 or 5xx.
            BackendRejectedError: A redirect.
        """
        headers, reads = dict(headers or {}), reads or method in READS
        if json is not None:
            body = json_codec.dumps(json).encode()
            headers.setdefault("Content-Type", "application/json")
        elif form is not None:
            body = urlencode(form).encode()
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        url = URL(self.base_url + path + (f"?{urlencode(params)}" if params else ""), encoded=True)
        async with self._limiter.slot() if self._limiter is not None else nullcontext(0.0) as slot_at:
            # Asked only now: while a request waits for its slot the backend may go away, or our lease may end.
            if self._breaker is not None and not probing:
                self._check(self._breaker)
            if self._fence is not None and not reads:
                self._fence()
            answer = await self._send(method, url, headers, body, slot_at, reads=reads)
            self._note(answer.status, passing, slot_at)
        if answer.status not in passing:
            self._refuse(answer, explain, reads=reads)
        return answer

    @property
    def closed(self) -> bool:
        """Whether no request may follow."""
        return self._closed

    async def aclose(self) -> None:
        """Close the connections; no request may follow."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None
            # aiohttp closes TLS transports one turn of the loop later: https://github.com/aio-libs/aiohttp/issues/1925
            await asyncio.sleep(0)

    def _check(self, breaker: Breaker) -> None:
        try:
            breaker.check()
        except BreakerOpenError as error:
            pause = timedelta(seconds=error.retry_after_seconds)
            # In the words of the failure that opened it: a condition that told a countdown, or two sentences in turn,
            # would be written again with every pass.
            message, reason = self._trouble or (f"{self.backend} at {self.origin} did not answer several times", None)
            raise BackendUnavailableError(message, backend=self.backend, reason=reason, retry_after=pause) from error

    async def _send(  # noqa: PLR0913 - the request, and what is known of it
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, slot_at: float, *, reads: bool
    ) -> Answer:
        started = time.perf_counter()
        attempts = 2 if reads else 1
        while True:
            attempts -= 1
            try:
                sent = self.monotonic()
                async with self._open().request(
                    method, url, headers=headers, data=body, allow_redirects=False
                ) as response:
                    received = self.monotonic()
                    content = await response.read()
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError) as error:
                if not attempts:
                    raise self._failed(method, error, started, slot_at, reads=reads) from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                # A ClientResponseError is not chained: its repr shows our headers, and so the credential.
                cause = None if isinstance(error, aiohttp.ClientResponseError) else error
                raise self._failed(method, error, started, slot_at, reads=reads) from cause
            else:
                self._tell(method, response.status, None, started)
                return Answer(response.status, response.headers, content, sent, received, self.origin, self.backend)

    def _failed(
        self, method: str, error: Exception, started: float, slot_at: float, *, reads: bool
    ) -> BackendUnavailableError:
        """Translate "no answer"; here and nowhere else."""
        what = failure_of(error, self.origin, self.backend)
        self._tell(method, None, what.kind, started)
        if self._breaker is not None:
            self._breaker.failed()
        if self._limiter is not None and what.kind == "timeout":
            self._limiter.overloaded(slot_at)
        unknown = what.sent and not reads
        self._trouble = (what.sentence, what.reason)
        return BackendUnavailableError(what.sentence, backend=self.backend, reason=what.reason, outcome_unknown=unknown)

    def _note(self, status: int, passing: frozenset[int], slot_at: float) -> None:
        """Tell limiter and breaker what the status means for the backend as a whole.

        A 500 is about one request and opens no breaker; a gateway that finds nothing behind it does.
        """
        busy = status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE} - passing
        down = status in AWAY - passing
        if self._limiter is not None:
            if busy:
                self._limiter.overloaded(slot_at)
            else:
                self._limiter.succeeded()
        if self._breaker is not None:
            if down:
                self._breaker.failed()
            else:
                self._breaker.succeeded()

    def _refuse(self, answer: Answer, explain: Explain | None, *, reads: bool) -> None:
        """Raise for an answer that says "elsewhere" or "later"."""
        moved = HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST
        broken = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if not moved and not broken and answer.status != HTTPStatus.TOO_MANY_REQUESTS:
            return
        if explain is not None and (exact := explain(answer)) is not None:
            self._trouble = (exact.message, exact.reason)
            raise exact
        if moved:
            target = urlsplit(answer.headers.get("Location", "")).hostname or "another page"
            message = f"{self.origin} redirects to {target}: set the URL of {self.backend} to where it really is"
            raise BackendRejectedError(message, backend=self.backend, reason="Redirected")
        pause = answer.retry_after(datetime.now(UTC))
        asked = f" and asks to wait {pause.total_seconds():.0f} s" if pause else ""
        message = f"{self.backend} at {self.origin} answered {answer.status}{asked}: check its health and its log"
        unknown = broken and not reads
        self._trouble = (message, None)
        raise BackendUnavailableError(message, backend=self.backend, retry_after=pause, outcome_unknown=unknown)

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            message = f"the connections to {self.backend} are closed"
            raise BackendUnavailableError(message, backend=self.backend)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, ssl=self._tls or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._agent},
                timeout=self._timeout,
                trust_env=False,
            )
            # aiohttp repeats PUT and DELETE on a stale connection by itself. A process that slept through the end of
            # its lease must not send a write a second time, so only this module decides what is repeated.
            self._session._retry_connection = False  # noqa: SLF001 - the only switch that aiohttp 3.14 has
        return self._session

    def _tell(self, method: str, status: int | None, failure: str | None, started: float) -> None:
        if self._on_call is not None:
            self._on_call(Call(self.backend, method, status, failure, time.perf_counter() - started))


def _origin(backend: str, base_url: str) -> str:
    """Return `host:port` of a usable URL."""
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        message = f"the URL of {backend} must be http(s)://host[:port][/path], without query or fragment"
        raise InvalidSpecError(message)
    if parts.username is not None or parts.password is not None:
        message = f"the URL of {backend} must not hold a user name or password"
        raise InvalidSpecError(message)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
