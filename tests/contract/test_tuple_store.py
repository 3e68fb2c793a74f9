"""What every `TupleStore` must do: the fake and a real OpenFGA."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from fedid.adapters.openfga import OpenFgaStore
from fedid.domain.openfga import RelationTuple
from fedid.errors import BackendDeniedError, BackendRejectedError, BackendUnavailableError
from fedid.ports import TupleStore
from tests.contract.openfga_server import OpenFgaServer, openfga_server
from tests.fakes.tuple_store import FakeTupleStore

OBJECT, RELATION = "service:grid", "has_access"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenFgaServer]:
    """A real server, one for all tests; each has a store of its own."""
    with openfga_server(tmp_path_factory.mktemp("openfga")) as started:
        yield started


@pytest.fixture(params=["fake", "openfga"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[TupleStore]:
    """Yield one store after the other, with Flower's model and no tuple."""
    if request.param == "fake":
        yield FakeTupleStore()
        return
    running: OpenFgaServer = request.getfixturevalue("running")
    made = running.store(running.make_store())
    yield made
    await made.aclose()


@pytest.fixture(params=["fake", "openfga"])
async def bare(request: pytest.FixtureRequest) -> AsyncIterator[TupleStore]:
    """Yield one store without a model after the other."""
    if request.param == "fake":
        fake = FakeTupleStore()
        fake.has_model = False
        yield fake
        return
    running: OpenFgaServer = request.getfixturevalue("running")
    made = running.store(running.make_store(model=False))
    yield made
    await made.aclose()


@pytest.fixture(params=["fake", "openfga"])
async def missing(request: pytest.FixtureRequest) -> AsyncIterator[TupleStore]:
    """Yield one store that is not there after the other."""
    if request.param == "fake":
        fake = FakeTupleStore()
        fake.exists = False
        yield fake
        return
    running: OpenFgaServer = request.getfixturevalue("running")
    made = running.store("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    yield made
    await made.aclose()


def tuple_for(subject: str = "a", *, object_: str = OBJECT, relation: str = RELATION) -> RelationTuple:
    """Return the tuple of an account."""
    return RelationTuple(f"flwr_aid:{subject}", relation, object_)


async def test_the_probe_names_the_store(store: TupleStore) -> None:
    """It finds store and model."""
    assert await store.probe() == "grid"


async def test_what_is_written_lets_in(store: TupleStore) -> None:
    """The tuple is listed and the decision is yes, at once."""
    assert await store.write(tuple_for()) is True
    assert await store.users(OBJECT, RELATION) == {"flwr_aid:a"}
    assert await store.allowed(tuple_for())
    assert not await store.allowed(tuple_for("b"))


async def test_what_is_there_already_is_told(store: TupleStore) -> None:
    """A second write makes nothing, and says so: the tuple may be a stranger's."""
    await store.write(tuple_for())
    assert await store.write(tuple_for()) is False
    assert await store.users(OBJECT, RELATION) == {"flwr_aid:a"}


async def test_what_is_deleted_lets_nobody_in(store: TupleStore) -> None:
    """Read back, and asked; a second deletion succeeds, and so does that of what never was."""
    await store.write(tuple_for("a"))
    await store.write(tuple_for("b"))
    for gone in ("a", "a", "never"):
        await store.delete(tuple_for(gone))
    assert await store.users(OBJECT, RELATION) == {"flwr_aid:b"}
    assert not await store.allowed(tuple_for("a"))
    assert await store.allowed(tuple_for("b"))


async def test_users_are_those_of_one_object(store: TupleStore) -> None:
    """Neither those of another object whose name begins alike, nor of another relation."""
    await store.write(tuple_for("a"))
    await store.write(tuple_for("b", object_="service:grid-2"))
    assert await store.users(OBJECT, RELATION) == {"flwr_aid:a"}
    assert await store.users(OBJECT, "other") == frozenset()
    assert await store.users("service:none", RELATION) == frozenset()


async def test_more_users_than_a_page_holds(store: TupleStore) -> None:
    """All of them are found."""
    wanted = {f"flwr_aid:{number}" for number in range(205)}
    for user in wanted:
        await store.write(RelationTuple(user, RELATION, OBJECT))
    assert await store.users(OBJECT, RELATION) == wanted


@pytest.mark.parametrize(
    "unknown",
    [tuple_for(relation="owner"), tuple_for(object_="grid:grid"), RelationTuple("person:a", RELATION, OBJECT)],
    ids=["relation", "type of the object", "type of the user"],
)
async def test_what_the_model_does_not_know(store: TupleStore, unknown: RelationTuple) -> None:
    """It is refused and not written."""
    with pytest.raises(BackendRejectedError):
        await store.write(unknown)
    assert await store.users(unknown.object, unknown.relation) == frozenset()


async def test_a_store_without_a_model(bare: TupleStore) -> None:
    """The probe says so, and a write does; what is to go cannot be there."""
    for ask in (bare.probe, lambda: bare.write(tuple_for()), lambda: bare.allowed(tuple_for())):
        with pytest.raises(BackendRejectedError) as refused:
            await ask()
        assert refused.value.reason == "ModelNotFound"
    await bare.delete(tuple_for())
    assert await bare.users(OBJECT, RELATION) == frozenset()


async def test_a_store_that_is_not_there(missing: TupleStore) -> None:
    """Probe, write and deletion say so by their reason, not by the model that is missing with it."""
    for ask in (missing.probe, lambda: missing.write(tuple_for()), lambda: missing.delete(tuple_for())):
        with pytest.raises(BackendRejectedError) as refused:
            await ask()
        assert refused.value.reason == "StoreNotFound"


@pytest.mark.parametrize(("key", "what"), [("wrong", "refuses our preshared key"), ("", "wants a preshared key")])
async def test_a_key_that_is_wrong_or_missing(running: OpenFgaServer, key: str, what: str) -> None:
    """The message says which, and what to correct; the key is not in it."""
    store = running.store(running.make_store(), key=key)
    with pytest.raises(BackendDeniedError, match=what) as refused:
        await store.probe()
    assert "presharedKey" in refused.value.message
    assert "wrong" not in refused.value.message
    await store.aclose()


async def test_a_model_that_is_not_there(running: OpenFgaServer) -> None:
    """Writes by it are refused, deletions are not: what is to go must go all the same."""
    store_id = running.make_store()
    good, bad = running.store(store_id), running.store(store_id, model="01ARZ3NDEKTSV4RRFFQ69G5FAV")
    await good.write(tuple_for())
    for ask in (bad.probe, lambda: bad.write(tuple_for("b"))):
        with pytest.raises(BackendRejectedError) as refused:
            await ask()
        assert refused.value.reason == "ModelNotFound"
    await bad.delete(tuple_for())
    assert await good.users(OBJECT, RELATION) == frozenset()
    for each in (good, bad):
        await each.aclose()


async def test_what_is_no_store_id(running: OpenFgaServer) -> None:
    """It cannot lead to another address of the server."""
    store = running.store("../healthz")
    with pytest.raises(BackendRejectedError):
        await store.probe()
    await store.aclose()


async def test_a_server_that_is_away(running: OpenFgaServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is told as away, by a sentence without the key."""
    with openfga_server(tmp_path_factory.mktemp("away")) as short:
        store: OpenFgaStore = short.store("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    with pytest.raises(BackendUnavailableError) as away:
        await store.probe()
    assert short.key not in away.value.message
    assert running.url != short.url
    await store.aclose()
