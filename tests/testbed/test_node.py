"""Whether a stack gets a node, and what its parts are made of; the node itself is what the end-to-end tests run on."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import tarfile
from pathlib import Path

import pytest

from tests.testbed.addresses import service_address, service_network
from tests.testbed.errors import StackError
from tests.testbed.node import requirements
from tests.testbed.node.archive import write_archive, write_layer
from tests.testbed.node.relay import relay
from tests.testbed.node.requirements import node_problem, node_wanted
from tests.testbed.paths import StatePaths
from tests.testbed.ports import free_port


def test_node_0_asks_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """`NODE=0` is enough, whatever the machine could do."""
    monkeypatch.setenv("NODE", "0")
    assert not node_wanted()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("geteuid", lambda: 1000, "need root"), ("access", lambda *_: False, "is not writable")],
)
def test_what_is_missing_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object, told: str
) -> None:
    """Without a wish the stack comes up without a node; with `NODE=1` the sentence is an error."""
    monkeypatch.setattr(requirements.os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements.os, name, value)
    assert told in (node_problem() or "")
    monkeypatch.delenv("NODE", raising=False)
    assert not node_wanted()
    monkeypatch.setenv("NODE", "1")
    with pytest.raises(StackError, match=told):
        node_wanted()


def test_services_of_two_stacks_have_other_addresses(tmp_path: Path) -> None:
    """All of them within the loopback network, none of them near 127.0.0.1."""
    one, two = (StatePaths(tmp_path / name) for name in ("one", "two"))
    assert service_network(one) != service_network(two)
    for paths in (one, two):
        network = ipaddress.ip_network(service_network(paths))
        assert network.subnet_of(ipaddress.ip_network("127.64.0.0/10"))
        assert service_address(paths) == str(network[1])


def test_an_archive_holds_what_a_loader_of_images_looks_for(tmp_path: Path) -> None:
    """A manifest that names configuration and layer, and a program that may be executed."""
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    write_layer(tmp_path / "layer.tar", {"/pause": program})
    write_archive(tmp_path / "image.tar", tmp_path / "layer.tar", "localhost/pause:1", ["/pause"])
    with tarfile.open(tmp_path / "image.tar") as archive:
        (manifest,) = json.load(archive.extractfile("manifest.json") or pytest.fail("no manifest"))
        assert manifest["RepoTags"] == ["localhost/pause:1"]
        configuration = json.load(archive.extractfile(manifest["Config"]) or pytest.fail("no configuration"))
        assert configuration["config"]["Entrypoint"] == ["/pause"]
        assert configuration["rootfs"]["diff_ids"] == [f"sha256:{manifest['Layers'][0].removesuffix('.tar')}"]
        assert set(archive.getnames()) == {"manifest.json", manifest["Config"], *manifest["Layers"]}
    with tarfile.open(tmp_path / "layer.tar") as layer:
        assert layer.getmember("pause").mode == 0o755


async def test_the_relay_passes_both_ways_and_ends_with_the_server() -> None:
    """What is said on one side is heard on the other; without a server behind it a connection ends at once."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    port, target = free_port(), free_port()
    server = await asyncio.start_server(echo, "127.0.0.1", target)
    running = asyncio.create_task(relay(("127.0.0.1", port), ("127.0.0.1", target)))
    opened: list[asyncio.StreamWriter] = []
    try:
        reader = await _connected(port, opened)
        opened[-1].write(b"hello\n")
        assert await reader.read() == b"HELLO\n"
        server.close()
        await server.wait_closed()
        reader = await _connected(port, opened)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    finally:
        for writer in opened:
            writer.transport.abort()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.sleep(0)


async def _connected(port: int, opened: list[asyncio.StreamWriter]) -> asyncio.StreamReader:
    """Connect as soon as somebody listens."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            opened.append(writer)
            return reader
