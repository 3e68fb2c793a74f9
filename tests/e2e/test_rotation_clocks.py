"""The operator's clock is off, Keycloak restarts, keys change, sessions are short: what is published stays good."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.authority import ADMIN, REALM, TOKEN, Authority, claims_of
from tests.e2e.operating import Proxies
from tests.e2e.rotating import PATIENCE_SECONDS, Rotating, annotate
from tests.e2e.running import Operator, OperatorProcess
from tests.e2e.tenancy import Body, Tenant, bot, pod_identity
from tests.e2e.waiting import eventually
from tests.testbed.faults import requests_to
from tests.testbed.operator_process import mint_operator_tokens
from tests.testbed.stack import Stack

SHIFTED = Path(__file__).parent / "shifted_clock"
SHORT = [{"name": "default", "lifetime": "30s"}]


@pytest.fixture(params=[-180, 180], ids=["three minutes behind", "three minutes ahead"])
def shifted(
    request: pytest.FixtureRequest, stack: Stack, operator: Operator, proxies: Proxies, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """An operator whose clock is off, in the place of the usual one."""
    assert operator.stop() == 0
    # Keycloak takes an assertion that is good for long only in its first minutes, and no kubelet renews these.
    mint_operator_tokens(stack)
    extra = {"PYTHONPATH": str(SHIFTED), "SHIFTED_SECONDS": str(request.param)}
    process = OperatorProcess(stack, proxies, tmp_path, extra)
    process.start()
    yield process
    assert process.stop() == 0
    operator.start()


def published(tenant: Tenant, authority: Authority, name: str) -> str:
    """Return the token in Vault."""
    return str((authority.vault(f"fedid/{tenant.namespace}/bots/{name}/tokens/default") or {})["token"])


def renewed(tenant: Tenant, authority: Authority, name: str, times: int) -> None:
    """Wait for some renewals, and see that what is mounted is good all the time, as its object says."""
    seen = {tenant.mounted(name, "token")}

    def good() -> bool:
        token = tenant.mounted(name, "token")
        seen.add(token)
        ready = (tenant.condition("PodIdentity", name) or {})["status"] == "True"
        return ready and claims_of(token)["exp"] > time.time() and authority.admin_api_status(token) == 403

    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(seen) <= times and time.monotonic() < deadline:
        assert good(), (name, tenant.condition("PodIdentity", name))
    assert len(seen) > times, f"{len(seen)} tokens were seen"


def test_an_operator_whose_clock_is_off_makes_what_is_good(
    tenant: Tenant, authority: Authority, shifted: OperatorProcess
) -> None:
    """Made, renewed, rotated, ended and made anew: all instants that matter are Keycloak's."""
    one = Rotating(tenant, authority, "rotated")
    tenant.apply(bot("short", tokens=SHORT), pod_identity("short", files={"token": "{token}"}))
    one.apply("10s", opaque_overlap="10s")
    for name in ("short", one.name):
        tenant.ready("PodIdentity", name)
        assert authority.introspect(published(tenant, authority, name))["active"] is True
    before = one.held()
    annotate(tenant, one.name, rotate="all-1")
    one.handled(tokens="all-1", secret="all-1")
    one.assert_two_secrets(before)
    renewed(tenant, authority, "short", 1)
    one.settled()
    one.assert_one_of_each()
    assert not one.accepts(before.secret)
    annotate(tenant, one.name, revoke_now="1")
    eventually(lambda: one.status().get("revokedNow") == "1" and one.held_or_none(), "made anew")
    one.handled()
    one.assert_one_of_each()
    assert authority.admin_api_status(before.jwt) == 401
    told = (tenant.condition("BotClient", one.name) or {})["lastTransitionTime"]
    assert abs((datetime.fromisoformat(told) - datetime.now(UTC)).total_seconds()) > 120, "the clock was off indeed"
    assert shifted.running


@contextmanager
def realm_with(stack: Stack, **changes: int) -> Iterator[None]:
    """Change the realm for a while."""
    path = f"/admin/realms/{REALM}"
    before = {name: stack.keycloak("GET", path)[name] for name in changes}
    stack.keycloak("PUT", path, changes)
    try:
        yield
    finally:
        stack.keycloak("PUT", path, before)


def ready_message(tenant: Tenant, name: str) -> str:
    """Return what `Ready` of a bot says."""
    status = (tenant.get("BotClient", name) or {}).get("status") or {}
    return next((str(c["message"]) for c in status.get("conditions") or () if c["type"] == "Ready"), "")


def test_a_realm_that_lets_tokens_live_shorter(
    tenant: Tenant, authority: Authority, proxies: Proxies, stack: Stack
) -> None:
    """Used at its real length, told in the condition, and renewed by it without a hot loop."""
    tenant.apply(bot("asks-much", tokens=[{"name": "default", "lifetime": "1h"}]), pod_identity("asks-much"))
    tenant.ready("PodIdentity", "asks-much")
    with realm_with(stack, ssoSessionMaxLifespan=15):
        tenant.apply(bot("asks-little", tokens=SHORT), pod_identity("asks-little", files={"token": "{token}"}))
        tenant.ready("PodIdentity", "asks-little")
        said = claims_of(published(tenant, authority, "asks-little"))
        assert said["exp"] - said["iat"] == 15
        annotate(tenant, "asks-much", rotate="token-1")
        eventually(lambda: "SSO Session Max" in ready_message(tenant, "asks-much"), "the cap is told")
        said = claims_of(published(tenant, authority, "asks-much"))
        assert said["exp"] - said["iat"] == 15
        proxies.clear()
        renewed(tenant, authority, "asks-little", 1)
        asked = proxies.keycloak.exchanges(requests_to(TOKEN, "POST"))
        assert len(asked) <= 12, "a hot loop"
    # The next renewal gets what was asked for, and the sentence goes.
    eventually(lambda: "SSO Session Max" not in ready_message(tenant, "asks-much"), "the cap is gone", seconds=30)


def test_the_realms_signing_keys_change(tenant: Tenant, authority: Authority, operator: Operator, stack: Stack) -> None:
    """A new key is used at once; with its key gone, a token is replaced at a start at the latest."""
    tenant.apply(bot("signed", tokens=[{"name": "default", "lifetime": "1h"}]), pod_identity("signed"))
    tenant.ready("PodIdentity", "signed")
    first = published(tenant, authority, "signed")
    keys = f"{ADMIN}/components?type=org.keycloak.keys.KeyProvider"
    realm_id = stack.keycloak("GET", ADMIN)["id"]
    former = [one for one in stack.keycloak("GET", keys) if one["providerId"] == "rsa-generated"]
    config = {"priority": ["1000"], "algorithm": ["RS256"], "keySize": ["2048"]}
    kind = {"providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider", "parentId": realm_id}
    stack.keycloak("POST", f"{ADMIN}/components", {**kind, "name": "newer", "config": config})
    try:
        annotate(tenant, "signed", rotate="token-1")
        second = tenant.mounted("signed", "token", lambda token: token != first)
        assert authority.admin_api_status(second) == 403
        assert authority.admin_api_status(first) == 403
        _use_keys(stack, former, on=False)
        assert authority.admin_api_status(first) == 401
        assert authority.admin_api_status(second) == 403
        tenant.apply(bot("later"), pod_identity("later"))
        tenant.ready("PodIdentity", "later")
        assert authority.admin_api_status(tenant.mounted("later", "token")) == 403
    finally:
        _use_keys(stack, former, on=True)
        (newer,) = [one for one in stack.keycloak("GET", keys) if one["name"] == "newer"]
        stack.keycloak("DELETE", f"{ADMIN}/components/{newer['id']}")
    # Its key is gone: nobody takes it, and a new process sees that before anybody asks for it.
    assert authority.admin_api_status(second) == 401
    operator.kill()
    operator.start()
    third = tenant.mounted("signed", "token", lambda token: token != second)
    assert authority.admin_api_status(third) == 403


def _use_keys(stack: Stack, providers: list[Body], *, on: bool) -> None:
    for one in providers:
        config = {**one["config"], "enabled": [str(on).lower()], "active": [str(on).lower()]}
        stack.keycloak("PUT", f"{ADMIN}/components/{one['id']}", {**one, "config": config})


def test_keycloak_restarts_for_longer_than_a_token_lives(
    tenant: Tenant, authority: Authority, proxies: Proxies, stack: Stack
) -> None:
    """An expired token is told as such, and replaced within seconds of Keycloak's return."""
    tenant.apply(bot("short", tokens=SHORT), pod_identity("short", files={"token": "{token}"}))
    tenant.ready("PodIdentity", "short")
    stack.kill("keycloak")
    old = tenant.mounted("short", "token")
    eventually(lambda: claims_of(old)["exp"] < time.time(), "the token has expired")
    tenant.reason("BotClient", "short", "BackendUnavailable")
    proxies.clear()
    stack.start("keycloak")
    back = time.monotonic()
    new = tenant.mounted("short", "token", lambda token: token != old)
    print(f"a new token {time.monotonic() - back:.1f} s after Keycloak's return")
    assert authority.admin_api_status(new) == 403
    tenant.ready("BotClient", "short")
    tenant.ready("PodIdentity", "short")
