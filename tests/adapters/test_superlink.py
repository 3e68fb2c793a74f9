"""A SuperLink's refusals in our own words; what a real one answers is in tests/contract/test_node_registry.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from fedid.adapters.superlink import SuperLinkRegistry
from fedid.adapters.superlink.wire import length_delimited, varint_field
from fedid.adapters.transport import Transport
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError, BackendError, BackendRejectedError, BackendUnavailableError
from tests.adapters.http_servers import raw_server, web_server

PROTOBUF = "application/protobuf"
TOKEN = Sensitive("top-secret")


@asynccontextmanager
async def superlink(answer: web.Response, seen: list[web.Request] | None = None) -> AsyncIterator[SuperLinkRegistry]:
    """Yield the registry of a server that always answers the same."""

    async def handle(request: web.Request) -> web.Response:
        if seen is not None:
            await request.read()
            seen.append(request)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async with web_server(handle) as url:
        registry = SuperLinkRegistry(Transport("superlink", url))
        yield registry
        await registry.aclose()


def refused(status: int, code: int) -> web.Response:
    """Return a refusal as flwr 1.41 writes it."""
    return web.json_response({"code": code, "detail": "<script>"}, status=status)


async def test_what_is_sent() -> None:
    """A POST with protobuf, and the token only where there is one."""
    seen: list[web.Request] = []
    async with superlink(web.Response(body=varint_field(1, 9), content_type=PROTOBUF), seen) as registry:
        assert await registry.register(b"key", "name", TOKEN) == 9
        await registry.unregister(9)
    with_token, without = seen
    assert (with_token.method, with_token.path) == ("POST", "/v1/control/register-node")
    assert (await with_token.read()) == length_delimited(1, b"key") + length_delimited(3, b"name")
    assert with_token.headers["Authorization"] == "Bearer top-secret"
    assert with_token.headers["Content-Type"] == with_token.headers["Accept"] == PROTOBUF
    assert (without.path, await without.read()) == ("/v1/control/unregister-node", varint_field(1, 9))
    assert "Authorization" not in without.headers


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (refused(401, 36), BackendDeniedError, "token"),
        (refused(403, 9), BackendDeniedError, "no SuperNodes"),
        (refused(412, 22), BackendRejectedError, "P-384"),
        (refused(412, 1001), BackendRejectedError, "code 1001"),
        (refused(415, 1002), BackendRejectedError, "code 1002"),
        (refused(503, 37), BackendUnavailableError, "503"),
        (web.json_response({"detail": "Not Found"}, status=404), BackendRejectedError, r"1\.37"),
        (web.json_response(["no", "object"], status=404), BackendRejectedError, r"1\.37"),
        (web.Response(text="<html>", content_type="text/html"), BackendRejectedError, r"1\.37"),
        (web.Response(text="<html>", status=404), BackendRejectedError, r"1\.37"),
        (web.Response(body=b"\xff", content_type=PROTOBUF), BackendRejectedError, r"1\.37"),
        (web.Response(body=b"", content_type=PROTOBUF), BackendRejectedError, r"1\.37"),
    ],
)
async def test_refusals_of_a_registration(answer: web.Response, error: type[BackendError], words: str) -> None:
    """Each says what to do, and repeats neither what the stranger wrote nor the token."""
    async with superlink(answer) as registry:
        with pytest.raises(error, match=words) as raised:
            await registry.register(b"key", "name", TOKEN)
    assert raised.value.backend == "superlink"
    assert "top-secret" not in str(raised.value)
    assert "<" not in str(raised.value)


async def test_an_account_is_wanted() -> None:
    """Without a token the sentence says where to ask for one."""
    async with superlink(refused(401, 36)) as registry:
        with pytest.raises(BackendDeniedError, match=r"superLink\.account"):
            await registry.nodes()


@pytest.mark.parametrize("answer", [refused(404, 9), web.Response(text="Not Found", status=404)])
async def test_a_404_that_is_not_about_the_node(answer: web.Response) -> None:
    """A proxy's page must not pass for "unregistered"."""
    async with superlink(answer) as registry:
        with pytest.raises(BackendRejectedError):
            await registry.unregister(5)


async def test_a_412_that_is_not_about_the_key() -> None:
    """Only the code tells that a key is in use."""
    async with superlink(refused(412, 23)) as registry:
        assert await registry.register(b"key", "name") is None
        with pytest.raises(BackendRejectedError):
            await registry.nodes()


async def test_what_may_be_sent_again() -> None:
    """A listing is asked for again over a connection that was closed meanwhile; a registration never."""
    async with raw_server(lambda _: None) as server:
        registry = SuperLinkRegistry(Transport("superlink", server.url))
        with pytest.raises(BackendUnavailableError) as listing:
            await registry.nodes()
        assert len(server.requests) == 2
        assert not listing.value.outcome_unknown
        with pytest.raises(BackendUnavailableError) as registration:
            await registry.register(b"key", "name")
        assert len(server.requests) == 3
        assert registration.value.outcome_unknown
        await registry.aclose()
