"""The operator is killed at any moment: the next one finds what was begun, and the end is what the manifests say."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping

from tests.e2e.authority import Authority
from tests.e2e.crowd import Crowd
from tests.e2e.operating import Proxies
from tests.e2e.running import Operator
from tests.e2e.tenancy import MERGE, Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually

PATIENCE_SECONDS = 120.0


def kill_at_random(
    world: tuple[Operator, Proxies], chance: random.Random, times: int, over: Callable[[], bool]
) -> None:
    """Kill the operator after a random number of side effects and start it again, some times.

    If all is done (`over`) before so many came, it is killed then.
    """
    operator, proxies = world
    for _ in range(times):
        target = len(proxies.side_effects()) + chance.randint(1, 40)
        eventually(
            lambda: len(proxies.side_effects()) >= target or over(),  # noqa: B023 - looked at before the next round
            f"{target} side effects, or none left",
            seconds=PATIENCE_SECONDS,
        )
        operator.kill()
        operator.start(wait=False)
    operator.wait_ready()


def test_kills_at_random_moments(tenant: Tenant, authority: Authority, operator: Operator, proxies: Proxies) -> None:
    """Fifty identities are made, changed and deleted while the operator dies: each is there once, then none is."""
    seed = int(os.environ.get("FEDID_SEED") or random.randrange(2**32))  # noqa: S311 - not for a secret
    print(f"again with FEDID_SEED={seed}")
    chance = random.Random(seed)  # noqa: S311 - likewise
    crowd, world = Crowd(tenant, authority), (operator, proxies)
    proxies.clear()
    crowd.apply("fl-client", "/sites/a")
    kill_at_random(world, chance, 3, crowd.all_ready)
    crowd.assert_there("fl-client", "/sites/a")
    crowd.apply("fl-member", "/sites/b")
    kill_at_random(world, chance, 2, crowd.all_ready)
    crowd.assert_there("fl-member", "/sites/b")
    tokens = crowd.tokens()
    crowd.delete()
    kill_at_random(world, chance, 3, crowd.all_gone)
    crowd.assert_gone()
    assert {authority.admin_api_status(token) for token in tokens.values()} == {401}


def test_a_restart_and_a_second_pass_write_nothing(tenant: Tenant, operator: Operator, proxies: Proxies) -> None:
    """With everything settled neither a new process nor a pass over every object writes anywhere."""
    names, people = ("one", "two", "three"), [unique("calm") for _ in range(3)]
    tenant.apply(*(bot(name) for name in names), *(pod_identity(name) for name in names))
    tenant.apply(*(user(name) for name in people))
    objects = [("BotClient", n) for n in names] + [("PodIdentity", n) for n in names]
    objects += [("FederationUser", n) for n in people]
    for kind, name in objects:
        tenant.ready(kind, name)
    assert operator.stop() == 0
    proxies.clear()
    operator.start()
    _passed(operator, {"BotClient": 3, "PodIdentity": 3, "FederationUser": 3, "Federation": 1})
    assert proxies.side_effects() == []
    before = {kind: operator.passes(kind) for kind, _ in objects}
    for kind, name in objects:
        patch = {"metadata": {"annotations": {"touched": "yes"}}}
        tenant.stack.kube("PATCH", tenant.path(kind, name), patch, headers=MERGE)
    _passed(operator, {kind: count + 3 for kind, count in before.items()})
    assert proxies.side_effects() == []


def _passed(operator: Operator, wanted: Mapping[str, int]) -> None:
    eventually(lambda: all(operator.passes(kind) >= count for kind, count in wanted.items()), f"passes: {wanted}")
