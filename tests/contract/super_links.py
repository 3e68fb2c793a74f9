"""A `NodeRegistry` with hands: what SuperNodes and operators of a SuperLink do, in the fake and in a real one."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fedid.adapters.superlink import SuperLinkRegistry
from fedid.adapters.transport import Transport
from fedid.ports import NodeRegistry
from tests.adapters.http_servers import LOOPBACK, self_signed
from tests.fakes.node_registry import FakeNodeRegistry
from tests.testbed.progress import Progress
from tests.testbed.python_environments import PLATFORMS, ensure_environment

START_SECONDS = 90.0
"""What a SuperLink may take on a machine that is very busy; usually seven."""
STOP_SECONDS = 20.0


def flower_programs() -> Path:
    """Return the folder of Flower's own programs, in the environment of the platforms' packages."""
    return ensure_environment(Progress(), PLATFORMS).parent


def flower_environment(home: Path) -> dict[str, str]:
    """Return an environment in which Flower keeps to itself: no telemetry, no look for updates, a home of its own."""
    return {
        # Its programs start one another by name.
        "PATH": f"{flower_programs()}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "FLWR_HOME": str(home / ".flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
    }


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


@dataclass
class SuperLink:
    """A `flower-superlink` that keeps its state in memory, over TLS, and lets in registered SuperNodes alone."""

    folder: Path
    """Holds its certificate, and becomes its home."""
    port: int = field(default_factory=free_port)
    program: tuple[str, ...] = ()
    """What is started in place of `flower-superlink`: arguments of Flower's Python."""
    environment: Mapping[str, str] = field(default_factory=dict)
    isolation: str = "process"
    """`subprocess` has it run apps."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def ca_bundle(self) -> str:
        """The authority that issued its certificate."""
        return (self.folder / "ca.crt").read_text()

    def start(self) -> None:
        """Start it with an empty state and wait until it listens."""
        programs = flower_programs()
        program = [str(programs / "python"), *self.program] if self.program else [str(programs / "flower-superlink")]
        command = [
            *program,
            *("--host", LOOPBACK, "--port", str(self.port), "--isolation", self.isolation),
            *("--enable-supernode-auth", "--disable-runtime-dependency-installation"),
            *("--ssl-ca-certfile", "ca.crt", "--ssl-certfile", "tls.crt", "--ssl-keyfile", "tls.key"),
        ]
        with (self.folder / "superlink.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=flower_environment(self.folder) | dict(self.environment),
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError((self.folder / "superlink.log").read_text()[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        """End it at once; it has nothing to save."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, self.port)) == 0

    def registry(self) -> SuperLinkRegistry:
        """Return an adapter for it."""
        return SuperLinkRegistry(Transport("superlink", f"https://{self.address}", ca_bundle=self.ca_bundle))


@dataclass
class SuperNode:
    """A `flower-supernode` that was started with what a PodIdentity's Secret holds, and nothing else of ours."""

    folder: Path
    """Where the Secret is mounted; becomes its home."""
    isolation: str = "process"
    """`subprocess` has it run apps."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it said."""
        return (self.folder / "supernode.log").read_text()

    def mount(self, files: Mapping[str, str]) -> None:
        """Put the Secret's content into the folder."""
        self.folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def start(self) -> None:
        """Start it as the guide says; returns at once."""
        program = f"{shlex.quote(str(flower_programs() / 'flower-supernode'))} $(cat supernode.args)"
        own = f"--isolation {self.isolation} --host {LOOPBACK} --port {free_port()}"
        with (self.folder / "supernode.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {program} {own}"],
                cwd=self.folder,
                env=flower_environment(self.folder),
                stdout=log,
                stderr=log,
            )

    def wait(self, seconds: float = START_SECONDS) -> int:
        """Wait until it ends, and return its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self) -> None:
        """End it."""
        _stop(self.process)
        self.process = None


def _stop(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def super_link(
    folder: Path,
    program: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    isolation: str = "process",
) -> Iterator[SuperLink]:
    """Run a SuperLink in an empty folder for as long as the context lasts; the rest as in `SuperLink`."""
    _, certificate = self_signed(folder)
    key = (folder / "server.pem").read_text().removesuffix(certificate)
    for name, text in (("ca.crt", certificate), ("tls.crt", certificate), ("tls.key", key)):
        (folder / name).write_text(text)
    running = SuperLink(folder, program=program, environment=environment or {}, isolation=isolation)
    running.start()
    try:
        yield running
    finally:
        running.stop()


class RegistryWorld(Protocol):
    """One SuperLink, as the port sees it and as whoever runs it does."""

    registry: NodeRegistry

    def restart(self) -> None:
        """Restart it; its state is in memory."""


@dataclass
class FakeRegistryWorld:
    """The SuperLink in memory."""

    registry: FakeNodeRegistry = field(default_factory=FakeNodeRegistry)

    def restart(self) -> None:
        """Forget everything."""
        self.registry.forget()


@dataclass
class RealRegistryWorld:
    """A SuperLink of Flower."""

    running: SuperLink
    registry: SuperLinkRegistry

    def restart(self) -> None:
        """Restart the process."""
        self.running.stop()
        self.running.start()
