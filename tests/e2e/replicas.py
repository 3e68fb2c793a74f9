"""Several replicas of the operator, and what each of them did while it held the Lease, or did not."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from tests.e2e.operating import Proxies, is_side_effect
from tests.e2e.running import OperatorProcess
from tests.e2e.waiting import eventually
from tests.testbed.cluster import OPERATOR_NAMESPACE
from tests.testbed.faults import requests_to
from tests.testbed.proxy import Proxy, proxy_for
from tests.testbed.stack import Stack

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases"
_LEASE_WRITES = requests_to(f"{LEASE}(/fedid-operator)?", "POST|PATCH")


@dataclass(slots=True)
class Replica:
    """One of them, with a way to the API server of its own."""

    name: str
    process: OperatorProcess
    kubernetes: Proxy

    @property
    def leads(self) -> bool:
        """Whether it says so; one that is paused says nothing."""
        with suppress(OSError):
            return self.process.running and "\nfedid_leader 1.0\n" in self.process.metrics()
        return False

    def await_leading(self) -> None:
        """Wait until it leads."""
        eventually(lambda: self.leads, f"{self.name} leads")

    def await_standing_by(self) -> None:
        """Wait until it is ready and does not lead."""
        self.process.wait_ready()
        eventually(lambda: not self.leads, f"{self.name} stands by")

    def pause(self) -> None:
        """Stop its process where it is (SIGSTOP)."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.process.pid, signal.SIGCONT)


@dataclass(frozen=True, slots=True)
class Deed:
    """A side effect that a replica sent."""

    at: datetime
    replica: str
    what: str


@dataclass(slots=True)
class Replicas:
    """All of them."""

    members: tuple[Replica, ...]
    proxies: Proxies
    lease: timedelta

    def leader(self) -> Replica:
        """Wait until one leads, and return it."""
        return eventually(lambda: next((one for one in self.members if one.leads), None), "a replica leads")

    def settled(self) -> Replica:
        """Wait until all are ready and exactly one leads, and return that one.

        Which one is nobody's promise: on a busy machine a leader may miss its renewals and be followed.
        """
        for member in self.members:
            member.process.wait_ready()
        (leader,) = eventually(self._leading_alone, "one replica leads, and no other")
        return leader

    def _leading_alone(self) -> list[Replica]:
        leading = [one for one in self.members if one.leads]
        return leading if len(leading) == 1 else []

    def others(self, leader: Replica) -> list[Replica]:
        """Return all but that one."""
        return [one for one in self.members if one is not leader]

    def deeds(self) -> list[Deed]:
        """Return every side effect that reached a proxy, in order."""
        found = [
            Deed(one.at, member.name, f"{one.method} {one.path}")
            for member in self.members
            for one in member.kubernetes.exchanges(is_side_effect)
        ]
        for proxy in (self.proxies.keycloak, self.proxies.vault):
            found += [
                Deed(one.at, agent[1], f"{one.method} {one.path}")
                for one in proxy.exchanges(is_side_effect)
                if (agent := re.search(r"\((\S+)\)$", one.user_agent)) is not None
            ]
        return sorted(found, key=lambda deed: deed.at)

    def without_lease(self) -> list[Deed]:
        """Return the side effects of replicas that had not renewed the Lease in time, or had lost it to another one.

        A renewal counts from its arrival, which is later than its beginning, and what was begun before the fence fell
        arrives after it: a moment is granted for the way, less than what lies between the fence and the next leader.
        """
        held = {member.name: _renewals(member.kubernetes) for member in self.members}
        fence = self.lease * 2 / 3 + self.lease / 4
        wrong = []
        for deed in self.deeds():
            mine = max((at for at in held[deed.replica] if at <= deed.at), default=None)
            rivals = [at for name, ats in held.items() if name != deed.replica for at in ats if at <= deed.at]
            if mine is None or deed.at - mine > fence or max(rivals, default=mine) > mine:
                wrong.append(deed)
        return wrong


@contextmanager
def replicas(stack: Stack, proxies: Proxies, logs: Path, *, count: int = 2, seconds: int = 6) -> Iterator[Replicas]:
    """Run some replicas; the first one leads at the beginning.

    Args:
        stack: Where.
        proxies: Before Keycloak and Vault.
        logs: Where each writes what it prints, in a folder of its own.
        count: How many.
        seconds: Of the Lease.
    """
    members: list[Replica] = []
    try:
        for number in range(count):
            name = f"replica-{number}"
            (logs / name).mkdir()
            kubernetes = proxy_for(stack, "kube").start()
            extra = {"FEDID_REPLICA": name, "FEDID_LEASE_SECONDS": str(seconds)}
            process = OperatorProcess(stack, replace(proxies, kubernetes=kubernetes), logs / name, extra)
            members.append(Replica(name, process, kubernetes))
            process.start()
            if number == 0:
                members[0].await_leading()
        yield Replicas(tuple(members), proxies, timedelta(seconds=seconds))
    finally:
        for member in members:
            if member.process.running:
                member.go_on()
                member.process.kill()
            member.kubernetes.stop()


def _renewals(kubernetes: Proxy) -> list[datetime]:
    return [one.at for one in kubernetes.exchanges(_LEASE_WRITES) if one.status in {200, 201}]
