"""A server of the stack: how it is started, and how it is known to be ready."""

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.testbed.errors import StackError, TooLateError
from tests.testbed.paths import StatePaths
from tests.testbed.ports import is_free, variable
from tests.testbed.process import ServerProcess
from tests.testbed.progress import Progress, spoken, wait_until
from tests.testbed.rest import Rest

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""Variables of the caller that a server sees; nothing else is inherited."""


@dataclass(frozen=True, slots=True)
class Server:
    """How to start one server, and how to know that it is ready.

    Secrets reach it through files that only their owner reads, or through its
    environment; never through arguments.
    """

    name: str
    ports: Mapping[str, int]
    """What it listens on, by the names of `Ports`."""
    command: tuple[str, ...]
    environment: Mapping[str, str]
    prepare: Callable[[], None]
    """Writes the files that the command names; called while the server is stopped."""
    healthy: Callable[[], bool]
    """Asks the server; False also when there is no answer."""
    timeout_seconds: float
    """How long it may take from start to healthy on a machine that is very busy."""
    usual_seconds: float = 0
    """Told to the person who waits, where it is more than a moment."""


def plain_environment() -> dict[str, str]:
    """Return the part of our environment that servers get."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def tls_context(paths: StatePaths) -> ssl.SSLContext:
    """Return a client's TLS settings: trust the stack's own authority and nothing else."""
    return ssl.create_default_context(cafile=str(paths.ca_certificate))


def answers_ok(rest: Rest, path: str) -> Callable[[], bool]:
    """Return a health check: a GET of the path is answered with 200."""

    def ask() -> bool:
        try:
            return rest.answer("GET", path).status == 200
        except OSError:
            return False

    return ask


def _wait_for_port(server: str, name: str, port: int, progress: Progress) -> None:
    """Wait a moment for a port: the threads of a server that was killed may still be closing it."""
    try:
        wait_until(progress, "", 3, lambda: is_free(port))
    except TooLateError:
        msg = f"Port {port}, which {server} needs, is taken by another process: end that one, or set {variable(name)}."
        raise StackError(msg) from None


def ensure_running(server: Server, process: ServerProcess, progress: Progress) -> None:
    """Start a server unless it runs, and return when it is healthy.

    Raises:
        StackError: A port is taken, the server ended, or it is not healthy in time;
            the message holds the end of its log.
        CancelledError: The work was cancelled meanwhile; the server goes on starting.
    """
    began = progress.elapsed_seconds
    started = process.running() is None
    if started:
        # What a crash of it left behind would still hold its ports and its files.
        process.kill()
        for name, port in server.ports.items():
            _wait_for_port(server.name, name, port, progress)
        server.prepare()
        if server.usual_seconds:
            progress.say(f"{server.name}: starting, usually about {spoken(server.usual_seconds)}")
        process.spawn(server.command, server.environment)

    def look() -> bool:
        # Healthy first: an answer on the port of a process that ended is a stranger's.
        healthy = server.healthy()
        if process.running() is None:
            raise StackError(process.failure("ended while it started"))
        return healthy

    try:
        wait_until(progress, "", server.timeout_seconds, look)
    except TooLateError:
        what = f"was not healthy within {server.timeout_seconds:.0f} s"
        raise StackError(process.failure(what)) from None
    if started:
        took = progress.elapsed_seconds - began
        where = f" on port {next(iter(server.ports.values()))}" if server.ports else ""
        progress.say(f"{server.name}: ready after {took:.1f} s{where}")
