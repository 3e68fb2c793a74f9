"""Prints the story: what is done, with which command, what came of it, and when."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

_WIDTH = 116
_MARGIN = "     "


class StoryError(Exception):
    """The story does not go as told; says where."""


@dataclass(slots=True)
class Narrator:
    """Speaks to the person who ran `make demo`."""

    path: str
    """PATH with the stack's kubectl, vault and helm first."""
    kubeconfig: str
    _started: float = field(default_factory=time.monotonic)
    _chapter: int = 0

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._chapter += 1
        elapsed = time.monotonic() - self._started
        print(f"\n{_bold(f'{self._chapter}. {title}')}  {_dim(f'[{elapsed:.1f} s]')}", flush=True)

    def say(self, text: str) -> None:
        """Say something about what is seen."""
        print(textwrap.fill(text, _WIDTH, initial_indent="   ", subsequent_indent="   "), flush=True)

    def fact(self, name: str, value: object) -> None:
        """Print one named finding."""
        print(f"   {name:<44} {value}", flush=True)

    def kubectl(self, *arguments: str, quiet: bool = False) -> str:
        """Run kubectl as the reader would, show the command and its output, and return that.

        Raises:
            StoryError: kubectl failed.
        """
        return self._tool(["kubectl", *arguments], quiet=quiet)

    def helm(self, *arguments: str) -> str:
        """Do so with helm.

        Raises:
            StoryError: helm failed.
        """
        return self._tool(["helm", *arguments], quiet=False)

    def _tool(self, command: list[str], *, quiet: bool) -> str:
        if not quiet:
            print(f"   {_dim('$')} {' '.join(command)}", flush=True)
        done = subprocess.run(
            command,
            env={**os.environ, "PATH": self.path, "KUBECONFIG": self.kubeconfig},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            message = f"{' '.join(command)}: {done.stderr.strip()}"
            raise StoryError(message)
        if not quiet:
            for line in done.stdout.rstrip().splitlines():
                print(textwrap.fill(line, _WIDTH, initial_indent=_MARGIN, subsequent_indent=_MARGIN), flush=True)
        return done.stdout

    def wait(self, look: Callable[[], T | None], what: str, *, seconds: float = 60) -> T:
        """Wait for something to become true and return it.

        Raises:
            StoryError: It does not.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.1)
        message = f"{what}: not within {seconds:.0f} s"
        raise StoryError(message)


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def _dim(text: str) -> str:
    return f"\033[2m{text}\033[0m" if sys.stdout.isatty() else text
