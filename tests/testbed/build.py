"""Building what is missing, once per machine, into the cache outside the clone.

A build happens in a temporary folder beside its place and is moved there in one
rename, under a lock per family: whatever is in the cache is complete, an
interrupted build leaves only what the compilers cached themselves, and two stacks
that start at once build once.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import keycloak_build, toolchain, tools
from tests.testbed.errors import StackError
from tests.testbed.progress import Progress, run_together

LOG_LINES = 20
"""How much of a failed build's log is shown."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Everything that a stack runs, found or built."""

    programs: Mapping[str, Path]
    """Go programs by name."""
    keycloak_home: Path
    """An unpacked Keycloak on which `kc.sh build` was run."""
    java_home: Path


def ensure_binaries(progress: Progress, extra: Iterable[str] = ()) -> Binaries:
    """Return all binaries, building those that are neither cached nor named.

    Args:
        progress: Where to say what is built.
        extra: Names of tools of `tools.GO_TOOLS` that are not built by default.

    Raises:
        StackError: A compiler is missing, or a build failed.
    """
    cache = tools.cache_directory()
    named: dict[str, Path] = {}
    missing: list[tools.GoTool] = []
    extras = set(extra)
    for tool in tools.GO_TOOLS.values():
        if not tool.wanted and tool.name not in extras:
            continue
        path = tools.named_path(tool.variable) or tools.cached_binary(tool, cache)
        named[tool.name] = path
        if not path.exists():
            missing.append(tool)
    jdk = toolchain.installed_jdk()
    distribution = keycloak_build.Distribution.chosen(cache)
    parts = []
    if missing:
        environment = toolchain.go_environment()
        parts.append(lambda: _build_go(progress, missing, cache, environment))
    if not distribution.built:
        distribution.check_tools()
        parts.append(lambda: _build_keycloak(progress, distribution, cache, jdk))
    if parts:
        progress.say(f"building what is missing into {cache}; this happens once")
        with progress.heartbeat():
            run_together(progress, *parts)
    return Binaries(named, distribution.home, jdk.home)


def _build_go(
    progress: Progress,
    missing: Sequence[tools.GoTool],
    cache: Path,
    environment: Mapping[str, str],
) -> None:
    """Build the missing programs, one family after the other.

    One `go build` at a time: each keeps both cores of a small machine busy, and
    two of them would need twice the memory.
    """
    for family in tools.FAMILIES.values():
        wanted = [tool for tool in missing if tool.family == family.name]
        if not wanted:
            continue
        with cache_lock(progress, cache, family.name):
            # Somebody else may have built them while we waited for the lock.
            still_missing = [t for t in wanted if not tools.cached_binary(t, cache).exists()]
            if still_missing:
                _build_family(progress, family, still_missing, cache, environment)


def _build_family(
    progress: Progress,
    family: tools.Family,
    wanted: Sequence[tools.GoTool],
    cache: Path,
    environment: Mapping[str, str],
) -> None:
    """Build some programs of one family with one `go build`, so that they share the work."""
    version = tools.family_version(family)
    title = f"{', '.join(tool.name for tool in wanted)} {version}"
    with (
        progress.task(title, family.expected_seconds),
        building_folder(cache, family.name) as folder,
    ):
        command = ["go", "build", *tools.build_flags(family, version), "-o", f"{folder}{os.sep}"]
        run_logged(
            progress,
            [*command, *(tool.package for tool in wanted)],
            cache / "logs" / f"{family.name}.log",
            environment,
            cwd=tools.GOMOD / family.name,
        )
        for tool in wanted:
            place = tools.cached_binary(tool, cache)
            place.parent.mkdir(parents=True, exist_ok=True)
            (folder / tool.built_name).rename(place)


def _build_keycloak(
    progress: Progress,
    distribution: keycloak_build.Distribution,
    cache: Path,
    jdk: toolchain.Jdk,
) -> None:
    """Fetch, unpack and build Keycloak, and move it to its place."""
    with cache_lock(progress, cache, "keycloak"):
        if distribution.built:
            return
        title = f"keycloak {distribution.version}"
        with (
            progress.task(title, keycloak_build.EXPECTED_SECONDS),
            building_folder(cache, "keycloak") as folder,
        ):
            log = cache / "logs" / "keycloak.log"
            environment = {**os.environ, "JAVA_HOME": str(jdk.home)}
            if command := distribution.fetch_command(folder):
                run_logged(progress, command, log, environment, cwd=folder)
            home = distribution.unpack(folder)
            run_logged(progress, keycloak_build.build_command(home), log, environment, cwd=home)
            distribution.home.parent.mkdir(parents=True, exist_ok=True)
            home.rename(distribution.home)


@contextmanager
def cache_lock(progress: Progress, cache: Path, name: str) -> Iterator[None]:
    """Hold the cache's lock of that name; wait for it as long as it takes.

    Raises:
        CancelledError: The work was cancelled while waiting.
    """
    path = cache / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        said = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not said:
                    progress.say(f"{name}: another process holds {path}, waiting for it")
                    said = True
                progress.cancelled.wait(0.2)
                progress.check()
        yield


@contextmanager
def building_folder(cache: Path, name: str) -> Iterator[Path]:
    """Give a temporary folder on the cache's file system, so that a rename is enough.

    Called under the lock of that name, so what an earlier, killed build left can go.
    """
    prefix = f".building-{name}-"
    for left_behind in cache.glob(f"{prefix}*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_logged(
    progress: Progress,
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    cwd: Path,
) -> None:
    """Run a build command with its output in a log file, and end it when cancelled.

    Raises:
        CancelledError: The work was cancelled meanwhile.
        StackError: The command failed; the message holds the end of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=cwd,
            # Its own group, so that compilers it started end with it.
            start_new_session=True,
        )
        try:
            while (code := _ended(process)) is None:
                progress.check()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
    if code:
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        raise StackError("\n".join([f"{command[0]} failed, see {log}:", *lines]))


def _ended(process: "subprocess.Popen[bytes]") -> int | None:
    """Return the exit code once the process has ended; wait at most a moment for it."""
    try:
        return process.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return None
