"""Writes to the API server when the connection breaks, when others write too, and when this replica may not."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fedid.adapters.answer import Call
from fedid.errors import BackendRejectedError, BackendUnavailableError, Error, StaleObjectError
from tests.adapters.kubernetes_parts import MERGE_PATCH, administrator, cluster_as, namespace_of_its_own, secret_in
from tests.testbed.faults import CutAfter, CutBefore, Status, requests_to
from tests.testbed.proxy import proxy_for
from tests.testbed.stack import Stack

BOTS = "/apis/fedid.io/v1alpha1/namespaces/{}/botclients"
SECRET_WRITES = requests_to("/api/v1/namespaces/.*/secrets.*", "POST|PUT|PATCH|DELETE")
STATUS_WRITES = requests_to(".*/status", "PATCH")
INSTALLATION = "/api/v1/namespaces/{}/configmaps/fedid-installation"


@pytest.fixture
def namespace(stack: Stack) -> Iterator[str]:
    """Yield a namespace that only this test uses."""
    with namespace_of_its_own(stack) as name:
        yield name


def create_bot(stack: Stack, namespace: str, name: str = "a") -> Mapping[str, Any]:
    """Create a BotClient."""
    bot = {"apiVersion": "fedid.io/v1alpha1", "kind": "BotClient", "metadata": {"name": name}, "spec": {}}
    body: Mapping[str, Any] = stack.kube("POST", BOTS.format(namespace), bot)
    return body


async def test_a_lost_answer_is_an_unknown_outcome(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """A create whose answer is lost is not repeated by itself; reading back shows what became of it."""
    with proxy_for(stack, "kube") as proxy:
        async with cluster_as(stack, tmp_path, administrator(stack), url=proxy.url) as cluster:
            proxy.inject(CutAfter(), SECRET_WRITES, times=1)
            with pytest.raises(BackendUnavailableError) as caught:
                await cluster.create_secret(secret_in(namespace, token="1"))
            assert caught.value.outcome_unknown
            assert len(proxy.exchanges(SECRET_WRITES)) == 1
            assert await cluster.create_secret(secret_in(namespace, token="1")) is None


@pytest.mark.parametrize("verb", ["replace", "delete"])
async def test_no_write_is_repeated_on_its_own(stack: Stack, namespace: str, tmp_path: Path, verb: str) -> None:
    """Left alone aiohttp would repeat PUT and DELETE on a connection that broke; a paused process must not."""
    with proxy_for(stack, "kube") as proxy:
        async with cluster_as(stack, tmp_path, administrator(stack), url=proxy.url) as cluster:
            made = await cluster.create_secret(secret_in(namespace, token="1"))
            assert made is not None
            proxy.clear()
            proxy.inject(CutBefore(), SECRET_WRITES)
            replace, delete = cluster.replace_secret, cluster.delete_secret
            with pytest.raises(BackendUnavailableError):
                await (replace(made) if verb == "replace" else delete(namespace, made.name, str(made.uid)))
            assert len(proxy.exchanges(SECRET_WRITES)) == 1


async def test_a_status_is_one_request_when_nobody_interferes(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """The usual case costs one PATCH and nothing else; one reading is added when the object has moved on."""
    body = create_bot(stack, namespace)
    with proxy_for(stack, "kube") as proxy:
        async with cluster_as(stack, tmp_path, administrator(stack), url=proxy.url) as cluster:
            await cluster.patch_status(body, {"clientId": "a"})
            assert [exchange.method for exchange in proxy.exchanges()] == ["PATCH"]
            proxy.clear()

            await cluster.patch_status(body, {"clientId": "b"})
            assert [exchange.method for exchange in proxy.exchanges()] == ["PATCH", "GET", "PATCH"]


async def test_a_status_that_never_gets_through_is_stale(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """Somebody who changes the object all the time does not keep a pass here for ever."""
    body = create_bot(stack, namespace)
    conflict = '{"kind": "Status", "reason": "Conflict", "message": "the object has been modified"}'
    with proxy_for(stack, "kube") as proxy:
        proxy.inject(Status(409, conflict), STATUS_WRITES)
        async with cluster_as(stack, tmp_path, administrator(stack), url=proxy.url) as cluster:
            with pytest.raises(StaleObjectError):
                await cluster.patch_status(body, {"clientId": "a"})
            assert len(proxy.exchanges(STATUS_WRITES)) == 5


async def test_a_uid_alone_would_not_guard_a_status(stack: Stack, namespace: str) -> None:
    """Why the resourceVersion is sent: the API server ignores a foreign uid in a custom resource's status patch.

    Should this ever fail, the uid has become a precondition as it is for builtin kinds, and one request would do.
    """
    create_bot(stack, namespace)
    patch = {"metadata": {"uid": str(uuid.uuid4())}, "status": {"clientId": "a"}}

    answer = stack.kube("PATCH", f"{BOTS.format(namespace)}/a/status", patch, headers=MERGE_PATCH)

    assert answer["status"] == {"clientId": "a"}


async def test_a_listing_comes_in_chunks(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """Nothing is missing and nothing is twice, however many pages it takes."""
    names = {f"bot-{n}" for n in range(7)}
    for name in names:
        create_bot(stack, namespace, name)
    listed = requests_to("/apis/fedid.io/v1alpha1/botclients")
    with proxy_for(stack, "kube") as proxy:
        async with cluster_as(stack, tmp_path, administrator(stack), url=proxy.url, chunk=2) as cluster:
            found = [body for body in await cluster.listing("BotClient") if namespace_of(body) == namespace]
            assert len(proxy.exchanges(listed)) >= 4

    assert sorted(name_of(body) for body in found) == sorted(names)


async def test_a_listing_begins_anew_when_its_snapshot_is_gone(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """A page that comes too late (410) leads to a whole listing, not to a part of one."""
    names = {f"bot-{n}" for n in range(5)}
    for name in names:
        create_bot(stack, namespace, name)
    listed = requests_to("/apis/fedid.io/v1alpha1/botclients")
    pages = 0

    def second_page(_method: str, _path: str) -> bool:
        nonlocal pages
        pages += 1
        return pages == 2

    with proxy_for(stack, "kube") as proxy:
        proxy.inject(Status(410, '{"kind": "Status", "reason": "Expired", "code": 410}'), second_page, times=1)
        async with cluster_as(stack, tmp_path, administrator(stack), url=proxy.url, chunk=2) as cluster:
            found = await cluster.listing("BotClient")
        answers = [exchange.status for exchange in proxy.exchanges(listed)]

    assert answers == [200, 410, 200]
    assert len({(namespace_of(body), name_of(body)) for body in found}) == len(found)
    assert {name_of(body) for body in found if namespace_of(body) == namespace} == names


def name_of(body: Mapping[str, Any]) -> str:
    """Return an object's name."""
    return str(body["metadata"]["name"])


def namespace_of(body: Mapping[str, Any]) -> str:
    """Return an object's namespace."""
    return str(body["metadata"]["namespace"])


async def test_two_who_start_at_once_agree_on_the_installation(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """Of several first starts one makes the id; all of them, and later ones, have the same."""
    options: dict[str, Any] = {"namespace": namespace}
    async with (
        cluster_as(stack, tmp_path, administrator(stack), **options) as one,
        cluster_as(stack, tmp_path, administrator(stack), **options) as two,
    ):
        ids = await asyncio.gather(*(cluster.installation_id() for cluster in (one, two, one, two)))
    async with cluster_as(stack, tmp_path, administrator(stack), **options) as later:
        ids.append(await later.installation_id())

    assert len(set(ids)) == 1
    assert stack.kube("GET", INSTALLATION.format(namespace))["data"] == {"installationId": ids[0]}


@pytest.mark.parametrize("data", [None, {}, {"installationId": ""}, {"installationId": "mine"}])
async def test_a_damaged_installation_id_is_not_replaced(
    stack: Stack, namespace: str, tmp_path: Path, data: dict[str, str] | None
) -> None:
    """With another id everything that we made would look like a stranger's: somebody has to restore it."""
    path = INSTALLATION.format(namespace)
    stack.kube("POST", path.rpartition("/")[0], {"metadata": {"name": "fedid-installation"}, "data": data})
    async with cluster_as(stack, tmp_path, administrator(stack), namespace=namespace) as cluster:
        with pytest.raises(BackendRejectedError, match=f"in namespace {namespace} holds no UUID.*restore it"):
            await cluster.installation_id()

    assert stack.kube("GET", path).get("data") == (data or None)


class FencedError(Error):
    """This replica may not write."""


def fence() -> None:
    """Hold back every write."""
    message = "the lease is lost"
    raise FencedError(message)


async def test_a_fenced_replica_reads_and_does_not_write(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """Without the lease no write leaves the process, Events included; reading and the very first id go on."""
    body = create_bot(stack, namespace)
    user = administrator(stack)
    with proxy_for(stack, "kube") as proxy:
        async with cluster_as(stack, tmp_path, user, url=proxy.url, namespace=namespace, fence=fence) as cluster:
            for call in (
                cluster.create_secret(secret_in(namespace)),
                cluster.delete_secret(namespace, "x", "u"),
                cluster.set_finalizers(body, ("fedid.io/revoke",)),
                cluster.patch_status(body, {"clientId": "a"}),
            ):
                with pytest.raises(FencedError):
                    await call
            await cluster.emit(body, reason="R", message="m", warning=False, action="A")
            assert not proxy.exchanges()
            assert cluster.events_lost == 1

            assert await cluster.read("BotClient", namespace, "a") is not None
            assert await cluster.installation_id()


@pytest.mark.parametrize(
    "answer", [Status(403), Status(404), Status(422), Status(500), Status(429), CutBefore()], ids=repr
)
async def test_a_lost_event_is_counted_and_nothing_else(
    stack: Stack, namespace: str, tmp_path: Path, answer: Status | CutBefore, caplog: pytest.LogCaptureFixture
) -> None:
    """An Event never fails a pass."""
    body = create_bot(stack, namespace)
    with proxy_for(stack, "kube") as proxy, caplog.at_level(logging.INFO):
        proxy.inject(answer, requests_to(".*/events", "POST"))
        async with cluster_as(stack, tmp_path, administrator(stack), url=proxy.url) as cluster:
            await cluster.emit(body, reason="R", message="m", warning=True, action="A")
            assert cluster.events_lost == 1


async def test_a_long_event_is_cut_to_what_the_api_takes(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """Message, reason and action have bounds; an Event beyond them is cut and not lost."""
    body = create_bot(stack, namespace, "n" * 63)
    async with cluster_as(stack, tmp_path, administrator(stack)) as cluster:
        await cluster.emit(body, reason="R" * 500, message="m" * 5000, warning=True, action="A" * 500)
        assert cluster.events_lost == 0

    (event,) = stack.kube("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    assert [len(event[name]) for name in ("message", "reason", "action")] == [1024, 128, 128]
    assert event["reportingComponent"] == "fedid"


async def test_each_call_is_told(stack: Stack, tmp_path: Path) -> None:
    """The metrics learn of every request to the API server."""
    calls: list[Call] = []
    async with cluster_as(stack, tmp_path, administrator(stack), on_call=calls.append) as cluster:
        await cluster.read_secret("default", "absent")

    assert [(call.backend, call.method, call.status) for call in calls] == [("kubernetes", "GET", 404)]
