"""Clients that read and present all the time notice none of many rotations, nor that the operator is killed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial

from tests.e2e.authority import Authority
from tests.e2e.load import Load, present_listed, present_token, use_mounted_secret
from tests.e2e.operating import Proxies
from tests.e2e.rotating import PATIENCE_SECONDS, Rotating, annotate
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant
from tests.e2e.test_crashes import kill_at_random

BOTS = 10
ROUNDS = ("all", "token", "all", "token", "token")
"""What all bots are asked for at once, one after the other; the operator is killed in each."""
TOKENS, SECRETS, KILLS = 100, 20, len(ROUNDS)
LEAST_PER_SECOND = 20


def test_no_request_is_refused(tenant: Tenant, authority: Authority, operator: Operator, proxies: Proxies) -> None:
    """100 tokens and 20 secrets are replaced, with 5 kills, under 20 requests per second or more: 0 refused."""
    bots = [Rotating(tenant, authority, f"r{number:02}") for number in range(BOTS)]
    for one in bots:
        one.apply("10s", opaque_overlap="10s", lifetime="60s")
    for one in bots:
        tenant.ready("PodIdentity", one.name, seconds=PATIENCE_SECONDS)
    chance = random.Random(20)  # noqa: S311 - not for a secret
    with Load(bots) as load:
        for number, what in enumerate(ROUNDS):
            proxies.clear()
            asked = f"{what}-{number}"
            for one in bots:
                annotate(tenant, one.name, rotate=asked)
            wanted = {"tokens": asked} | ({"secret": asked} if what == "all" else {})
            done = partial(_all_carried_out, bots, wanted)
            kill_at_random((operator, proxies), chance, 1, done)
            for one in bots:
                one.handled(**wanted)
        for one in bots:
            one.settled()
    tokens, secrets = load.replaced(present_token) + load.replaced(present_listed), load.replaced(use_mounted_secret)
    print(
        f"{load.done.total()} requests in {load.seconds:.0f} s ({load.per_second:.1f}/s), {tokens} tokens and "
        f"{secrets} secrets replaced, {KILLS} kills: {len(load.refusals)} refused"
    )
    assert load.refusals == []
    assert tokens >= TOKENS
    assert secrets >= SECRETS
    assert load.per_second >= LEAST_PER_SECOND
    for one in bots:
        one.assert_one_of_each()


def _all_carried_out(bots: Sequence[Rotating], wanted: Mapping[str, str]) -> bool:
    return all(one.carried_out().items() >= wanted.items() for one in bots)
