"""What every `SecretStore` must do: the fake and a real Vault, KV version 1 and 2."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from fedid.domain.epoch import Epoch, epoch_in, epoch_path
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import Retention, StoredEntry, VaultMark
from fedid.errors import BackendRejectedError, InvalidSpecError, OwnershipConflictError, StaleObjectError
from tests.contract.store_worlds import FakeWorld, StoreWorld, VaultWorld, vault_store, write_operator_jwt
from tests.fakes.secret_store import FakeSecretStore
from tests.testbed.stack import Stack

OURS = VaultMark("installation-1/uid-1", "BotClient/site-a/trainer")
THEIRS = VaultMark("installation-2/uid-2", "BotClient/site-a/trainer")
FOR_EVER = Retention(max_versions=3, delete_version_after=None)
WORLDS = ("fake-v2", "vault-v2", "fake-v1", "vault-v1")
only_v2 = pytest.mark.parametrize("world", WORLDS[:2], indirect=True)
"""For what KV version 1 does not have: metadata, versions, check-and-set."""
BAD_PATHS = (
    "fedid/../x",
    "fedid//x",
    "/fedid/x",
    "fedid/x/",
    "fedid/a b",
    "fedid/%2e%2e/x",
    "fedid/é",
    "",
    ".",
    "a/./b",
)


def sensitive(**plain: str) -> dict[str, Sensitive]:
    """Return data as the port takes it."""
    return {key: Sensitive(value) for key, value in plain.items()}


@pytest.fixture(params=WORLDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreWorld]:
    """Yield one mount after the other."""
    server, version = request.param.split("-v")
    if server == "fake":
        yield FakeWorld(int(version))
        return
    stack: Stack = request.getfixturevalue("stack")
    store = vault_store(stack, write_operator_jwt(stack, tmp_path), int(version))
    real = VaultWorld(stack, store, int(version))
    yield real
    await store.aclose()
    real.remove_all()


@pytest.fixture
def path(world: StoreWorld) -> str:
    """Return a path that only this test uses."""
    return f"{world.prefix}/bots/trainer/client"


async def test_nothing_is_none(world: StoreWorld, path: str) -> None:
    """A path where nothing lies reads as None."""
    assert await world.store.read(path, OURS.owner) is None


async def test_written_data_is_read_back(world: StoreWorld, path: str) -> None:
    """What was written is read with its version and owner, whatever the text."""
    data = sensitive(token="hvs.abc=", empty="", text='line 1\nline 2: ünïcode\t"{}"')

    version = await world.store.write(path, data, OURS, version=None, retention=FOR_EVER)

    assert version == (1 if world.kv_version == 2 else 0)
    assert await world.store.read(path, OURS.owner) == StoredEntry(data, version, OURS.owner)


async def test_a_later_write_replaces_all_keys(world: StoreWorld, path: str) -> None:
    """A write at the version read leaves nothing of what was there."""
    first = await world.store.write(path, sensitive(a="1", b="2"), OURS, version=None, retention=FOR_EVER)

    second = await world.store.write(path, sensitive(b="3"), OURS, version=first, retention=FOR_EVER)

    assert second == (2 if world.kv_version == 2 else 0)
    assert world.data_of(path) == {"b": "3"}


async def test_more_writes_than_kept_versions(world: StoreWorld, path: str) -> None:
    """Versions go on counting when Vault forgets the oldest."""
    version: int | None = None
    for number in range(5):
        version = await world.store.write(path, sensitive(n=str(number)), OURS, version=version, retention=FOR_EVER)

    assert version == (5 if world.kv_version == 2 else 0)
    assert world.data_of(path) == {"n": "4"}


async def test_create_over_our_own_is_stale(world: StoreWorld, path: str) -> None:
    """Who read nothing, while another of our passes wrote, must read again and overwrites nothing."""
    await world.store.write(path, sensitive(a="1"), OURS, version=None, retention=FOR_EVER)

    with pytest.raises(StaleObjectError):
        await world.store.write(path, sensitive(a="2"), OURS, version=None, retention=FOR_EVER)

    assert world.data_of(path) == {"a": "1"}


async def test_write_over_what_is_gone_is_stale(world: StoreWorld, path: str) -> None:
    """Who read an entry that has been destroyed since must read again and brings nothing back."""
    version = await world.store.write(path, sensitive(a="1"), OURS, version=None, retention=FOR_EVER)
    await world.store.destroy(path, OURS.owner)

    with pytest.raises(StaleObjectError):
        await world.store.write(path, sensitive(a="2"), OURS, version=version, retention=FOR_EVER)

    assert await world.store.read(path, OURS.owner) is None


@only_v2
async def test_write_at_an_old_version_is_stale(world: StoreWorld, path: str) -> None:
    """Check-and-set refuses who has not seen the newest version."""
    first = await world.store.write(path, sensitive(a="1"), OURS, version=None, retention=FOR_EVER)
    await world.store.write(path, sensitive(a="2"), OURS, version=first, retention=FOR_EVER)

    with pytest.raises(StaleObjectError):
        await world.store.write(path, sensitive(a="3"), OURS, version=first, retention=FOR_EVER)

    assert world.data_of(path) == {"a": "2"}


@only_v2
@pytest.mark.parametrize("exists", [False, True], ids=["of the first version", "of a later version"])
async def test_of_two_writers_one_wins(world: StoreWorld, path: str, exists: bool) -> None:  # noqa: FBT001
    """Of writers at the same time exactly one gets through, and the others are told."""
    version = (
        await world.store.write(path, sensitive(a="0"), OURS, version=None, retention=FOR_EVER) if exists else None
    )

    results = await asyncio.gather(
        *(world.store.write(path, sensitive(a=str(n)), OURS, version=version, retention=FOR_EVER) for n in range(1, 6)),
        return_exceptions=True,
    )

    won = [n for n, result in enumerate(results, start=1) if isinstance(result, int)]
    assert len(won) == 1
    assert sum(isinstance(result, StaleObjectError) for result in results) == 4
    assert world.data_of(path) == {"a": str(won[0])}


@pytest.mark.parametrize("mark", [THEIRS, None], ids=["under another's mark", "under no mark"])
@pytest.mark.parametrize("version", [None, 0, 1])
async def test_a_strangers_entry_is_left_alone(
    world: StoreWorld, path: str, mark: VaultMark | None, version: int | None
) -> None:
    """A stranger's data is not handed out, not overwritten and not destroyed; whose it is, is told."""
    world.put_by_hand(path, {"secret": "theirs"}, mark)
    owner = None if mark is None else mark.owner

    assert await world.store.read(path, OURS.owner) == StoredEntry({}, 1 if world.kv_version == 2 else 0, owner)
    with pytest.raises(OwnershipConflictError, match=owner or "not made by fedid"):
        await world.store.write(path, sensitive(a="1"), OURS, version=version, retention=FOR_EVER)
    assert await world.store.destroy(path, OURS.owner) is False

    assert world.data_of(path) == {"secret": "theirs"}
    assert await world.store.read(path, THEIRS.owner) == StoredEntry(
        sensitive(secret="theirs") if mark else {}, 1 if world.kv_version == 2 else 0, owner
    )


async def test_what_a_person_laid_there_is_read_in_so_many_words(world: StoreWorld, path: str) -> None:
    """Only with the call made for it, only without a mark, and whatever the values are."""
    assert await world.store.read_unmarked(path) is None
    world.put_by_hand(path, {"api_key": "k\n", "previous_api_key": ""}, None)
    data = {"api_key": Sensitive("k\n"), "previous_api_key": Sensitive("")}
    version = 1 if world.kv_version == 2 else 0
    assert await world.store.read_unmarked(path) == StoredEntry(data, version, None)
    assert await world.store.read(path, OURS.owner) == StoredEntry({}, version, None)


@pytest.mark.parametrize("mark", [OURS, THEIRS], ids=["our own", "another's"])
async def test_what_is_marked_was_laid_there_by_nobody(world: StoreWorld, path: str, mark: VaultMark) -> None:
    """What an operator made is not handed out as a person's, whichever operator it was."""
    world.put_by_hand(path, {"token": "t"}, mark)
    assert await world.store.read_unmarked(path) == StoredEntry({}, 1 if world.kv_version == 2 else 0, mark.owner)


@only_v2
async def test_a_strangers_empty_mark_is_left_alone(world: StoreWorld, path: str) -> None:
    """A path that a stranger has only marked is theirs already."""
    world.mark_by_hand(path, THEIRS)

    assert await world.store.read(path, OURS.owner) == StoredEntry({}, 0, THEIRS.owner)
    with pytest.raises(OwnershipConflictError):
        await world.store.write(path, sensitive(a="1"), OURS, version=None, retention=FOR_EVER)
    assert await world.store.destroy(path, OURS.owner) is False
    assert await world.store.read(path, THEIRS.owner) == StoredEntry({}, 0, THEIRS.owner)


@only_v2
@pytest.mark.parametrize("version", [None, 0], ids=["read before the crash", "read after it"])
async def test_a_marked_but_empty_path_is_ours(world: StoreWorld, path: str, version: int | None) -> None:
    """What a crash between mark and data left is known as ours, and filled."""
    world.mark_by_hand(path, OURS)

    assert await world.store.read(path, OURS.owner) == StoredEntry({}, 0, OURS.owner)
    assert await world.store.write(path, sensitive(a="1"), OURS, version=version, retention=FOR_EVER) == 1
    assert world.data_of(path) == {"a": "1"}


@only_v2
@pytest.mark.parametrize("mark", [OURS, THEIRS], ids=["ours", "a stranger's"])
async def test_a_deleted_version_shows_no_data(world: StoreWorld, path: str, mark: VaultMark) -> None:
    """A soft-deleted entry keeps owner and version; ours is written anew at that version."""
    await world.store.write(path, sensitive(a="1"), mark, version=None, retention=FOR_EVER)
    world.delete_newest_by_hand(path)

    assert await world.store.read(path, OURS.owner) == StoredEntry({}, 1, mark.owner)
    if mark is OURS:
        assert await world.store.write(path, sensitive(a="2"), OURS, version=1, retention=FOR_EVER) == 2
        assert world.data_of(path) == {"a": "2"}


@only_v2
async def test_data_ends_with_its_retention(world: StoreWorld, path: str) -> None:
    """A version that has outlived its retention is not shown any more; the entry stays ours."""
    short = Retention(max_versions=2, delete_version_after=timedelta(seconds=1))
    await world.store.write(path, sensitive(a="1"), OURS, version=None, retention=short)

    world.pass_seconds(1.2)

    assert await world.store.read(path, OURS.owner) == StoredEntry({}, 1, OURS.owner)


async def test_destroy_leaves_nothing(world: StoreWorld, path: str) -> None:
    """After destroy nothing is left of any version, a second one succeeds, and a new entry starts at the beginning."""
    version = await world.store.write(path, sensitive(a="1"), OURS, version=None, retention=FOR_EVER)
    await world.store.write(path, sensitive(a="2"), OURS, version=version, retention=FOR_EVER)

    assert await world.store.destroy(path, OURS.owner) is True
    assert await world.store.read(path, OURS.owner) is None
    assert await world.store.destroy(path, OURS.owner) is True
    assert await world.store.write(path, sensitive(a="3"), THEIRS, version=None, retention=FOR_EVER) == version


@only_v2
async def test_destroy_takes_a_mark_without_data(world: StoreWorld, path: str) -> None:
    """What was only marked is destroyed too."""
    world.mark_by_hand(path, OURS)

    assert await world.store.destroy(path, OURS.owner) is True
    assert await world.store.read(path, OURS.owner) is None


async def test_names_are_the_entries_of_a_folder(world: StoreWorld) -> None:
    """Names come sorted, without what lies in sub-folders; an empty folder has none."""
    folder = f"{world.prefix}/bots/trainer/tokens"
    for name in ("b", "a", "deep/c"):
        await world.store.write(f"{folder}/{name}", sensitive(t="1"), OURS, version=None, retention=FOR_EVER)

    assert await world.store.names(folder) == ("a", "b")
    assert await world.store.names(f"{world.prefix}/none") == ()
    assert await world.store.folders(folder) == ("deep",)
    assert await world.store.folders(f"{folder}/deep") == ()
    assert await world.store.folders(f"{world.prefix}/none") == ()


async def test_the_folders_of_the_prefix_itself(world: StoreWorld) -> None:
    """With the rights that the guide gives they can be listed, those without data included, and none that is empty."""
    await world.store.write(f"{world.prefix}/a/client", sensitive(t="1"), OURS, version=None, retention=FOR_EVER)
    prefix, _, own = world.prefix.partition("/")
    assert own.split("/")[0] in await world.store.folders(prefix)


@only_v2
async def test_an_epoch_moves_by_check_and_set(world: StoreWorld) -> None:
    """The place of the record can be made, read and moved on with the rights that the guide gives; of two one wins."""
    path = epoch_path(world.prefix, "installation-1", "local.example")
    first = await world.store.write(path, Epoch(1, "a").data(), OURS, version=None, retention=FOR_EVER)
    with pytest.raises(StaleObjectError):
        await world.store.write(path, Epoch(1, "b").data(), OURS, version=None, retention=FOR_EVER)
    await world.store.write(path, Epoch(2, "c").data(), OURS, version=first, retention=FOR_EVER)
    with pytest.raises(StaleObjectError):
        await world.store.write(path, Epoch(2, "d").data(), OURS, version=first, retention=FOR_EVER)

    found = await world.store.read(path, OURS.owner)

    assert found is not None
    assert epoch_in(found.data) == Epoch(2, "c")
    assert await world.store.destroy(path, OURS.owner)


@pytest.mark.parametrize("bad", BAD_PATHS)
async def test_no_path_leaves_its_folder(world: StoreWorld, bad: str) -> None:
    """A path with a segment that means something else to Vault or to a URL is refused by every method."""
    for call in (
        world.store.read(bad, OURS.owner),
        world.store.write(bad, sensitive(a="1"), OURS, version=None, retention=FOR_EVER),
        world.store.destroy(bad, OURS.owner),
        world.store.names(bad),
        world.store.folders(bad),
        world.store.probe(bad),
    ):
        with pytest.raises(InvalidSpecError):
            await call


async def test_a_healthy_mount_probes_well(world: StoreWorld) -> None:
    """A probe of what the platform team has set up finds a version and nothing missing."""
    facts = await world.store.probe("fedid")

    assert facts.version.count(".") == 2
    assert facts.missing_permissions == ()


@pytest.mark.parametrize("world", ["fake-v2", "vault-v2"], indirect=True)
async def test_another_mount_of_the_same_vault(world: StoreWorld) -> None:
    """Whatever its KV version, its entries are read, written and destroyed as those of the first."""
    if isinstance(world, FakeWorld):
        world.fake.mounts["secrets"] = FakeSecretStore(kv_version=1)
    entries = world.store.at("secrets")
    path = f"{world.prefix}/copy"
    assert await entries.read(path, OURS.owner) is None
    written = await entries.write(path, sensitive(token="x"), OURS, version=None, retention=FOR_EVER)
    assert written == 0
    found = await entries.read(path, OURS.owner)
    assert found is not None
    assert (found.owner, found.data) == (OURS.owner, sensitive(token="x"))
    with pytest.raises(OwnershipConflictError):
        await entries.write(path, sensitive(token="y"), THEIRS, version=0, retention=FOR_EVER)
    assert not await entries.destroy(path, THEIRS.owner)
    assert await entries.destroy(path, OURS.owner)
    assert await entries.read(path, OURS.owner) is None


@pytest.mark.parametrize("world", ["fake-v2", "vault-v2"], indirect=True)
async def test_a_mount_that_is_not_there(world: StoreWorld) -> None:
    """It says which, and what to do, before anything is written."""
    with pytest.raises(BackendRejectedError, match="no mount nowhere") as caught:
        await world.store.at("nowhere").read("a/b", OURS.owner)
    assert caught.value.reason == "MountMismatch"


@pytest.mark.parametrize("world", ["fake-v2", "vault-v2"], indirect=True)
async def test_the_own_mount_by_its_name(world: StoreWorld) -> None:
    """It is the same."""
    assert world.store.at("secret") is world.store
