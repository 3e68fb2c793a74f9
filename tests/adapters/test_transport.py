"""HTTP to a backend: what goes out, what comes back, and what a failure is called."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from fedid.adapters.answer import Answer, Call, http_date
from fedid.adapters.transport import Transport, segment
from fedid.engine import AdaptiveLimiter, Breaker, BreakerPolicy, BreakerState, LimiterBounds
from fedid.errors import BackendError, BackendRejectedError, BackendUnavailableError, InvalidSpecError
from tests.adapters.http_servers import LOOPBACK, raw_server, self_signed, web_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
SECRET = "hvs.top-secret"
SECRETS = {"headers": {"Authorization": f"Bearer {SECRET}"}, "params": {"q": SECRET}, "form": {"client_secret": SECRET}}


@asynccontextmanager
async def transport(url: str, **options: object) -> AsyncIterator[Transport]:
    """Yield a transport to a backend and close it."""
    made = Transport("keycloak", url, **options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.aclose()


async def echo(request: web.Request) -> web.Response:
    """Answer with what came in."""
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "body": await request.text(),
            "type": request.headers.get("Content-Type"),
            "cookies": dict(request.cookies),
            "agent": request.headers["User-Agent"],
        },
        headers={"Set-Cookie": "session=1"},
    )


def status(code: int, **headers: str) -> object:
    """Return a handler that answers with a status."""

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(status=code, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return handle


class TestRequests:
    """What goes out and what comes back."""

    async def test_forms_of_body(self) -> None:
        """JSON, form and bytes go out with the right type, the query encoded, the path as given."""
        async with web_server(echo) as url, transport(f"{url}/prefix/") as http:
            plain = (await http.request("GET", f"/a/{segment('b/c?d')}", params={"q": "ü &="})).json()
            assert plain["path"] == "/prefix/a/b%2Fc%3Fd?q=%C3%BC+%26%3D"
            assert plain["body"] == ""
            assert plain["agent"].startswith("fedid/")
            sent = (await http.request("PUT", "/", json={"a": [1]})).json()
            assert (sent["body"], sent["type"]) == ('{"a": [1]}', "application/json")
            sent = (await http.request("POST", "/", form={"a": "+&ü"})).json()
            assert (sent["body"], sent["type"]) == ("a=%2B%26%C3%BC", "application/x-www-form-urlencoded")
            sent = (await http.request("DELETE", "/", body=b"x", headers={"Content-Type": "text/plain"})).json()
            assert (sent["method"], sent["body"], sent["type"]) == ("DELETE", "x", "text/plain")

    async def test_no_cookies(self) -> None:
        """A cookie that a backend sets is not sent back."""
        # By name, because aiohttp keeps no cookies of an IP address anyway.
        async with web_server(echo) as url, transport(url.replace(LOOPBACK, "localhost")) as http:
            await http.request("GET", "/")
            assert (await http.request("GET", "/")).json()["cookies"] == {}

    async def test_no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Proxies of the environment are not used."""
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        async with web_server(echo) as url, transport(url) as http:
            assert (await http.request("GET", "/")).status == 200

    @pytest.mark.parametrize("code", [200, 201, 204, 400, 401, 403, 404, 409, 412, 422])
    async def test_statuses_for_adapters(self, code: int) -> None:
        """What a backend means is for its adapter to tell: 2xx and 4xx come back."""
        async with web_server(status(code)) as url, transport(url) as http:  # type: ignore[arg-type]
            assert (await http.request("POST", "/")).status == code

    async def test_counts(self) -> None:
        """Every request is told to the metrics, those without an answer too."""
        calls: list[Call] = []
        async with web_server(echo) as url, transport(url, on_call=calls.append) as http:
            await http.request("GET", "/")
        async with transport(f"http://{LOOPBACK}:1", on_call=calls.append) as http:
            with pytest.raises(BackendUnavailableError):
                await http.request("PUT", "/")
        assert [(call.backend, call.method, call.status, call.failure) for call in calls] == [
            ("keycloak", "GET", 200, None),
            ("keycloak", "PUT", None, "refused"),
        ]
        assert all(call.seconds >= 0 for call in calls)

    async def test_bounded(self) -> None:
        """No more connections are opened than allowed, and they are used again."""
        peers = set()

        async def note(request: web.Request) -> web.Response:
            assert request.transport is not None
            peers.add(request.transport.get_extra_info("peername"))
            await asyncio.sleep(0.01)
            return web.Response()

        async with web_server(note) as url, transport(url, connections=4) as http:
            await asyncio.gather(*(http.request("GET", "/") for _ in range(40)))
        assert len(peers) == 4

    async def test_closed(self) -> None:
        """After it was closed nothing is sent any more."""
        async with transport("http://127.0.0.1:1") as http:
            pass
        with pytest.raises(BackendUnavailableError, match="closed"):
            await http.request("GET", "/")

    async def test_not_json(self) -> None:
        """A page where JSON was expected is told as such, and is in no traceback."""
        answer = Answer(200, {}, f"<html>{SECRET}".encode(), 0.0, 0.0, "host:1", "vault")
        with pytest.raises(BackendRejectedError, match="host:1 answered with something else than JSON") as caught:
            answer.json()
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None or caught.value.__suppress_context__
        assert SECRET not in repr(answer)


class TestBadConfiguration:
    """What cannot work is refused before anything is sent."""

    @pytest.mark.parametrize(
        ("url", "told"),
        [
            ("ftp://host", "must be http"),
            ("keycloak:8080", "must be http"),
            ("https://", "must be http"),
            ("https://host/?a=b", "must be http"),
            ("https://host#x", "must be http"),
            ("https://admin:admin@host", "user name or password"),
        ],
    )
    def test_url(self, url: str, told: str) -> None:
        """A URL that is none, or that holds a password, is refused without repeating it."""
        with pytest.raises(InvalidSpecError, match=told) as caught:
            Transport("keycloak", url)
        assert url not in str(caught.value)

    @pytest.mark.parametrize("bundle", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
    def test_bundle(self, bundle: str) -> None:
        """A bundle without a certificate is refused, and the field is named."""
        with pytest.raises(InvalidSpecError, match="caBundle"):
            Transport("keycloak", "https://host", ca_bundle=bundle)


class TestNoAnswer:
    """Failures to get an answer, each in words."""

    async def test_refused(self) -> None:
        """Nobody listens: nothing was sent."""
        with socket.socket() as free:
            free.bind((LOOPBACK, 0))
            port = free.getsockname()[1]
        async with transport(f"http://{LOOPBACK}:{port}") as http:
            with pytest.raises(BackendUnavailableError, match=rf"{LOOPBACK}:{port} \(connection refused\)") as caught:
                await http.request("POST", "/admin/realms/fl", **SECRETS)  # type: ignore[arg-type]
        assert not caught.value.outcome_unknown
        assert caught.value.backend == "keycloak"

    async def test_unknown_host(self) -> None:
        """The name does not resolve."""
        async with transport("http://does-not-exist.invalid") as http:
            with pytest.raises(
                BackendUnavailableError, match=r"does-not-exist\.invalid:80 cannot be resolved"
            ) as caught:
                await http.request("POST", "/")
        assert not caught.value.outcome_unknown

    async def test_hangs(self) -> None:
        """No answer in time: a write may have happened, a read does not matter."""

        async def hang(_request: web.Request) -> web.Response:
            await asyncio.sleep(60)
            return web.Response()

        async with web_server(hang) as url, transport(url, total_timeout=timedelta(seconds=0.1)) as http:
            for method, unknown in (("POST", True), ("PUT", True), ("DELETE", True), ("GET", False)):
                with pytest.raises(BackendUnavailableError, match="did not answer in time") as caught:
                    await http.request(method, "/")
                assert caught.value.outcome_unknown is unknown

    async def test_does_not_accept(self) -> None:
        """A connection that is never made ends after the connect timeout, and nothing was sent."""
        with socket.socket() as full:
            full.bind((LOOPBACK, 0))
            full.listen(0)
            port = full.getsockname()[1]
            # The queue of the listener holds one; the others' SYNs are dropped.
            fillers = [socket.socket() for _ in range(3)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex((LOOPBACK, port))
            async with transport(f"http://{LOOPBACK}:{port}", connect_timeout=timedelta(seconds=0.2)) as http:
                with pytest.raises(BackendUnavailableError, match=r"connecting to .* timed out") as caught:
                    await http.request("POST", "/")
            for filler in fillers:
                filler.close()
        assert not caught.value.outcome_unknown

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    async def test_write_is_sent_once(self, method: str) -> None:
        """A write on a connection that the server has just closed is not sent again: its outcome is unknown."""
        async with raw_server(lambda n: OK if n == 0 else None) as server, transport(server.url) as http:
            await http.request("GET", "/")
            with pytest.raises(BackendUnavailableError, match="broke before the answer") as caught:
                await http.request(method, "/")
            assert caught.value.outcome_unknown
            assert len(server.requests) == 2

    async def test_read_is_sent_twice(self) -> None:
        """A read on a connection that the server has just closed is sent once more, and only once."""
        async with raw_server(lambda n: None if n == 1 else OK) as server, transport(server.url) as http:
            await http.request("GET", "/")
            assert (await http.request("GET", "/")).status == 200
            assert len(server.requests) == 3
        async with raw_server(lambda _: None) as server, transport(server.url) as http:
            with pytest.raises(BackendUnavailableError):
                await http.request("GET", "/")
            assert len(server.requests) == 2

    async def test_body_breaks_off(self) -> None:
        """An answer that ends in the middle is none."""
        half = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{"
        async with raw_server(lambda _: half) as server, transport(server.url) as http:
            with pytest.raises(BackendUnavailableError, match="broke before the answer") as caught:
                await http.request("POST", "/")
            assert caught.value.outcome_unknown

    async def test_no_http(self) -> None:
        """Something else than HTTP comes back; our headers are not in the traceback."""
        async with raw_server(lambda _: b"SSH-2.0-OpenSSH_9\r\n\r\n") as server, transport(server.url) as http:
            with pytest.raises(BackendUnavailableError, match="does not speak HTTP") as caught:
                await http.request("POST", "/", **SECRETS)  # type: ignore[arg-type]
        error: BaseException | None = caught.value
        while error is not None:
            assert SECRET not in repr(error)
            error = error.__cause__

    async def test_message_holds_nothing(self) -> None:
        """No failure repeats path, query, headers or body."""
        async with transport("http://127.0.0.1:1") as http:
            with pytest.raises(BackendUnavailableError) as caught:
                await http.request("POST", f"/{SECRET}", **SECRETS)  # type: ignore[arg-type]
        assert SECRET not in "".join(traceback.format_exception(caught.value))


class TestTls:
    """Certificates."""

    async def test_trusted(self, tmp_path: Path) -> None:
        """With the CA in caBundle it works."""
        tls, pem = self_signed(tmp_path)
        async with web_server(echo, tls) as url, transport(url, ca_bundle=pem) as http:
            assert (await http.request("GET", "/")).status == 200

    async def test_not_trusted(self, tmp_path: Path) -> None:
        """Without it the message names the field and the reason is its own."""
        tls, _ = self_signed(tmp_path)
        async with web_server(echo, tls) as url, transport(url) as http:
            with pytest.raises(BackendUnavailableError, match="set caBundle of keycloak") as caught:
                await http.request("POST", "/")
        assert caught.value.reason == "CertificateInvalid"
        assert not caught.value.outcome_unknown

    async def test_other_host(self, tmp_path: Path) -> None:
        """A certificate for another host is not accepted, and the message says so."""
        tls, pem = self_signed(tmp_path)
        async with web_server(echo, tls) as url, transport(url.replace(LOOPBACK, "localhost"), ca_bundle=pem) as http:
            with pytest.raises(BackendUnavailableError, match="Hostname mismatch") as caught:
                await http.request("GET", "/")
        assert caught.value.reason == "CertificateInvalid"

    async def test_tls_to_plain(self) -> None:
        """TLS to a port that speaks plain http is told as such."""
        async with web_server(echo) as url, transport(url.replace("http:", "https:")) as http:
            with pytest.raises(BackendUnavailableError, match="does that port speak plain http") as caught:
                await http.request("POST", "/")
        assert not caught.value.outcome_unknown

    async def test_plain_to_tls(self, tmp_path: Path) -> None:
        """Plain http to a port that speaks TLS is a failure to reach it."""
        tls, _ = self_signed(tmp_path)
        async with web_server(echo, tls) as url, transport(url.replace("https:", "http:")) as http:
            with pytest.raises(BackendUnavailableError):
                await http.request("POST", "/")


class TestLater:
    """Answers that say "later" or "elsewhere"."""

    @pytest.mark.parametrize(
        ("code", "header", "seconds"),
        [(429, "7", 7), (503, "0", 0), (503, "86400", 300), (503, "9" * 20, 300), (429, "soon", None), (500, "", None)],
    )
    async def test_pause(self, code: int, header: str, seconds: int | None) -> None:
        """The pause that is asked for is told, within reason."""
        async with web_server(status(code, Retry_After=header)) as url, transport(url) as http:  # type: ignore[arg-type]
            with pytest.raises(BackendUnavailableError, match=f"answered {code}") as caught:
                await http.request("GET", "/")
        pause = caught.value.retry_after
        assert pause == (None if seconds is None else timedelta(seconds=seconds))

    def test_pause_as_date(self) -> None:
        """A pause may be given as an instant; one that has passed is none at all."""
        now = datetime(2026, 1, 1, tzinfo=UTC)
        answer = Answer(503, {"Retry-After": "Thu, 01 Jan 2026 00:00:09 GMT"}, b"", 0.0, 0.0, "host:1", "vault")
        assert answer.retry_after(now) == timedelta(seconds=9)
        assert answer.retry_after(now + timedelta(minutes=1)) == timedelta()
        assert http_date("nonsense") is None

    @pytest.mark.parametrize(("code", "unknown"), [(429, False), (500, True), (502, True), (503, True), (504, True)])
    async def test_outcome(self, code: int, unknown: bool) -> None:  # noqa: FBT001 - a column of a table
        """A write that was answered with 5xx may have happened, one that was answered with 429 has not."""
        async with web_server(status(code)) as url, transport(url) as http:  # type: ignore[arg-type]
            with pytest.raises(BackendUnavailableError) as caught:
                await http.request("POST", "/")
            assert caught.value.outcome_unknown is unknown
            with pytest.raises(BackendUnavailableError) as caught:
                await http.request("GET", "/")
            assert not caught.value.outcome_unknown

    async def test_redirect(self) -> None:
        """A redirect is not followed; its target's host is told, its query is not."""
        there = f"https://elsewhere.example/x?token={SECRET}"
        async with web_server(status(302, Location=there)) as url, transport(url) as http:  # type: ignore[arg-type]
            with pytest.raises(BackendRejectedError, match=r"redirects to elsewhere\.example") as caught:
                await http.request("GET", "/")
        assert SECRET not in str(caught.value)

    async def test_explained(self) -> None:
        """An adapter may know better what a 503 means, or want it back."""

        def sealed(answer: Answer) -> BackendError | None:
            return BackendUnavailableError(f"sealed {answer.status}", backend="vault", reason="VaultSealed")

        async with web_server(status(503)) as url, transport(url) as http:  # type: ignore[arg-type]
            with pytest.raises(BackendUnavailableError, match="sealed 503"):
                await http.request("GET", "/", explain=sealed)
            with pytest.raises(BackendUnavailableError, match="answered 503"):
                await http.request("GET", "/", explain=lambda _: None)
            assert (await http.request("GET", "/", passing=frozenset({503}))).status == 503


class TestEngine:
    """Limiter, breaker and fence."""

    async def test_limiter(self) -> None:
        """No more is in flight than the limiter allows, and load that is shed halves it."""
        flying, most = 0, 0

        async def slow(request: web.Request) -> web.Response:
            nonlocal flying, most
            flying += 1
            most = max(most, flying)
            await asyncio.sleep(0.01)
            flying -= 1
            return web.Response(status=503 if request.path == "/shed" else 200)

        limiter = AdaptiveLimiter(LimiterBounds(initial=4, maximum=4))
        async with web_server(slow) as url, transport(url, limiter=limiter) as http:
            await asyncio.gather(*(http.request("GET", "/") for _ in range(20)))
            assert most == 4
            with pytest.raises(BackendUnavailableError):
                await http.request("GET", "/shed")
            assert limiter.limit == 2
            assert limiter.in_use == 0

    async def test_breaker(self) -> None:
        """A backend that is away is not asked any more, until a probe finds it back."""
        breaker = Breaker("keycloak", BreakerPolicy(threshold=2, cooldown_seconds=30))
        async with (
            raw_server(lambda n: None if n < 2 else OK) as server,
            transport(server.url, breaker=breaker) as http,
        ):
            for _ in range(2):
                with pytest.raises(BackendUnavailableError):
                    await http.request("POST", "/")
            assert str(breaker.state) == "open"
            with pytest.raises(BackendUnavailableError, match="broke before the answer") as caught:
                await http.request("POST", "/")
            assert caught.value.retry_after is not None
            assert not caught.value.outcome_unknown
            assert len(server.requests) == 2
            assert (await http.request("GET", "/", probing=True)).status == 200
            assert str(breaker.state) == "closed"
            assert (await http.request("POST", "/")).status == 200

    @pytest.mark.parametrize(("code", "state"), [(500, BreakerState.CLOSED), (502, BreakerState.OPEN)])
    async def test_breaker_and_5xx(self, code: int, state: BreakerState) -> None:
        """A gateway with nothing behind it opens the breaker; a 500 is about one request and does not."""
        breaker = Breaker("keycloak", BreakerPolicy(threshold=2))
        async with web_server(status(code)) as url, transport(url, breaker=breaker) as http:  # type: ignore[arg-type]
            for _ in range(2):
                with pytest.raises(BackendUnavailableError):
                    await http.request("GET", "/")
        assert breaker.state is state

    async def test_fence(self) -> None:
        """A replica that lost its lease sends no write, not even one that was waiting for its turn."""
        leading = True

        def fence() -> None:
            if not leading:
                raise PermissionError

        seen: list[str] = []

        async def slow(request: web.Request) -> web.Response:
            seen.append(request.method)
            await asyncio.sleep(0.05)
            return web.Response()

        limiter = AdaptiveLimiter(LimiterBounds(initial=1, maximum=1))
        async with web_server(slow) as url, transport(url, limiter=limiter, fence=fence) as http:
            first = asyncio.create_task(http.request("POST", "/"))
            waiting = asyncio.create_task(http.request("POST", "/"))
            await asyncio.sleep(0.01)
            leading = False
            assert (await first).status == 200
            with pytest.raises(PermissionError):
                await waiting
            assert (await http.request("GET", "/")).status == 200
        assert seen == ["POST", "GET"]
