"""The processes of the pod, as /proc shows them, and the one way to signal one of them safely.

A signal without a handler ends most programs. So a process is signalled only while the kernel says that it catches that
very signal, and through a descriptor, which never means another process that has taken over the pid.

Source: proc_pid_stat(5), proc_pid_status(5) (`SigCgt`, `SigPnd`, `ShdPnd`), pidfd_send_signal(2).
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Process", "ProcessTable"]

_PAUSE = 1
"""In a pod with a shared process namespace; without one it is the sidecar itself. Never anybody's server."""
_PARENT, _STARTED = 1, 19
"""Positions in /proc/<pid>/stat after the name, which may hold anything."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process; its pid may be another's once it has ended, pid and start together never."""

    pid: int
    parent: int
    started_at: float
    """Seconds since boot, rounded down to a clock tick (10 ms)."""
    arguments: tuple[str, ...]


class ProcessTable:
    """The processes that the sidecar sees."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        """Read below `root`."""
        self._root = root
        self._ticks = os.sysconf("SC_CLK_TCK")

    def others(self) -> tuple[Process, ...]:
        """Return every process but the sidecar's own and pid 1."""
        own = {_PAUSE, os.getpid()}
        pids = (int(name) for name in os.listdir(self._root) if name.isdigit())  # noqa: PTH208 - names, four times a second
        found = (self.process(pid) for pid in pids if pid not in own)
        return tuple(one for one in found if one is not None and one.arguments)

    def process(self, pid: int) -> Process | None:
        """Return the process of a pid, None if there is none."""
        try:
            stat = (self._root / str(pid) / "stat").read_bytes()
            words = (self._root / str(pid) / "cmdline").read_bytes()
        except OSError:
            return None
        fields = stat.rpartition(b")")[2].split()
        arguments = (
            tuple(word.decode(errors="replace") for word in words.removesuffix(b"\0").split(b"\0")) if words else ()
        )
        return Process(pid, int(fields[_PARENT]), int(fields[_STARTED]) / self._ticks, arguments)

    def runs(self, process: Process) -> bool:
        """Tell whether that very process still runs; one that has ended and is not yet reaped does not."""
        now = self.process(process.pid)
        return now is not None and now.started_at == process.started_at and bool(now.arguments)

    def catches(self, process: Process, number: signal.Signals) -> bool:
        """Tell whether the process has a handler for the signal."""
        return any(mask & _bit(number) for mask in self._masks(process, "SigCgt"))

    def is_pending(self, process: Process, number: signal.Signals) -> bool:
        """Tell whether the signal was sent and not yet delivered."""
        return any(mask & _bit(number) for mask in self._masks(process, "SigPnd", "ShdPnd"))

    def send(self, process: Process, number: signal.Signals) -> bool:
        """Signal that very process if it catches the signal; False if it does not, or is gone.

        Raises:
            PermissionError: It runs as another user.
        """
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return False
        try:
            # The descriptor is of whoever has the pid now; from here on it stays with him.
            if not self.runs(process) or not self.catches(process, number):
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _masks(self, process: Process, *names: str) -> Iterator[int]:
        try:
            status = (self._root / str(process.pid) / "status").read_text(errors="replace")
        except OSError:
            return
        for name in names:
            if (found := re.search(rf"^{name}:\s*([0-9a-f]+)$", status, re.MULTILINE)) is not None:
                yield int(found[1], 16)


def _bit(number: signal.Signals) -> int:
    return 1 << (number - 1)
