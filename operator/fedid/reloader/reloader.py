"""Whom to signal, when, and what the program has read by now."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedid.domain.reload_report import Loaded, ProcessState
from fedid.reloader.mount import Mounted, NotMountedError, mounted_in, version_in
from fedid.reloader.processes import Process

__all__ = ["Processes", "Reloader", "Target", "chosen"]

_RESCAN_SECONDS = 5.0
"""How often all processes are looked at while the one that is known runs on."""
_SEARCH_SECONDS = 0.5
"""How often while there is none."""

_SENTENCES = {
    ProcessState.LOADED: "the program has read what is mounted",
    ProcessState.SETTLING: "the program is given a moment to read what is mounted",
    ProcessState.STARTING: "the program does not take the signal yet; it is signalled once it does",
    ProcessState.ABSENT: "no process has a command line that --process matches",
    ProcessState.ALONE: "no process but this one is to be seen: set shareProcessNamespace: true in the pod",
    ProcessState.AMBIGUOUS: "several processes have a command line that --process matches; anchor it with ^",
    ProcessState.REFUSED: "the program runs as another user: give both containers the same runAsUser",
    ProcessState.UNMOUNTED: "no Secret is mounted where --mount says",
    ProcessState.UNREADABLE: "a mounted file may not be read: set fsGroup, or a defaultMode that lets this user read",
}


class Processes(Protocol):
    """What is asked of the process table."""

    def others(self) -> tuple[Process, ...]:
        """Return every process but the sidecar's own and pid 1."""

    def runs(self, process: Process) -> bool:
        """Tell whether that very process still runs."""

    def catches(self, process: Process, number: signal.Signals) -> bool:
        """Tell whether it has a handler for the signal."""

    def is_pending(self, process: Process, number: signal.Signals) -> bool:
        """Tell whether the signal is not yet delivered to it."""

    def send(self, process: Process, number: signal.Signals) -> bool:
        """Signal it if it catches the signal; False if it does not, or is gone."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which process is told, and how."""

    command_line: re.Pattern[str]
    """Searched for in the arguments, joined by spaces."""
    signal: signal.Signals
    settle_seconds: float
    """How long the program is given to act on a signal that was delivered."""


@dataclass(frozen=True, slots=True)
class _Told:
    process: Process
    mounted: Mounted
    at: float


class Reloader:
    """Watches one volume and one process; `tick` does what is due."""

    def __init__(self, folder: Path, target: Target, processes: Processes, say: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            folder: Where the Secret is mounted.
            target: Whom to signal.
            processes: Those of the pod.
            say: Told each change of state, in a sentence without any content.
        """
        self._folder, self._target, self._processes, self._say = folder, target, processes, say
        self._mounted: Mounted | None = None
        self._seen_at = 0.0
        self._process: Process | None = None
        self._scanned_at = float("-inf")
        self._search: ProcessState | None = None
        self._told: _Told | None = None
        self._had: str | None = None
        self._state: ProcessState | None = None

    @property
    def loaded(self) -> Loaded:
        """What is known as of the last tick."""
        mounted = self._mounted.digest if self._mounted is not None else None
        return Loaded(self._had, mounted, self._state or ProcessState.UNMOUNTED)

    def tick(self, clock: Callable[[], float]) -> None:
        """Look at volume and process, and signal if that is due.

        Args:
            clock: Seconds since boot, which is how the kernel tells when a process began.
        """
        state = self._look_at_mount(clock)
        if state is None:
            state = self._look_for_process(clock())
        if state is None:
            state = self._tell(clock())
        if self._process is None:
            self._had = self._told = None  # another one has to be told anew, whatever its pid
        if state is not self._state:
            self._state = state
            content = f" (content {self._mounted.digest})" if self._mounted is not None else ""
            whom = f", pid {self._process.pid}" if self._process is not None else ""
            self._say(f"{_SENTENCES[state]}{whom}{content}")

    def _look_at_mount(self, clock: Callable[[], float]) -> ProcessState | None:
        try:
            if self._mounted is not None and version_in(self._folder) == self._mounted.version:
                return None
            self._mounted = mounted_in(self._folder)
        except NotMountedError:
            self._mounted = None
            return ProcessState.UNMOUNTED
        except PermissionError:
            self._mounted = None
            return ProcessState.UNREADABLE
        # Only now: whoever starts from here on reads this content by himself, or a newer one.
        self._seen_at = clock()
        return None

    def _look_for_process(self, now: float) -> ProcessState | None:
        known, scanned = self._process, now - self._scanned_at
        if known is not None and scanned < _RESCAN_SECONDS and self._processes.runs(known):
            return None
        if known is None and scanned < _SEARCH_SECONDS:
            return self._search
        self._scanned_at, self._process, self._search = now, None, None
        others = self._processes.others()
        found = chosen(others, self._target.command_line)
        if len(found) == 1:
            (self._process,) = found
            if known is not None and known != self._process:
                self._had = self._told = None
        elif found:
            self._search = ProcessState.AMBIGUOUS
        else:
            self._search = ProcessState.ABSENT if others else ProcessState.ALONE
        return self._search

    def _tell(self, now: float) -> ProcessState:
        process, mounted, told = self._process, self._mounted, self._told
        assert process is not None  # noqa: S101 - both were just found
        assert mounted is not None  # noqa: S101
        number = self._target.signal
        if told is None or told.mounted.version != mounted.version:
            if not self._processes.catches(process, number):
                return ProcessState.STARTING
            if process.started_at <= self._seen_at:
                try:
                    if not self._processes.send(process, number):
                        return ProcessState.STARTING
                except PermissionError:
                    return ProcessState.REFUSED
            self._told = _Told(process, mounted, now)
            return ProcessState.SETTLING
        if now - told.at < self._target.settle_seconds or self._processes.is_pending(process, number):
            return ProcessState.SETTLING
        self._had = told.mounted.digest
        return ProcessState.LOADED


def chosen(processes: Iterable[Process], command_line: re.Pattern[str]) -> tuple[Process, ...]:
    """Return the processes whose command line fits, without those that a fitting one has forked.

    A fork has the arguments of its parent, and inherits its handlers; the parent is the server. What a wrapper starts
    has other arguments than the wrapper.
    """
    fitting = {one.pid: one for one in processes if command_line.search(" ".join(one.arguments))}

    def is_fork(one: Process) -> bool:
        parent = fitting.get(one.parent)
        return parent is not None and parent.arguments == one.arguments

    return tuple(one for one in fitting.values() if not is_fork(one))
