"""Keycloak, Vault or the API server is away for a while: it is said, nothing is lost or doubled, all converges."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.e2e.authority import Authority
from tests.e2e.operating import OperatorProcess, Proxies, federation_condition
from tests.e2e.outage import AWAY, PATIENCE_SECONDS, Cast, bring_back, federation_behind, lose_answers, send_away
from tests.e2e.tenancy import Body, Tenant
from tests.e2e.waiting import eventually
from tests.testbed.proxy import Proxy
from tests.testbed.stack import Stack

KEYCLOAK, VAULT = "outage-keycloak", "outage-vault"


@pytest.fixture(scope="module")
def keycloak(stack: Stack, proxies: Proxies, the_operator: OperatorProcess) -> Iterator[Proxy]:
    """What stands between the Federation `outage-keycloak` and Keycloak."""
    del the_operator
    with federation_behind(stack, proxies, KEYCLOAK, "keycloak") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def vault(stack: Stack, proxies: Proxies, the_operator: OperatorProcess) -> Iterator[Proxy]:
    """What stands between the Federation `outage-vault` and Vault."""
    del the_operator
    with federation_behind(stack, proxies, VAULT, "vault") as proxy:
        yield proxy


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


@pytest.mark.parametrize("way", AWAY)
def test_an_outage_of_keycloak(  # noqa: PLR0913 - fixtures
    tenant: Tenant, authority: Authority, keycloak: Proxy, stack: Stack, way: str
) -> None:
    """Conditions name Keycloak, what is published stays Ready, consumers of a deleted bot lose it, all converges."""
    cast = Cast(tenant, authority, KEYCLOAK)
    cast.settle()
    still = tenant.condition("BotClient", "still")
    send_away(keycloak, way)
    cast.act()
    _told(tenant, "BotClient", "new", "KeycloakSynced", "keycloak")
    _told(tenant, "BotClient", "changed", "KeycloakSynced", "keycloak")
    _told(tenant, "FederationUser", cast.new_user, "KeycloakSynced", "keycloak")
    _told(tenant, "FederationUser", cast.changed_user, "KeycloakSynced", "keycloak")
    _told_waiting(tenant, "BotClient", "ended", "keycloak")
    _told_waiting(tenant, "FederationUser", cast.ended_user, "keycloak")
    tenant.reason("PodIdentity", "new", "WaitingForBot")
    tenant.reason("PodIdentity", "ended", "BotDeleting")
    tenant.mounted("ended", "token", lambda text: text == "")
    tenant.gone("PodIdentity", "parting")
    eventually(
        lambda: (federation_condition(stack, KEYCLOAK, "KeycloakReady") or {}).get("reason") == "BackendUnavailable",
        "the Federation says that Keycloak is away",
        seconds=PATIENCE_SECONDS,
    )
    assert tenant.condition("BotClient", "still") == still
    bring_back(keycloak)
    cast.assert_converged()
    assert "refused (401)" in tenant.event("ended", "RevocationProven")["message"]


@pytest.mark.parametrize("way", AWAY)
def test_an_outage_of_vault(  # noqa: PLR0913 - fixtures
    tenant: Tenant, authority: Authority, vault: Proxy, stack: Stack, way: str
) -> None:
    """Conditions name Vault, users do not mind, Keycloak refuses a deleted bot at once, its object goes later."""
    cast = Cast(tenant, authority, VAULT)
    cast.settle()
    still = tenant.condition("BotClient", "still")
    send_away(vault, way)
    cast.act()
    tenant.ready("FederationUser", cast.new_user, seconds=PATIENCE_SECONDS)
    tenant.ready("FederationUser", cast.changed_user)
    tenant.gone("FederationUser", cast.ended_user)
    _told(tenant, "BotClient", "new", "Published", "vault")
    _told(tenant, "BotClient", "changed", "Published", "vault")
    _told_waiting(tenant, "BotClient", "ended", "vault")
    cast.assert_ended_at_authority()
    assert (tenant.get("BotClient", "ended") or {})["status"]["revocation"]["positiveCheckAt"]
    tenant.mounted("ended", "token", lambda text: text == "")
    eventually(
        lambda: (federation_condition(stack, VAULT, "VaultReady") or {}).get("reason") == "BackendUnavailable",
        "the Federation says that Vault is away",
        seconds=PATIENCE_SECONDS,
    )
    assert tenant.condition("BotClient", "still") == still
    bring_back(vault)
    cast.assert_converged()
    assert "refused (401)" in tenant.event("ended", "RevocationProven")["message"]


@pytest.mark.parametrize("way", AWAY)
def test_an_outage_of_the_api_server(
    tenant: Tenant, authority: Authority, operator: OperatorProcess, proxies: Proxies, way: str
) -> None:
    """The operator lives on, sees what happened meanwhile when the API server is back, and all converges."""
    cast = Cast(tenant, authority)
    cast.settle()
    pid = operator.pid
    send_away(proxies.kubernetes, way)
    cast.act()
    eventually(
        lambda: len(proxies.kubernetes.exchanges()) > 0 or way == "refuses connections",
        "the operator asks for the API server",
    )
    bring_back(proxies.kubernetes)
    cast.assert_converged()
    assert operator.running
    assert operator.pid == pid


@pytest.mark.parametrize("backend", ["keycloak", "vault", "kubernetes"])
def test_answers_that_are_lost(  # noqa: PLR0913 - fixtures
    tenant: Tenant, authority: Authority, keycloak: Proxy, vault: Proxy, proxies: Proxies, backend: str
) -> None:
    """Each write is carried out and its answer lost the first time: everything converges without a second of a kind."""
    proxy = {"keycloak": keycloak, "vault": vault, "kubernetes": proxies.kubernetes}[backend]
    cast = Cast(tenant, authority, {"keycloak": KEYCLOAK, "vault": VAULT}.get(backend))
    cast.settle()
    lose_answers(proxy)
    cast.act()
    cast.assert_converged()
    bring_back(proxy)
