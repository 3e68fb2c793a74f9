"""Keycloak is stopped while deletions and changes wait: who says why, what comes first when it is back, and how."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.e2e.authority import Authority
from tests.e2e.estate import estate_of, expected_estate
from tests.e2e.tenancy import MERGE, Body, Tenant, bot, is_ready
from tests.e2e.waiting import eventually
from tests.soak.figures import Reading

CONCURRENCY = 8
PATIENCE_SECONDS = 900.0
Line = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Bots that are to be deleted, and bots that are to be changed, while Keycloak is away."""

    tenant: Tenant
    ending: tuple[str, ...]
    changing: tuple[str, ...]

    def items(self) -> dict[str, Body]:
        """Return the bots that there are, by name."""
        return {item["metadata"]["name"]: item for item in self.tenant.all_of("BotClient")}


def outage(tenant: Tenant, minutes: float, deletions: int, line: Line) -> int:
    """Stop Keycloak for some minutes with deletions waiting; print what was seen, return the number of faults."""
    stack, authority = tenant.stack, Authority(tenant.stack)
    world = Waiting(
        tenant,
        tuple(f"ending-{number}" for number in range(deletions)),
        tuple(f"changing-{number}" for number in range(deletions // 2)),
    )
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(lambda name: tenant.apply(bot(name)), (*world.ending, *world.changing)))
    _until(lambda: _count_ready(world) == len(world.ending) + len(world.changing), "all Ready")
    tokens = [_token(authority, tenant, name) for name in world.ending]

    stack.stop("keycloak")
    began = time.monotonic()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(lambda name: tenant.delete("BotClient", name), world.ending))
        list(pool.map(lambda name: _change(tenant, name), world.changing))
    _until(lambda: _count_told(world) == len(world.ending), "each deletion says why it waits, and since when")
    line(f"{deletions} deletions say why they wait and since when, after", f"{time.monotonic() - began:.1f} s")
    while time.monotonic() < began + minutes * 60:
        time.sleep(5)
    lost = sum(1 for name in world.ending if name not in world.items())
    told = _count_told(world)
    line(f"of them gone, or silent, after {minutes:g} min without Keycloak", f"{lost}, {deletions - told}")

    stack.start("keycloak")
    before, back = Reading.of(stack), time.monotonic()
    seen = _watch_return(world, back)
    after = Reading.of(stack)
    line("all deletions done after Keycloak answers again", f"{seen.deleted_seconds:.1f} s")
    line("  changes that were done before the last deletion", f"{seen.changes_before} of {len(world.changing)}")
    line("all changes done", f"{seen.changed_seconds:.1f} s")
    line("  most requests to Keycloak within one second", f"{seen.most_calls:.0f}")
    line("  requests refused as too many, failed, or unanswered", f"{after.failures - before.failures:.0f}")
    alive = sum(1 for token in tokens if authority.admin_api_status(token) != 401)
    line("tokens of the deleted that are still taken", str(alive))
    wanted = expected_estate(tenant.namespace, bots=world.changing, users=(), pods=())
    right = estate_of(stack, tenant.namespace) == wanted
    line("nothing is left, lost or there twice", "yes" if right else "NO")
    return lost + (deletions - told) + alive + (not right)


@dataclass(frozen=True, slots=True)
class Return:
    """What was seen when Keycloak was back; seconds count from there."""

    deleted_seconds: float
    changed_seconds: float
    changes_before: int
    most_calls: float


def _watch_return(world: Waiting, back: float) -> Return:
    deleted = changed = 0.0
    changes_before, most = 0, 0.0
    calls = [(time.monotonic(), Reading.of(world.tenant.stack).calls)]
    deadline = back + PATIENCE_SECONDS
    while not (deleted and changed):
        items, now = world.items(), time.monotonic()
        calls.append((now, Reading.of(world.tenant.stack).calls))
        earlier = next(one for one in calls if one[0] > now - 1.5)
        if now - earlier[0] > 0.5:
            most = max(most, (calls[-1][1] - earlier[1]) / (now - earlier[0]))
        done = sum(1 for name in world.changing if is_ready(items[name]))
        if not deleted:
            changes_before = done
            deleted = 0.0 if any(name in items for name in world.ending) else now - back
        changed = now - back if done == len(world.changing) else 0.0
        if now > deadline:
            message = f"not done {PATIENCE_SECONDS:.0f} s after Keycloak came back: {len(items)} left, {done} changed"
            raise AssertionError(message)
        time.sleep(0.25)
    return Return(deleted, changed, changes_before, most)


def _token(authority: Authority, tenant: Tenant, name: str) -> str:
    entry = authority.vault(f"fedid/{tenant.namespace}/bots/{name}/tokens/default")
    assert entry is not None
    assert authority.admin_api_status(entry["token"]) == 403
    return str(entry["token"])


def _change(tenant: Tenant, name: str) -> None:
    tenant.stack.kube("PATCH", tenant.path("BotClient", name), {"spec": {"realmRoles": ["fl-member"]}}, headers=MERGE)


def _count_ready(world: Waiting) -> int:
    return sum(map(is_ready, world.items().values()))


def _count_told(world: Waiting) -> int:
    items = world.items()
    told = 0
    for name in world.ending:
        status = items.get(name, {}).get("status") or {}
        revoked: Body = next((one for one in status.get("conditions") or () if one["type"] == "Revoked"), {})
        since = (status.get("revocation") or {}).get("waitingSince")
        told += revoked.get("reason") == "BackendUnavailable" and bool(since)
    return told


def _until(look: Callable[[], bool], what: str) -> None:
    eventually(look, what, seconds=PATIENCE_SECONDS)
