"""Ways into Vault that need a Secret, on a real Vault: an AppRole, and a token that somebody made."""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import pytest

from fedid.adapters.vault import AppRoleLogin, StaticToken
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError
from tests.adapters.vault_parts import OURS, Ticks, store_at
from tests.testbed.faults import requests_to
from tests.testbed.proxy import Proxy, proxy_for
from tests.testbed.stack import Stack
from tests.testbed.vault_setup import POLICY

LOOKUP = requests_to("/v1/auth/token/lookup-self")
RENEW = requests_to("/v1/auth/token/renew-self")
REVOKE = requests_to("/v1/auth/token/revoke-self")
PATH = "fedid/login-test/none"


@pytest.fixture
def proxy(stack: Stack) -> Iterator[Proxy]:
    """Yield a proxy in front of Vault, that counts."""
    with proxy_for(stack, "vault") as proxy:
        yield proxy


@contextmanager
def app_role(stack: Stack, **settings: Any) -> Iterator[AppRoleLogin]:
    """Yield the login of an AppRole of a test's own, at a mount of its own."""
    mount = f"approle-{uuid.uuid4().hex[:8]}"
    stack.vault("POST", f"/v1/sys/auth/{mount}", {"type": "approle"})
    try:
        role = f"/v1/auth/{mount}/role/fedid"
        stack.vault("POST", role, {"token_policies": [POLICY], "token_ttl": 600, **settings})
        role_id = stack.vault("GET", f"{role}/role-id")["data"]["role_id"]
        secret_id = stack.vault("POST", f"{role}/secret-id", {})["data"]["secret_id"]
        yield AppRoleLogin(Sensitive(role_id), Sensitive(secret_id), mount)
    finally:
        stack.vault("DELETE", f"/v1/sys/auth/{mount}")


def static_token(stack: Stack, **settings: Any) -> StaticToken:
    """Return a token as an administrator makes one for the operator."""
    made = stack.vault("POST", "/v1/auth/token/create-orphan", {"policies": [POLICY], "ttl": "10m", **settings})
    return StaticToken(Sensitive(made["auth"]["client_token"]))


def alive(stack: Stack, token: StaticToken) -> bool:
    """Tell whether Vault still knows the token."""
    answer = stack.api("vault").answer("POST", "/v1/auth/token/lookup", {"token": token.token.reveal()})
    return answer.status == 200


async def test_app_role(stack: Stack) -> None:
    """The two ids get a token that may do the operator's work, and it is given back."""
    with app_role(stack) as login:
        async with aclosing(store_at(stack.vault_url, login)) as store:
            assert (await store.probe("fedid")).missing_permissions == ()
            assert await store.read(PATH, OURS.owner) is None


async def test_app_role_token_is_renewed_and_given_back(stack: Stack, proxy: Proxy) -> None:
    """What the AppRole got is renewed like any other, and revoked at the end."""
    ticks = Ticks()
    with app_role(stack, token_max_ttl=6000) as login:
        async with aclosing(store_at(proxy.url, login, ticks=ticks)) as store:
            await store.read(PATH, OURS.owner)
            ticks.seconds += 401
            await store.read(PATH, OURS.owner)
        logins = requests_to(f"/v1/auth/{login.mount}/login")
        assert [len(proxy.exchanges(kind)) for kind in (logins, RENEW, REVOKE)] == [1, 1, 1]


@pytest.mark.parametrize("wrong", ["role_id", "secret_id", "mount"])
async def test_refused_app_role(stack: Stack, wrong: str) -> None:
    """The message names the mount and both keys, and holds neither id."""
    with app_role(stack) as login:
        other = {"mount": "nowhere"} if wrong == "mount" else {wrong: Sensitive(str(uuid.uuid4()))}
        given = {"role_id": login.role_id, "secret_id": login.secret_id, "mount": login.mount, **other}
        used = AppRoleLogin(**given)
        async with aclosing(store_at(stack.vault_url, used)) as store:
            with pytest.raises(BackendDeniedError, match=rf"auth/{used.mount}.*role-id and secret-id") as caught:
                await store.read(PATH, OURS.owner)
    shown = "".join(traceback.format_exception(caught.value))
    assert used.secret_id.reveal() not in shown
    assert used.role_id.reveal() not in shown


async def test_secret_id_that_was_used_up(stack: Stack) -> None:
    """A secret id for one login only does for one; the message says that it may have ended."""
    with app_role(stack, secret_id_num_uses=1) as login:
        async with aclosing(store_at(stack.vault_url, login)) as store:
            await store.read(PATH, OURS.owner)
        async with aclosing(store_at(stack.vault_url, login)) as store:
            with pytest.raises(BackendDeniedError, match=r"secret_id_num_uses: make another"):
                await store.read(PATH, OURS.owner)


async def test_token(stack: Stack, proxy: Proxy) -> None:
    """A token that somebody made is used as it is; closing leaves it alive, since others may hold it too."""
    token = static_token(stack)
    async with aclosing(store_at(proxy.url, token)) as store:
        assert (await store.probe("fedid")).missing_permissions == ()
        assert await store.read(PATH, OURS.owner) is None
    assert [len(proxy.exchanges(kind)) for kind in (LOOKUP, REVOKE)] == [1, 0]
    assert alive(stack, token)


async def test_periodic_token_is_kept_alive(stack: Stack, proxy: Proxy) -> None:
    """One that can be renewed is, at two thirds of its life; closing does not revoke it then either."""
    ticks, token = Ticks(), static_token(stack, period="10m")
    async with aclosing(store_at(proxy.url, token, ticks=ticks)) as store:
        await store.read(PATH, OURS.owner)
        ticks.seconds += 401
        await store.read(PATH, OURS.owner)
        await store.read(PATH, OURS.owner)
        assert [len(proxy.exchanges(kind)) for kind in (LOOKUP, RENEW)] == [1, 1]
    assert not proxy.exchanges(REVOKE)
    assert alive(stack, token)


async def test_token_that_may_not_look_at_itself(stack: Stack) -> None:
    """Without the policy `default` Vault tells nothing of its life; it works all the same."""
    token = static_token(stack, no_default_policy=True)
    async with aclosing(store_at(stack.vault_url, token)) as store:
        assert await store.read(PATH, OURS.owner) is None


async def test_token_that_was_revoked(stack: Stack) -> None:
    """A token that ends while it is in use is told with what to make, and not with the token."""
    token = static_token(stack)
    async with aclosing(store_at(stack.vault_url, token)) as store:
        await store.read(PATH, OURS.owner)
        stack.vault("POST", "/v1/auth/token/revoke", {"token": token.token.reveal()})
        with pytest.raises(BackendDeniedError, match=r"vault token create.*key token of the Secret") as caught:
            await store.read(PATH, OURS.owner)
    assert token.token.reveal() not in "".join(traceback.format_exception(caught.value))
