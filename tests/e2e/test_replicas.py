"""Two replicas: one works, the other takes over, and nothing is begun by one that does not hold the Lease."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.authority import Authority
from tests.e2e.crowd import Crowd
from tests.e2e.operating import Proxies
from tests.e2e.replicas import LEASE, Replicas, replicas
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant, bot, pod_identity
from tests.e2e.waiting import eventually
from tests.testbed.faults import Hang, requests_to
from tests.testbed.stack import Stack

ROUNDS = int(os.environ.get("FEDID_ROUNDS") or 4)
"""Pauses, cuts and kills of the leader."""
OBJECTS = int(os.environ.get("FEDID_OBJECTS") or 50)
"""Identities that change meanwhile."""
WORKERS = 18
"""Passes at a time, those for deletions alone included: each may have had a request on its way when it was paused."""


@pytest.fixture
def alone(stack: Stack, tenant: Tenant, operator: Operator, proxies: Proxies) -> Iterator[None]:
    """Have the operator of the other tests out of the way."""
    del tenant
    operator.stop()
    proxies.clear()
    yield
    stack.kube("DELETE", f"{LEASE}/fedid-operator", accept=(404,))
    operator.start()


@pytest.fixture
def pair(alone: None, stack: Stack, proxies: Proxies, tmp_path: Path) -> Iterator[Replicas]:
    """Two replicas that take over soon."""
    del alone
    with replicas(stack, proxies, tmp_path) as made:
        yield made


def make(tenant: Tenant, *names: str) -> None:
    """Have bots made that pods mount."""
    for name in names:
        tenant.apply(bot(name), pod_identity(name))


def all_ready(tenant: Tenant, *names: str) -> None:
    """Wait until they are."""
    for name in names:
        tenant.ready("PodIdentity", name, seconds=120)


def test_a_leader_that_stops_hands_over(
    alone: None, stack: Stack, proxies: Proxies, tenant: Tenant, tmp_path: Path
) -> None:
    """Nobody waits for the end of a Lease of five minutes, and the next one knows everything already."""
    del alone
    with replicas(stack, proxies, tmp_path, seconds=300) as pair:
        first = pair.leader()
        (second,) = pair.others(first)
        make(tenant, "early")
        all_ready(tenant, "early")
        second.await_standing_by()
        assert first.process.stop() == 0
        second.await_leading()
        make(tenant, "late")
        all_ready(tenant, "late")
        assert {deed.replica for deed in pair.deeds()} == {first.name, second.name}
        assert pair.without_lease() == []


def test_a_leader_that_is_paused_begins_nothing_when_it_goes_on(
    pair: Replicas, tenant: Tenant, authority: Authority
) -> None:
    """What it had on its way may still arrive; everything ends as the manifests say, once."""
    first = pair.leader()
    (second,) = pair.others(first)
    crowd = Crowd(tenant, authority)
    crowd.apply("fl-client", "/sites/a")
    eventually(lambda: len(pair.deeds()) > 30, "the first is in the middle of it")
    first.pause()
    second.await_leading()
    first.go_on()
    pair.settled()
    crowd.assert_there("fl-client", "/sites/a")
    late = pair.without_lease()
    print(f"{len(late)} of {len(pair.deeds())} side effects were on their way when the process was paused")
    assert {deed.replica for deed in late} <= {first.name}
    assert len(late) <= WORKERS
    crowd.delete()
    crowd.assert_gone()


@pytest.mark.parametrize("lost", ["the API server", "the Lease alone"])
def test_a_leader_that_cannot_renew_the_lease_begins_nothing(pair: Replicas, tenant: Tenant, lost: str) -> None:
    """Keycloak and Vault answer it all the same, and tokens fall due: the other one renews them."""
    first = pair.leader()
    (second,) = pair.others(first)
    names = [f"bot-{number}" for number in range(5)]
    tenant.apply(*(bot(name, tokens=[{"name": "default", "lifetime": "20s"}]) for name in names))
    issued = {name: tenant.ready("BotClient", name)["status"]["tokens"][0]["issuedAt"] for name in names}
    if lost == "the API server":
        first.kubernetes.refuse()
    else:
        first.kubernetes.inject(Hang(), requests_to(f"{LEASE}.*"))
    second.await_leading()
    for _ in range(2):
        for name in names:
            renewed = eventually(lambda: _issued_after(tenant, name, issued[name]), f"{name} is renewed")  # noqa: B023 - looked at before the next round
            issued[name] = renewed
    first.kubernetes.heal()
    first.kubernetes.accept()
    pair.settled()
    assert pair.without_lease() == []


def _issued_after(tenant: Tenant, name: str, instant: str) -> str | None:
    """Return when the bot's token was issued, if that was later."""
    (token,) = (tenant.get("BotClient", name) or {})["status"]["tokens"]
    issued: str = token["issuedAt"]
    return issued if issued > instant else None


def test_the_only_replica_goes_on_where_it_was_when_the_api_server_is_back(
    alone: None, stack: Stack, proxies: Proxies, tenant: Tenant, tmp_path: Path
) -> None:
    """It is fenced meanwhile; since nobody has led, it begins nothing anew."""
    del alone
    with replicas(stack, proxies, tmp_path, count=1) as one:
        (only,) = one.members
        only.kubernetes.refuse()
        only.await_standing_by()
        only.kubernetes.accept()
        only.await_leading()
        make(tenant, "late")
        all_ready(tenant, "late")
        assert "beginning anew" not in only.process.output()
        assert one.without_lease() == []


def test_leaders_that_come_and_go_while_everything_changes(
    pair: Replicas, tenant: Tenant, authority: Authority
) -> None:
    """Paused, cut off and killed at random: nothing is lost, nothing is doubled, nothing is begun without the Lease."""
    seed = int(os.environ.get("FEDID_SEED") or random.randrange(2**32))  # noqa: S311 - not for a secret
    print(f"again with FEDID_SEED={seed} FEDID_ROUNDS={ROUNDS} FEDID_OBJECTS={OBJECTS}")
    chance = random.Random(seed)  # noqa: S311 - likewise
    crowd, pauses = Crowd(tenant, authority, OBJECTS), 0
    for number in range(ROUNDS):
        role, group = (("fl-client", "/sites/a"), ("fl-member", "/sites/b"))[number % 2]
        crowd.apply(role, group)
        leader = pair.leader()
        (other,) = pair.others(leader)
        target = len(pair.deeds()) + chance.randint(1, 60)
        eventually(
            lambda: len(pair.deeds()) >= target or crowd.all_ready(),  # noqa: B023 - looked at before the next round
            f"{target} side effects, or none left",
        )
        match chance.choice(("pause", "cut", "kill")):
            case "pause":
                pauses += 1
                leader.pause()
                other.await_leading()
                leader.go_on()
            case "cut":
                leader.kubernetes.refuse()
                other.await_leading()
                leader.kubernetes.accept()
            case "kill":
                leader.process.kill()
                other.await_leading()
                leader.process.start()
        pair.settled()
    crowd.assert_there(role, group)
    tokens = crowd.tokens()
    crowd.delete()
    crowd.assert_gone()
    assert {authority.admin_api_status(token) for token in tokens.values()} == {401}
    late = pair.without_lease()
    print(f"{len(late)} of {len(pair.deeds())} side effects were on their way when a process was paused")
    assert len(late) <= WORKERS * pauses
