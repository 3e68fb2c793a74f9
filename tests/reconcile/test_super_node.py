"""The application of a SuperNode's plan on the fakes: whatever call fails, before or after its effect, it converges."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from fedid.adapters.node_keys import new_node_key
from fedid.domain.naming import ObjectKey
from fedid.domain.node_plan import DesiredNode
from fedid.domain.resources import POD_IDENTITY
from fedid.domain.rotation import RotationRequest
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import VaultMark
from fedid.domain.super_node import NodeStatus
from fedid.errors import (
    BackendDeniedError,
    BackendRejectedError,
    BackendUnavailableError,
    Error,
    OwnershipConflictError,
)
from fedid.reconcile.super_node import NodeIdentity, NodeState, RecordedNode, SuperNode, node_path
from tests.fakes.node_registry import FakeNodeRegistry
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

URL = "https://superlink.example.org:8000"
OVERLAP = timedelta(minutes=1)
REQUEST = RotationRequest("secret-1", tokens=False, secret=True)
AWAY = BackendUnavailableError("away", backend="superlink", outcome_unknown=True)
CALLS = range(12)
"""At least as many as any pass makes."""


class Nth:
    """Lets the nth call fail that is asked about, from 0, and no other."""

    def __init__(self, number: int) -> None:
        """Count from here on."""
        self.left = number

    def __call__(self, _target: str) -> bool:
        """Tell whether it is this one."""
        self.left -= 1
        return self.left == -1


@dataclass
class Bench:
    """One PodIdentity's node, with Vault and a SuperLink that can fail."""

    operator: SmallOperator = field(default_factory=SmallOperator)
    registry: FakeNodeRegistry = field(default_factory=FakeNodeRegistry)
    name: str = "trainer"
    recorded: RecordedNode = field(default_factory=RecordedNode)
    account: Sensitive | None = None
    state: NodeState | None = None

    @property
    def path(self) -> str:
        """Where its keys lie."""
        return f"fedid/{NAMESPACE}/pods/{self.name}/keys/supernode"

    @property
    def node(self) -> SuperNode:
        """The subject, with nothing in memory."""
        key = ObjectKey(POD_IDENTITY, NAMESPACE, self.name)
        path = node_path("fedid", key)
        identity = NodeIdentity(key, f"uid-{self.name}", URL, self.registry, self.operator.store, path, self.account)
        return SuperNode(self.operator.world, identity, DesiredNode("", URL, overlap=OVERLAP))

    async def ensure(self, request: RotationRequest | None = None) -> NodeState:
        """Run a pass and write its status."""
        self.state = await self.node.ensure(self.recorded, request, self.operator.clock.now())
        now = self.operator.clock.now()
        delivered_at = self.recorded.delivered_at if self.state.key.key_id == self.recorded.key_id else now
        self.recorded = RecordedNode(self.state.key.key_id, delivered_at, self.state.rotated_for)
        return self.state

    async def end(self) -> None:
        """Run a pass of a teardown."""
        await self.node.end(self.recorded, self.operator.clock.now())

    def fail(self, number: int, at: str) -> None:
        """Let the nth call to either backend fail."""
        nth = Nth(number)
        for failures in (self.registry.failures, self.operator.store.failures):
            failures.clear()
            failures.add("*", AWAY, at=at, when=nth)

    def mend(self) -> None:
        """Let nothing fail any more."""
        self.registry.failures.clear()
        self.operator.store.failures.clear()

    def writes(self) -> int:
        """Count what was changed outside."""
        return len(self.registry.writes) + len(self.operator.store.writes)

    async def assert_settled(self) -> None:
        """See one good node, Vault's key and the SuperLink's alike, and that another pass changes nothing."""
        self.mend()
        for _ in range(2):
            state = await self.ensure()
            self.operator.clock.seconds += 3600
        before = self.writes()
        state = await self.ensure()
        assert self.writes() == before
        assert self.registry.good_keys() == [state.key.public_key]
        assert self.operator.store.data_of(self.path)["private_key"] == state.key.private_key.reveal()
        assert "pending_private_key" not in self.operator.store.data_of(self.path)


@pytest.fixture
def bench() -> Bench:
    """A node that was not made yet."""
    return Bench()


async def test_what_is_made(bench: Bench) -> None:
    """A node under our name, proven, and an entry in Vault that says all about it."""
    state = await bench.ensure()

    (node,) = bench.registry.records.values()
    assert (node.node_id, node.public_key) == (state.node_id, state.key.public_key)
    assert node.name == "site-a/trainer fedid:i/uid-trainer"
    assert bench.operator.store.data_of(bench.path) == {
        "superlink_url": URL,
        "private_key": state.key.private_key.reveal(),
        "public_key": state.key.authorized_key,
        "key_id": state.key.key_id,
        "issued_at": "2026-01-01T12:00:00Z",
    }
    assert not state.replaced
    assert state.again_at is None


async def test_a_second_pass_changes_nothing(bench: Bench) -> None:
    """It reads Vault once and the listing once."""
    first = await bench.ensure()
    writes, calls = bench.writes(), len(bench.registry.calls) + len(bench.operator.store.calls)

    assert await bench.ensure() == first
    assert bench.writes() == writes
    assert len(bench.registry.calls) + len(bench.operator.store.calls) == calls + 2


async def test_two_identities_share_no_key(bench: Bench) -> None:
    """Neither a key nor a node, and neither ends the other's."""
    other = Bench(bench.operator, bench.registry, "other")
    first, second = await bench.ensure(), await other.ensure()

    assert first.key != second.key
    await other.ensure(REQUEST)
    await bench.end()
    assert first.key.public_key not in bench.registry.good_keys()
    assert second.key.public_key in bench.registry.good_keys()


@pytest.mark.parametrize("at", ["before", "after"])
@pytest.mark.parametrize("number", CALLS)
async def test_a_failure_while_it_is_made(bench: Bench, number: int, at: str) -> None:
    """One node comes out, wherever a call failed."""
    bench.fail(number, at)
    try:
        await bench.ensure()
    except Error:
        assert bench.state is None
    await bench.assert_settled()
    assert len(bench.registry.records) == 1 or number < len(bench.registry.calls)


@pytest.mark.parametrize("at", ["before", "after"])
@pytest.mark.parametrize("number", CALLS)
async def test_a_failure_in_a_rotation(bench: Bench, number: int, at: str) -> None:
    """The key that is delivered is good at every instant."""
    delivered = await bench.ensure()
    bench.fail(number, at)
    for _ in range(3):
        try:
            delivered = await bench.ensure(REQUEST)
        except Error:
            assert delivered.key.public_key in bench.registry.good_keys()
        bench.operator.clock.seconds += 61
    assert delivered.rotated_for == REQUEST.value
    assert len(bench.registry.records) == 2
    await bench.assert_settled()


@pytest.mark.parametrize("at", ["before", "after"])
@pytest.mark.parametrize("number", CALLS)
async def test_a_failure_in_a_teardown(bench: Bench, number: int, at: str) -> None:
    """Vault forgets the keys only after they were seen unregistered."""
    await bench.ensure()
    await bench.ensure(REQUEST)
    bench.fail(number, at)
    try:
        await bench.end()
    except Error:
        assert bench.operator.store.data_of(bench.path) or not bench.registry.good_keys()
        bench.mend()
        await bench.end()
    assert bench.registry.good_keys() == []
    assert bench.path not in bench.operator.store.entries


async def test_state_lost(bench: Bench) -> None:
    """The same key is registered again; the node has another id."""
    before = await bench.ensure()
    bench.registry.forget()
    after = await bench.ensure()
    assert after.key == before.key
    assert not after.replaced
    await bench.assert_settled()


async def test_state_lost_within_an_overlap(bench: Bench) -> None:
    """The former key is not registered again: what was lost of it is its end."""
    await bench.ensure()
    after = await bench.ensure(REQUEST)
    bench.registry.forget()
    await bench.ensure()
    assert bench.registry.good_keys() == [after.key.public_key]
    await bench.assert_settled()


async def test_a_key_that_somebody_unregistered(bench: Bench) -> None:
    """It is burnt, so another is made, and the caller is told that the pods need it."""
    before = await bench.ensure()
    await bench.registry.unregister(before.node_id)
    after = await bench.ensure()
    assert after.key != before.key
    assert after.replaced
    await bench.assert_settled()


async def test_a_key_of_another_account(bench: Bench) -> None:
    """A key that is in use but not listed is lost to us; another is made in the same pass."""
    bench.registry.accounts = {"ours": "us", "theirs": "them"}
    bench.account = Sensitive("ours")
    before = await bench.ensure()
    bench.registry.forget()
    await bench.registry.register(before.key.public_key, "stolen", Sensitive("theirs"))
    after = await bench.ensure()
    assert after.key != before.key
    assert after.replaced


async def test_a_lost_answer(bench: Bench) -> None:
    """Where the answer to a registration was lost, the next pass finds the node, and makes no second one."""
    bench.registry.failures.add("register", AWAY, at="after")
    with pytest.raises(BackendUnavailableError):
        await bench.ensure()
    await bench.ensure()
    assert len(bench.registry.records) == 1


async def test_an_account_that_is_refused(bench: Bench) -> None:
    """Nothing is made, in Vault neither."""
    bench.registry.accounts = {"ours": "us"}
    with pytest.raises(BackendDeniedError):
        await bench.ensure()
    assert bench.writes() == 0


async def test_a_registration_that_is_not_listed(bench: Bench) -> None:
    """What the SuperLink does not list was not proven, and is not published."""

    async def nothing(_account: Sensitive | None = None) -> tuple[()]:
        return ()

    bench.registry.nodes = nothing  # type: ignore[method-assign]
    with pytest.raises(BackendUnavailableError, match="does not list"):
        await bench.ensure()
    assert "private_key" not in bench.operator.store.data_of(bench.path)


async def test_a_node_that_will_not_end(bench: Bench) -> None:
    """As long as the SuperLink lists it as good, Vault keeps the key and the teardown goes on."""
    await bench.ensure()

    async def ignore(_node_id: int, _account: Sensitive | None = None) -> None:
        """Pretend."""

    bench.registry.unregister = ignore  # type: ignore[method-assign]
    with pytest.raises(BackendUnavailableError, match="still lists"):
        await bench.end()
    assert bench.operator.store.data_of(bench.path)


async def test_a_new_key_that_is_taken(bench: Bench) -> None:
    """A SuperLink that calls every key in use gets one try in each pass."""

    async def taken(_public_key: bytes, _name: str, _account: Sensitive | None = None) -> None:
        """Refuse."""

    bench.registry.register = taken  # type: ignore[assignment,method-assign]
    with pytest.raises(BackendRejectedError, match="in use"):
        await bench.ensure()


async def test_a_strangers_entry(bench: Bench) -> None:
    """What somebody else has at our place in Vault is neither read nor changed, and nothing is registered."""
    key = new_node_key()
    mark = VaultMark("other/uid", "PodIdentity/site-a/trainer")
    bench.operator.store.put_by_hand(bench.path, {"private_key": key.private_key.reveal()}, mark)
    with pytest.raises(OwnershipConflictError):
        await bench.ensure()
    assert bench.registry.records == {}


async def test_a_teardown_at_a_strangers_entry(bench: Bench) -> None:
    """Our nodes end all the same, and the stranger keeps what is theirs."""
    await bench.ensure()
    mark = VaultMark("other/uid", "PodIdentity/site-a/trainer")
    bench.operator.store.put_by_hand(bench.path, {"private_key": "theirs"}, mark)
    await bench.end()
    assert bench.registry.good_keys() == []
    assert bench.operator.store.data_of(bench.path) == {"private_key": "theirs"}


async def test_the_former_node_waits_for_the_supernode(bench: Bench) -> None:
    """While the SuperNode is online with the former key and not with the new one, it is left to change over."""
    before = await bench.ensure()
    bench.registry.set_status(before.node_id, NodeStatus.ONLINE)
    after = await bench.ensure(REQUEST)
    assert after.again_at is not None
    bench.operator.clock.seconds += 61
    assert (await bench.ensure()).again_at is not None
    assert len(bench.registry.good_keys()) == 2
    bench.registry.set_status(after.node_id, NodeStatus.ONLINE)
    await bench.ensure()
    assert bench.registry.good_keys() == [after.key.public_key]
