"""What a probe says of a Vault that is not as the Federation has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from fedid.adapters.transport import Transport
from fedid.adapters.vault import JwtLogin, VaultSecretStore
from fedid.engine import Breaker, BreakerPolicy
from fedid.errors import BackendDeniedError, BackendRejectedError, BackendUnavailableError, InvalidSpecError
from tests.adapters.vault_parts import (
    EVERYTHING,
    FOR_EVER,
    OURS,
    data,
    new_vault,
    role_of_its_own,
    store_at,
    wait_for_status,
)
from tests.contract.store_worlds import write_operator_jwt
from tests.testbed.faults import Status, requests_to
from tests.testbed.proxy import proxy_for
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

HEALTH = requests_to("/v1/sys/health")
READ_ONLY = """
path "secret/data/fedid/*" { capabilities = ["read"] }
path "secret/metadata/fedid/*" { capabilities = ["read", "list"] }
path "secrets/fedid/*" { capabilities = ["read", "list"] }
"""
OTHER_PREFIX = 'path "secret/data/other/*" { capabilities = ["read"] }'


@pytest.fixture
def login(stack: Stack, tmp_path: Path) -> JwtLogin:
    """Return the operator's login."""
    return JwtLogin("fedid", write_operator_jwt(stack, tmp_path))


@pytest.mark.parametrize(
    ("mount", "kv_version", "told"),
    [
        pytest.param("secret", 1, "secret in Vault is KV version 2: set spec.vault.kvVersion to 2", id="it is KV v2"),
        pytest.param("secrets", 2, "secrets in Vault is KV version 1: set spec.vault.kvVersion to 1", id="it is KV v1"),
        pytest.param("cubbyhole", 1, "cubbyhole in Vault is no KV engine", id="another engine"),
        pytest.param("secret/fedid", 2, "secret/fedid is a folder inside the mount secret/", id="a folder of a mount"),
    ],
)
async def test_a_wrong_mount_is_told(stack: Stack, login: JwtLogin, mount: str, kv_version: int, told: str) -> None:
    """A mount of another version or type is refused with what to write instead."""
    async with aclosing(store_at(stack.vault_url, login, mount=mount, kv_version=kv_version)) as store:
        with pytest.raises(BackendRejectedError, match=told) as caught:
            await store.probe("fedid")

    assert caught.value.reason == "MountMismatch"


async def test_a_missing_mount_is_told(stack: Stack, login: JwtLogin) -> None:
    """Where our policy names paths of a mount that is not there, it is the mount that is missing."""
    policy = READ_ONLY.replace("secret/", "absent/")
    with role_of_its_own(stack, policy=policy) as role:
        own = JwtLogin(role, login.token_file)
        async with aclosing(store_at(stack.vault_url, own, mount="absent")) as store:
            with pytest.raises(BackendRejectedError, match="Vault has no mount absent") as caught:
                await store.probe("fedid")

    assert caught.value.reason == "MountMismatch"


@pytest.mark.parametrize(
    ("policy", "mount", "kv_version", "missing"),
    [
        pytest.param(
            READ_ONLY,
            "secret",
            2,
            (
                "create on secret/data/fedid/*",
                "update on secret/data/fedid/*",
                "create on secret/metadata/fedid/*",
                "delete on secret/metadata/fedid/*",
                "update on secret/metadata/fedid/*",
            ),
            id="reading only, KV v2",
        ),
        pytest.param(
            READ_ONLY,
            "secrets",
            1,
            ("create on secrets/fedid/*", "delete on secrets/fedid/*", "update on secrets/fedid/*"),
            id="reading only, KV v1",
        ),
        pytest.param(
            None,
            "secrets",
            1,
            tuple(f"{c} on secrets/fedid/*" for c in ("create", "delete", "list", "read", "update")),
            id="nothing at all",
        ),
        pytest.param(
            OTHER_PREFIX,
            "secrets",
            1,
            tuple(f"{c} on secrets/fedid/*" for c in ("create", "delete", "list", "read", "update")),
            id="another prefix",
        ),
        pytest.param(EVERYTHING, "secret", 2, (), id="everything"),
    ],
)
async def test_missing_permissions_are_named(  # noqa: PLR0913 - a case and its surroundings
    stack: Stack, login: JwtLogin, policy: str | None, mount: str, kv_version: int, missing: tuple[str, ...]
) -> None:
    """A probe names each capability that the operator's policy lacks, found without writing anything."""
    with role_of_its_own(stack, policy=policy) as role:
        own = JwtLogin(role, login.token_file)
        async with aclosing(store_at(stack.vault_url, own, mount=mount, kv_version=kv_version)) as store:
            facts = await store.probe("fedid")

    assert facts.missing_permissions == missing


async def test_a_refused_login_is_told(stack: Stack, login: JwtLogin) -> None:
    """A probe of a Vault that does not let us in fails with the login's own message."""
    async with aclosing(store_at(stack.vault_url, JwtLogin("nobody", login.token_file))) as store:
        with pytest.raises(BackendDeniedError, match="as role nobody"):
            await store.probe("fedid")


@pytest.mark.parametrize("status", [429, 472, 473], ids=["standby", "DR secondary by status", "performance standby"])
async def test_a_standby_is_good_enough(stack: Stack, login: JwtLogin, status: int) -> None:
    """A node that forwards to the active one is worked with."""
    with proxy_for(stack, "vault") as proxy:
        body = '{"initialized": true, "sealed": false, "standby": true, "version": "1.21.0"}'
        proxy.inject(Status(status, body), HEALTH)
        async with aclosing(store_at(proxy.url, login)) as store:
            assert (await store.probe("fedid")).version == "1.21.0"


async def test_a_disaster_recovery_secondary_is_not(stack: Stack, login: JwtLogin) -> None:
    """A secondary that serves nothing is told as such."""
    with proxy_for(stack, "vault") as proxy:
        body = '{"initialized": true, "sealed": false, "replication_dr_mode": "secondary", "version": "1.21.0"}'
        proxy.inject(Status(472, body), HEALTH)
        async with aclosing(store_at(proxy.url, login)) as store:
            with pytest.raises(BackendUnavailableError, match="disaster-recovery secondary"):
                await store.probe("fedid")


async def test_a_probe_passes_an_open_breaker_and_closes_it(stack: Stack, login: JwtLogin) -> None:
    """While the breaker is open only a probe gets through; one that goes well lets the others follow."""
    with proxy_for(stack, "vault") as proxy:
        breaker = Breaker("vault", policy=BreakerPolicy(threshold=1, cooldown_seconds=30))
        transport = Transport("vault", proxy.url, breaker=breaker, connect_timeout=timedelta(seconds=1))
        async with aclosing(VaultSecretStore(transport, mount="secret", kv_version=2, login=login)) as store:
            proxy.refuse()
            with pytest.raises(BackendUnavailableError):
                await store.read("fedid/x", OURS.owner)
            proxy.accept()
            with pytest.raises(BackendUnavailableError) as caught:
                await store.read("fedid/x", OURS.owner)
            assert caught.value.retry_after is not None
            assert not proxy.exchanges()

            await store.probe("fedid")

            assert await store.read("fedid/x", OURS.owner) is None


@pytest.fixture(scope="module")
def fresh_vault(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """Yield a Vault that no one has initialised."""
    with new_vault(stack, tmp_path_factory.mktemp("vault")) as vault:
        yield vault


async def test_not_initialised_then_sealed_then_open(fresh_vault: Rest, login: JwtLogin) -> None:
    """Each state that a Vault goes through before it serves is told apart, with the command that ends it."""
    async with aclosing(store_at(fresh_vault.url, login)) as store:
        with pytest.raises(BackendUnavailableError, match="is not initialised: run `vault operator init`"):
            await store.probe("fedid")

        made = fresh_vault.call("PUT", "/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1})
        for call in (
            store.probe("fedid"),
            store.read("fedid/x", OURS.owner),
            store.write("fedid/x", data(a="1"), OURS, version=None, retention=FOR_EVER),
            store.destroy("fedid/x", OURS.owner),
            store.names("fedid"),
        ):
            with pytest.raises(BackendUnavailableError, match="is sealed: run `vault operator unseal`") as caught:
                await call
            assert caught.value.reason == "VaultSealed"
            assert caught.value.outcome_unknown is False

        fresh_vault.call("PUT", "/v1/sys/unseal", {"key": made["keys_base64"][0]})
        wait_for_status(fresh_vault, 200)
        with pytest.raises(BackendDeniedError, match="refuses the login"):
            await store.probe("fedid")


@pytest.mark.parametrize(("mount", "kv_version"), [("a b", 2), ("/secret", 2), ("secret/", 2), ("", 2), ("secret", 3)])
def test_an_impossible_mount_is_refused(login: JwtLogin, mount: str, kv_version: int) -> None:
    """Mount and version are checked before anything is sent."""
    with pytest.raises(InvalidSpecError):
        store_at("http://127.0.0.1:1", login, mount=mount, kv_version=kv_version)
