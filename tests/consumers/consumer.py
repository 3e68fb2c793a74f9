"""One running program of a platform: asked, signalled, ended."""

from __future__ import annotations

import itertools
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_count = itertools.count(1)
PROGRAMS = Path(__file__).parent / "programs"
ANSWER_SECONDS = 60.0
"""Far more than any answer takes."""
LAST_SECONDS = 5.0
"""How long a process may take to end after the last request."""


class Consumer:
    """A conversation with a process of `programs/`."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        """Listen to a process that has been started; `log` is what it writes beside its answers."""
        self._process = process
        self._log = log
        self._lines: queue.Queue[str] = queue.Queue()
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def heard(self, *, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            AssertionError: The process ended, or says nothing.
        """
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            message = f"no answer within {seconds:.0f} s; it printed: {self.printed()}"
            raise AssertionError(message) from None
        assert line, f"the process ended with {self._process.wait()}; it printed: {self.printed()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        self.request(do, **arguments)
        return self.heard()

    def request(self, do: str, **arguments: Any) -> None:
        """Send a request whose answer is taken later."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ended(self, *, seconds: float = ANSWER_SECONDS) -> int:
        """Wait for its end and return the exit code, negative for a signal."""
        return self._process.wait(timeout=seconds)

    def printed(self) -> str:
        """Return what it wrote beside its answers."""
        return self._log.read_text(errors="replace")[-3000:]

    def close(self) -> None:
        """Let it end by itself, since there are no more requests, and end what is left of it."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=LAST_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._ear.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass(frozen=True, slots=True)
class Consumers:
    """Starts programs in one environment of Python, and ends them together."""

    python: Path
    folder: Path
    """For what they write beside their answers, and for files that a pod would mount."""
    ending: ExitStack

    def start(self, program: str, *arguments: str, home: Path | None = None, **environment: str) -> Consumer:
        """Start a program.

        Args:
            program: Name of a file in `programs/`, without its suffix.
            arguments: Its command line.
            home: Its `HOME`; the folder of all of them unless one is given.
            environment: What its pod would set; nothing of ours is passed on but PATH.
        """
        log = self.folder / f"{next(_count)}-{program}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [str(self.python), "-W", "ignore", str(PROGRAMS / f"{program}.py"), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(home or self.folder), **environment},
                cwd=self.folder,
                start_new_session=True,
            )
        consumer = Consumer(process, log)
        self.ending.callback(consumer.close)
        return consumer

    def mount(self, name: str, files: Mapping[str, str]) -> Path:
        """Lay out files as a pod finds them in a volume of a Secret, or lay them out anew; return their folder.

        As the kubelet does it: each name leads through `..data`, which one rename points at other content.
        """
        volume = self.folder / name
        version = volume / f"..{next(_count)}"
        version.mkdir(parents=True)
        for key, text in files.items():
            (version / key).write_text(text, newline="")
            if not (volume / key).is_symlink():
                (volume / key).symlink_to(Path("..data") / key)
        fresh = volume / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.replace(volume / "..data")
        return volume
