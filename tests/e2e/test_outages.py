"""Keycloak, Vault or the API server is away for a while: it is said, nothing is lost or doubled, all converges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.e2e.authority import Authority
from tests.e2e.operating import Proxies, federation_condition
from tests.e2e.outage import AWAY, PATIENCE_SECONDS, Cast, away, federation_behind, losing_answers
from tests.e2e.running import Operator
from tests.e2e.tenancy import Body, Tenant, bot, pod_identity
from tests.e2e.waiting import eventually
from tests.testbed.faults import Status, requests_to
from tests.testbed.proxy import Proxy
from tests.testbed.stack import Stack

Behind = tuple[str, Proxy]
"""A Federation, and what stands between it and one backend."""


@pytest.fixture(scope="module")
def behind_keycloak(stack: Stack, proxies: Proxies, the_operator: Operator) -> Iterator[Behind]:
    """A Federation with a proxy of its own before Keycloak."""
    del the_operator
    with federation_behind(stack, proxies, "keycloak") as made:
        yield made


@pytest.fixture(scope="module")
def behind_vault(stack: Stack, proxies: Proxies, the_operator: Operator) -> Iterator[Behind]:
    """A Federation with a proxy of its own before Vault."""
    del the_operator
    with federation_behind(stack, proxies, "vault") as made:
        yield made


def _told(tenant: Tenant, kind: str, name: str, about: str, backend: str) -> Body:
    """Wait until a condition says that the backend is away, and return it."""
    found = tenant.reason(kind, name, "BackendUnavailable", about, seconds=PATIENCE_SECONDS)
    assert backend in found["message"]
    return found


def _told_waiting(tenant: Tenant, kind: str, name: str, backend: str) -> None:
    """Wait until a deletion says which step waits for what, since when."""
    _told(tenant, kind, name, "Revoked", backend)
    ready = _told(tenant, kind, name, "Ready", backend)
    revocation = (tenant.get(kind, name) or {})["status"]["revocation"]
    assert revocation["waitingFor"] == backend
    assert datetime.fromisoformat(revocation["waitingSince"]) >= datetime.fromisoformat(revocation["startedAt"])
    assert revocation["waitingSince"] in ready["message"]


def _told_once(operator: Operator, tenant: Tenant, told: list[tuple[str, str]]) -> None:
    """See that further attempts in vain write nothing: a status that told a countdown would change with each."""
    versions = [(tenant.get(kind, name) or {})["metadata"]["resourceVersion"] for kind, name in told]
    failed = operator.passes("BotClient", "BackendUnavailable")
    eventually(
        lambda: operator.passes("BotClient", "BackendUnavailable") >= failed + 2 * len(told), "more attempts in vain"
    )
    assert versions == [(tenant.get(kind, name) or {})["metadata"]["resourceVersion"] for kind, name in told]


def _federation_told(stack: Stack, name: str, about: str) -> None:
    """Wait until a Federation says that a backend is away."""
    eventually(
        lambda: (federation_condition(stack, name, about) or {}).get("reason") == "BackendUnavailable",
        f"Federation {name} says that {about} does not hold",
        seconds=PATIENCE_SECONDS,
    )


@pytest.mark.parametrize("way", AWAY)
def test_an_outage_of_keycloak(
    operator: Operator, tenant: Tenant, authority: Authority, behind_keycloak: Behind, way: str
) -> None:
    """Conditions name Keycloak, what is published stays Ready, consumers of a deleted bot lose it, all converges."""
    federation, proxy = behind_keycloak
    cast = Cast(tenant, authority, federation)
    cast.settle()
    still = tenant.condition("BotClient", "still")
    with away(proxy, way):
        cast.act()
        for name in ("new", "changed"):
            _told(tenant, "BotClient", name, "KeycloakSynced", "keycloak")
        for name in (cast.new_user, cast.changed_user):
            _told(tenant, "FederationUser", name, "KeycloakSynced", "keycloak")
        _told_waiting(tenant, "BotClient", "ended", "keycloak")
        _told_waiting(tenant, "FederationUser", cast.ended_user, "keycloak")
        tenant.reason("PodIdentity", "new", "WaitingForBot")
        tenant.reason("PodIdentity", "ended", "BotDeleting")
        cast.assert_withdrawn()
        tenant.gone("PodIdentity", "parting")
        _federation_told(tenant.stack, federation, "KeycloakReady")
        if way == "answers 503":
            _told_once(operator, tenant, [("BotClient", name) for name in ("new", "changed", "ended")])
        assert tenant.condition("BotClient", "still") == still
    cast.assert_converged()
    assert "refused (401)" in tenant.event("ended", "RevocationProven")["message"]


def test_a_keycloak_that_is_killed_and_started_again(stack: Stack, tenant: Tenant, authority: Authority) -> None:
    """What is published is Ready as long as its token lives and no longer, a deletion waits, and all of it heals."""
    short = [{"name": "default", "lifetime": "20s"}]
    tenant.apply(bot("lasting"), bot("fleeting", tokens=short), bot("ended"))
    tenant.apply(*(pod_identity(name) for name in ("lasting", "fleeting")))
    tenant.ready("BotClient", "ended")
    for name in ("lasting", "fleeting"):
        tenant.ready("PodIdentity", name)
    ended = (authority.vault(f"fedid/{tenant.namespace}/bots/ended/tokens/default") or {})["token"]
    stack.kill("keycloak")
    try:
        tenant.delete("BotClient", "ended")
        _told_waiting(tenant, "BotClient", "ended", "keycloak")
        _told(tenant, "BotClient", "fleeting", "KeycloakSynced", "keycloak")
        (token,) = (tenant.get("BotClient", "fleeting") or {})["status"]["tokens"]
        assert datetime.fromisoformat(token["expiresAt"]) <= datetime.now(UTC)
        assert "expired" in tenant.reason("PodIdentity", "fleeting", "WaitingForBot")["message"]
        for kind in ("BotClient", "PodIdentity"):
            assert (tenant.condition(kind, "lasting") or {})["status"] == "True"
    finally:
        stack.start("keycloak")
    for name in ("lasting", "fleeting"):
        tenant.ready("BotClient", name, seconds=PATIENCE_SECONDS)
        tenant.ready("PodIdentity", name, seconds=PATIENCE_SECONDS)
    tenant.gone("BotClient", "ended", seconds=PATIENCE_SECONDS)
    assert authority.introspect(ended)["active"] is False
    assert authority.introspect(tenant.mounted("fleeting", "token"))["active"] is True


@pytest.mark.parametrize("way", AWAY)
def test_an_outage_of_vault(tenant: Tenant, authority: Authority, behind_vault: Behind, way: str) -> None:
    """Conditions name Vault, users do not mind, Keycloak refuses a deleted bot at once, its object goes later."""
    federation, proxy = behind_vault
    cast = Cast(tenant, authority, federation)
    cast.settle()
    still = tenant.condition("BotClient", "still")
    with away(proxy, way):
        cast.act()
        tenant.ready("FederationUser", cast.new_user, seconds=PATIENCE_SECONDS)
        tenant.ready("FederationUser", cast.changed_user)
        tenant.gone("FederationUser", cast.ended_user)
        for name in ("new", "changed"):
            _told(tenant, "BotClient", name, "Published", "vault")
        _told_waiting(tenant, "BotClient", "ended", "vault")
        cast.assert_ended_at_authority()
        assert (tenant.get("BotClient", "ended") or {})["status"]["revocation"]["positiveCheckAt"]
        cast.assert_withdrawn()
        _federation_told(tenant.stack, federation, "VaultReady")
        assert tenant.condition("BotClient", "still") == still
    cast.assert_converged()
    assert "refused (401)" in tenant.event("ended", "RevocationProven")["message"]


@pytest.mark.parametrize("way", AWAY)
def test_an_outage_of_the_api_server(
    tenant: Tenant, authority: Authority, operator: Operator, proxies: Proxies, way: str
) -> None:
    """The operator lives on, sees what happened meanwhile when the API server is back, and all converges."""
    cast = Cast(tenant, authority)
    cast.settle()
    pid = operator.pid
    with away(proxies.kubernetes, way):
        cast.act()
    cast.assert_converged()
    assert operator.running
    assert operator.pid == pid


def test_an_error_in_a_watch_stream(tenant: Tenant, operator: Operator, proxies: Proxies) -> None:
    """What an API server says when it shuts down ends the stream, and neither the operator nor its sight."""
    tenant.apply(bot("before"))
    tenant.ready("BotClient", "before")
    pid = operator.pid
    error = {"type": "ERROR", "object": {"kind": "Status", "code": 500, "reason": "InternalError"}}
    watch = requests_to("/apis/fedid.io/v1alpha1/botclients", "GET")
    proxies.kubernetes.refuse()
    rule = proxies.kubernetes.inject(Status(200, json.dumps(error) + "\n"), watch, times=1)
    tenant.delete("BotClient", "before")
    proxies.kubernetes.accept()
    eventually(lambda: rule.hits == 1, "the stream was opened again, and an error was in it")
    tenant.apply(bot("after"))
    tenant.ready("BotClient", "after")
    tenant.gone("BotClient", "before")
    assert operator.running
    assert operator.pid == pid


@pytest.mark.parametrize("backend", ["keycloak", "vault", "kubernetes"])
def test_answers_that_are_lost(  # noqa: PLR0913 - fixtures
    tenant: Tenant,
    authority: Authority,
    behind_keycloak: Behind,
    behind_vault: Behind,
    proxies: Proxies,
    backend: str,
) -> None:
    """Each write is carried out and its answer lost the first time: everything converges, nothing is made twice."""
    behind = {"keycloak": behind_keycloak, "vault": behind_vault, "kubernetes": (None, proxies.kubernetes)}
    federation, proxy = behind[backend]
    cast = Cast(tenant, authority, federation)
    cast.settle()
    with losing_answers(proxy) as rule:
        cast.act()
        cast.assert_converged()
    assert rule.hits > 3
