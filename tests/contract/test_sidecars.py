"""What every `Sidecars` does: says what a sidecar says, or why it does not."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from fedid.adapters.sidecars import LONGEST_ANSWER, PodSidecars, is_no_pod_address
from fedid.domain.content_digest import content_digest
from fedid.domain.pods import Pod
from fedid.domain.reload_report import Loaded, ProcessState
from fedid.errors import BackendRejectedError, BackendUnavailableError
from fedid.ports import Sidecars
from tests.e2e.waiting import eventually
from tests.fakes.sidecars import FakeSidecars
from tests.reloader.volume import Volume
from tests.testbed.paths import REPOSITORY
from tests.testbed.ports import free_port

POD = Pod("site-a", "server", "u", finished=False, mounts=frozenset({"server"}), nudge=None, ip="127.0.0.1")
MOUNTED = content_digest({"tokens": b"one"})
SECONDS = 15.0


class World(Protocol):
    """Sidecars, and what stands where they should."""

    sidecars: Sidecars

    async def sidecar(self) -> Pod:
        """Return a pod whose sidecar sees no program."""

    async def nobody(self) -> Pod:
        """Return a pod where nobody listens."""

    async def stranger(self) -> Pod:
        """Return a pod where something else listens."""


class FakeWorld:
    """In memory."""

    def __init__(self) -> None:
        """Start without any."""
        self.sidecars = self.fake = FakeSidecars()

    async def sidecar(self) -> Pod:
        """Return a pod with a sidecar."""
        self.fake.answers["server"] = Loaded(None, MOUNTED, ProcessState.ABSENT)
        return replace(POD, reload_port=8484)

    async def nobody(self) -> Pod:
        """Return a pod without."""
        return replace(POD, reload_port=8484)

    async def stranger(self) -> Pod:
        """Return a pod with something else."""
        self.fake.answers["server"] = BackendRejectedError("another program has the port", backend="sidecar")
        return replace(POD, reload_port=8484)


class RealWorld:
    """Sidecars as processes."""

    def __init__(self, folder: Path, ending: AsyncExitStack) -> None:
        """Keep files in a folder; what is started ends with the test."""
        self.sidecars: Sidecars = PodSidecars(is_refused=lambda _: False)
        self._folder, self._ending = folder, ending

    async def sidecar(self) -> Pod:
        """Start a sidecar."""
        volume, port = Volume(self._folder / "volume"), free_port()
        volume.write({"tokens": "one"})
        where = ("--mount", str(volume.folder), "--host", "127.0.0.1", "--port", str(port))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fedid.reloader", "--process", "^there is none such$", *where),
            env={"PYTHONPATH": str(REPOSITORY / "operator"), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=asyncio.subprocess.DEVNULL,
        )

        async def end() -> None:
            process.terminate()
            await process.wait()

        self._ending.push_async_callback(end)
        await asyncio.to_thread(eventually, lambda: _listens(port), "the sidecar listens", seconds=SECONDS)
        return replace(POD, reload_port=port)

    async def nobody(self) -> Pod:
        """Return a pod without."""
        return replace(POD, reload_port=free_port())

    async def stranger(self) -> Pod:
        """Listen as something else."""
        return await self._ending.enter_async_context(_answering(lambda: b'HTTP/1.1 200 OK\r\n\r\n{"hello": 1}'))


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@asynccontextmanager
async def _answering(answer: Callable[[], bytes | None]) -> AsyncIterator[Pod]:
    """Serve one answer to whoever asks; None: none at all."""
    asked: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if (found := answer()) is not None:
            writer.write(found)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield replace(POD, reload_port=server.sockets[0].getsockname()[1])
    server.close()
    for writer in writers:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    for request in asked:
        assert request.startswith(b"GET /loaded HTTP/1.1\r\n")
        assert b"authorization" not in request.lower()


@pytest.fixture(params=["fake", "process"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Yield one after the other."""
    if request.param == "fake":
        yield FakeWorld()
        return
    async with AsyncExitStack() as ending:
        real = RealWorld(tmp_path, ending)
        yield real
        await real.sidecars.aclose()


async def test_what_a_sidecar_says_arrives(world: World) -> None:
    """As it says it, whoever asks again."""
    pod = await world.sidecar()
    for _ in range(2):
        loaded = await world.sidecars.loaded(pod)
        assert loaded == Loaded(None, MOUNTED, ProcessState.ABSENT)


async def test_where_nobody_listens(world: World) -> None:
    """It may come yet."""
    with pytest.raises(BackendUnavailableError, match="does not answer at port"):
        await world.sidecars.loaded(await world.nobody())


async def test_where_something_else_listens(world: World) -> None:
    """It is no sidecar."""
    with pytest.raises(BackendRejectedError, match="another program has the port"):
        await world.sidecars.loaded(await world.stranger())


GOOD = b'{"hash": null, "mounted": null, "process": "absent"}'
ANSWERS = [
    pytest.param(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", id="a redirect"),
    pytest.param(b"HTTP/1.1 500 No\r\n\r\n" + GOOD, id="an error"),
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD + b" " * LONGEST_ANSWER, id="too much"),
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 1000, id="too deep"),
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe", id="no text"),
    pytest.param(b'HTTP/1.1 200 OK\r\n\r\n{"hash": "<script>", "mounted": null, "process": "loaded"}', id="no hash"),
]


@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_hostile_answer_is_refused_and_never_repeated(answer: bytes) -> None:
    """A pod's owner may have anything answer there."""
    sidecars = PodSidecars(is_refused=lambda _: False)
    async with _answering(lambda: answer) as pod:
        with pytest.raises(BackendRejectedError) as error:
            await sidecars.loaded(pod)
    await sidecars.aclose()
    assert "script" not in error.value.message


async def test_who_answers_by_and_by_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot hold up the operator."""
    monkeypatch.setattr("fedid.adapters.sidecars.TOTAL_SECONDS", 0.3)
    sidecars = PodSidecars(is_refused=lambda _: False)
    async with _answering(lambda: None) as pod:
        with pytest.raises(BackendUnavailableError, match="does not answer"):
            await sidecars.loaded(pod)
        await sidecars.aclose()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "0.0.0.0",  # noqa: S104 - nobody binds to it
        "::",
        "169.254.169.254",
        "fe80::1",
        "224.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "metadata.example.org",
        "127.1",
        "",
        None,
    ],
)
async def test_addresses_that_no_pod_has_are_never_asked(address: str | None) -> None:
    """Who may write a pod's status could else send the operator anywhere."""
    sidecars = PodSidecars()
    with pytest.raises(BackendRejectedError, match="no pod has"):
        await sidecars.loaded(replace(POD, ip=address, reload_port=1))
    await sidecars.aclose()


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.0.9", "100.64.0.1", "192.0.2.2", "fd00::7", "2001:db8::1"])
def test_addresses_that_pods_have(address: str) -> None:
    """Of both families, private and public."""
    assert not is_no_pod_address(ipaddress.ip_address(address))
