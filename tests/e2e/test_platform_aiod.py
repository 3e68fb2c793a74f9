"""AI-on-Demand: its SDK in fresh processes on the files that a pod or a person has, and an API that introspects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.consumers.consumer import Consumer, Consumers
from tests.e2e.authority import REALM, Authority, claims_of
from tests.e2e.hands import Hands
from tests.e2e.operating import Proxies, apply_federation, federation, grant, own_federation
from tests.e2e.people import Browser, give_password
from tests.e2e.rest_api import AUDIENCE, rest_api
from tests.e2e.rotating import annotate
from tests.e2e.running import Operator
from tests.e2e.tenancy import Body, Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.stack import Stack

OVERLAP = "10s"
LIFETIME = 601
"""Of access tokens, in seconds: the Federation's `tokenLifetime`, and one, since Keycloak rounds both ends."""
SCOPE = "fl-aiod-roles"
GRANT = grant(audiences=[AUDIENCE], oidcFlows=["device"])


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[str]:
    """The REST API's URL."""
    with rest_api(stack) as url:
        yield url


@pytest.fixture(scope="module")
def aiod(stack: Stack, proxies: Proxies, the_operator: Operator, api: str) -> Iterator[str]:
    """A Federation whose tenants may ask for tokens that the API takes."""
    del the_operator, api
    with own_federation(stack, proxies, "aiod", grants=[GRANT]) as name:
        yield name


class Desk:
    """Where a bot's SDK runs: what is mounted, and processes that read it."""

    def __init__(self, tenant: Tenant, consumers: Consumers, api: str) -> None:
        """Take a tenant's view and a starter of processes."""
        self.tenant = tenant
        self._consumers = consumers
        self._api = api

    def manifests(self, federation: str) -> list[Body]:
        """Return a bot, and what its pods mount at `$HOME/.aiod`."""
        spec = {"federationRef": {"name": federation}, "audiences": [AUDIENCE], "tokens": []}
        rotation = {"overlap": OVERLAP, "allowInterruption": False}
        # Without the final slashes: the SDK would go astray, so that what is mounted has them.
        platform = {"aiod": {"apiServer": self._api.rstrip("/"), "authServer": self.tenant.stack.keycloak_url}}
        return [bot("curator", secretRotation=rotation, **spec), pod_identity("curator", platform=platform)]

    @property
    def home(self) -> Path:
        """The folder that is `HOME` of every process."""
        return self._consumers.folder

    def mount(self) -> None:
        """Bring the files to what the Secret holds, as the kubelet does."""
        self._consumers.mount(".aiod", (self.tenant.secret("curator") or {})["text"])

    def process(self) -> Consumer:
        """Start a process that imports the SDK."""
        return self._consumers.start("aiod_session", home=self.home)

    def secret(self) -> str:
        """Return what the Secret holds now."""
        return str((self.tenant.secret("curator") or {})["text"]["token.toml"])


def test_a_bot_works_keeps_working_through_a_rotation_and_is_refused_after_deletion(
    tenant: Tenant, consumers: Consumers, aiod: str, api: str
) -> None:
    """The mounted bundle logs in; old and new secret do during the overlap; then the API takes no token of it."""
    desk = Desk(tenant, consumers, api)
    tenant.apply(*desk.manifests(aiod))
    tenant.ready("PodIdentity", "curator")
    desk.mount()
    sdk = desk.process()
    name = f"service-account-{tenant.namespace}.curator"
    assert sdk.ask("who") == {"name": name, "roles": sorted(_roles(sdk))}
    assert "fl-client" in _roles(sdk)

    old = desk.secret()
    annotate(tenant, "curator", rotate="secret-1")
    eventually(lambda: _works(sdk, name) and desk.secret() != old, "another secret is published")
    assert _works(sdk, name), "the former secret, which is still mounted, is good"
    desk.mount()
    eventually(lambda: _works(sdk, name) and _rotated(tenant), "the rotation is over")
    assert _works(desk.process(), name), "a pod that starts now"

    token = sdk.ask("header")["Authorization"].removeprefix("Bearer ")
    tenant.delete("BotClient", "curator")
    tenant.gone("BotClient", "curator")
    assert sdk.ask("who")["error"] == "NotAuthenticatedError", "the API introspects: its window is none"
    assert claims_of(token)["exp"] - claims_of(token)["iat"] <= LIFETIME, "for who only checks signatures"
    assert sdk.ask("reload") == {}
    assert sdk.ask("who")["error"] == "KeycloakAuthenticationError"
    tenant.emptied("curator")
    desk.mount()
    emptied = desk.process()
    assert emptied.ended() == 1, "the SDK cannot be imported with empty files: the pod fails, visibly"
    assert "Must set exactly one of" in emptied.printed()


@pytest.fixture(scope="module")
def roles_scope(stack: Stack) -> Iterator[str]:
    """The platform team's client scope: what it lists of a person's roles is in tokens of clients that have it."""
    hands = Hands(stack)
    scope_id = hands.make_scope(SCOPE, "fl-member", "fl-admin")
    yield scope_id
    hands.delete_scope(scope_id)


def test_a_person_logs_in_with_a_device_code_logs_out_and_is_refused_after_deletion(  # noqa: PLR0913 - all take part
    tenant: Tenant, consumers: Consumers, aiod: str, api: str, roles_scope: str, browser: Browser
) -> None:
    """Keycloak's own pages, the file that the SDK writes, `invalidate_token`; then a session that deletion ends."""
    del roles_scope
    name = unique("ana")
    tenant.apply(user(name, federationRef={"name": aiod}), people(tenant, aiod, api))
    tenant.ready("FederationUser", name)
    tenant.ready("PodIdentity", "people")
    give_password(tenant.stack, Authority(tenant.stack).user(name)["id"])
    consumers.mount(".aiod", (tenant.secret("people") or {})["text"])
    first = log_in(consumers, browser, name)
    assert first.ask("who") == {"name": name, "roles": ["fl-member"]}, "held and listed; not what is only one of both"
    later = consumers.start("aiod_session")
    assert later.ask("who")["name"] == name, "another process, with the file that the login left"
    assert first.ask("invalidate") == {}
    assert later.ask("who")["error"] == "NotAuthenticatedError", "the API introspects"
    assert _refreshed(later)["error"] == "AuthenticationError"

    last = log_in(consumers, browser, name)
    assert _refreshed(last) == {"name": name}
    tenant.delete("FederationUser", name)
    tenant.gone("FederationUser", name)
    assert last.ask("who")["error"] == "NotAuthenticatedError"
    assert _refreshed(last)["error"] == "AuthenticationError"


def test_a_grant_of_roles_in_tokens_is_kept_and_withdrawn(  # noqa: PLR0913 - all take part
    tenant: Tenant, proxies: Proxies, consumers: Consumers, api: str, roles_scope: str, browser: Browser
) -> None:
    """A hand takes the scope, and it is given again; the grant goes, and the next token tells the API of no role."""
    stack, name, hands = tenant.stack, unique("ben"), Hands(tenant.stack)
    give_password(stack, user_id := hands.make_user(name, firstName="Ben", lastName="O", email=f"{name}@example.org"))
    hands.map_role(user_id, "fl-admin")
    with own_federation(stack, proxies, "aiod-people", grants=[GRANT]) as named:
        tenant.apply(people(tenant, named, api))
        uuid = tenant.ready("PodIdentity", "people")["status"]["oidcClient"]["clientUuid"]
        consumers.mount(".aiod", (tenant.secret("people") or {})["text"])
        sdk = log_in(consumers, browser, name)
        assert _roles(sdk) == ["fl-admin"]
        hands.take_scope(uuid, roles_scope)
        tenant.touch("PodIdentity", "people")
        assert f"client scopes removed ({SCOPE})" in tenant.event("people", "DriftRepaired")["message"]
        assert SCOPE in scopes_of(stack, uuid)
        assert sdk.ask("refresh") == {}
        assert _roles(sdk) == ["fl-admin"]

        apply_federation(stack, federation(stack, proxies, named, default=False, grants=[{**GRANT, "scopes": []}]))
        assert f"scopes: {SCOPE}" in tenant.reason("PodIdentity", "people", "NotGranted")["message"]
        assert SCOPE not in scopes_of(stack, uuid)
        assert sdk.ask("refresh") == {}
        assert _roles(sdk) == [], "the session goes on, and shows no role"
        tenant.delete("PodIdentity", "people")
        tenant.gone("PodIdentity", "people")
    hands.delete_user(user_id)


def people(tenant: Tenant, federation: str, api: str) -> Body:
    """Return the public client with which people sign in at a device, and the file that their SDK reads."""
    lines = {
        "api_server": api,
        "auth_server": f"{tenant.stack.keycloak_url}/",
        "realm": "fl",
        "client_id": "{clientId}",
    }
    config = "".join(f'{name} = "{value}"\n' for name, value in lines.items())
    spec = {
        "role": "server",
        "federationRef": {"name": federation},
        "oidcClient": {"flows": ["device"], "public": True, "audiences": [AUDIENCE], "defaultScopes": [SCOPE]},
        "platform": {"generic": {"files": {"config.toml": config}}},
    }
    return {"kind": "PodIdentity", "metadata": {"name": "people"}, "spec": spec}


def log_in(consumers: Consumers, browser: Browser, name: str) -> Consumer:
    """Start a process and have a person log in on Keycloak's pages."""
    sdk = consumers.start("aiod_session")
    sdk.request("login", write=True)
    page = eventually(lambda: re.search(r"http\S+user_code=\S+", sdk.printed()), "the address to visit")
    browser.log_in(page[0], name)
    browser.consent()
    assert sdk.heard() == {}
    assert sdk.ask("who")["name"] == name
    return sdk


def scopes_of(stack: Stack, uuid: str) -> list[str]:
    """Return the names of a client's default scopes."""
    found = stack.keycloak("GET", f"/admin/realms/{REALM}/clients/{uuid}/default-client-scopes")
    return [str(one["name"]) for one in found]


def _refreshed(sdk: Consumer) -> dict[str, Any]:
    """Return who it is with an access token that is got by the refresh token."""
    answer = sdk.ask("refresh")
    return answer or {"name": sdk.ask("who")["name"]}


def _roles(sdk: Consumer) -> list[str]:
    token = sdk.ask("header")["Authorization"].removeprefix("Bearer ")
    return list(claims_of(token).get("realm_access", {}).get("roles", ()))


def _works(sdk: Consumer, name: str) -> bool:
    """Take the mounted secret up, have Keycloak and the API answer for it, and see nobody refuse it."""
    assert sdk.ask("reload") == {}
    answer: dict[str, Any] = sdk.ask("who")
    assert answer.get("name") == name, answer
    return True


def _rotated(tenant: Tenant) -> bool:
    """Tell whether the bot has but one secret again, for what was asked."""
    status = ((tenant.get("BotClient", "curator") or {}).get("status") or {}).get("secret") or {}
    return status.get("rotatedFor") == "secret-1" and "previousEndsAt" not in status
