"""The operator's own Vault token: one login for all, renewed in time, replaced when refused, given back at the end."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from fedid.adapters.vault import JwtLogin
from fedid.errors import BackendDeniedError, BackendUnavailableError, Error
from tests.adapters.vault_parts import OURS, Ticks, role_of_its_own, store_at
from tests.contract.store_worlds import write_operator_jwt
from tests.testbed.faults import CutBefore, Status, requests_to
from tests.testbed.proxy import Proxy, proxy_for
from tests.testbed.stack import Stack

LOGIN = requests_to("/v1/auth/jwt/login")
RENEW = requests_to("/v1/auth/token/renew-self")
PATH = "fedid/login-test/none"
OUTSIDE = "other/none"


@pytest.fixture
def proxy(stack: Stack) -> Iterator[Proxy]:
    """Yield a proxy in front of Vault, that counts."""
    with proxy_for(stack, "vault") as proxy:
        yield proxy


@pytest.fixture
def token_file(stack: Stack, tmp_path: Path) -> Path:
    """Return a file with the operator's token for Vault."""
    return write_operator_jwt(stack, tmp_path)


@pytest.fixture
def login(token_file: Path) -> JwtLogin:
    """Return the operator's login."""
    return JwtLogin("fedid", token_file)


async def test_many_callers_share_one_login(proxy: Proxy, login: JwtLogin) -> None:
    """Fifty first calls at once make one login."""
    async with aclosing(store_at(proxy.url, login)) as store:
        await asyncio.gather(*(store.read(f"{PATH}-{n}", OURS.owner) for n in range(50)))

        assert len(proxy.exchanges(LOGIN)) == 1


async def test_many_callers_share_one_refusal(proxy: Proxy, token_file: Path) -> None:
    """Fifty calls that wait for a login that is refused all fail of that one login."""
    async with aclosing(store_at(proxy.url, JwtLogin("no-such-role", token_file))) as store:
        results = await asyncio.gather(
            *(store.read(f"{PATH}-{n}", OURS.owner) for n in range(50)), return_exceptions=True
        )

        assert all(isinstance(result, BackendDeniedError) for result in results)
        assert len(proxy.exchanges(LOGIN)) == 1


async def test_token_is_renewed_at_two_thirds_of_its_life(stack: Stack, proxy: Proxy, token_file: Path) -> None:
    """A renewable token is renewed once it has lived two thirds of what it was given, not earlier."""
    ticks = Ticks()
    with role_of_its_own(stack, token_ttl=600, token_max_ttl=6000) as role:
        async with aclosing(store_at(proxy.url, JwtLogin(role, token_file), ticks=ticks)) as store:
            await store.read(PATH, OURS.owner)
            ticks.seconds += 399
            await store.read(PATH, OURS.owner)
            assert not proxy.exchanges(RENEW)

            ticks.seconds += 2
            await asyncio.gather(*(store.read(PATH, OURS.owner) for _ in range(10)))

            assert [len(proxy.exchanges(RENEW)), len(proxy.exchanges(LOGIN))] == [1, 1]


async def test_login_follows_when_a_renewal_gives_less(stack: Stack, proxy: Proxy, token_file: Path) -> None:
    """At the role's maximum a renewal gives less than a login: then one follows, in time."""
    ticks = Ticks()
    with role_of_its_own(stack, token_ttl=3, token_max_ttl=3) as role:
        async with aclosing(store_at(proxy.url, JwtLogin(role, token_file), ticks=ticks)) as store:
            await store.read(PATH, OURS.owner)
            await asyncio.sleep(1.1)
            ticks.seconds += 2.1

            await store.read(PATH, OURS.owner)

            assert [len(proxy.exchanges(RENEW)), len(proxy.exchanges(LOGIN))] == [1, 2]


async def test_login_follows_when_a_token_cannot_be_renewed(stack: Stack, proxy: Proxy, token_file: Path) -> None:
    """A batch token is not renewable: a new one is got at two thirds of its life."""
    ticks = Ticks()
    with role_of_its_own(stack, token_ttl=600, token_type="batch") as role:
        async with aclosing(store_at(proxy.url, JwtLogin(role, token_file), ticks=ticks)) as store:
            await store.read(PATH, OURS.owner)
            ticks.seconds += 401

            await store.read(PATH, OURS.owner)

            assert [len(proxy.exchanges(RENEW)), len(proxy.exchanges(LOGIN))] == [0, 2]


async def test_a_good_token_outlives_a_failed_renewal(stack: Stack, proxy: Proxy, token_file: Path) -> None:
    """While Vault's auth does not answer nobody fails, as long as the token is good; the next try comes in time."""
    ticks = Ticks()
    with role_of_its_own(stack, token_ttl=600, token_max_ttl=6000) as role:
        async with aclosing(store_at(proxy.url, JwtLogin(role, token_file), ticks=ticks)) as store:
            await store.read(PATH, OURS.owner)
            proxy.inject(CutBefore(), RENEW, times=1)
            ticks.seconds += 401
            await store.read(PATH, OURS.owner)
            await store.read(PATH, OURS.owner)
            assert len(proxy.exchanges(RENEW)) == 1

            ticks.seconds += 100
            await store.read(PATH, OURS.owner)

            assert [len(proxy.exchanges(RENEW)), len(proxy.exchanges(LOGIN))] == [2, 1]


async def test_an_ended_token_fails_with_the_login(proxy: Proxy, login: JwtLogin) -> None:
    """Once the token has ended, a Vault that does not answer is told as such."""
    ticks = Ticks()
    async with aclosing(store_at(proxy.url, login, ticks=ticks)) as store:
        await store.read(PATH, OURS.owner)
        proxy.inject(CutBefore(), LOGIN)
        ticks.seconds += 20 * 60 + 1

        with pytest.raises(BackendUnavailableError):
            await store.read(PATH, OURS.owner)


async def test_a_revoked_token_is_replaced_within_the_request(stack: Stack, proxy: Proxy, token_file: Path) -> None:
    """A token that Vault no longer knows is replaced once, for all who were refused, and no call fails."""
    with role_of_its_own(stack) as role:
        async with aclosing(store_at(proxy.url, JwtLogin(role, token_file))) as store:
            await store.read(PATH, OURS.owner)
            (accessor,) = accessors(stack, role)
            stack.vault("POST", "/v1/auth/token/revoke-accessor", {"accessor": accessor})

            assert await asyncio.gather(*(store.read(PATH, OURS.owner) for _ in range(20))) == [None] * 20
            assert len(proxy.exchanges(LOGIN)) == 2


async def test_a_missing_permission_makes_no_storm_of_logins(proxy: Proxy, login: JwtLogin) -> None:
    """A 403 may mean an old token, so it leads to a login, but to no more than one a minute."""
    ticks = Ticks()
    async with aclosing(store_at(proxy.url, login, ticks=ticks)) as store:
        for _ in range(5):
            with pytest.raises(
                BackendDeniedError, match=r"let the operator read on secret/data/other/none: add it to the"
            ):
                await store.read(OUTSIDE, OURS.owner)
        assert len(proxy.exchanges(LOGIN)) == 1

        ticks.seconds += 61
        for _ in range(5):
            with pytest.raises(BackendDeniedError):
                await store.read(OUTSIDE, OURS.owner)

        assert len(proxy.exchanges(LOGIN)) == 2


async def test_each_login_reads_the_token_file_anew(stack: Stack, proxy: Proxy, tmp_path: Path) -> None:
    """The projected token is replaced by kubelet: a login takes the file as it is then."""
    token_file = tmp_path / "token"
    token_file.write_text("a-token-that-is-no-jwt")
    async with aclosing(store_at(proxy.url, JwtLogin("fedid", token_file))) as store:
        with pytest.raises(BackendDeniedError):
            await store.read(PATH, OURS.owner)

        fresh = write_operator_jwt(stack, tmp_path)
        fresh.replace(token_file)

        assert await store.read(PATH, OURS.owner) is None


@pytest.mark.parametrize(
    ("role", "settings", "told"),
    [
        pytest.param(("nobody", "jwt"), {}, r'role nobody \(role "nobody" could not be found\)', id="no such role"),
        pytest.param(("fedid", "nowhere"), {}, "check that the auth method is mounted there", id="no such auth method"),
        pytest.param(None, {"bound_audiences": ["x"]}, r"\(.*aud.*\)", id="another audience"),
        pytest.param(None, {"bound_subject": "x"}, r"\(.*sub.*\)", id="another subject"),
    ],
)
async def test_a_refused_login_says_what_to_check(
    stack: Stack, token_file: Path, role: tuple[str, str] | None, settings: dict[str, Any], told: str
) -> None:
    """The message of a refused login names the role, and Vault's own reason, but nothing of the token."""
    with role_of_its_own(stack, **settings) as own_role:
        name, mount = role or (own_role, "jwt")
        async with aclosing(store_at(stack.vault_url, JwtLogin(name, token_file, mount))) as store:
            with pytest.raises(BackendDeniedError, match=told) as caught:
                await store.read(PATH, OURS.owner)

    assert not quotes_token(caught.value, token_file)


async def test_a_sentence_that_quotes_the_token_is_not_passed_on(proxy: Proxy, token_file: Path) -> None:
    """Should Vault ever repeat what it was given, it stays between us."""
    jwt = token_text(token_file)
    proxy.inject(Status(400, json.dumps({"errors": [f'cannot take "{jwt}"']})), LOGIN)
    async with aclosing(store_at(proxy.url, JwtLogin("fedid", token_file))) as store:
        with pytest.raises(BackendDeniedError) as caught:
            await store.read(PATH, OURS.owner)

        assert not quotes_token(caught.value, token_file)
        assert "cannot take" not in caught.value.message


async def test_a_missing_token_file_says_where_it_should_be(stack: Stack, tmp_path: Path) -> None:
    """Without the projected token the message names the file and the chart's value."""
    async with aclosing(store_at(stack.vault_url, JwtLogin("fedid", tmp_path / "absent"))) as store:
        with pytest.raises(
            BackendDeniedError, match=r"absent: check that the pod mounts it \(chart value vaultToken\)"
        ):
            await store.read(PATH, OURS.owner)


async def test_our_token_is_given_back(stack: Stack, token_file: Path) -> None:
    """Closing revokes the operator's own token."""
    with role_of_its_own(stack) as role:
        store = store_at(stack.vault_url, JwtLogin(role, token_file))
        await store.read(PATH, OURS.owner)
        assert len(accessors(stack, role)) == 1

        await store.aclose()

        assert accessors(stack, role) == []


async def test_closing_never_fails(proxy: Proxy, login: JwtLogin) -> None:
    """A store closes without a login of its own, and with a Vault that is gone."""
    never_used = store_at(proxy.url, login)
    await never_used.aclose()
    assert not proxy.exchanges()

    used = store_at(proxy.url, login)
    await used.read(PATH, OURS.owner)
    proxy.refuse()
    await used.aclose()

    with pytest.raises(Error):
        await used.read(PATH, OURS.owner)


def token_text(token_file: Path) -> str:
    """Return the token in the file."""
    return token_file.read_text().strip()


def quotes_token(error: Exception, token_file: Path) -> bool:
    """Tell whether the error, as a log would show it, holds a part of the token."""
    shown = "".join(traceback.format_exception(error))
    return any(part in shown for part in token_text(token_file).split("."))


def accessors(stack: Stack, role: str) -> list[str]:
    """Return the accessors of the tokens that were got as a role."""
    everyone = stack.vault("GET", "/v1/auth/token/accessors?list=true")["data"]["keys"]
    # One whose token ends while we look is answered with any of these.
    gone = (400, 403, 404)
    looked_up = (stack.vault("POST", "/v1/auth/token/lookup-accessor", {"accessor": a}, accept=gone) for a in everyone)
    found = (answer["data"] for answer in looked_up if "data" in answer)
    return [data["accessor"] for data in found if (data["meta"] or {}).get("role") == role]
