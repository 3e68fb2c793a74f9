"""What rotation costs: one renewal in calls, and many bots in grants per second and in the operator's CPU."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.e2e.tenancy import Tenant, bot, pod_identity
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

ROTATING = int(os.environ.get("BENCH_ROTATING", "200"))
"""Bots whose tokens are short; 2000 with BENCH_ROTATING_LIFETIME=600 is what the budget speaks of."""
LIFETIME_SECONDS = int(os.environ.get("BENCH_ROTATING_LIFETIME", "60"))
BUCKETS = 12
"""Parts of a lifetime in which grants are counted."""
MOUNTED, MOUNTED_LIFETIME_SECONDS, RENEWALS = 20, 30, 60
CONCURRENCY = 8
_CALLS = re.compile(r'^fedid_backend_calls_total\{backend="(\w+)",method="(\w+)",[^}]*\} ([0-9.e+]+)$', re.MULTILINE)
_STEPS = re.compile(r'^fedid_steps_total\{step="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Counted:
    """What the operator has done so far."""

    calls: dict[tuple[str, str], float]
    """By backend and method."""
    steps: dict[str, float]

    @classmethod
    def now(cls, stack: Stack) -> Counted:
        """Ask its metrics."""
        text = Rest(stack.operator_url).answer("GET", "/metrics").text
        calls: dict[tuple[str, str], float] = {}
        for backend, method, value in _CALLS.findall(text):
            calls[backend, method] = calls.get((backend, method), 0.0) + float(value)
        return cls(calls, {step: float(value) for step, value in _STEPS.findall(text)})

    def since(self, before: Counted, backend: str, *methods: str) -> float:
        """Return the calls of these methods since then."""
        return sum(self.calls.get((backend, m), 0.0) - before.calls.get((backend, m), 0.0) for m in methods)

    def minted(self, before: Counted) -> float:
        """Return the jwts minted since then."""
        return self.steps.get("MintToken", 0.0) - before.steps.get("MintToken", 0.0)


Line = Callable[[str, str], None]


def cost_of_a_renewal(tenant: Tenant, line: Line) -> None:
    """Count the calls while mounted bots with short tokens are renewed by themselves, whatever else is going on."""
    stack, names = tenant.stack, [f"cost-{number}" for number in range(MOUNTED)]
    _make(tenant, names, f"{MOUNTED_LIFETIME_SECONDS}s")
    before = now = Counted.now(stack)
    while now.minted(before) < RENEWALS:
        time.sleep(0.1)
        now = Counted.now(stack)
    renewals = now.minted(before)
    figures = (
        ("Keycloak calls (budget: 1)", now.since(before, "keycloak", "POST", "PUT", "DELETE")),
        ("  and reads, those of the drift watch included", now.since(before, "keycloak", "GET")),
        ("Vault writes (budget: 1)", now.since(before, "vault", "POST", "PUT")),
        ("Secret writes (budget: 1)", now.since(before, "kubernetes", "PUT")),
        ("status writes, of the bot and of what mounts it", now.since(before, "kubernetes", "PATCH")),
    )
    for what, calls in figures:
        line(f"One renewal of a jwt: {what}", f"{calls / renewals:.2f}")
    for kind in ("PodIdentity", "BotClient"):
        for name in names:
            tenant.delete(kind, name)
    for name in names:
        tenant.gone("BotClient", name)


def spread_of_renewals(tenant: Tenant, line: Line) -> None:
    """Apply many bots with short tokens at once, and see how evenly they are renewed and what that costs."""
    stack = tenant.stack
    names = [f"spread-{number}" for number in range(ROTATING)]
    _make(tenant, names, f"{LIFETIME_SECONDS}s", mounted=False)
    start = Counted.now(stack)
    _until(lambda: Counted.now(stack).minted(start) >= ROTATING)  # each is on its beat
    seconds, grants, cpu = LIFETIME_SECONDS / BUCKETS, [], _cpu_seconds(stack)
    began, before = time.perf_counter(), Counted.now(stack)
    for number in range(BUCKETS):
        time.sleep(max(0.0, began + (number + 1) * seconds - time.perf_counter()))
        now = Counted.now(stack)
        grants.append(now.minted(before) / seconds)
        before = now
    took = time.perf_counter() - began
    used, mean = _cpu_seconds(stack) - cpu, sum(grants) / len(grants)
    line(f"{ROTATING} bots with tokens of {LIFETIME_SECONDS} s: renewals per second", f"{mean:.1f}")
    line(
        f"  busiest {seconds:.0f} s over the mean, and the quietest",
        f"{max(grants) / mean:.2f}, {min(grants) / mean:.2f}",
    )
    line("  the operator's CPU, of one core, and for one renewal", f"{used / took:.1%}, {used / (mean * took):.4f} s")


def _make(tenant: Tenant, names: list[str], lifetime: str, *, mounted: bool = True) -> None:
    tokens = [{"name": "default", "lifetime": lifetime}]
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(lambda name: tenant.apply(bot(name, tokens=tokens)), names))
        if mounted:
            list(pool.map(lambda name: tenant.apply(pod_identity(name)), names))
    for name in names:
        tenant.ready("PodIdentity" if mounted else "BotClient", name, seconds=600)


def _cpu_seconds(stack: Stack) -> float:
    """Return the CPU seconds of the operator so far, as it tells them."""
    text = Rest(stack.operator_url).answer("GET", "/metrics").text
    found = re.search(r"^process_cpu_seconds_total ([0-9.e+]+)$", text, re.MULTILINE)
    assert found is not None
    return float(found.group(1))


def _until(look: Callable[[], bool]) -> None:
    while not look():
        time.sleep(0.1)
