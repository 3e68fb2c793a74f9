"""Processes are known by their record, and nothing else is ever signalled."""

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.waiting import eventually
from tests.testbed.errors import StackError
from tests.testbed.process import BOOT_ID, ServerProcess, parse_record, parse_stat, process_state
from tests.testbed.progress import Progress, wait_until

ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.fixture
def process(tmp_path: Path) -> ServerProcess:
    """Return a process that is not started yet."""
    return ServerProcess("sleeper", tmp_path / "run" / "sleeper", tmp_path / "logs" / "sleeper.log")


def test_a_stat_line_may_hold_anything_as_a_name() -> None:
    """Spaces and brackets in the program's name do not shift the fields."""
    fields = " ".join(["S", "1", "77", *(["0"] * 16), "4242", "0"])
    pid, state = parse_stat(f"77 (a) b (c)) {fields}")
    assert (pid, state.alive, state.group, state.started_ticks) == (77, True, 77, 4242)


def test_an_unreadable_record_means_not_running(process: ServerProcess) -> None:
    """Half a record, or none, is no process."""
    assert process.running() is None
    process.record.parent.mkdir(parents=True)
    process.record.write_text("half")
    assert process.running() is None


def test_a_started_process_is_found_again_and_stopped(process: ServerProcess) -> None:
    """The record is enough to find it; after the stop nothing of it runs."""
    process.spawn(["sh", "-c", "echo begun; sleep 60 & wait"], ENVIRONMENT)
    found = ServerProcess(process.name, process.record, process.log).running()
    assert found is not None
    eventually(lambda: process.log_tail() == "begun", "it has begun")
    process.stop()
    assert process.running() is None
    state = process_state(found.pid)
    assert state is None or not state.alive


def test_a_paused_process_can_be_stopped(process: ServerProcess) -> None:
    """SIGTERM reaches a process that SIGSTOP froze."""
    process.spawn(["sleep", "60"], ENVIRONMENT)
    process.send(signal.SIGSTOP)
    assert process.running() is not None
    process.stop(grace_seconds=5)
    assert process.running() is None


def test_what_a_dead_server_left_behind_is_killed(process: ServerProcess) -> None:
    """A child that outlives the first process of the group is ended, too."""
    process.spawn(["sh", "-c", "sleep 60 & echo $!; exec sleep 60"], ENVIRONMENT)
    record = process.running()
    assert record is not None
    eventually(process.log_tail, "it says which its child is")
    child = int(process.log_tail())
    os.kill(record.pid, signal.SIGKILL)
    process.kill()
    state = process_state(child)
    assert state is None or not state.alive


def test_a_process_of_another_start_is_never_signalled(process: ServerProcess) -> None:
    """A record whose start instant is another's is stale, whatever runs under its id."""
    process.record.parent.mkdir(parents=True)
    mine = Path("/proc/self/stat").read_text()
    started = parse_stat(mine)[1].started_ticks
    stale = mine.replace(f" {started} ", f" {started - 1} ")
    process.record.write_text(f"{BOOT_ID.read_text().strip()}\n{stale}")
    assert parse_record(process.record.read_text()).pid == os.getpid()
    assert process.running() is None
    assert process.send(signal.SIGKILL) is False


def test_a_command_that_does_not_exist_is_told_by_its_log(process: ServerProcess) -> None:
    """It begins, ends at once, and the log says why."""
    process.spawn(["/nowhere/server"], ENVIRONMENT)
    wait_until(Progress(), "it did not end", 60, lambda: process.running() is None)
    assert "not found" in process.log_tail()


def test_a_launcher_that_cannot_write_its_record_is_an_error(process: ServerProcess) -> None:
    """No server runs without a record."""
    process.record.with_name("sleeper.new").mkdir(parents=True)
    with pytest.raises(StackError, match="could not be started"):
        process.spawn(["sleep", "60"], ENVIRONMENT)
