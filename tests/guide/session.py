"""One bash session in which a reader types the guide from the first page to the last."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

_PROLOGUE = 'set -Eeuo pipefail; trap \'printf "this failed: %s\\n" "$BASH_COMMAND" >&2\' ERR\n'
"""Ends the session at the first command that fails, and says which; without its values, which may be secret."""
_DONE = "done\n"


class BlockError(Exception):
    """A block failed or did not end in time; the message holds what it printed."""


class Session:
    """A bash that keeps variables and functions from block to block."""

    def __init__(self, folder: Path, environment: Mapping[str, str], working_directory: Path) -> None:
        """Start it.

        Args:
            folder: Where scripts and outputs of blocks are put.
            environment: The whole of it.
            working_directory: Where the reader is.
        """
        self._folder = folder
        self._count = 0
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=working_directory,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._say(_PROLOGUE)

    def run(self, script: str, *, seconds: float) -> str:
        """Run a block and return what it printed.

        Args:
            script: Lines of bash.
            seconds: How long it may take.

        Raises:
            BlockError: A command failed, or it took too long; the session is over then.
        """
        self._count += 1
        source, output = (self._folder / f"{self._count:02}.{kind}" for kind in ("sh", "out"))
        source.write_text(script, encoding="utf-8")
        output.touch()
        expired = threading.Event()

        def end() -> None:
            expired.set()
            self._kill()

        too_late = threading.Timer(seconds, end)
        too_late.start()
        try:
            self._say(f'source "{source}" </dev/null >"{output}" 2>&1; printf {_DONE!r}\n')
            answer = _out(self._bash).readline()
        finally:
            too_late.cancel()
        printed = output.read_text(encoding="utf-8", errors="replace")
        if answer != _DONE:
            what = f"It did not end within {seconds:.0f} s" if expired.is_set() else "A command failed"
            message = f"{what}:\n{script}\nIt printed:\n{printed}"
            raise BlockError(message)
        return printed

    def close(self) -> None:
        """End bash and whatever it has started."""
        self._kill()
        self._bash.wait()
        for stream in (self._bash.stdin, self._bash.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)

    def _say(self, line: str) -> None:
        assert self._bash.stdin is not None
        with suppress(BrokenPipeError):
            self._bash.stdin.write(line)
            self._bash.stdin.flush()


def _out(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout
