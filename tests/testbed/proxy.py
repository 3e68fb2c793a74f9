"""A reverse proxy on loopback that records every request and can break any of them.

Tests put it in front of Keycloak, Vault or the API server, to count calls and to
cut a backend off. It runs in a thread with a loop of its own; its methods are
plain functions for the test's thread.

Example:
    with proxy_for(stack, "keycloak") as proxy:
        rule = proxy.inject(Status(503), requests_to(".*/clients", "POST"), times=2)
        ...
        assert rule.hits == 2
        writes = [e for e in proxy.exchanges() if e.method != "GET"]
"""

import asyncio
import selectors
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import aiohttp
from aiohttp import web
from yarl import URL

from tests.testbed.addresses import LOOPBACK
from tests.testbed.faults import (
    CutAfter,
    CutBefore,
    Delay,
    DelayAnswer,
    Exchange,
    Fault,
    Hang,
    HoldAnswer,
    Predicate,
    Rule,
    Spoken,
    Status,
    Truncate,
    any_request,
)
from tests.testbed.forwarding import ALL_AUTO_HEADERS, HOP_BY_HOP, MADE_ANEW, Tls, pass_back, truncate, without

if TYPE_CHECKING:
    from tests.testbed.stack import Stack

T = TypeVar("T")

CONTROL_SECONDS = 10
"""Longest wait of the test's thread for the proxy's."""

LOOK_SECONDS = 0.02
"""How often a hanging request looks whether its rule was lifted, and one that closes whether all is closed."""

OWN_SOCKETS = 1
"""Of a loop: the one by which other threads wake it."""


class Proxy:
    """One proxy in front of one server; also a context manager."""

    def __init__(self, upstream: str, tls: Tls | None = None, port: int = 0) -> None:
        """Describe a proxy; `start` opens it.

        Args:
            upstream: Base URL of the server behind.
            tls: None for plain HTTP on both sides.
            port: 0 for any free one; it stays the same while the proxy lives.
        """
        self._upstream = upstream.rstrip("/")
        self._tls = tls or Tls()
        self._port = port
        self._exchanges: list[Exchange] = []
        self._rules: tuple[Rule, ...] = ()
        self._sockets = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._sockets)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._server: _Server | None = None
        self._listener: asyncio.Server | None = None
        self._session: aiohttp.ClientSession | None = None
        self._ear: Callable[[Spoken], None] = _deaf
        self._hears_answers = False
        self._director: Callable[[Spoken], Rule | None] = _no_rule

    @property
    def url(self) -> str:
        """Base URL for clients."""
        scheme = "https" if self._tls.certificate else "http"
        return f"{scheme}://{LOOPBACK}:{self._port}"

    def start(self) -> Self:
        """Open the proxy and return it."""
        self._thread.start()
        self._on_loop(self._open())
        return self

    def stop(self) -> None:
        """Close the proxy, with every connection through it."""
        self._on_loop(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CONTROL_SECONDS)
        self._loop.close()

    def __enter__(self) -> Self:
        """Open the proxy."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the proxy."""
        self.stop()

    def refuse(self) -> None:
        """Be down: cut what is open and refuse connections, until `accept`."""
        self._on_loop(self._stop_listening())

    def accept(self) -> None:
        """Be up again, on the same port."""
        self._on_loop(self._listen())

    def inject(self, fault: Fault, when: Predicate = any_request, times: int | None = None) -> Rule:
        """Break requests from now on; the newest rule that matches wins.

        Args:
            fault: What to do.
            when: To which requests.
            times: To how many of them; None for all, until the rule is lifted.
        """
        rule = Rule(fault, when, times)
        self._rules = (rule, *self._rules)
        return rule

    def heal(self) -> None:
        """Lift every rule."""
        for rule in self._rules:
            rule.lift()
        self._rules = ()

    def exchanges(self, when: Predicate = any_request) -> tuple[Exchange, ...]:
        """Return what was recorded since the start or the last `clear`, in order of the answers."""
        return tuple(e for e in tuple(self._exchanges) if when(e.method, e.path))

    def overhear(self, ear: Callable[[Spoken], None], *, answers: bool) -> None:
        """Tell everything that is forwarded from now on, credentials included.

        Args:
            ear: Called on the proxy's loop, once for each request.
            answers: Whether the answers are kept for it; not for a server that is watched, whose answers never end.
        """
        self._ear, self._hears_answers = ear, answers

    def direct(self, director: Callable[[Spoken], Rule | None] | None) -> None:
        """Ask somebody about every request at its arrival.

        Args:
            director: Called on the proxy's loop, with everything that was sent; the rule that it returns goes before
                those that were injected. None: nobody any more.
        """
        self._director = director or _no_rule

    def clear(self) -> None:
        """Forget what was recorded."""
        self._exchanges.clear()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CONTROL_SECONDS)

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(
            # As many connections as the client opens: the proxy must not throttle.
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls.to_server()),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=ALL_AUTO_HEADERS,
        )
        self._server = _Server(self._handle, lambda: self._listener is not None)
        await self._listen()

    async def _close(self) -> None:
        self.heal()
        await self._stop_listening()
        if self._server is not None:
            await self._server.shutdown(timeout=1)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:  # whatever still carries a stream, such as a watch, between the two sides
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        await self._until_closed()

    async def _until_closed(self) -> None:
        """Wait for the ends of TLS connections that were given back before, each of which the server answers."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if len(self._sockets.get_map()) == OWN_SOCKETS:
                break
        await asyncio.sleep(LOOK_SECONDS)  # the last was taken off the selector; the loop closes it in its next turn

    async def _listen(self) -> None:
        if self._listener is not None or self._server is None:
            return
        self._listener = await self._loop.create_server(self._server, LOOPBACK, self._port, ssl=self._tls.to_client())
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._listener is None or self._server is None:
            return
        listener, self._listener = self._listener, None
        for listening in listener.sockets:
            self._loop.remove_reader(listening)
        await asyncio.sleep(0)  # whom it has let in gets a transport now, for which it has to be there
        listener.close()
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        exchange = Exchange(
            at=datetime.now(UTC),
            method=request.method,
            path=request.path,
            query=request.query_string,
            user_agent=request.headers.get("User-Agent", ""),
            status=None,
            forwarded=False,
        )
        body = await request.content.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        spoken = Spoken(request.method, request.path, headers, body, b"", request.query_string)
        rule = self._director(spoken)
        if rule is None:
            rule = next((r for r in self._rules if r.takes(request.method, request.path)), None)
        match rule.fault if rule else None:
            case Status(code, text, added):
                self._exchanges.append(replace(exchange, status=code))
                return web.Response(status=code, text=text, content_type="application/json", headers=added)
            case CutBefore():
                return self._cut(request, exchange)
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Hang():
                await self._until_lifted(rule)
            case _:
                pass
        return await self._forward(request, exchange, rule, spoken)

    async def _until_lifted(self, rule: Rule | None) -> None:
        while rule and not rule.lifted:
            rule.waits = True
            await asyncio.sleep(LOOK_SECONDS)

    def _cut(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """Drop the client's connection; what is returned goes nowhere."""
        self._exchanges.append(exchange)
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _forward(
        self, request: web.BaseRequest, exchange: Exchange, rule: Rule | None, spoken: Spoken
    ) -> web.StreamResponse:
        assert self._session is not None
        passed = without(request.headers, HOP_BY_HOP | MADE_ANEW)
        heard = bytearray() if self._hears_answers else None
        if heard is None:
            self._ear(spoken)
        try:
            async with self._session.request(
                request.method,
                URL(self._upstream + request.raw_path, encoded=True),
                headers=passed,
                data=spoken.sent or None,
                allow_redirects=False,
            ) as answer:
                seen = replace(exchange, forwarded=True)
                match rule.fault if rule else None:
                    case CutAfter():
                        self._ear(replace(spoken, answered=await answer.read()))
                        return self._cut(request, seen)
                    case HoldAnswer():
                        self._exchanges.append(seen)
                        await self._until_lifted(rule)
                    case DelayAnswer(seconds):
                        self._exchanges.append(replace(seen, status=answer.status))
                        await asyncio.sleep(seconds)
                    case Truncate():
                        self._ear(replace(spoken, answered=await answer.read()))
                        self._exchanges.append(seen)
                        return await truncate(request, answer)
                    case _:
                        self._exchanges.append(replace(seen, status=answer.status))
                response = await pass_back(request, answer, heard)
                if heard is not None:
                    self._ear(replace(spoken, answered=bytes(heard)))
                return response
        except aiohttp.ClientConnectionError:
            # As without a proxy: a server that is away gives no status, only a cut.
            return self._cut(request, exchange)


class _Server(web.Server):
    """Cuts off those whose connection is ready only when it is down already."""

    def __init__(
        self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], is_up: Callable[[], bool]
    ) -> None:
        # A client that goes away must end its watch on the server behind, too.
        super().__init__(handle, handler_cancellation=True, access_log=None)
        self._is_up = is_up

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if not self._is_up():
            transport.abort()


def _deaf(_spoken: Spoken) -> None:
    """Hear nothing."""


def _no_rule(_spoken: Spoken) -> None:
    """Let everything pass."""


def proxy_for(stack: "Stack", server: str) -> Proxy:
    """Return a proxy, not yet started, in front of a server of a stack.

    Args:
        stack: Its certificates are used.
        server: `kube`, `keycloak` or `vault`.
    """
    if server == "kube":
        paths = stack.paths
        tls = Tls(paths.ca_certificate, paths.serving_certificate, paths.serving_key)
        return Proxy(stack.apiserver_url, tls)
    return Proxy({"keycloak": stack.keycloak_url, "vault": stack.vault_url}[server])
