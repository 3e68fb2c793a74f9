"""Server processes that outlive the command that started them.

A running server is known by its record: process id, the instant the kernel
started it, and the boot it belongs to. A signal goes out only when all three
still match, so a reused process id is never hit.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.errors import StackError

PROC = Path("/proc")
BOOT_ID = PROC / "sys/kernel/random/boot_id"
"""Differs after every start of the machine."""

STOP_SECONDS = 15.0
"""How long a server may take to end by itself before it is killed."""

LOG_COLUMNS = 400
"""How much of each of those lines; a traceback in JSON can be pages long."""

STAT_FIELDS = 20
"""How many fields after the name of a process are read of its stat line."""

LOG_LINES = 15
"""How much of a failed server's log is shown."""

LAUNCHER = """\
cd / && umask 077
read -r boot < /proc/sys/kernel/random/boot_id && read -r stat < /proc/$$/stat || exit 1
printf '%s\\n%s\\n' "$boot" "$stat" > "$1.new" && mv "$1.new" "$1" || exit 1
shift
exec "$@"
"""
"""Writes the record before it becomes the server: had the parent to do it, a Ctrl-C
at the wrong moment would leave a server that nobody knows."""


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """Which process a server is."""

    boot: str
    pid: int
    started_ticks: int
    """Kernel clock ticks between boot and the start of the process."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What the kernel says of one process now."""

    alive: bool
    """False for a zombie."""
    group: int
    started_ticks: int


def parse_stat(line: str) -> tuple[int, ProcessState]:
    """Return the process id and the state from a line of /proc/<pid>/stat.

    Raises:
        ValueError: The text is something else.

    Source: proc_pid_stat(5); the second field may hold spaces and brackets, the
    process group is the 5th and the start instant the 22nd.
    """
    pid, _, after = line.partition(" (")
    fields = after.rpartition(") ")[2].split()
    if len(fields) < STAT_FIELDS:
        msg = f"not a line of /proc/<pid>/stat: {line[:80]!r}"
        raise ValueError(msg)
    return int(pid), ProcessState(fields[0] not in "ZX", int(fields[2]), int(fields[19]))


def parse_record(text: str) -> ProcessRecord:
    """Return the record in a launcher's file: the boot id, then a line of /proc/<pid>/stat.

    Raises:
        ValueError: The text is something else.
    """
    boot, stat = text.splitlines()
    pid, state = parse_stat(stat)
    return ProcessRecord(boot, pid, state.started_ticks)


def process_state(pid: int) -> ProcessState | None:
    """Return the state of a process, None if there is no such process."""
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text())[1]
    except (FileNotFoundError, ProcessLookupError):
        return None


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """One server of a stack, running or not."""

    name: str
    record: Path
    log: Path

    def running(self) -> ProcessRecord | None:
        """Return the record of the process if it runs (paused counts), else None."""
        record = self._recorded()
        if record is None:
            return None
        # A child of ours that ended stays a zombie until it is waited for.
        with suppress(ChildProcessError):
            os.waitpid(record.pid, os.WNOHANG)
        state = process_state(record.pid)
        alive = state is not None and state.alive and state.started_ticks == record.started_ticks
        return record if alive else None

    def _recorded(self) -> ProcessRecord | None:
        """Return the record of this boot, whether or not the process still runs."""
        try:
            record = parse_record(self.record.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return record if record.boot == BOOT_ID.read_text().strip() else None

    def _group(self) -> int | None:
        """Return the process group while anything that the server started is alive in it.

        kc.sh, for one, may be gone while its Java is still there.
        """
        record = self._recorded()
        if record is None:
            return None
        first = process_state(record.pid)
        if first is not None and first.started_ticks != record.started_ticks:
            return None
        # While one member lives, the kernel gives the group's number to nobody else.
        others = (path.name for path in PROC.iterdir() if path.name.isdigit())
        states = (process_state(int(name)) for name in others)
        ours = (state for state in states if state and state.group == record.pid)
        return record.pid if any(state.alive for state in ours) else None

    def spawn(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the server in a session of its own, with its output appended to the log.

        Args:
            command: Never with a secret in it: every user can list arguments.
            environment: All of it; nothing is inherited.

        Raises:
            StackError: It did not even begin.
        """
        for path in (self.record, self.log):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.record.unlink(missing_ok=True)
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # Not subprocess: the server outlives us, and Popen objects warn about that.
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", LAUNCHER, "sh", str(self.record), *command],
            dict(environment),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        deadline = time.monotonic() + 10
        while not self.record.exists():
            if os.waitpid(pid, os.WNOHANG)[0] or time.monotonic() > deadline:
                raise StackError(self.failure("could not be started"))
            time.sleep(0.005)

    def send(self, number: signal.Signals) -> bool:
        """Signal the server and all that it started; tell whether there was anything."""
        group = self._group()
        if group is None:
            return False
        with suppress(ProcessLookupError):
            os.killpg(group, number)
        return True

    def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """End the server: ask, wait, and kill what did not listen."""
        if self.send(signal.SIGTERM):
            # A paused process sees the request only when it goes on.
            self.send(signal.SIGCONT)
            self._wait_for_end(grace_seconds)
        self.kill()

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self.send(signal.SIGKILL):
            self._wait_for_end(STOP_SECONDS)

    def _wait_for_end(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while (self.running() or self._group()) and time.monotonic() < deadline:
            time.sleep(0.02)

    def log_tail(self, lines: int = LOG_LINES) -> str:
        """Return the last lines of the log."""
        if not self.log.exists():
            return ""
        last = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(line[:LOG_COLUMNS] for line in last)

    def failure(self, what: str) -> str:
        """Return a sentence about this server with the end of its log."""
        return f"{self.name} {what}; the end of {self.log}:\n{self.log_tail()}"
