"""One replica of the operator: its process, its machine, and its watches."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedid.domain.naming import ObjectKey
from fedid.handlers import watches
from fedid.handlers.run import run
from fedid.reconcile.directory import key_of
from fedid.settings import Settings, settings_from
from tests.simulation.network import CLUSTER
from tests.simulation.scene import Site, this_site
from tests.simulation.servers import WatchEvent
from tests.simulation.timeline import Machine, this_machine

if TYPE_CHECKING:
    from fedid.app import Operator

_RECONNECTS_SECONDS = (0.2, 10.0)
"""How long kopf takes to watch again."""
_GIVES_UP = 0.3
"""Part of the broken watches after which kopf ends as a whole."""


class Replica:
    """One of the operator's pods."""

    def __init__(self, site: Site, name: str, *, quiet: bool = False) -> None:
        """Start without a process; where it is quiet, what watches may have lost is looked for less often."""
        self.site, self.name, self._quiet = site, name, quiet
        self.machine: Machine | None = None
        self.operator: Operator | None = None
        """What the process put together last."""
        self.starts = 0
        self.wall_offset = 0.0
        self.crashes: list[str] = []
        """What processes left to their loop's exception handler."""
        self._grave: list[Machine] = []
        self._main: asyncio.Task[None] | None = None
        self._go_on: Callable[[], None] = lambda: None

    @property
    def identity(self) -> str:
        """What its process of now calls itself in the Lease."""
        return f"{self.name}-{self.starts}"

    @property
    def leads(self) -> bool:
        """Whether the Lease is its own."""
        lease = self.site.servers.cluster.lease
        return self.machine is not None and lease is not None and lease.holder == self.identity

    def start(self) -> None:
        """Start a process, if there is none."""
        if self.machine is not None:
            return
        self.starts += 1
        self.machine = Machine(self.site.timeline, self.identity)
        self.machine.wall_offset = self.wall_offset
        self._main = self.machine.create_task(run(_settings(self.identity, quiet=self._quiet)))
        self._main.add_done_callback(self._ended)

    def kill(self) -> None:
        """End the process between two awaits, without a word."""
        if self.machine is not None:
            self._forget(self.machine)

    def stop(self) -> None:
        """Ask the process to end."""
        if self.machine is not None and signal.SIGTERM in self.machine.signals:
            self.machine.signals[signal.SIGTERM]()

    def pause(self, seconds: float, *, asleep: bool) -> None:
        """Hold the process up, or put its machine to sleep."""
        machine = self.machine
        if machine is None or machine.frozen:
            return
        began, timeline = self.site.timeline.now, self.site.timeline

        def go_on() -> None:
            if machine.frozen:
                machine.thaw(timeline.now - began if asleep else 0.0)

        machine.freeze()
        self._go_on = go_on
        timeline.after(seconds, go_on)

    def resume(self) -> None:
        """Let the process go on, or wake its machine, before its time."""
        self._go_on()

    def set_clock(self, offset: float) -> None:
        """Set its wall clock wrong by so much."""
        self.wall_offset = offset
        if self.machine is not None:
            self.machine.wall_offset = offset

    def bury(self) -> None:
        """Close what dead processes left behind, so that the garbage collector finds nothing to tell of."""
        for machine in self._grave:
            machine.bury()
        self._grave.clear()

    def _ended(self, main: asyncio.Task[None]) -> None:
        machine = main.get_loop()
        assert isinstance(machine, Machine)
        if not main.cancelled() and main.exception() is not None:
            self.crashes.append(f"the process ended: {main.exception()!r}")
        self._forget(machine)

    def _forget(self, machine: Machine) -> None:
        self.crashes += [f"{one.get('message')}: {one.get('exception')!r}" for one in machine.crashes]
        machine.kill()
        self._grave.append(machine)  # kept, so that nothing of it runs while the garbage is collected
        self.site.servers.cluster.watches[:] = [
            one for one in self.site.servers.cluster.watches if getattr(one, "machine", None) is not machine
        ]
        if machine is self.machine:
            self.machine = self.operator = None


class _Watch:
    """All watches of one process: each kind's events in their order, late, and lost while the API server is away."""

    def __init__(self, operator: Operator, machine: Machine, site: Site) -> None:
        self.operator, self.machine, self._site = operator, machine, site
        self.gave_up = asyncio.Event()
        self._last: defaultdict[str, float] = defaultdict(float)
        self._broken = False
        self.begin()

    def begin(self) -> None:
        """List, and watch from there."""
        if self.machine.dead:
            return
        if self._site.network.weather[CLUSTER].is_away(self._site.timeline.now):
            self._break()
            return
        self._broken = False
        for event in self._site.servers.cluster.snapshot():
            self._bring(event)

    def __call__(self, event: WatchEvent) -> None:
        """Take note of a change."""
        if self._broken:
            return
        if self._site.network.weather[CLUSTER].is_away(self._site.timeline.now):
            self._break()
            return
        self._bring(event)

    def _break(self) -> None:
        self._broken = True
        if self._site.random.random() < _GIVES_UP:
            self.machine.call_soon(self.gave_up.set)
        else:
            self._site.timeline.after(self._site.random.uniform(*_RECONNECTS_SECONDS), self.begin)

    def _bring(self, event: WatchEvent) -> None:
        kind = event[0]
        at = max(self._last[kind], self._site.timeline.now + self._site.random.expovariate(1.0) * 0.05)
        self._last[kind] = at
        self._site.timeline.at(at, lambda: None if self.machine.dead else self.machine.call_soon(self._tell, event))

    def _tell(self, event: WatchEvent) -> None:
        kind, change, body = event
        if kind == "Secret":
            watches._secret_changed(self.operator, change, body)  # noqa: SLF001 - what kopf would call
        elif kind == "Namespace":
            watches._namespace_changed(self.operator, change, body)  # noqa: SLF001 - likewise
        elif kind == "IdentityApproval":
            watches._approval_changed(self.operator, change, body)  # noqa: SLF001 - likewise
        else:
            self._tell_of_object(self.operator, change, body)

    def _tell_of_object(self, operator: Operator, change: str | None, body: dict[str, Any]) -> None:
        """Tell of a change, and see that none is looked at for what the operator itself writes there."""
        world, wake = operator.world, operator.world.wake
        before = world.directory.get(key_of(body))
        roused: list[ObjectKey] = []

        def heard(key: ObjectKey, *asked: Any, **how: Any) -> None:
            roused.append(key)
            wake(key, *asked, **how)

        world.wake = heard
        try:
            watches._object_changed(operator, change, body)  # noqa: SLF001 - what kopf would call
        finally:
            world.wake = wake
        if roused and change == "MODIFIED" and before is not None and _asked(before) == _asked(body):
            self._site.on_roused(roused[0], body["metadata"])


def _asked(body: Any) -> list[Any]:
    """Return what people write of an object, and what follows from that alone."""
    of_people = ("uid", "generation", "deletionTimestamp", "labels", "annotations")
    return [body["spec"], *(body["metadata"].get(name) for name in of_people)]


async def watch(operator: Operator, over: asyncio.Event) -> None:
    """Watch until told to stop or until kopf gives up, in the place of `fedid.handlers.watching.watch`."""
    site, machine = this_site(), this_machine()
    for replica in site.replicas:
        if replica.machine is machine:
            replica.operator = operator
    watching = _Watch(operator, machine, site)
    site.servers.cluster.watches.append(watching)
    ends = [asyncio.ensure_future(event.wait()) for event in (watching.gave_up, over)]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()
        if watching in site.servers.cluster.watches:
            site.servers.cluster.watches.remove(watching)


def _settings(identity: str, *, quiet: bool) -> Settings:
    nowhere = Path("/nonexistent")
    environment: dict[str, Any] = {
        "FEDID_NAMESPACE": "fedid-system",
        "FEDID_REPLICA": identity,
        "FEDID_VAULT_TOKEN_PATH": str(nowhere),
        "FEDID_KEYCLOAK_TOKEN_PATH": str(nowhere),
    }
    if quiet:
        environment["FEDID_RELIST_SECONDS"] = "21600"
    return settings_from(environment)
