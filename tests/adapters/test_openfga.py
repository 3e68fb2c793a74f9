"""What is sent to OpenFGA, and its refusals in our own words; what a real one answers is in tests/contract."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from fedid.adapters.openfga import OpenFgaStore
from fedid.adapters.transport import Transport
from fedid.domain.openfga import RelationTuple
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError, BackendError, BackendRejectedError, BackendUnavailableError
from tests.adapters.http_servers import web_server

KEY = Sensitive("top-secret")
TUPLE = RelationTuple("flwr_aid:a", "has_access", "service:grid")
NAMED = {"user": "flwr_aid:a", "relation": "has_access", "object": "service:grid"}


@asynccontextmanager
async def openfga(answer: web.Response, seen: list[Any] | None = None, **store: Any) -> AsyncIterator[OpenFgaStore]:
    """Yield a store of a server that always answers the same."""

    async def handle(request: web.Request) -> web.Response:
        if seen is not None:
            text = await request.text()
            sent = json.loads(text) if text else None
            seen.append((request.method, request.path, sent, request.headers.get("Authorization")))
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async with web_server(handle) as url:
        made = OpenFgaStore(Transport("openfga", url), "s", store.get("model"), store.get("key"))
        yield made
        await made.aclose()


async def test_what_is_sent() -> None:
    """The model only where one is named and needed, the key only where there is one, and no cache is asked."""
    seen: list[Any] = []
    async with openfga(web.json_response({"tuples": []}), seen, model="m", key=KEY) as store:
        await store.write(TUPLE)
        await store.delete(TUPLE)
        assert not await store.allowed(TUPLE)
        await store.users("service:grid", "has_access")
    bearer = "Bearer top-secret"
    strong = {"consistency": "HIGHER_CONSISTENCY"}
    page = {"tuple_key": {"object": "service:grid", "relation": "has_access"}, "page_size": 100}
    assert seen == [
        ("POST", "/stores/s/write", {"writes": {"tuple_keys": [NAMED]}, "authorization_model_id": "m"}, bearer),
        ("POST", "/stores/s/write", {"deletes": {"tuple_keys": [NAMED]}}, bearer),
        ("POST", "/stores/s/check", {"tuple_key": NAMED, "authorization_model_id": "m", **strong}, bearer),
        ("POST", "/stores/s/read", {**page, **strong}, bearer),
    ]
    seen.clear()
    async with openfga(web.json_response({}), seen) as store:
        await store.write(TUPLE)
    assert seen == [("POST", "/stores/s/write", {"writes": {"tuple_keys": [NAMED]}}, None)]


def refused(status: int, code: str) -> web.Response:
    """Return a refusal as OpenFGA 1.22 writes it."""
    return web.json_response({"code": code, "message": "<script>"}, status=status)


@pytest.mark.parametrize(
    ("answer", "error", "reason", "words"),
    [
        (refused(401, "unauthenticated"), BackendDeniedError, "BackendDenied", "wants a preshared key"),
        (refused(403, "forbidden"), BackendDeniedError, "BackendDenied", "wants a preshared key"),
        (refused(409, "Aborted"), BackendUnavailableError, "BackendUnavailable", "somebody else"),
        (refused(400, "validation_error"), BackendRejectedError, "BackendRejected", "type flwr_aid"),
        (refused(404, "store_id_not_found"), BackendRejectedError, "StoreNotFound", "correct spec.openFga.storeId"),
        (refused(404, "undefined_endpoint"), BackendRejectedError, "UnexpectedAnswer", "check spec.openFga.url"),
        (refused(503, "x"), BackendUnavailableError, "BackendUnavailable", "503"),
        (web.json_response(["no", "object"]), BackendRejectedError, "UnexpectedAnswer", "check spec.openFga.url"),
        (web.json_response({"tuples": [1]}), BackendRejectedError, "UnexpectedAnswer", "check spec.openFga.url"),
        (web.json_response({"tuples": None}), BackendRejectedError, "UnexpectedAnswer", "check spec.openFga.url"),
        (web.Response(text="<html>", status=404), BackendRejectedError, "UnexpectedAnswer", "check spec.openFga.url"),
        (web.Response(text="<html>"), BackendRejectedError, "UnexpectedAnswer", "check that the URL is openfga's"),
    ],
)
async def test_what_a_refusal_means(answer: web.Response, error: type[BackendError], reason: str, words: str) -> None:
    """The code decides; a stranger's text is not passed on."""
    async with openfga(answer) as store:
        with pytest.raises(error, match=words) as told:
            await store.users("service:grid", "has_access")
    assert told.value.reason == reason
    assert told.value.backend == "openfga"
    assert "<" not in told.value.message


async def test_a_write_whose_answer_is_lost_may_have_arrived() -> None:
    """So that its record stays."""
    async with openfga(web.Response(status=500)) as store:
        with pytest.raises(BackendUnavailableError) as lost:
            await store.write(TUPLE)
    assert lost.value.outcome_unknown
