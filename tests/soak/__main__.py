"""`make soak`: memory under constant change, then Keycloak away with deletions waiting; on a stack of its own."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable

from tests.e2e.estate import estate_of, expected_estate
from tests.e2e.tenancy import Tenant
from tests.e2e.waiting import eventually
from tests.soak.churn import Churn
from tests.soak.figures import Reading, slope
from tests.soak.outage import outage
from tests.testbed.bringup import down, up
from tests.testbed.progress import Progress

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
OUTAGE_MINUTES = float(os.environ.get("SOAK_OUTAGE_MINUTES", "10"))
DELETIONS = int(os.environ.get("SOAK_DELETIONS", "200"))
BOTS, PEOPLE = 60, 20
WARM_MINUTES = min(5.0, MINUTES / 3)
"""Before that, memory still grows into caches of a fixed size."""
PAUSE_SECONDS = 0.25
TELL_SECONDS = 60.0


def main() -> int:
    """Run both; return 1 if anything was seen that must not be."""
    name = os.environ.get("TESTBED") or "soak"
    progress = Progress()
    minutes = f"{MINUTES:g} min of change, then {OUTAGE_MINUTES:g} min without Keycloak"
    progress.say(f"{minutes}; SOAK_MINUTES, SOAK_OUTAGE_MINUTES and SOAK_DELETIONS say otherwise")
    try:
        stack = up(name, operator=True, progress=progress)
        faults = 0
        for chapter in (_constant_change, _keycloak_away):
            tenant = Tenant.create(stack)
            faults += chapter(tenant, progress.say)
            tenant.clean()
    finally:
        if not os.environ.get("FEDID_KEEP_STACK"):
            down(name, progress=progress)
    return 1 if faults else 0


def _constant_change(tenant: Tenant, say: Callable[[str], None]) -> int:
    if not MINUTES:
        return 0
    seed = int(os.environ.get("FEDID_SEED") or random.randrange(2**32))  # noqa: S311 - not for a secret
    say(f"constant change of {BOTS} bots and {PEOPLE} users; again with FEDID_SEED={seed}")
    churn = Churn.begin(tenant, seed, bots=BOTS, people=PEOPLE)
    churn.settle()
    began, told, readings = time.monotonic(), 0.0, list[tuple[float, Reading]]()
    while (now := time.monotonic() - began) < MINUTES * 60:
        churn.act()
        if now - told >= TELL_SECONDS:
            told = now
            readings.append((now, Reading.of(tenant.stack)))
            newest = readings[-1][1]
            say(f"{now / 60:5.1f} min: {newest.memory_mib:.1f} MiB, {newest.files} files, {churn.done.total()} changes")
        time.sleep(PAUSE_SECONDS)
    churn.resume()
    churn.settle()
    bots, people = churn.bots, churn.people
    wanted = expected_estate(tenant.namespace, bots=bots, users=people, pods=bots)
    eventually(lambda: estate_of(tenant.stack, tenant.namespace) == wanted, "what the manifests say", seconds=300)
    warm = [(at / 3600, one) for at, one in readings if at >= WARM_MINUTES * 60]
    alive = churn.alive_after_deletion()
    last = Reading.of(tenant.stack)
    _line("changes", f"{churn.done.total()}: {', '.join(f'{n} {what}' for what, n in sorted(churn.done.items()))}")
    _line(
        "memory after the first minute, at the end", f"{readings[0][1].memory_mib:.1f} MiB, {last.memory_mib:.1f} MiB"
    )
    _line(
        f"slope of memory after {WARM_MINUTES:.1f} min",
        f"{slope([(at, one.memory_mib) for at, one in warm]):+.2f} MiB/h",
    )
    _line("open files, at most", str(max(one.files for _, one in readings)))
    _line("passes that ended in an unexpected exception", f"{last.bugs:.0f}")
    _line(f"deleted bots of which a token ({len(churn.ended)} kept) is still taken", str(len(alive)))
    return len(alive) + int(last.bugs)


def _keycloak_away(tenant: Tenant, say: Callable[[str], None]) -> int:
    if not OUTAGE_MINUTES:
        return 0
    say(f"Keycloak goes for {OUTAGE_MINUTES:g} min while {DELETIONS} deletions wait")
    return outage(tenant, OUTAGE_MINUTES, DELETIONS, _line)


def _line(what: str, figure: str) -> None:
    print(f"{what:<75} {figure}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
