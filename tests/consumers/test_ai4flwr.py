"""ai4flwr: the package on the index over TLS gRPC, and what the reference of its unreleased modes is held to."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.consumers.consumer import Consumers
from tests.consumers.federated import NO_HEADER, REFUSED, TAKEN, Doors
from tests.e2e.waiting import eventually
from tests.testbed.paths import StatePaths
from tests.testbed.pki import ensure_pki

OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def doors(consumers: Consumers, tmp_path: Path) -> Doors:
    """Servers and clients with an authority of their own."""
    pki = StatePaths(tmp_path / "pki")
    ensure_pki(pki)
    return Doors(consumers, pki)


def _list(doors: Doors, *lines: str, end: str = "\n") -> str:
    return str(doors.consumers.mount("tokens", {"tokens": "".join(line + end for line in lines)}) / "tokens")


def test_the_package_takes_its_one_token_over_tls(doors: Doors) -> None:
    """The released interceptor and plugin: the token is taken, another and none are not, nor another header."""
    port = doors.package(OLD)
    assert doors.answer(port, OLD, "package", "ping") == doors.answer(port, OLD, "package") == TAKEN
    for token, flavour in ((NEW, "package"), (None, "package"), (OLD, "reference")):
        assert doors.answer(port, token, flavour, "ping") == REFUSED, (token, flavour)


def test_a_stream_that_the_package_rejects_hangs(doors: Doors) -> None:
    """It rejects as if every method were a single call: a refused client of a stream waits until it has no patience."""
    port = doors.package(OLD)
    assert doors.answer(port, NEW, "package")["status"] == "DEADLINE_EXCEEDED"


def test_a_token_file_is_nothing_but_tokens(doors: Doors) -> None:
    """One per line whatever the line ends; blank lines are none, and what looks like a comment is a token too."""
    port = doors.server().ask("file", file=_list(doors, OLD, "", "  ", f" {NEW} ", "#comment", end="\r\n"))["port"]
    for token in (OLD, NEW, "#comment"):
        assert doors.answer(port, token) == TAKEN, token
    assert doors.answer(port, "c" * 64) == REFUSED
    assert doors.answer(port, None) == NO_HEADER
    assert doors.answer(port, OLD, "package") == NO_HEADER, "the package sends another header"


@pytest.mark.parametrize("content", [None, ""])
def test_without_tokens_all_are_denied(doors: Doors, content: str | None) -> None:
    """A file that is missing and one that is empty are no tokens, and the server starts all the same."""
    folder = doors.consumers.mount("tokens", {} if content is None else {"tokens": content})
    port = doors.server().ask("file", file=str(folder / "tokens"))["port"]
    assert doors.answer(port, OLD) == REFUSED


def test_a_signal_makes_it_read_the_file_again_and_streams_live_on(doors: Doors) -> None:
    """Nothing changes before SIGUSR1; after it the new token is taken, the old one not, and an open stream goes on."""
    server = doors.server()
    port = server.ask("file", file=_list(doors, OLD))["port"]
    connected = doors.client(port, OLD)
    assert connected.ask("join") == TAKEN
    _list(doors, NEW)
    assert doors.answer(port, NEW) == REFUSED
    server.signal(signal.SIGUSR1)
    eventually(lambda: doors.answer(port, NEW) == TAKEN, "the new token is taken")
    assert doors.answer(port, OLD) == REFUSED
    assert connected.ask("train") == TAKEN, "whoever is in stays in"


def test_a_signal_before_the_server_listens_for_it_ends_it(doors: Doors) -> None:
    """Why nobody may signal before the server says that it is ready."""
    server = doors.server()
    server.signal(signal.SIGUSR1)
    assert server.ended() == -signal.SIGUSR1
