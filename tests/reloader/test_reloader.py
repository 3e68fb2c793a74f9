"""Whom the sidecar signals, and what it says is loaded: the decisions, on a process table in memory."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from fedid.domain.content_digest import content_digest
from fedid.domain.reload_report import Loaded, ProcessState
from fedid.reloader.processes import Process
from fedid.reloader.reloader import Reloader, Target, chosen
from tests.reloader.volume import Volume

SERVER = ("python3", "server.py")
SETTLE = 0.5


class Table:
    """A process table; a process takes the signal once it is in `catching`."""

    def __init__(self) -> None:
        """Start without a process."""
        self.all: list[Process] = []
        self.catching: set[int] = set()
        self.pending: set[int] = set()
        self.foreign: set[int] = set()
        self.sent: list[int] = []
        self.scans = 0

    def start(self, pid: int, at: float, *arguments: str, parent: int = 1) -> Process:
        """Start a process that does not take the signal yet."""
        self.all.append(Process(pid, parent, at, arguments or SERVER))
        return self.all[-1]

    def others(self) -> tuple[Process, ...]:
        """Return all."""
        self.scans += 1
        return tuple(self.all)

    def runs(self, process: Process) -> bool:
        """Tell whether it is there."""
        return process in self.all

    def catches(self, process: Process, _number: signal.Signals) -> bool:
        """Tell whether it has a handler."""
        return process.pid in self.catching

    def is_pending(self, process: Process, _number: signal.Signals) -> bool:
        """Tell whether it has not got the signal yet."""
        return process.pid in self.pending

    def send(self, process: Process, number: signal.Signals) -> bool:
        """Signal it."""
        if process.pid in self.foreign:
            raise PermissionError
        if not self.catches(process, number):
            return False
        self.sent.append(process.pid)
        return True


class Beside:
    """A sidecar beside whatever the table holds, in a time that is moved by hand."""

    def __init__(self, folder: Path) -> None:
        """Start at second 100 after boot, with a mounted Secret."""
        self.table, self.volume, self.now, self.said = Table(), Volume(folder), 100.0, list[str]()
        self.volume.write({"tokens": "one"})
        self.restart()

    def restart(self) -> None:
        """Start the sidecar anew."""
        target = Target(re.compile(r"^python3 server[.]py"), signal.SIGUSR1, SETTLE)
        self.reloader = Reloader(self.volume.folder, target, self.table, self.said.append)

    def tick(self, seconds: float = 1.0) -> Loaded:
        """Let time go by, look once, and return what the sidecar would answer."""
        self.now += seconds
        self.reloader.tick(lambda: self.now)
        return self.reloader.loaded

    def ready(self, at: float = 10.0, pid: int = 7) -> None:
        """Have a server that has read what is mounted."""
        self.table.start(pid, at)
        self.table.catching.add(pid)
        self.tick()
        assert self.tick().state is ProcessState.LOADED
        self.table.sent.clear()


@pytest.fixture
def beside(tmp_path: Path) -> Beside:
    """A sidecar without a server."""
    return Beside(tmp_path / "volume")


def of(text: str) -> str:
    """Return the fingerprint of a token file."""
    return content_digest({"tokens": text.encode()})


def test_a_process_that_does_not_take_the_signal_is_never_signalled(beside: Beside) -> None:
    """It would end; it is signalled once it has its handler, and not before."""
    beside.table.start(7, 10.0)
    for _ in range(20):
        assert beside.tick() == Loaded(None, of("one"), ProcessState.STARTING)
    assert beside.table.sent == []

    beside.table.catching.add(7)
    assert beside.tick().digest is None
    assert beside.tick() == Loaded(of("one"), of("one"), ProcessState.LOADED)
    assert beside.table.sent == [7]


def test_each_change_is_signalled_once(beside: Beside) -> None:
    """Not again while nothing changes; until the program had its time, it is known to hold the former content."""
    beside.ready()
    for text, former in (("two", "one"), ("three", "two")):
        beside.volume.write({"tokens": text})
        assert beside.tick() == Loaded(of(former), of(text), ProcessState.SETTLING)
        assert beside.tick(SETTLE / 2) == Loaded(of(former), of(text), ProcessState.SETTLING)
        for _ in range(30):
            assert beside.tick() == Loaded(of(text), of(text), ProcessState.LOADED)
    assert beside.table.sent == [7, 7]


def test_a_content_that_comes_back_is_a_change(beside: Beside) -> None:
    """Between two looks there may have been another one that the program read."""
    beside.ready()
    beside.volume.write({"tokens": "two"})
    beside.volume.write({"tokens": "one"})
    beside.tick()
    assert beside.table.sent == [7]


def test_a_signal_that_is_not_delivered_is_not_read(beside: Beside) -> None:
    """A stopped program, or one whose signals are blocked, has read nothing yet."""
    beside.ready()
    beside.table.pending.add(7)
    beside.volume.write({"tokens": "two"})
    for _ in range(5):
        assert beside.tick() == Loaded(of("one"), of("two"), ProcessState.SETTLING)
    beside.table.pending.clear()
    assert beside.tick().digest == of("two")
    assert beside.table.sent == [7]


def test_who_starts_after_the_change_reads_it_by_himself(beside: Beside) -> None:
    """No signal is needed; it counts once the program takes the signal, for then it is up."""
    beside.tick()
    beside.table.start(7, beside.now + 0.01)
    assert beside.tick().state is ProcessState.STARTING
    beside.table.catching.add(7)
    beside.tick()
    assert beside.tick() == Loaded(of("one"), of("one"), ProcessState.LOADED)
    assert beside.table.sent == []


def test_a_server_that_was_replaced_is_another_one(beside: Beside) -> None:
    """What its predecessor had read says nothing, even with the same pid; begun after it, it needs no signal."""
    beside.ready()
    beside.table.all.clear()
    beside.table.catching.clear()
    assert beside.tick() == Loaded(None, of("one"), ProcessState.ALONE)
    beside.table.start(7, beside.now)
    assert beside.tick() == Loaded(None, of("one"), ProcessState.STARTING)
    beside.table.catching.add(7)
    beside.tick()
    assert beside.tick().digest == of("one")
    assert beside.table.sent == []


def test_a_server_that_was_replaced_before_the_change_is_signalled(beside: Beside) -> None:
    """It began with the former content."""
    beside.ready()
    beside.table.all[:] = [Process(8, 1, beside.now, SERVER)]
    beside.table.catching.add(8)
    beside.now += 1
    beside.volume.write({"tokens": "two"})
    beside.tick()
    beside.tick()
    assert beside.reloader.loaded.digest == of("two")
    assert beside.table.sent == [8]


def test_a_sidecar_that_starts_anew_signals_once(beside: Beside) -> None:
    """It cannot know what the program has read; to read again does no harm."""
    beside.ready()
    beside.restart()
    for _ in range(5):
        beside.tick()
    assert beside.table.sent == [7]
    assert beside.reloader.loaded.digest == of("one")


def test_another_user_s_program_is_told_of_in_a_sentence(beside: Beside) -> None:
    """With what to do about it, once."""
    beside.table.start(7, 10.0)
    beside.table.catching.add(7)
    beside.table.foreign.add(7)
    for _ in range(3):
        assert beside.tick().state is ProcessState.REFUSED
    assert len(beside.said) == 1
    assert "runAsUser" in beside.said[0]


def test_a_volume_that_is_not_there_yet(tmp_path: Path) -> None:
    """Nothing is signalled before something is mounted; what is mounted is not repeated in the log."""
    volume = Volume(tmp_path / "volume")
    table, said = Table(), list[str]()
    table.start(7, 10.0)
    table.catching.add(7)
    reloader = Reloader(volume.folder, Target(re.compile("server"), signal.SIGUSR1, 0.0), table, said.append)
    reloader.tick(lambda: 20.0)
    assert reloader.loaded == Loaded(None, None, ProcessState.UNMOUNTED)
    volume.write({"tokens": "s3cret"})
    for _ in range(2):
        reloader.tick(lambda: 21.0)
    assert reloader.loaded.digest == of("s3cret")
    assert "s3cret" not in " ".join(said)


def test_while_the_server_runs_the_others_are_looked_at_rarely(beside: Beside) -> None:
    """Four looks a second at every process of a pod would be felt."""
    beside.ready()
    beside.table.scans = 0
    for _ in range(40):
        beside.tick(0.25)
    assert beside.table.scans <= 2


@pytest.mark.parametrize(
    ("processes", "pids"),
    [
        pytest.param([(7, 1, SERVER)], [7], id="one"),
        pytest.param([(7, 1, ("sh", "-c", "python3 server.py")), (8, 7, SERVER)], [8], id="behind a shell"),
        pytest.param(
            [(6, 1, ("tini", "--", "ttyd", *SERVER)), (7, 6, ("ttyd", *SERVER)), (8, 7, SERVER)], [8], id="tini"
        ),
        pytest.param([(7, 1, SERVER), (8, 7, SERVER), (9, 7, SERVER)], [7], id="with forked workers"),
        pytest.param([(7, 1, SERVER), (8, 7, SERVER), (9, 8, SERVER)], [7], id="with a fork of a fork"),
        pytest.param([(7, 1, SERVER), (8, 1, SERVER)], [7, 8], id="two servers"),
        pytest.param([(7, 1, (*SERVER, "--a")), (8, 7, (*SERVER, "--b"))], [7, 8], id="one that starts another"),
        pytest.param([(7, 1, ("python3", "other.py"))], [], id="none"),
        pytest.param([], [], id="nobody"),
    ],
)
def test_who_is_the_server(processes: list[tuple[int, int, tuple[str, ...]]], pids: list[int]) -> None:
    """Wrappers have other arguments, forks the same ones; two that fit are two too many."""
    found = chosen(
        (Process(pid, parent, 1.0, words) for pid, parent, words in processes), re.compile("^python3 server")
    )
    assert [one.pid for one in found] == pids


@pytest.mark.parametrize(
    ("count", "state"), [(1, ProcessState.ABSENT), (2, ProcessState.AMBIGUOUS)], ids=["none that fits", "two that fit"]
)
def test_nobody_is_signalled_unless_he_is_the_only_one(beside: Beside, count: int, state: ProcessState) -> None:
    """A guess could end a program that is not meant."""
    words = SERVER if count > 1 else ("nginx",)
    for pid in range(7, 7 + count):
        beside.table.start(pid, 10.0, *words)
        beside.table.catching.add(pid)
    for _ in range(5):
        assert beside.tick() == Loaded(None, of("one"), state)
    assert beside.table.sent == []
