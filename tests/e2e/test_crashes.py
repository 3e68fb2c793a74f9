"""The operator is killed at any moment: the next one finds what was begun, and the end is what the manifests say."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping

import pytest

from tests.e2e.authority import Authority
from tests.e2e.crowd import Crowd
from tests.e2e.estate import estate_of, expected_estate
from tests.e2e.operating import Proxies
from tests.e2e.running import Operator
from tests.e2e.tenancy import MERGE, Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.faults import Exchange, Fault, Hang, HoldAnswer, Predicate, Rule, nth_of_each, requests_to

PATIENCE_SECONDS = 120.0
_ASKING = requests_to(
    # What is asked by POST or PUT and changes nothing that anybody keeps: logins, token requests, Events.
    ".*(/openid-connect/token|/auth/[^/]+/login|/auth/token/(renew|revoke)-self|/sys/capabilities-self|/events"
    "|/selfsubject[a-z]+)"
)
Steps = Mapping[str, tuple[Predicate, ...]]
"""Backend to its side effects, in no order."""


def writes(proxies: Proxies) -> list[Exchange]:
    """Return every side effect that passed a proxy since the last `clear`."""
    return [
        exchange
        for proxy in proxies.all()
        for exchange in proxy.exchanges(lambda method, path: method != "GET" and not _ASKING(method, path))
    ]


def kill_at_random(operator: Operator, proxies: Proxies, chance: random.Random, times: int) -> None:
    """Kill the operator after a random number of side effects and start it again, some times."""
    for _ in range(times):
        target = len(writes(proxies)) + chance.randint(1, 40)
        eventually(lambda: len(writes(proxies)) >= target, f"{target} side effects", seconds=PATIENCE_SECONDS)  # noqa: B023 - looked at before the next round
        operator.kill()
        operator.start(wait=False)


def test_kills_at_random_moments(tenant: Tenant, authority: Authority, operator: Operator, proxies: Proxies) -> None:
    """Fifty identities are made, changed and deleted while the operator dies: each is there once, then none is."""
    seed = int(os.environ.get("FEDID_SEED") or random.randrange(2**32))  # noqa: S311 - not for a secret
    print(f"again with FEDID_SEED={seed}")
    chance = random.Random(seed)  # noqa: S311 - likewise
    crowd = Crowd(tenant, authority)
    proxies.clear()
    crowd.apply("fl-client", "/sites/a")
    kill_at_random(operator, proxies, chance, 3)
    crowd.assert_there("fl-client", "/sites/a")
    crowd.apply("fl-member", "/sites/b")
    kill_at_random(operator, proxies, chance, 2)
    crowd.assert_there("fl-member", "/sites/b")
    tokens = crowd.tokens()
    crowd.delete()
    kill_at_random(operator, proxies, chance, 3)
    crowd.assert_gone()
    assert {authority.admin_api_status(token) for token in tokens.values()} == {401}


def creation_steps(namespace: str) -> Steps:
    """Return every side effect of making a bot, its consumer and a user."""
    objects, store = f"/apis/fedid.io/v1alpha1/namespaces/{namespace}", f"/v1/secret/(data|metadata)/fedid/{namespace}"
    return {
        "kubernetes": (
            requests_to(f"{objects}/botclients/[^/]+", "PATCH"),
            requests_to(f"{objects}/botclients/[^/]+/status", "PATCH"),
            requests_to(f"{objects}/podidentities/[^/]+/status", "PATCH"),
            requests_to(f"{objects}/federationusers/[^/]+", "PATCH"),
            requests_to(f"{objects}/federationusers/[^/]+/status", "PATCH"),
            requests_to(f"/api/v1/namespaces/{namespace}/secrets", "POST"),
        ),
        "keycloak": (
            requests_to("/admin/realms/fl/clients", "POST"),
            requests_to("/admin/realms/fl/users", "POST"),
            requests_to("/admin/realms/fl/users/[^/]+/role-mappings/realm", "POST"),
            requests_to("/realms/fl/protocol/openid-connect/token", "POST"),
        ),
        "vault": (
            requests_to(f"{store.replace('(data|metadata)', 'metadata')}/bots/[^/]+/client", "POST|PUT"),
            requests_to(f"{store.replace('(data|metadata)', 'data')}/bots/[^/]+/client", "POST|PUT"),
            requests_to(f"{store.replace('(data|metadata)', 'metadata')}/bots/[^/]+/tokens/default", "POST|PUT"),
            requests_to(f"{store.replace('(data|metadata)', 'data')}/bots/[^/]+/tokens/default", "POST|PUT"),
        ),
    }


def deletion_steps(namespace: str) -> Steps:
    """Return every side effect of ending a bot, its consumers' files and a user; with the proof, whose loss counts."""
    objects, metadata = f"/apis/fedid.io/v1alpha1/namespaces/{namespace}", f"/v1/secret/metadata/fedid/{namespace}"
    status = requests_to(f"{objects}/botclients/[^/]+/status", "PATCH")
    return {
        "kubernetes": (
            nth_of_each(status, 1),
            nth_of_each(status, 2),
            requests_to(f"{objects}/botclients/[^/]+", "PATCH"),
            requests_to(f"{objects}/federationusers/[^/]+", "PATCH"),
            requests_to(f"/api/v1/namespaces/{namespace}/secrets/[^/]+", "PUT"),
            requests_to(f"{objects}/podidentities/[^/]+/status", "PATCH"),
        ),
        "keycloak": (
            requests_to("/realms/fl/protocol/openid-connect/revoke", "POST"),
            requests_to("/admin/realms/fl/clients/[^/]+", "DELETE"),
            requests_to("/realms/fl/protocol/openid-connect/token", "POST"),
            requests_to("/admin/realms/fl/users/[^/]+/logout", "POST"),
            requests_to("/admin/realms/fl/users/[^/]+", "DELETE"),
        ),
        "vault": (
            requests_to(f"{metadata}/bots/[^/]+/client", "DELETE"),
            requests_to(f"{metadata}/bots/[^/]+/tokens/default", "DELETE"),
        ),
    }


def crash_in_every(steps: Steps, act: Callable[[], None], fault: Fault, world: tuple[Operator, Proxies]) -> None:
    """Hold up each side effect for one object, then kill the operator, mend everything and start it again.

    There are more objects than steps, and each rule catches one: so one kill comes between all steps at once.
    """
    operator, proxies = world
    rules: dict[str, Rule] = {}
    for backend, predicates in steps.items():
        for number, predicate in enumerate(predicates):
            rules[f"{backend} {number}"] = getattr(proxies, backend).inject(fault, predicate, times=1)
    act()
    eventually(
        lambda: all(rule.hits for rule in rules.values()),
        f"every step is under way: {list(rules)}",
        seconds=PATIENCE_SECONDS,
    )
    operator.kill()
    proxies.heal()
    operator.start(wait=False)


CRASHES = [pytest.param(Hang(), id="before the effect"), pytest.param(HoldAnswer(), id="after the effect")]
BOTS = [f"bot-{number}" for number in range(18)]


@pytest.mark.parametrize("fault", CRASHES)
def test_a_crash_at_every_step_of_a_creation(
    tenant: Tenant, authority: Authority, operator: Operator, proxies: Proxies, fault: Fault
) -> None:
    """Whichever side effect was the last one, everything is there once, and what is published is accepted."""
    people = [unique("crash") for _ in range(5)]

    def create() -> None:
        tenant.apply(*(user(name) for name in people), *(bot(name) for name in BOTS))
        tenant.apply(*(pod_identity(name) for name in BOTS))

    crash_in_every(creation_steps(tenant.namespace), create, fault, (operator, proxies))
    for kind, names in (("BotClient", BOTS), ("PodIdentity", BOTS), ("FederationUser", people)):
        for name in names:
            tenant.ready(kind, name, seconds=PATIENCE_SECONDS)
    assert estate_of(tenant.stack, tenant.namespace) == expected_estate(
        tenant.namespace, bots=BOTS, users=people, pods=BOTS
    )
    for name in BOTS:
        assert authority.introspect(tenant.mounted(name, "token"))["active"] is True
    for name in people:
        assert authority.realm_roles((authority.user(name) or {})["id"]) == {"fl-member"}


@pytest.mark.parametrize("fault", CRASHES)
def test_a_crash_at_every_step_of_a_deletion(
    tenant: Tenant, authority: Authority, operator: Operator, proxies: Proxies, fault: Fault
) -> None:
    """Whichever side effect was the last one, nothing stays, and no old token lives again with the clientId."""
    people = [unique("crash") for _ in range(5)]
    tenant.apply(*(user(name) for name in people), *(bot(name) for name in BOTS))
    tenant.apply(*(pod_identity(name) for name in BOTS))
    for kind, names in (("PodIdentity", BOTS), ("FederationUser", people)):
        for name in names:
            tenant.ready(kind, name, seconds=PATIENCE_SECONDS)
    known = {name: authority.vault(f"fedid/{tenant.namespace}/bots/{name}/client") or {} for name in BOTS}
    tokens = [tenant.mounted(name, "token") for name in BOTS]

    def mint() -> None:
        """Be the pods, which mint by themselves as long as they are let."""
        for client in known.values():
            answer = authority.request_token(client["client_id"], client["client_secret"])
            if answer.status == 200:
                tokens.append(answer.body["access_token"])

    def delete() -> None:
        for kind, names in (("BotClient", BOTS), ("FederationUser", people)):
            for name in names:
                tenant.delete(kind, name)
        mint()

    crash_in_every(deletion_steps(tenant.namespace), delete, fault, (operator, proxies))
    mint()
    for kind, names in (("BotClient", BOTS), ("FederationUser", people)):
        for name in names:
            tenant.gone(kind, name, seconds=PATIENCE_SECONDS)
    assert estate_of(tenant.stack, tenant.namespace) == expected_estate(tenant.namespace, bots=(), users=(), pods=BOTS)
    tenant.apply(*(bot(name) for name in BOTS))
    for name in BOTS:
        tenant.ready("PodIdentity", name, seconds=PATIENCE_SECONDS)
        assert authority.introspect(tenant.mounted(name, "token", bool))["active"] is True
    assert [authority.admin_api_status(token) for token in tokens] == [401] * len(tokens)
    assert not any(authority.introspect(token)["active"] for token in tokens)
    for client in known.values():
        assert authority.request_token(client["client_id"], client["client_secret"]).status == 401


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
    assert writes(proxies) == []
    before = {kind: operator.passes(kind) for kind, _ in objects}
    for kind, name in objects:
        patch = {"metadata": {"annotations": {"touched": "yes"}}}
        tenant.stack.kube("PATCH", tenant.path(kind, name), patch, headers=MERGE)
    _passed(operator, {kind: count + 3 for kind, count in before.items()})
    assert writes(proxies) == []


def _passed(operator: Operator, wanted: Mapping[str, int]) -> None:
    eventually(lambda: all(operator.passes(kind) >= count for kind, count in wanted.items()), f"passes: {wanted}")
