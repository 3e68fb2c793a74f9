"""Python environments of the platforms' own software: locked, in the cache, apart from the environment of the tests.

Their dependencies contradict ours, and each other's. They are made at the first use and not with the servers: nothing
but the tests of platforms needs them. An environment cannot be moved, so it is made at its place, and a mark in it says
that it is complete.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.build import cache_lock, run_logged
from tests.testbed.errors import StackError
from tests.testbed.paths import REPOSITORY
from tests.testbed.progress import Progress
from tests.testbed.tools import cache_directory, content_key, named_path

REQUIREMENTS = REPOSITORY / "requirements"
MARK = "complete"
PIP = (
    "-m",
    "pip",
    "--disable-pip-version-check",
    "--quiet",
    "install",
    "--no-compile",
    "--no-deps",
    "--require-hashes",
)
"""Most of what is installed is never imported, and compiling it takes longer than fetching it."""


@dataclass(frozen=True, slots=True)
class PythonEnvironment:
    """What is installed, and on which Python."""

    name: str
    locks: tuple[str, ...]
    """Files below `requirements/`, complete with all that they need."""
    expected_seconds: float
    release: tuple[int, int] | None = None
    """The only release of Python that it works with; None for the one of the tests."""

    def key(self, interpreter: str) -> str:
        """Return what names it in the cache: another lock or another Python is another environment."""
        return content_key(interpreter, *((REQUIREMENTS / lock).read_text() for lock in self.locks))


PLATFORMS = PythonEnvironment("platforms", ("platforms.txt",), expected_seconds=60)
BITFOUNT = PythonEnvironment("bitfount", ("bitfount.txt", "bitfount-alone.txt"), expected_seconds=40, release=(3, 12))
ENVIRONMENTS = {environment.name: environment for environment in (PLATFORMS, BITFOUNT)}


def ensure_environment(progress: Progress, environment: PythonEnvironment) -> Path:
    """Return the environment's `python`, making the environment if it is not cached.

    Raises:
        StackError: There is no Python of its release, or pip failed; the message holds the end of its log.
    """
    cache = cache_directory()
    interpreter = _interpreter(environment)
    place = cache / "python" / f"{environment.name}-{environment.key(interpreter)}"
    program = place / "bin" / "python"
    if (place / MARK).exists():
        return program
    with cache_lock(progress, cache, f"python-{environment.name}"), progress.heartbeat():
        if not (place / MARK).exists():
            with progress.task(f"Python packages of {environment.name}", environment.expected_seconds):
                _make(progress, cache, environment, interpreter, place)
    return program


def _make(progress: Progress, cache: Path, environment: PythonEnvironment, interpreter: str, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    log = cache / "logs" / f"python-{environment.name}.log"
    run_logged(progress, [interpreter, "-m", "venv", str(place)], log, os.environ, cwd=cache)
    for lock in environment.locks:
        command = [str(place / "bin" / "python"), *PIP, "--requirement", str(REQUIREMENTS / lock)]
        run_logged(progress, command, log, os.environ, cwd=cache)
    (place / MARK).touch()


def missing_release(environment: PythonEnvironment) -> str | None:
    """Return what to install if this machine has no Python for the environment, None if it has one."""
    try:
        _interpreter(environment)
    except StackError as error:
        return str(error)
    return None


def _interpreter(environment: PythonEnvironment) -> str:
    """Return the Python to make an environment with.

    Raises:
        StackError: There is none of its release.
    """
    if environment.release is None or sys.version_info[:2] == environment.release:
        # Not the one of our own environment: that would be another key in each clone.
        return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
    for candidate in _candidates(environment.release):
        if _release_of(candidate) == environment.release:
            return candidate
    major, minor = environment.release
    message = (
        f"{environment.name} needs Python {major}.{minor}, and there is none on PATH or among those of pyenv: "
        f"install it, or name it in {_variable(environment.release)}."
    )
    raise StackError(message)


def _variable(release: tuple[int, int]) -> str:
    return f"FEDID_PYTHON{release[0]}{release[1]}"


def _candidates(release: tuple[int, int]) -> Iterator[str]:
    if named := named_path(_variable(release)):
        yield str(named)
    name = f"python{release[0]}.{release[1]}"
    if found := shutil.which(name):
        yield found
    # The command that pyenv puts on PATH works only for releases that are switched on.
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from (str(path) for path in sorted(root.glob(f"versions/{release[0]}.{release[1]}*/bin/{name}")))


def _release_of(interpreter: str) -> tuple[int, int] | None:
    """Return the release of an interpreter, None if it does not run."""
    code = "import ensurepip, sys, venv; print(*sys.version_info[:2])"
    ran = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=False)
    if ran.returncode:
        return None
    major, minor = ran.stdout.split()
    return int(major), int(minor)
