"""The proxy passes everything on, records it, and breaks exactly what it is told to break."""

import gc
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from tests.e2e.waiting import eventually
from tests.testbed.faults import (
    CutAfter,
    CutBefore,
    Delay,
    DelayAnswer,
    Hang,
    HoldAnswer,
    Rule,
    Spoken,
    Status,
    Truncate,
    any_request,
    requests_to,
)
from tests.testbed.forwarding import Tls
from tests.testbed.paths import StatePaths
from tests.testbed.pki import ensure_pki
from tests.testbed.proxy import Proxy
from tests.testbed.rest import Rest


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked; `/watch` gives one line and then waits."""

    protocol_version = "HTTP/1.1"
    port: ClassVar[int]
    release: ClassVar[threading.Event]
    seen: ClassVar[list[str]]

    def _answer(self) -> None:
        self.seen.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/watch"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b'8\r\n{"a":1}\n\r\n')
            self.release.wait(20)
            self.wfile.write(b"0\r\n\r\n")
            return
        text = body or b"{}"
        self.send_response(201 if body else 200)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Agent", self.headers.get("User-Agent", ""))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - named by http.server

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def echoing(tls: Tls | None = None) -> Iterator[type[Echo]]:
    """Run the server behind the proxy."""

    class Here(Echo):
        release = threading.Event()
        seen: ClassVar[list[str]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Here)
    if tls is not None and (context := tls.to_client()) is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Here.port = server.server_port
    yield Here
    Here.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def echo() -> Iterator[type[Echo]]:
    """Run it for one test."""
    with echoing() as running:
        yield running


@pytest.fixture
def proxy(echo: type[Echo]) -> Iterator[Proxy]:
    """Run the proxy in front of it."""
    with Proxy(f"http://127.0.0.1:{echo.port}") as running:
        yield running


def test_requests_pass_unchanged_and_are_recorded(proxy: Proxy, echo: type[Echo]) -> None:
    """Method, path with its encoding, query, headers and body reach the server as sent."""
    rest = Rest(proxy.url)
    answer = rest.answer("POST", "/a%2Fb?x=1", {"y": 2}, headers={"User-Agent": "probe/1"})
    assert (answer.status, answer.body, answer.headers["x-agent"]) == (201, {"y": 2}, "probe/1")
    assert echo.seen == ["POST /a%2Fb?x=1"]
    (exchange,) = proxy.exchanges()
    assert (exchange.method, exchange.query, exchange.status) == ("POST", "x=1", 201)
    assert exchange.user_agent == "probe/1"
    assert exchange.forwarded
    proxy.clear()
    assert proxy.exchanges() == ()


def test_a_status_is_answered_without_the_server(proxy: Proxy, echo: type[Echo]) -> None:
    """The fault hits what it names, as often as it says, and nothing else."""
    rest = Rest(proxy.url)
    rule = proxy.inject(Status(503, headers={"Retry-After": "1"}), requests_to("/x.*", "GET"), times=1)
    assert rest.answer("GET", "/other").status == 200
    broken = rest.answer("GET", "/xy")
    assert (broken.status, broken.headers["retry-after"]) == (503, "1")
    assert rest.answer("GET", "/xy").status == 200
    assert rule.hits == 1
    assert echo.seen == ["GET /other", "GET /xy"]
    assert [e.forwarded for e in proxy.exchanges(requests_to("/xy"))] == [False, True]


@pytest.mark.parametrize("fault", [CutBefore(), CutAfter()], ids=["before", "after"])
def test_a_connection_cut_before_and_after_the_server(
    proxy: Proxy, echo: type[Echo], fault: CutBefore | CutAfter
) -> None:
    """The client gets no answer either way; the server saw the request only in one."""
    proxy.inject(fault, times=1)
    with pytest.raises(OSError, match="closed connection"):
        Rest(proxy.url).answer("POST", "/x", {"y": 2})
    carried_out = isinstance(fault, CutAfter)
    assert (echo.seen == ["POST /x"]) is carried_out
    (exchange,) = proxy.exchanges()
    assert exchange.status is None
    assert exchange.forwarded is carried_out


def test_a_delay_comes_before_the_server(proxy: Proxy) -> None:
    """The answer comes, later."""
    proxy.inject(Delay(0.3))
    began = time.monotonic()
    assert Rest(proxy.url).answer("GET", "/x").status == 200
    assert time.monotonic() - began >= 0.3


def test_an_answer_that_is_delayed_was_given_before(proxy: Proxy, echo: type[Echo]) -> None:
    """The server has seen the request when somebody who does not wait gives up."""
    proxy.inject(DelayAnswer(0.5), times=1)
    with pytest.raises(TimeoutError):
        Rest(proxy.url, timeout_seconds=0.2).answer("POST", "/x", {})
    assert echo.seen == ["POST /x"]
    proxy.inject(DelayAnswer(0.2), times=1)
    assert Rest(proxy.url).answer("GET", "/x").status == 200


def test_half_of_an_answer(proxy: Proxy, echo: type[Echo]) -> None:
    """The request was carried out, and its answer ends in the middle."""
    proxy.inject(Truncate(), times=1)
    with pytest.raises(http.client.IncompleteRead) as told:
        Rest(proxy.url).answer("POST", "/x", {"y": 2})
    assert told.value.partial == b'{"y"'
    assert echo.seen == ["POST /x"]
    assert Rest(proxy.url).answer("GET", "/x").status == 200


def test_a_director_goes_before_the_rules(proxy: Proxy) -> None:
    """It hears everything that was sent, and decides; without it the rules do."""
    heard: list[Spoken] = []

    def director(spoken: Spoken) -> Rule | None:
        heard.append(spoken)
        return Rule(Status(418), any_request, None) if spoken.query else None

    proxy.inject(Status(503))
    proxy.direct(director)
    assert Rest(proxy.url).answer("POST", "/x?y=1", {"z": 2}).status == 418
    assert Rest(proxy.url).answer("GET", "/x").status == 503
    assert [(one.method, one.path, one.query, one.sent) for one in heard] == [
        ("POST", "/x", "y=1", b'{"z": 2}'),
        ("GET", "/x", "", b""),
    ]
    proxy.direct(None)
    assert Rest(proxy.url).answer("POST", "/x?y=1", {}).status == 503


def test_a_hanging_request_goes_on_when_it_is_let(proxy: Proxy, echo: type[Echo]) -> None:
    """Nothing happens until the rule is lifted; then the request is forwarded."""
    rule = proxy.inject(Hang())
    impatient = Rest(proxy.url, timeout_seconds=0.3)
    with pytest.raises(TimeoutError):
        impatient.answer("GET", "/lost")
    timer = threading.Timer(0.3, rule.lift)
    timer.start()
    assert Rest(proxy.url).answer("GET", "/kept").status == 200
    timer.join()
    assert echo.seen == ["GET /kept"]


def test_a_proxy_that_refuses_comes_back_on_its_port(proxy: Proxy) -> None:
    """Down and up again looks like a server that was restarted."""
    rest = Rest(proxy.url)
    assert rest.answer("GET", "/x").status == 200
    proxy.refuse()
    with pytest.raises(OSError, match="refused"):
        rest.answer("GET", "/x")
    proxy.accept()
    assert rest.answer("GET", "/x").status == 200


def test_a_watch_is_passed_on_line_by_line(proxy: Proxy, echo: type[Echo]) -> None:
    """The first line arrives while the answer still goes on."""
    lines: list[bytes] = []
    got_line = threading.Event()

    def watch() -> None:
        connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=20)
        connection.request("GET", "/watch")
        with connection.getresponse() as response:
            lines.append(response.readline())
            got_line.set()
            lines.append(response.readline())
        connection.close()

    thread = threading.Thread(target=watch)
    thread.start()
    assert got_line.wait(10)
    assert lines == [b'{"a":1}\n']
    assert proxy.exchanges()[0].status == 200
    echo.release.set()
    thread.join(10)
    assert lines == [b'{"a":1}\n', b""]


def test_a_proxy_that_stops_waits_for_what_the_server_has_yet_to_close(tmp_path: Path) -> None:
    """A watch that nobody hears any more ends with a TLS farewell, which this server does not answer at once."""
    ensure_pki(paths := StatePaths(tmp_path))
    tls = Tls(paths.ca_certificate, paths.serving_certificate, paths.serving_key)
    with echoing(tls) as echo:
        proxy = Proxy(f"https://127.0.0.1:{echo.port}", tls).start()
        trusting = ssl.create_default_context(cafile=paths.ca_certificate)
        watch = http.client.HTTPSConnection("127.0.0.1", urlsplit(proxy.url).port, timeout=20, context=trusting)
        watch.request("GET", "/watch")
        with watch.getresponse() as response:
            assert response.readline() == b'{"a":1}\n'
        watch.close()
        threading.Timer(0.3, echo.release.set).start()
        proxy.stop()
        assert echo.release.is_set()
    del proxy
    gc.collect()  # a transport that is still open says so now, which fails the test


def test_who_comes_as_the_proxy_goes_down_is_cut_off_too(echo: type[Echo]) -> None:
    """A connection that is taken from the listener in the turn of the loop in which that is closed."""
    proxy, busy, go_on = Proxy(f"http://127.0.0.1:{echo.port}").start(), threading.Event(), threading.Event()
    url = proxy.url

    def keep_the_loop(_spoken: Spoken) -> None:
        busy.set()
        go_on.wait(20)

    def ask() -> None:
        with suppress(OSError):
            Rest(url).answer("GET", "/x")

    proxy.direct(keep_the_loop)
    first = threading.Thread(target=ask)
    first.start()
    assert busy.wait(20)
    with socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=20) as late:
        threading.Timer(0.2, go_on.set).start()
        proxy.refuse()
        assert late.recv(1) == b""
    first.join(20)
    proxy.stop()
    del proxy
    gc.collect()  # as above


def test_a_server_that_is_away_is_a_cut_connection(echo: type[Echo]) -> None:
    """The proxy invents no status of its own for a server that it cannot reach."""
    with Proxy("http://127.0.0.1:1") as proxy:
        with pytest.raises(OSError, match="closed connection"):
            Rest(proxy.url).answer("GET", "/x")
        (exchange,) = proxy.exchanges()
        assert (exchange.status, exchange.forwarded) == (None, False)
    assert echo.seen == []


def test_the_newest_matching_rule_wins_and_heal_lifts_all(proxy: Proxy) -> None:
    """Rules stack; healing leaves a plain proxy."""
    rest = Rest(proxy.url)
    proxy.inject(Status(500))
    proxy.inject(Status(429), times=1)
    assert [rest.answer("GET", "/x").status for _ in range(2)] == [429, 500]
    proxy.heal()
    assert rest.answer("GET", "/x").status == 200


def test_a_predicate_means_the_whole_path() -> None:
    """A pattern for a collection does not match the objects in it."""
    meant = requests_to("/clients", "POST|PUT")
    assert meant("PUT", "/clients")
    assert not meant("PUT", "/clients/1")
    assert not meant("GET", "/clients")


def test_a_rule_counts_only_what_it_breaks() -> None:
    """Once used up or lifted, a rule takes nothing."""
    rule = Rule(Delay(1), any_request, times=1)
    assert rule.takes("GET", "/")
    assert not rule.takes("GET", "/")
    assert rule.hits == 1
    lifted = Rule(Delay(1), any_request, times=None)
    lifted.lift()
    assert not lifted.takes("GET", "/")


@pytest.mark.parametrize(("fault", "seen"), [(Hang(), []), (HoldAnswer(), ["POST /x"])], ids=["hang", "hold"])
def test_a_rule_says_when_a_request_waits_at_it(
    proxy: Proxy, echo: type[Echo], fault: Hang | HoldAnswer, seen: list[str]
) -> None:
    """And by then the server has carried out what is to be carried out."""
    rule = proxy.inject(fault, times=1)
    assert not rule.waits
    asking = threading.Thread(target=Rest(proxy.url).answer, args=("POST", "/x", {}))
    asking.start()
    eventually(lambda: rule.waits, "it waits")
    assert echo.seen == seen
    rule.lift()
    asking.join()
    assert echo.seen == ["POST /x"]
