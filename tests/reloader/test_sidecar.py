"""The sidecar as a process, beside programs that are signalled for real."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from fedid.domain.content_digest import content_digest
from tests.e2e.waiting import eventually, steadily
from tests.reloader.volume import Volume
from tests.testbed.paths import REPOSITORY
from tests.testbed.ports import free_port

SERVER = """\
import pathlib, signal, sys, time
file, gate = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
def read(*_): print(file.read_text(), flush=True)
while not gate.exists(): time.sleep(0.02)
read()
signal.signal(signal.SIGUSR1, read)
while True: time.sleep(60)
"""
"""Reads its tokens at its start and at each SIGUSR1; until the gate opens it has no handler."""


@dataclass
class Site:
    """A mounted Secret, a program, a sidecar."""

    folder: Path
    port: int = field(default_factory=free_port)
    programs: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Mount something."""
        self.volume = Volume(self.folder / "volume")
        self.gate = self.folder / "gate"
        self.script = self.folder / "server.py"
        self.script.write_text(SERVER)
        self.volume.write({"tokens": "one"})

    def _run(self, *command: str) -> subprocess.Popen[str]:
        environment = {"PYTHONPATH": str(REPOSITORY / "operator"), "PYTHONDONTWRITEBYTECODE": "1"}
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.programs.append(run)
        return run

    def server(self) -> subprocess.Popen[str]:
        """Start the program."""
        return self._run(sys.executable, str(self.script), str(self.volume.folder / "tokens"), str(self.gate))

    def sidecar(self, *options: str) -> subprocess.Popen[str]:
        """Start the sidecar and wait until it answers."""
        where = ("--port", str(self.port), "--host", "127.0.0.1", "--settle-seconds", "0.05")
        wanted = ("--mount", str(self.volume.folder), "--process", f"{self.script} ")
        run = self._run(sys.executable, "-m", "fedid.reloader", *wanted, *where, *options)
        eventually(lambda: self.get("/healthz")[0] == 200, "the sidecar answers")
        return run

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Return status and body; status 0: it does not answer."""
        try:
            with urlopen(Request(f"http://127.0.0.1:{self.port}{path}", method=method), timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def loaded(self) -> dict[str, Any]:
        """Return what the sidecar says."""
        found: dict[str, Any] = json.loads(self.get("/loaded")[1])
        return found

    def has_loaded(self, text: str) -> None:
        """Wait until the sidecar says that the program has read this."""
        wanted = content_digest({"tokens": text.encode()})
        eventually(lambda: self.loaded()["hash"] == wanted, f"{text} is loaded: {self.loaded()}", seconds=20)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A mounted Secret, and nobody yet."""
    made = Site(tmp_path)
    yield made
    for program in made.programs:
        program.kill()
        program.communicate()


def lines(program: subprocess.Popen[str], count: int) -> list[str]:
    """Return the next lines that it prints."""
    assert program.stdout is not None
    return [program.stdout.readline().rstrip("\n") for _ in range(count)]


def test_a_program_reads_each_change_and_is_never_ended(site: Site) -> None:
    """However early the sidecar is; and each change is read once."""
    server = site.server()
    site.sidecar()
    eventually(lambda: site.loaded()["process"] == "starting", "the program is found")
    site.volume.write({"tokens": "two"})
    steadily(lambda: server.poll() is None, "the program lives", seconds=1)
    site.gate.touch()
    site.has_loaded("two")
    for text in ("three", "four"):
        site.volume.write({"tokens": text})
        site.has_loaded(text)
    server.terminate()
    printed = (server.communicate(timeout=10)[0]).split()
    assert printed in (["two", "two", "three", "four"], ["two", "three", "four"])


def test_a_program_that_was_replaced_is_not_signalled_for_what_it_read_itself(site: Site) -> None:
    """Its successor began with what is mounted."""
    site.gate.touch()
    first = site.server()
    site.sidecar()
    site.has_loaded("one")
    first.kill()
    first.wait()
    eventually(lambda: site.loaded()["hash"] is None, "nobody has read anything")
    second = site.server()
    site.has_loaded("one")
    site.volume.write({"tokens": "two"})
    site.has_loaded("two")
    second.terminate()
    assert second.communicate(timeout=10)[0].split() == ["one", "two"]


def test_a_stopped_program_has_not_read(site: Site) -> None:
    """The signal waits in the kernel, and so does the answer."""
    site.gate.touch()
    server = site.server()
    site.sidecar()
    site.has_loaded("one")
    former = site.loaded()["hash"]
    server.send_signal(signal.SIGSTOP)
    site.volume.write({"tokens": "two"})
    eventually(lambda: site.loaded()["process"] == "settling", "it was signalled")
    steadily(lambda: site.loaded()["hash"] == former, "it has not read", seconds=1)
    server.send_signal(signal.SIGCONT)
    site.has_loaded("two")


def test_it_ends_at_once(site: Site) -> None:
    """SIGTERM ends it in less than a second, with code 0, whoever is connected."""
    sidecar = site.sidecar()
    with socket.create_connection(("127.0.0.1", site.port)) as slow:
        slow.send(b"GET /loa")
        began = time.monotonic()
        sidecar.terminate()
        assert sidecar.wait(timeout=10) == 0
        assert time.monotonic() - began < 1


def test_slow_and_wrong_clients_hold_up_nobody(site: Site) -> None:
    """Many that send nothing, one that sends too much, one that speaks no HTTP; and each other path is no page."""
    site.sidecar()
    idle = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(40)]
    try:
        assert site.get("/healthz") == (200, "ok\n")
    finally:
        for one in idle:
            one.close()
    for sent, answer in ((b"x" * 9000, b"HTTP/1.1 400"), (b"hello\r\n\r\n", b"HTTP/1.1 400")):
        with socket.create_connection(("127.0.0.1", site.port), timeout=5) as one:
            one.sendall(sent)
            assert one.recv(100).startswith(answer)
    assert [site.get(path)[0] for path in ("/", "/tokens", "/loaded/..")] == [404, 404, 404]
    assert site.get("/loaded", "POST")[0] == 405


def test_a_slow_client_is_hung_up_on(site: Site) -> None:
    """Within some seconds."""
    site.sidecar()
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as slow:
        slow.send(b"GET /loaded HTTP/1.1\r\n")
        assert slow.recv(100) == b""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--process", "("], "no regular expression", id="a pattern that means nothing"),
        pytest.param(["--signal", "SIGKILL"], "invalid choice: 'SIGKILL'", id="a signal that nobody catches"),
        pytest.param([], "--mount", id="nothing"),
    ],
)
def test_what_means_nothing_is_refused(options: list[str], words: str) -> None:
    """With code 2 and a sentence."""
    command = [sys.executable, "-m", "fedid.reloader", *options]
    found = subprocess.run(
        command, env={"PYTHONPATH": str(REPOSITORY / "operator")}, capture_output=True, text=True, check=False
    )
    assert found.returncode == 2
    assert words in found.stderr


def test_a_port_that_is_taken(site: Site) -> None:
    """It says so, and what to set."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "fedid.reloader", "--mount", str(site.volume.folder), "--process", "x"]
        command += ["--host", "127.0.0.1", "--port", str(taken.getsockname()[1])]
        found = subprocess.run(
            command, env={"PYTHONPATH": str(REPOSITORY / "operator")}, capture_output=True, text=True, check=False
        )
    assert found.returncode == 2
    assert "set --port to a free one" in found.stdout


def test_it_loads_nothing_but_the_standard_library() -> None:
    """Started without site-packages it works all the same."""
    code = (
        "import sys, fedid.reloader.__main__\n"
        "top = {n.partition('.')[0] for n, m in sys.modules.items() if getattr(m, '__file__', None)}\n"
        "print(sorted(top - sys.stdlib_module_names - {'fedid', '__main__'}))\n"
        "print(sorted(n for n in sys.modules if n.startswith('fedid.') and not n.startswith('fedid.reloader')))\n"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(REPOSITORY / "operator")},
        capture_output=True,
        text=True,
        check=True,
    )
    third_party, ours = found.stdout.splitlines()
    assert third_party == "[]"
    assert ours == "['fedid.domain', 'fedid.domain.content_digest', 'fedid.domain.reload_report']"
