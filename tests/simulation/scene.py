"""Where a simulation runs: the servers, the network, the replicas; and the code of the operator led to them."""

from __future__ import annotations

import hashlib
import logging
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from fedid.domain.naming import ObjectKey
from tests.simulation.network import BACKENDS, Network, PartialFaults
from tests.simulation.servers import Servers
from tests.simulation.super_link import node_key
from tests.simulation.timeline import Timeline, chance, this_machine

if TYPE_CHECKING:
    from tests.simulation.replica import Replica

SECRET_MARKS = ("fbs_", "5ec2e75ec2e7", ".signature", "kept-from-sight", "PRIVATE KEY")
"""What each credential of a simulation holds, and nothing else."""


@dataclass(slots=True)
class Site:
    """Everything of one simulation."""

    timeline: Timeline
    servers: Servers
    network: Network
    random: Random
    replicas: list[Replica] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """Log lines since they were last looked at."""
    on_roused: Callable[[ObjectKey, Mapping[str, Any]], None] = lambda _key, _metadata: None
    """Told of an object that is to be looked at because of the operator's own write."""
    trace: Any = field(default_factory=hashlib.sha256)
    """Digest of all that happened, in order."""

    @classmethod
    def new(cls, seed: int) -> Site:
        """Return one with empty servers."""
        timeline, own = Timeline(), chance(f"scene {seed}")
        with patch("uuid.uuid4", _ids(own)):
            servers = Servers(timeline)
        network = Network(timeline, own)
        for backend, fake in zip(BACKENDS, (servers.cluster, None, servers.store, None), strict=True):
            if fake is not None:
                fake.failures = PartialFaults(network, backend)  # type: ignore[attr-defined]
        return cls(timeline, servers, network, own)

    def note(self, *what: object) -> None:
        """Add a line to the digest."""
        self.trace.update(f"{self.timeline.now:.6f} {what}\n".encode())


_site: list[Site] = []


def this_site() -> Site:
    """Return the site of the simulation that runs."""
    return _site[-1]


class _Clock:
    """In the place of `SystemClock`: the clocks of the machine that asks."""

    def now(self) -> Any:
        """Return its wall clock."""
        return this_machine().wall_time()

    def monotonic(self) -> float:
        """Return its monotonic clock."""
        return this_machine().time()


class _Health:
    """In the place of `HealthServer`."""

    def __init__(self, *_where: object, **_asked: object) -> None:
        """Listen nowhere."""

    async def start(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""


class _Time:
    """In the place of the module `time`."""

    @staticmethod
    def time() -> float:
        """Return the wall clock of the machine that asks."""
        return float(this_machine().wall_time().timestamp())


class _Secrets:
    """In the place of the module `secrets`: drawn from the seed, and recognisable."""

    def __init__(self, drawn: Random) -> None:
        self._drawn = drawn

    def token_urlsafe(self, _size: int) -> str:
        """Return a text."""
        return f"kept-from-sight-{self._drawn.getrandbits(128):032x}"

    def token_hex(self, size: int) -> str:
        """Return hexadecimal digits."""
        return f"{SECRET_MARKS[1]}{self._drawn.getrandbits(8 * size):0{2 * size}x}"[: 2 * size]


class _Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, site: Site) -> None:
        super().__init__(logging.INFO)
        self._site = site

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line as text."""
        error = f" {record.exc_info[1]!r}" if record.exc_info else ""
        self._site.lines.append(f"{record.getMessage()} {getattr(record, 'details', '')}{error}")


def _ids(drawn: Random) -> Callable[[], uuid.UUID]:
    """Return what takes the place of `uuid.uuid4`."""
    return lambda: uuid.UUID(int=drawn.getrandbits(128), version=4)


@contextmanager
def settled_in(site: Site, seed: int, lease: Callable[[Any], Any], *, quiet: bool = False) -> Iterator[None]:
    """Lead the operator's code to this site, with all that is random drawn from the seed; what only polls seldom."""
    from tests.simulation import remote, replica  # noqa: PLC0415 - both know the site

    drawn = chance(f"drawn {seed}")

    async def access(**_: object) -> remote.Access:
        return remote.Access()

    led = {
        "fedid.app.build.load_cluster_access": access,
        "fedid.app.build.KubernetesCluster": remote.RemoteCluster,
        "fedid.app.build.KubernetesLease": remote.RemoteLease,
        "fedid.app.build.SystemClock": _Clock,
        "fedid.app.build.HealthServer": _Health,
        "fedid.app.build.awake_or_not": lambda: this_machine().boot_time(),
        "fedid.app.build.time": _Time,
        "fedid.app.build.secrets": _Secrets(drawn),
        "fedid.app.build._RANDOM": drawn,
        "fedid.app.build.new_node_key": lambda: node_key(drawn),
        "fedid.app.build.lease_timing": lease,
        "fedid.app.build.token_subject": lambda _paths: "system:serviceaccount:fedid-system:fedid",
        "fedid.app.backends.Transport": remote.RemoteTransport,
        "fedid.app.backends.KeycloakRealm": remote.RemoteRealm,
        "fedid.app.backends.VaultSecretStore": remote.RemoteStore,
        "fedid.app.backends.SuperLinkRegistry": remote.RemoteSuperLink,
        "fedid.handlers.run.watch": replica.watch,
        "fedid.handlers.run._CLUSTER_LOOK_SECONDS": 300.0 if quiet else 10.0,
        "uuid.uuid4": _ids(drawn),
    }
    if quiet:
        led["fedid.reconcile.federation._LOOK_AGAIN"] = timedelta(minutes=10)
    logger, handler = logging.getLogger("fedid"), _Lines(site)
    level, propagates = logger.level, logger.propagate
    state = random.getstate()
    with ExitStack() as stack:
        for name, instead in led.items():
            stack.enter_context(patch(name, instead))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        random.seed(f"backoff {seed}")
        _site.append(site)
        try:
            yield
        finally:
            _site.pop()
            random.setstate(state)
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagates
