"""What every `NodeRegistry` must do: the fake and a real SuperLink."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedid.adapters.node_keys import new_node_key
from fedid.domain.super_node import NodeKey, NodeRecord, NodeStatus, node_key_id
from fedid.errors import BackendRejectedError
from fedid.ports import NodeRegistry
from tests.contract.super_links import FakeRegistryWorld, RealRegistryWorld, RegistryWorld, SuperLink, super_link

NAME = "site-a/trainer fedid:installation/uid"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuperLink]:
    """A real SuperLink, one for all tests: what they register never meets."""
    with super_link(tmp_path_factory.mktemp("superlink")) as started:
        yield started


@pytest.fixture(params=["fake", "superlink"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[RegistryWorld]:
    """Yield one SuperLink after the other."""
    if request.param == "fake":
        yield FakeRegistryWorld()
        return
    started: SuperLink = request.getfixturevalue("running")
    registry = started.registry()
    yield RealRegistryWorld(started, registry)
    await registry.aclose()


@pytest.fixture
def key() -> NodeKey:
    """Return a key that only this test uses."""
    return new_node_key()


async def listed(registry: NodeRegistry, key: NodeKey) -> list[NodeRecord]:
    """Return what the SuperLink has of a key."""
    return [node for node in await registry.nodes() if node.public_key == key.public_key]


async def test_a_registered_key_is_listed(world: RegistryWorld, key: NodeKey) -> None:
    """With its node id, its name and its very bytes, and never seen yet."""
    node_id = await world.registry.register(key.public_key, NAME)

    assert node_id is not None
    (node,) = await listed(world.registry, key)
    assert (node.node_id, node.status, node.name) == (node_id, NodeStatus.REGISTERED, NAME)
    assert node.good
    assert not node.ended
    assert node.owner
    assert node.key_id == node_key_id(key.public_key)


async def test_a_key_that_is_not_registered(world: RegistryWorld, key: NodeKey) -> None:
    """It is not listed."""
    await world.registry.register(new_node_key().public_key, NAME)

    assert await listed(world.registry, key) == []


async def test_a_key_is_taken_once(world: RegistryWorld, key: NodeKey) -> None:
    """A second registration makes nothing, whatever its name."""
    first = await world.registry.register(key.public_key, NAME)

    assert await world.registry.register(key.public_key, "another") is None
    assert [(node.node_id, node.name) for node in await listed(world.registry, key)] == [(first, NAME)]


async def test_two_nodes_of_one_name(world: RegistryWorld, key: NodeKey) -> None:
    """A name names nothing twice as well: the nodes are two."""
    other = new_node_key()

    ids = {await world.registry.register(each.public_key, "the same") for each in (key, other)}

    assert len(ids - {None}) == 2


async def test_an_unregistered_key_is_burnt(world: RegistryWorld, key: NodeKey) -> None:
    """It stays listed as unregistered, and can never be registered again."""
    node_id = await world.registry.register(key.public_key, NAME)
    assert node_id is not None

    await world.registry.unregister(node_id)

    (node,) = await listed(world.registry, key)
    assert (node.node_id, node.status, node.ended, node.good) == (node_id, NodeStatus.UNREGISTERED, True, False)
    assert await world.registry.register(key.public_key, NAME) is None


async def test_what_is_gone_is_gone(world: RegistryWorld, key: NodeKey) -> None:
    """Ending a node twice succeeds, and so does ending one that never was."""
    node_id = await world.registry.register(key.public_key, NAME)
    assert node_id is not None
    for gone in (node_id, node_id, 5):
        await world.registry.unregister(gone)


@pytest.mark.parametrize("text", [b"x", b""], ids=["no key", "nothing"])
async def test_what_is_no_key(world: RegistryWorld, text: bytes) -> None:
    """A SuperLink refuses it."""
    with pytest.raises(BackendRejectedError):
        await world.registry.register(text, NAME)


async def test_a_key_of_another_kind(world: RegistryWorld) -> None:
    """A SuperLink refuses every key that is not of an elliptic curve."""
    public = rsa.generate_private_key(65537, 2048).public_key()
    with pytest.raises(BackendRejectedError, match="P-384"):
        await world.registry.register(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), NAME)


async def test_state_lost(world: RegistryWorld, key: NodeKey) -> None:
    """A SuperLink without a database forgets at a restart who is registered and who is burnt."""
    burnt = new_node_key()
    await world.registry.register(key.public_key, NAME)
    node_id = await world.registry.register(burnt.public_key, NAME)
    assert node_id is not None
    await world.registry.unregister(node_id)

    world.restart()

    assert await world.registry.nodes() == ()
    for each in (key, burnt):
        assert await world.registry.register(each.public_key, NAME) is not None
