"""Driverless AI: people and their Python client at a server that knows no more than the settings that are mounted.

The server is proprietary; Authlib, a real client of OpenID Connect, does what its settings say. The Python client's
provider of tokens is the real one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.consumers.consumer import Consumer, Consumers
from tests.e2e.authority import REALM, Authority
from tests.e2e.operating import Proxies, grant, own_federation
from tests.e2e.people import Browser, give_password
from tests.e2e.running import Operator
from tests.e2e.tenancy import MERGE, Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.ports import free_port
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

INACTIVE = (401, {"refused": "inactive"})


@pytest.fixture(scope="module")
def base_url() -> str:
    """Where the server is reached; browsers and Keycloak take `localhost` without TLS."""
    return f"http://localhost:{free_port()}"


@pytest.fixture(scope="module")
def driverless(stack: Stack, proxies: Proxies, the_operator: Operator, base_url: str) -> Iterator[str]:
    """A Federation whose tenants may have a server there, and bots that call it."""
    del the_operator
    flows = ["authorizationCode", "introspection"]
    rule = grant(oidcFlows=flows, redirectUriPrefixes=[base_url], audiences=["tenant-*"])
    with own_federation(stack, proxies, "driverless", grants=[rule]) as name:
        yield name


@contextmanager
def refresh_tokens_rotate(stack: Stack) -> Iterator[None]:
    """Have the realm take each refresh token once."""
    path = f"/admin/realms/{REALM}"
    stack.keycloak("PUT", path, {"revokeRefreshToken": True, "refreshTokenMaxReuse": 0})
    try:
        yield
    finally:
        stack.keycloak("PUT", path, {"revokeRefreshToken": False})


@dataclass(frozen=True, slots=True)
class Site:
    """A server of Driverless AI, those who come to it, and what it reads."""

    tenant: Tenant
    consumers: Consumers
    base_url: str
    federation: str

    def apply(self) -> None:
        """Make the server: it lets members of one group in, and gives tokens to their Python clients."""
        gate = {"claim": "groups", "source": "Groups", "objectPath": "'/sites/a' in $.groups"}
        spec = {
            "role": "server",
            "federationRef": {"name": self.federation},
            "oidcClient": {"baseUrl": self.base_url, "secretRotation": {"overlap": "10s"}},
            "platform": {"driverlessAi": {"gate": gate, "pythonClient": {}}},
            "pods": {"selector": {"matchLabels": {"example.org/pods": "none"}}},
        }
        self.tenant.apply({"kind": "PodIdentity", "metadata": {"name": "dai"}, "spec": spec})
        self.tenant.ready("PodIdentity", "dai")

    def settings(self) -> dict[str, str]:
        """Return the environment that a pod has now, by `envFrom`."""
        return dict((self.tenant.secret("dai") or {})["text"])

    def start(self) -> Consumer:
        """Start the server with what is published at this moment."""
        server = self.consumers.start("driverless_server", **self.settings())
        assert server.ask("serve") == {}
        return server

    def person(self, name: str, group: str) -> None:
        """Make somebody who can log in."""
        self.tenant.apply(user(name, federationRef={"name": self.federation}, groups=[group]))
        self.tenant.ready("FederationUser", name)
        give_password(self.tenant.stack, (Authority(self.tenant.stack).user(name) or {})["id"])

    def call(self, token: str) -> tuple[int, Any]:
        """Call the server as a program does, and return status and answer."""
        answer = Rest(self.base_url).answer("POST", "/rpc", headers={"Authorization": f"Bearer {token}"})
        return answer.status, answer.body

    def script(self, refresh_token: str) -> Consumer:
        """Start somebody's Python client with the token that the server showed them."""
        settings = self.settings()
        client = self.consumers.start("driverless_client")
        client.ask(
            "begin",
            refresh_token=refresh_token,
            client_id=settings["DRIVERLESS_AI_OAUTH2_CLIENT_TOKENS_CLIENT_ID"],
            token_endpoint_url=settings["DRIVERLESS_AI_OAUTH2_CLIENT_TOKENS_TOKEN_URL"],
            token_introspection_url=settings["DRIVERLESS_AI_OAUTH2_CLIENT_TOKENS_INTROSPECTION_URL"],
        )
        return client


@pytest.fixture
def site(tenant: Tenant, consumers: Consumers, base_url: str, driverless: str) -> Site:
    """A server that is made, and not started."""
    made = Site(tenant, consumers, base_url, driverless)
    made.apply()
    return made


def _shown(page: dict[str, Any]) -> dict[str, Any]:
    """Return what a page of the server shows."""
    shown: dict[str, Any] = json.loads(page["page"])
    return shown


def test_people_and_their_programs_are_let_in_and_refused_once_they_are_deleted(site: Site, browser: Browser) -> None:
    """The gate on userinfo; a Python client through rotating refresh tokens; a logout, which ends its tokens, too."""
    ana, bob = unique("ana"), unique("bob")
    site.person(ana, "/sites/a")
    site.person(bob, "/sites/b")
    site.start()
    assert "refused" in _shown(browser.log_in(site.base_url, bob)), "he can log in, and is not let in"
    assert _shown(browser.log_in(site.base_url, ana)) == {"user": ana}

    with refresh_tokens_rotate(site.tenant.stack):
        first = _shown(browser.open(f"{site.base_url}/token"))["refresh_token"]
        script = site.script(first)
        for do in ("token", "refresh", "refresh"):
            assert site.call(script.ask(do)["token"]) == (200, {"user": ana}), do
        last = script.ask("token")["token"]
        # What was written down before the first use is stale now; to use it ends the session of the one that works.
        eventually(lambda: "error" in site.script(first).ask("token"), "the first refresh token is refused")
    assert _shown(browser.open(f"{site.base_url}/logout")) == {"left": True}
    assert site.call(last) == INACTIVE

    assert _shown(browser.log_in(site.base_url, ana)) == {"user": ana}
    script = site.script(_shown(browser.open(f"{site.base_url}/token"))["refresh_token"])
    token = script.ask("token")["token"]
    assert site.call(token) == (200, {"user": ana})
    site.tenant.delete("FederationUser", ana)
    site.tenant.gone("FederationUser", ana)
    assert site.call(token) == INACTIVE
    assert "error" in script.ask("refresh")
    assert _shown(browser.open(f"{site.base_url}/home")) == {"user": ana}, "its own session is the window: up to 72 h"


def test_the_servers_own_secret_rotates_and_its_client_ends_with_it(site: Site, browser: Browser) -> None:
    """Read once: the running server works until the overlap ends, a new one with the new secret; none after the end."""
    tenant, eve = site.tenant, unique("eve")
    site.person(eve, "/sites/a")
    tenant.apply(bot("scorer", federationRef={"name": site.federation}, audiences=[f"{tenant.namespace}.dai.server"]))
    tenant.apply(pod_identity("scorer", platform={"driverlessAi": {}}))
    tenant.ready("PodIdentity", "scorer")
    token = tenant.mounted("scorer", "access_token")
    running = site.start()
    assert site.call(token) == (200, {"user": f"service-account-{tenant.namespace}.scorer"})

    secret = "DRIVERLESS_AI_AUTH_OPENID_CLIENT_SECRET"
    former = site.settings()[secret]
    annotations = {"metadata": {"annotations": {"fedid.io/rotate": "secret-1"}}}
    tenant.stack.kube("PATCH", tenant.path("PodIdentity", "dai"), annotations, headers=MERGE)
    tenant.mounted("dai", secret, lambda text: text != former)
    assert _shown(browser.log_in(site.base_url, eve)) == {"user": eve}, "with the former secret, during the overlap"
    eventually(lambda: site.call(token) == INACTIVE, "the former secret is refused")
    running.close()
    site.start()
    assert _shown(browser.log_in(site.base_url, eve)) == {"user": eve}
    assert site.call(token)[0] == 200

    script = site.script(_shown(browser.open(f"{site.base_url}/token"))["refresh_token"])
    assert site.call(script.ask("token")["token"]) == (200, {"user": eve})
    tenant.delete("PodIdentity", "dai")
    tenant.gone("PodIdentity", "dai")
    assert "error" in script.ask("refresh")
    assert site.call(token) == INACTIVE
    assert "refused" not in (page := browser.open(site.base_url))["page"]
    assert "/realms/" in page["url"], "Keycloak does not even show its login page for a client that it does not know"
