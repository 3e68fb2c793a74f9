"""Measures the budgets that hold for this version and prints them beside their floors."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.bench.floor import floor_seconds
from tests.bench.rotating import cost_of_a_renewal, spread_of_renewals
from tests.e2e.authority import Authority, claims_of
from tests.e2e.pods import Pod
from tests.e2e.tenancy import Tenant, bot, is_ready, pod_identity, user
from tests.testbed import operator_pod
from tests.testbed.bringup import down, up
from tests.testbed.progress import Progress
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

BOTS = int(os.environ.get("BENCH_BOTS", "200"))
USERS = int(os.environ.get("BENCH_USERS", "200"))
CONCURRENCY = 8
DELETIONS = 20
MOUNTED = 6
QUIET_SECONDS = 60
RENEWALS = 60
"""Of all mounted tokens together."""


def main() -> int:
    """Measure on a stack of its own; return the exit code."""
    name = os.environ.get("TESTBED") or "bench"
    progress = Progress()
    try:
        measure(up(name, operator=True, progress=progress))
    finally:
        down(name, progress=progress)
    return 0


def measure(stack: Stack) -> None:
    """Print one line for each budget."""
    authority = Authority(stack)
    # The JVM is several times slower in its first minutes: warm it with the same calls.
    warm = asyncio.run(floor_seconds(stack, BOTS, CONCURRENCY))
    tenant = Tenant.create(stack)
    try:
        floor = asyncio.run(floor_seconds(stack, BOTS, CONCURRENCY))
        before = _metrics(stack)
        took = _create_all(tenant, BOTS)
        made = _metrics(stack)
        again = asyncio.run(floor_seconds(stack, BOTS, CONCURRENCY))
        calls = (made["keycloak"] - before["keycloak"]) / BOTS
        writes = (made["cluster writes"] - before["cluster writes"]) / BOTS
        best = min(floor, again)
        _line(f"{BOTS} bots applied at once, all Ready", f"{took:.1f} s")
        _line(
            "  bare loop of the same Keycloak calls", f"{floor:.1f} s before, {again:.1f} s after ({warm:.1f} s cold)"
        )
        _line("  share of the floor (budget: at least 0.7)", f"{best / took:.2f}")
        _line("Keycloak calls per bot (budget: 4)", f"{calls:.2f}")
        _line("API-server writes per bot besides the tenant's (budget: 4)", f"{writes:.2f}")
        _users(tenant)
        _steady_state(stack)
        _restart(stack)
        _deletions(tenant, authority)
        _renewals(tenant)
        cost_of_a_renewal(tenant, _line)
        spread_of_renewals(tenant, _line)
        if stack.node is not None:
            _files_in_pods(tenant)
    finally:
        tenant.clean()


def _create_all(tenant: Tenant, count: int) -> float:
    names = [f"bot-{n}" for n in range(count)]
    started = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(lambda name: tenant.apply(bot(name)), names))
    _until(lambda: _ready(tenant, "BotClient") >= count)
    return time.perf_counter() - started


def _users(tenant: Tenant) -> None:
    """Measure users with a role and a group and no password; then they go again."""
    people = [f"bench-{n}" for n in range(USERS)]
    before = _metrics(tenant.stack)
    started = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(lambda name: tenant.apply(user(name)), people))
    _until(lambda: _ready(tenant, "FederationUser") >= USERS)
    _line(f"{USERS} users applied at once, all Ready", f"{time.perf_counter() - started:.1f} s")
    made = _metrics(tenant.stack)
    for what, name, budget in (("Keycloak calls", "keycloak", 3), ("API-server writes", "cluster writes", 2)):
        _line(f"{what} per user (budget: {budget})", f"{(made[name] - before[name]) / USERS:.2f}")
    for name in people:
        tenant.delete("FederationUser", name)
    _until(lambda: not tenant.stack.kube("GET", tenant.path("FederationUser"))["items"])


def _ready(tenant: Tenant, kind: str) -> int:
    return sum(map(is_ready, tenant.all_of(kind)))


def _steady_state(stack: Stack) -> None:
    """Measure what the search for changes made by hand asks of Keycloak; requests for tokens are no part of it."""
    _quiet(stack)
    before = _metrics(stack)["keycloak reads"]
    time.sleep(QUIET_SECONDS)
    reads = _metrics(stack)["keycloak reads"] - before
    _line(f"Keycloak reads in {QUIET_SECONDS} quiet s, {BOTS} bots, admin events", f"{reads:.0f}")
    _line("  of which the Federation's own probe, and one call per 10 s (budget)", f"7 and {QUIET_SECONDS // 10}")
    path = "/apis/fedid.io/v1alpha1/federations/local"
    merge = {"Content-Type": "application/merge-patch+json"}
    drift = {"adminEvents": "Never", "sweepPeriod": f"{QUIET_SECONDS // 2}s"}
    stack.kube("PATCH", path, {"spec": {"drift": drift}}, headers=merge)
    _quiet(stack)
    before, now = _metrics(stack), _metrics(stack)
    while now["sweeps"] < before["sweeps"] + 2:
        time.sleep(0.2)
        now = _metrics(stack)
    swept = now["sweeps"] - before["sweeps"]
    pages = (now["pages"] - before["pages"]) / swept
    _line(f"Sweep without admin events, {BOTS} bots: pages of clients and members", f"{pages:.1f}")
    stack.kube("PATCH", path, {"spec": {"drift": None}}, headers=merge)


def _quiet(stack: Stack) -> None:
    """Wait until a sweep is complete that woke nobody."""
    while True:
        before, now = _metrics(stack), _metrics(stack)
        while now["sweeps"] == before["sweeps"]:
            if now["sweeps"] and _drift_mode(stack) == "AdminEvents":
                return  # the next one is hours away
            time.sleep(0.2)
            now = _metrics(stack)
        if now["woken"] == before["woken"]:
            return


def _drift_mode(stack: Stack) -> str:
    status = stack.kube("GET", "/apis/fedid.io/v1alpha1/federations/local").get("status") or {}
    return str((status.get("drift") or {}).get("mode"))


def _restart(stack: Stack) -> None:
    started = time.perf_counter()
    if stack.node is not None:
        operator_pod.restart_operator(stack, Progress(lambda _line: None))
    else:
        stack.stop("operator")
        stack.start("operator")
    ready = time.perf_counter() - started
    _until(lambda: _metrics(stack)["passes"] >= BOTS)
    seen = _metrics(stack)
    _line(f"restart with {BOTS} bots: ready to work after", f"{ready:.1f} s")
    _line(
        "  writes to Keycloak, Vault, cluster (budget: 0)", f"{seen['steps']:.0f} steps, {seen['cluster writes']:.0f}"
    )


def _deletions(tenant: Tenant, authority: Authority) -> None:
    took = []
    for n in range(DELETIONS):
        token = (authority.vault(f"fedid/{tenant.namespace}/bots/bot-{n}/tokens/default") or {})["token"]
        started = time.perf_counter()
        tenant.delete("BotClient", f"bot-{n}")
        _until(lambda token=token: authority.admin_api_status(token) == 401)  # type: ignore[misc]
        took.append(time.perf_counter() - started)
    _spread(f"delete to refused, {DELETIONS} one by one (budget: p95 under 2 s)", took)


def _renewals(tenant: Tenant) -> None:
    tenant.apply(bot("renewed", tokens=[{"name": "default", "lifetime": "10s"}]), pod_identity("renewed"))
    tenant.ready("PodIdentity", "renewed")
    late, token = [], tenant.mounted("renewed", "token")
    for _ in range(6):
        due = claims_of(token)["iat"] + 10 * 2 / 3
        token = tenant.mounted("renewed", "token", lambda text, old=token: text != old)  # type: ignore[misc]
        # A token is renewed at two thirds of its life or up to a tenth of it earlier, so this is an upper bound.
        late.append(max(0.0, time.time() - due))
    _spread("new token in the Secret after it was due, 6 renewals (budget: p95 under 1 s)", late)


def _files_in_pods(tenant: Tenant) -> None:
    """Default kubelet settings; from the new token in the Secret to the same token in the file that the pod reads."""
    names = [f"mounted-{number}" for number in range(MOUNTED)]
    selected = {"pods": {"selector": {"matchLabels": {"app": "consumer"}}}}
    tenant.apply(*(bot(name, tokens=[{"name": "default", "lifetime": "12s"}]) for name in names))
    tenant.apply(*(pod_identity(name, **selected) for name in names))
    for name in names:
        tenant.ready("PodIdentity", name)
    pod = Pod.run(tenant, "consumer", *names, labels={"app": "consumer"})
    files = {name: pod.file(name, "token") for name in names}
    in_secret: dict[tuple[str, str], float] = {}
    in_file: dict[tuple[str, str], float] = {}
    first = {(name, file.read_text()) for name, file in files.items()}
    while len(in_secret.keys() & in_file.keys()) < RENEWALS:
        now = time.perf_counter()
        for body in tenant.stack.kube("GET", f"/api/v1/namespaces/{tenant.namespace}/secrets")["items"]:
            if (name := body["metadata"]["name"]) in files:
                in_secret.setdefault((name, base64.b64decode(body["data"]["token"]).decode()), now)
        for name, file in files.items():
            in_file.setdefault((name, file.read_text()), time.perf_counter())
        time.sleep(0.02)
    both = (in_secret.keys() & in_file.keys()) - first
    took = [max(0.0, in_file[one] - in_secret[one]) for one in both]
    missed = len(in_secret.keys() - in_file.keys() - first)
    pod.remove()
    _spread(f"from the Secret to the file in a pod, {len(took)} renewals (budget: p95 under 5 s)", took)
    _line(
        "  renewals that are in the Secret and not yet in a file (at most one for each of the pod's files)", str(missed)
    )


def _metrics(stack: Stack) -> dict[str, float]:
    text = Rest(stack.operator_url).answer("GET", "/metrics").text
    total = dict.fromkeys(("keycloak", "keycloak reads", "cluster writes", "passes", "steps", "woken"), 0.0)
    for name, labels, value in re.findall(r"^(fedid_\w+_total)\{([^}]*)\} ([0-9.e+]+)$", text, re.MULTILINE):
        if name == "fedid_backend_calls_total" and 'backend="keycloak"' in labels:
            total["keycloak"] += float(value)
        # Events are posted and have a budget of their own; finalizers and statuses are patched.
        if name == "fedid_backend_calls_total" and 'backend="kubernetes"' in labels and re.search("PATCH|PUT", labels):
            total["cluster writes"] += float(value)
        if name == "fedid_passes_total" and 'kind="BotClient"' in labels:
            total["passes"] += float(value)
        if name == "fedid_steps_total":
            total["steps"] += float(value)
        if name == "fedid_backend_calls_total" and 'backend="keycloak"' in labels and 'method="GET"' in labels:
            total["keycloak reads"] += float(value)
        if name == "fedid_drift_woken_total":
            total["woken"] += float(value)
    for key, name in (("sweeps", "fedid_sweep_seconds_count"), ("pages", "fedid_sweep_pages_total")):
        found = re.search(rf"^{name} ([0-9.e+]+)$", text, re.MULTILINE)
        total[key] = float(found.group(1)) if found else 0.0
    return total


def _until(look: Callable[[], bool]) -> None:
    while not look():
        time.sleep(0.02)


def _spread(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    _line(what, f"median {statistics.median(ordered):.2f} s, p95 {p95:.2f} s, max {ordered[-1]:.2f} s")


def _line(what: str, figure: str) -> None:
    print(f"{what:<75} {figure}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
