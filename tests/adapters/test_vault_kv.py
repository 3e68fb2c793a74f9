"""What lies in Vault after a write, and what happens when the connection, or somebody else, comes in between."""

from __future__ import annotations

import asyncio
import json
import traceback
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from fedid.adapters.vault import JwtLogin, VaultSecretStore
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import Retention, StoredEntry, VaultMark
from fedid.errors import (
    BackendDeniedError,
    BackendError,
    BackendRejectedError,
    BackendUnavailableError,
    Error,
    OwnershipConflictError,
    StaleObjectError,
)
from tests.adapters.vault_parts import EVERYTHING, FOR_EVER, OURS, THEIRS, data, role_of_its_own, store_at
from tests.contract.store_worlds import VaultWorld, vault_store, write_operator_jwt
from tests.testbed.faults import CutAfter, CutBefore, Delay, Status, requests_to
from tests.testbed.proxy import proxy_for
from tests.testbed.stack import Stack

DATA_READ = requests_to("/v1/secret/data/.*", "GET")
DATA_WRITE = requests_to("/v1/secret/data/.*", "POST")
MARK_WRITE = requests_to("/v1/secret/metadata/.*", "POST")


@pytest.fixture
def token_file(stack: Stack, tmp_path: Path) -> Path:
    """Return a file with the operator's token for Vault."""
    return write_operator_jwt(stack, tmp_path)


@pytest.fixture
async def world(stack: Stack, token_file: Path) -> AsyncIterator[VaultWorld]:
    """Yield the KV v2 mount."""
    async with aclosing(vault_store(stack, token_file, 2)) as store:
        world = VaultWorld(stack, store, 2)
        yield world
        world.remove_all()


async def test_mark_and_retention_lie_in_the_metadata(world: VaultWorld) -> None:
    """Custom metadata names owner and object; Vault is told how many versions to keep and how long."""
    path = f"{world.prefix}/x"
    retention = Retention(max_versions=2, delete_version_after=timedelta(minutes=90, milliseconds=1))

    await world.store.write(path, data(a="1"), OURS, version=None, retention=retention)

    metadata = world.metadata_of(path)
    assert metadata["custom_metadata"] == {"fedid.owner": OURS.owner, "fedid.object": OURS.object_name}
    assert (metadata["max_versions"], metadata["delete_version_after"]) == (2, "1h30m1s")


async def test_metadata_is_written_again_only_when_it_differs(world: VaultWorld, token_file: Path) -> None:
    """A later write costs no write of metadata, unless retention or object have changed or a hand was at it."""
    path, longer = f"{world.prefix}/x", Retention(max_versions=2, delete_version_after=timedelta(hours=1))
    moved = VaultMark(OURS.owner, "BotClient/site-a/renamed")
    with proxy_for(world.stack, "vault") as proxy:
        async with aclosing(vault_store(world.stack, token_file, 2, url=proxy.url)) as store:
            version = await store.write(path, data(a="1"), OURS, version=None, retention=FOR_EVER)
            proxy.clear()
            version = await store.write(path, data(a="2"), OURS, version=version, retention=FOR_EVER)
            assert not proxy.exchanges(MARK_WRITE)

            version = await store.write(path, data(a="3"), OURS, version=version, retention=longer)
            version = await store.write(path, data(a="4"), moved, version=version, retention=longer)
            assert len(proxy.exchanges(MARK_WRITE)) == 2

            world.stack.vault("POST", f"/v1/secret/metadata/{path}", {"delete_version_after": "1.5s"})
            await store.write(path, data(a="5"), moved, version=version, retention=longer)
            assert len(proxy.exchanges(MARK_WRITE)) == 3

    metadata = world.metadata_of(path)
    assert metadata["custom_metadata"]["fedid.object"] == moved.object_name
    assert metadata["delete_version_after"] == "1h0m0s"


async def test_a_mark_that_comes_in_between_wins(world: VaultWorld, token_file: Path) -> None:
    """KV has no check-and-set for metadata: who lost that race learns it from the answer to the data's write."""
    path = f"{world.prefix}/x"
    with proxy_for(world.stack, "vault") as proxy:
        proxy.inject(Delay(0.5), DATA_WRITE)
        async with aclosing(vault_store(world.stack, token_file, 2, url=proxy.url)) as store:
            writing = asyncio.create_task(store.write(path, data(a="1"), OURS, version=None, retention=FOR_EVER))
            while not proxy.exchanges(MARK_WRITE):  # noqa: ASYNC110 - the proxy runs in a thread of its own
                await asyncio.sleep(0.01)
            world.mark_by_hand(path, THEIRS)

            with pytest.raises(OwnershipConflictError, match=THEIRS.owner):
                await writing
            assert await store.read(path, OURS.owner) == StoredEntry({}, 1, THEIRS.owner)

    assert world.metadata_of(path)["custom_metadata"]["fedid.owner"] == THEIRS.owner


async def test_a_lost_answer_is_an_unknown_outcome(world: VaultWorld, token_file: Path) -> None:
    """A write whose answer is lost is not repeated; reading back shows what became of it."""
    path = f"{world.prefix}/x"
    with proxy_for(world.stack, "vault") as proxy:
        async with aclosing(vault_store(world.stack, token_file, 2, url=proxy.url)) as store:
            proxy.inject(CutAfter(), DATA_WRITE, times=1)
            with pytest.raises(BackendUnavailableError) as caught:
                await store.write(path, data(a="1"), OURS, version=None, retention=FOR_EVER)
            assert caught.value.outcome_unknown
            assert len(proxy.exchanges(DATA_WRITE)) == 1
            assert await store.read(path, OURS.owner) == StoredEntry(data(a="1"), 1, OURS.owner)
            with pytest.raises(StaleObjectError):
                await store.write(path, data(a="1"), OURS, version=None, retention=FOR_EVER)


async def test_what_was_half_deleted_can_be_deleted_and_written_anew(world: VaultWorld, token_file: Path) -> None:
    """Cut off within the deletion of an entry, Vault lists a version whose data is gone, and answers 500 for ever."""
    path, said = f"{world.prefix}/x", {"errors": ["1 error occurred:\n\t* could not find version data\n\n"]}
    with proxy_for(world.stack, "vault") as proxy:
        async with aclosing(vault_store(world.stack, token_file, 2, url=proxy.url)) as store:
            await store.write(path, data(a="1"), OURS, version=None, retention=FOR_EVER)
            proxy.inject(Status(500, json.dumps(said)), DATA_READ)

            found = await store.read(path, OURS.owner)
            assert found == StoredEntry({}, 1, OURS.owner)
            assert await store.write(path, data(a="2"), OURS, version=found.version, retention=FOR_EVER) == 2
            assert await store.destroy(path, OURS.owner)

    assert await world.store.read(path, OURS.owner) is None


async def test_a_crash_between_mark_and_data_leaves_an_empty_path_of_ours(world: VaultWorld, token_file: Path) -> None:
    """Cut off before the data, the mark stays, and the next pass goes on from there."""
    path = f"{world.prefix}/x"
    with proxy_for(world.stack, "vault") as proxy:
        async with aclosing(vault_store(world.stack, token_file, 2, url=proxy.url)) as store:
            proxy.inject(CutBefore(), DATA_WRITE, times=1)
            with pytest.raises(BackendUnavailableError):
                await store.write(path, data(a="1"), OURS, version=None, retention=FOR_EVER)

            found = await store.read(path, OURS.owner)
            assert found == StoredEntry({}, 0, OURS.owner)
            assert await store.write(path, data(a="1"), OURS, version=found.version, retention=FOR_EVER) == 1


@pytest.mark.parametrize("kv_version", [1, 2])
async def test_an_entry_that_outlives_its_deletion_is_no_success(
    stack: Stack, token_file: Path, kv_version: int
) -> None:
    """Destroy reads back: a Vault that says it deleted and did not (a proxy, a stale replica) is asked again."""
    with proxy_for(stack, "vault") as proxy:
        async with aclosing(vault_store(stack, token_file, kv_version, url=proxy.url)) as store:
            world = VaultWorld(stack, store, kv_version)
            path = f"{world.prefix}/x"
            await store.write(path, data(a="1"), OURS, version=None, retention=FOR_EVER)
            proxy.inject(Status(204, ""), requests_to(".*", "DELETE"), times=1)

            with pytest.raises(BackendUnavailableError, match="still in Vault after its deletion"):
                await store.destroy(path, OURS.owner)

            assert await store.destroy(path, OURS.owner) is True


@pytest.mark.parametrize(
    ("mount", "kv_version"),
    [pytest.param("secret", 1, id="KV v1 asked, KV v2 there"), pytest.param("absent", 2, id="no mount")],
)
async def test_a_wrong_mount_is_not_an_empty_one(stack: Stack, token_file: Path, mount: str, kv_version: int) -> None:
    """A 404 of a mount that is missing or of the other version is never taken for "nothing lies there"."""
    with role_of_its_own(stack, policy=EVERYTHING) as role:
        login = JwtLogin(role, token_file)
        async with aclosing(store_at(stack.vault_url, login, mount=mount, kv_version=kv_version)) as store:
            for call in (
                store.read("fedid/x", OURS.owner),
                store.destroy("fedid/x", OURS.owner),
                store.names("fedid"),
                store.write("fedid/x", data(a="1"), OURS, version=None, retention=FOR_EVER),
            ):
                with pytest.raises(BackendRejectedError, match="check mount and kvVersion") as caught:
                    await call
                assert caught.value.reason == "MountMismatch"


async def test_a_proxys_own_page_is_not_an_absent_entry(stack: Stack, token_file: Path) -> None:
    """A 404 that is not Vault's says nothing about the entry."""
    with proxy_for(stack, "vault") as proxy:
        async with aclosing(vault_store(stack, token_file, 2, url=proxy.url)) as store:
            proxy.inject(Status(404, "<html>default backend - 404</html>"), requests_to("/v1/secret/.*"))
            for call in (store.read("fedid/x", OURS.owner), store.destroy("fedid/x", OURS.owner)):
                with pytest.raises(BackendError, match="something else than JSON"):
                    await call


async def test_a_node_that_lags_behind_is_asked_later(stack: Stack, token_file: Path) -> None:
    """412 is how a performance standby says that it has not caught up."""
    with proxy_for(stack, "vault") as proxy:
        async with aclosing(vault_store(stack, token_file, 2, url=proxy.url)) as store:
            proxy.inject(Status(412, '{"errors": ["required index state not present"]}'), requests_to("/v1/secret/.*"))
            with pytest.raises(BackendUnavailableError, match="has not caught up"):
                await store.read("fedid/x", OURS.owner)


@pytest.mark.parametrize("status", [400, 403, 405, 413], ids=["bad request", "denied", "unsupported", "too large"])
async def test_no_refusal_shows_the_data(stack: Stack, token_file: Path, status: int) -> None:
    """However Vault words a refusal, its words stay out of the message, also where they quote what was sent."""
    with proxy_for(stack, "vault") as proxy:
        async with aclosing(vault_store(stack, token_file, 2, url=proxy.url)) as store:
            world = VaultWorld(stack, store, 2)
            secret = uuid.uuid4().hex
            proxy.inject(Status(status, json.dumps({"errors": [f"cannot store {secret}"]})), DATA_WRITE)
            with pytest.raises(Error) as caught:
                await store.write(f"{world.prefix}/x", data(a=secret), OURS, version=None, retention=FOR_EVER)
            world.remove_all()

    assert f"secret/data/{world.prefix}/x" in caught.value.message
    assert secret not in "".join(traceback.format_exception(caught.value))


async def test_values_that_are_no_text_are_shown_as_json(world: VaultWorld) -> None:
    """What a hand put into our entry that is no text is shown as JSON: it differs from what we want, and goes."""
    path = f"{world.prefix}/x"
    await world.store.write(path, data(a="1"), OURS, version=None, retention=FOR_EVER)
    world.stack.vault("POST", f"/v1/secret/data/{path}", {"data": {"a": 1, "b": {"c": None}}})

    found = await world.store.read(path, OURS.owner)

    assert found == StoredEntry({"a": Sensitive("1"), "b": Sensitive('{"c": null}')}, 2, OURS.owner)


async def test_writing_outside_the_policy_names_the_capability(stack: Stack, token_file: Path) -> None:
    """A path outside of what the platform team allows is told with capability and path."""
    async with aclosing(vault_store(stack, token_file, 1)) as store:
        with pytest.raises(BackendDeniedError, match="read on secrets/elsewhere/x: add it to the policy"):
            await store.write("elsewhere/x", data(a="1"), OURS, version=None, retention=FOR_EVER)


def test_a_store_shows_nothing_of_itself(token_file: Path) -> None:
    """The adapter's own repr holds no credential."""
    store = store_at("http://127.0.0.1:1", JwtLogin("fedid", token_file))
    assert isinstance(store, VaultSecretStore)
    assert token_file.read_text().strip() not in repr(vars(store))
