"""The end of a SuperNode, with its bot, its grant or its object: proven, with a crash at every step."""

from __future__ import annotations

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FINALIZER, POD_IDENTITY
from tests.fakes.node_registry import FakeNodeRegistry
from tests.reconcile.federated import (
    AWAY,
    POD,
    URL,
    Federated,
    with_crashes,
)
from tests.reconcile.small_operator import NAMESPACE
from tests.reconcile.test_receipts import receipts


async def test_a_deletion(federated: Federated) -> None:
    """The object stays until the SuperLink was seen to refuse the key."""
    await federated.begun()
    node_id = federated.status["nodeId"]
    federated.registry.failures.add("*", AWAY, times=None)
    federated.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")
    await federated.operator.advance(30)
    assert federated.told("Revoked") == ("False", "BackendUnavailable")
    assert federated.status["revocation"]["waitingFor"] == "superlink"
    assert set(federated.mounted.values()) == {""}
    federated.registry.failures.clear()
    await federated.operator.advance(120)
    federated.assert_nothing_left()
    assert POD not in federated.operator.cluster.bodies
    assert node_id in federated.proofs[-1]


async def test_a_deletion_of_both_at_once(federated: Federated) -> None:
    """The bot may be gone first: where the node is, and in whose Vault, is in the status."""
    await federated.begun()
    federated.registry.failures.add("*", AWAY, times=None)
    federated.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")
    federated.operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await federated.operator.advance(60)
    assert ObjectKey(BOT_CLIENT, NAMESPACE, "trainer") not in federated.operator.cluster.bodies
    federated.operator.cluster.delete(FEDERATION, None, "local")
    await federated.operator.advance(60)
    assert ObjectKey(FEDERATION, "", "local") in federated.operator.cluster.bodies, "a node still needs its Vault"
    federated.registry.failures.clear()
    await federated.operator.advance(200)
    federated.assert_nothing_left()
    assert federated.operator.cluster.bodies.keys() & {POD, ObjectKey(FEDERATION, "", "local")} == set()


async def test_a_deletion_before_anything_was_made(federated: Federated) -> None:
    """It goes at once, and asks nobody."""
    federated.grant()
    federated.bot()
    federated.pod()
    await federated.operator.advance(5)
    federated.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")
    await federated.operator.advance(5)
    assert POD not in federated.operator.cluster.bodies
    assert federated.registry.calls == []


@pytest.mark.parametrize("number", range(15))
async def test_a_crash_in_a_withdrawal(federated: Federated, number: int) -> None:
    """Nothing is left, and the proof is told, wherever the process ends."""
    await federated.begun()
    await with_crashes(federated, number, lambda: federated.bot(suspend=True))
    federated.assert_nothing_left()
    assert federated.told("Revoked") == ("True", "Proven")
    causes = {one["object"]["kind"]: one["cause"] for one in receipts(federated.operator)}
    assert (causes[POD_IDENTITY], len(receipts(federated.operator))) == ("Withdrawn", 2)
    assert FINALIZER not in federated.operator.cluster.bodies[POD]["metadata"].get("finalizers", ())


@pytest.mark.parametrize("number", range(10))
async def test_a_crash_in_a_deletion(federated: Federated, number: int) -> None:
    """The object goes only with its node and its key."""
    await federated.begun()

    def delete() -> None:
        federated.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")

    await with_crashes(federated, number, delete)
    federated.assert_nothing_left()
    assert POD not in federated.operator.cluster.bodies
    assert federated.proofs


async def test_a_node_that_is_none_any_more(federated: Federated) -> None:
    """Should the API server let it pass: its key ends where it was registered, and what it is instead is mounted."""
    await federated.begun()
    spec = federated.operator.cluster.bodies[POD]["spec"]
    plain = {**spec, "platform": {"generic": {"files": {"id": "{clientId}"}}}}
    federated.operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", plain)
    await federated.operator.advance(60)
    federated.assert_nothing_left()
    assert set(federated.mounted) == {"id"}
    assert federated.told("Ready") == ("True", "Ready")
    assert FINALIZER not in federated.operator.cluster.bodies[POD]["metadata"].get("finalizers", ())


async def test_a_node_at_another_superlink(federated: Federated) -> None:
    """Likewise: what it was registered at is asked, before it is registered anywhere else."""
    other = "https://other.example.org:8000"
    federated.grant(URL, other)
    federated.operator.super_links[other] = elsewhere = FakeNodeRegistry()
    await federated.begun()
    federated.pod(superLink={"url": other})
    await federated.operator.advance(60)
    assert federated.good == []
    assert [node.ended for node in elsewhere.records.values()] == [False]
    assert federated.status["superNode"]["url"] == other
    assert [told["cause"] for told in receipts(federated.operator)] == ["Withdrawn"]
