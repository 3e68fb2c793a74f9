"""A PodIdentity that is a SuperNode: made, replaced, kept; on the fakes, with a crash at every step."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fedid.domain.conditions import instant_in, rfc3339
from fedid.domain.resources import BOT_CLIENT, FINALIZER, POD_IDENTITY
from fedid.domain.super_node import NodeStatus
from fedid.errors import BackendUnavailableError
from tests.reconcile.federated import (
    AWAY,
    PATH,
    POD,
    SECONDS,
    URL,
    VAULT_AWAY,
    Federated,
    with_crashes,
)
from tests.reconcile.small_operator import NAMESPACE
from tests.reconcile.test_receipts import receipts


async def test_it_is_made(federated: Federated) -> None:
    """Registered, in Vault, mounted, told; and a second look writes nothing."""
    await federated.begun()
    federated.assert_in_order()
    assert set(federated.mounted) == {"superlink", "supernode.args", "supernode.key", "supernode.pub"}
    assert federated.told("Granted") == ("True", "Granted")
    assert federated.status["superNode"]["url"] == URL
    assert "tokenExpiresAt" not in federated.status
    cluster, store, registry = federated.operator.cluster, federated.operator.store, federated.registry
    before = len(cluster.writes), len(store.writes), len(registry.writes)
    await federated.operator.look()
    await federated.operator.look()
    assert (len(cluster.writes), len(store.writes), len(registry.writes)) == before


async def test_a_renewed_token_changes_nothing(federated: Federated) -> None:
    """The bot's tokens are none of the SuperNode's business."""
    federated.bot(tokens=[{"name": "default", "lifetime": "10m"}])
    federated.pod()
    await federated.operator.advance(30)
    version = federated.operator.cluster.secrets[NAMESPACE, "trainer"].resource_version
    await federated.operator.advance(1800)
    assert federated.operator.cluster.secrets[NAMESPACE, "trainer"].resource_version == version


async def test_without_a_grant(federated: Federated) -> None:
    """Nothing is made anywhere, the message names the rule, and with one it goes on at once."""
    federated.grant("https://another.example.org:8000")
    federated.bot()
    federated.pod()
    await federated.operator.advance(30)
    assert federated.told("Ready") == ("False", "NotGranted")
    assert f"superlinkUrls: {URL}" in federated.message("Ready")
    assert federated.registry.calls == []
    assert federated.mounted == {}
    assert FINALIZER not in federated.operator.cluster.bodies[POD]["metadata"].get("finalizers", ())
    federated.grant(URL)
    await federated.operator.advance(1)
    federated.assert_in_order()


async def test_a_grant_that_goes(federated: Federated) -> None:
    """The node ends at once, with a proof, and what was mounted is empty."""
    await federated.begun()
    node_id = federated.status["nodeId"]
    federated.grant()
    await federated.operator.advance(1)
    federated.assert_nothing_left()
    assert set(federated.mounted.values()) == {""}
    assert federated.told("Ready") == ("False", "NotGranted")
    assert federated.told("Revoked") == ("True", "Proven")
    assert node_id in federated.message("Revoked")
    assert "nodeId" not in federated.status
    federated.grant(URL)
    await federated.operator.advance(1)
    federated.assert_in_order()
    assert federated.status["nodeId"] != node_id
    assert federated.told("Revoked") is None


@pytest.mark.parametrize("how", ["suspended", "deleted", "another"])
async def test_a_bot_that_may_not_be_used(federated: Federated, how: str) -> None:
    """Suspended or deleted, its SuperNode is refused too; another bot of its name gets another node."""
    await federated.begun()
    node_id = federated.status["nodeId"]
    if how == "suspended":
        federated.bot(suspend=True)
    else:
        federated.operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await federated.operator.advance(30)
    federated.assert_nothing_left()
    assert set(federated.mounted.values()) == {""}
    assert federated.told("Revoked") == ("True", "Proven")
    assert len(federated.proofs) >= 1
    if how != "deleted":
        federated.bot()
        await federated.operator.advance(60)
        federated.assert_in_order()
        assert federated.status["nodeId"] != node_id


async def test_a_rotation_that_is_asked_for(federated: Federated) -> None:
    """The new key is mounted while the former is good; that one ends once the SuperNode came with the new."""
    await federated.begun()
    before, key = int(federated.status["nodeId"]), federated.mounted["supernode.key"]
    former = federated.status["superNode"]["keyId"]
    federated.registry.set_status(before, NodeStatus.ONLINE)
    federated.pod(annotations={"fedid.io/rotate": "secret-1"})
    await federated.operator.advance(1)
    after = int(federated.status["nodeId"])
    assert federated.mounted["supernode.key"] != key
    assert federated.good == [before, after]
    await federated.operator.advance(90)
    assert federated.good == [before, after], "the SuperNode still has the former key"
    federated.registry.set_status(before, NodeStatus.OFFLINE)
    federated.registry.set_status(after, NodeStatus.ONLINE)
    await federated.operator.advance(11)
    assert federated.good == [after]
    federated.assert_in_order()
    (told,) = receipts(federated.operator)
    assert (told["cause"], told["evidence"][0]["credential"]) == ("Rotated", f"SuperNode key {former}")
    await federated.operator.advance(SECONDS)
    assert federated.good == [after], "one annotation, one rotation"


@pytest.mark.parametrize("away", ["vault", "kubernetes"])
async def test_a_key_that_is_delivered_late(federated: Federated, away: str) -> None:
    """Where a server is away between the next key and the Secret, the former is good as long as it is alone there."""
    await federated.begun()
    before, key = int(federated.status["nodeId"]), federated.mounted["supernode.key"]
    federated.registry.set_status(before, NodeStatus.ONLINE)

    def is_made(_target: str) -> bool:
        """Tell whether the next key is in use, from when on the server is away."""
        return len(federated.good) == 2 and "pending_key_id" not in federated.operator.store.data_of(PATH)

    operator, failures = federated.operator, federated.operator.cluster.failures
    if away == "vault":
        failures = operator.store.failures
        failures.add("read", VAULT_AWAY, times=None, when=is_made)
    else:
        gone = BackendUnavailableError("it is away", backend="kubernetes")
        failures.add("replace_secret", gone, times=None, when=is_made)
    federated.pod(annotations={"fedid.io/rotate": "secret-1"})
    await operator.advance(3 * SECONDS)
    assert len(federated.good) == 2
    assert federated.mounted["supernode.key"] == key
    failures.clear()
    await operator.advance(300)
    assert federated.mounted["supernode.key"] != key
    delivered_at = instant_in(federated.status["superNode"]["deliveredAt"])
    made_at = instant_in(federated.status["superNode"]["issuedAt"])
    assert delivered_at is not None
    assert made_at is not None
    assert delivered_at - made_at > timedelta(seconds=SECONDS)
    assert len(federated.good) == 2, "the SuperNode is online with the former key"
    federated.registry.set_status(before, NodeStatus.OFFLINE)
    federated.registry.set_status(int(federated.status["nodeId"]), NodeStatus.ONLINE)
    await operator.advance(120)
    assert federated.good == [int(federated.status["nodeId"])]
    federated.assert_in_order()


async def test_a_fast_clock_at_a_delivery(federated: Federated) -> None:
    """A delivery that is told of tomorrow counts from now: the former key does not stay until then."""
    await federated.begun()
    federated.pod(annotations={"fedid.io/rotate": "secret-1"})
    await federated.operator.advance(1)
    assert len(federated.good) == 2
    told = federated.operator.cluster.bodies[POD]["status"]["superNode"]
    told["deliveredAt"] = rfc3339(federated.operator.clock.now() + timedelta(days=1))
    federated.operator.restart()
    await federated.operator.advance(SECONDS)
    federated.assert_in_order()
    delivered_at = instant_in(federated.status["superNode"]["deliveredAt"])
    assert delivered_at is not None
    assert delivered_at < federated.operator.clock.now()


async def test_a_rotation_by_schedule(federated: Federated) -> None:
    """The key is replaced in time, again and again, and the status tells when next."""
    federated.bot()
    federated.pod(rotation={"every": "1h", "overlap": "1m"})
    await federated.operator.advance(30)
    seen = set()
    for _ in range(4):
        federated.assert_in_order()
        seen.add(federated.status["nodeId"])
        assert federated.status["superNode"]["nextRotationAt"] > federated.status["superNode"]["issuedAt"]
        await federated.operator.advance(3700)
    assert len(seen) == 4
    assert len(federated.registry.records) <= 6


async def test_a_superlink_that_lost_its_state(federated: Federated) -> None:
    """By itself, within a resync period, and with the same key: the pod need not know."""
    await federated.begun()
    key = federated.mounted["supernode.key"]
    federated.registry.forget()
    await federated.operator.advance(SECONDS)
    federated.assert_in_order()
    assert federated.mounted["supernode.key"] == key


async def test_a_superlink_that_is_away(federated: Federated) -> None:
    """What is mounted stays, and the condition stays Ready: the SuperNode may well be connected."""
    await federated.begun()
    federated.registry.failures.add("*", AWAY, times=None)
    await federated.operator.look()
    assert federated.told("Ready") == ("True", "Ready")
    assert federated.mounted["supernode.key"]


async def test_a_superlink_that_is_away_at_first(federated: Federated) -> None:
    """The condition says what it waits for, and nothing is mounted."""
    federated.registry.failures.add("*", AWAY, times=None)
    federated.bot()
    federated.pod()
    await federated.operator.advance(30)
    assert federated.told("Ready") == ("False", "BackendUnavailable")
    assert federated.mounted == {}
    federated.registry.failures.clear()
    await federated.operator.advance(120)
    federated.assert_in_order()


async def test_two_identities_at_one_superlink(federated: Federated) -> None:
    """They share the connection and nothing else."""
    await federated.begun()
    spec = federated.operator.cluster.bodies[POD]["spec"]
    federated.operator.cluster.apply(POD_IDENTITY, NAMESPACE, "other", spec)
    await federated.operator.advance(30)
    other = int(federated.operator.status(POD_IDENTITY, "other")["nodeId"])
    assert len(federated.operator.world.super_links) == 1
    assert len({node.public_key for node in federated.registry.records.values()}) == 2
    federated.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")
    await federated.operator.advance(30)
    assert federated.good == [other]


@pytest.mark.parametrize("number", range(22))
async def test_a_crash_while_it_is_made(federated: Federated, number: int) -> None:
    """One node comes out, wherever the process ends."""

    def make() -> None:
        federated.bot()
        federated.pod()

    await with_crashes(federated, number, make)
    federated.assert_in_order()


@pytest.mark.parametrize("number", range(14))
async def test_a_crash_in_a_rotation(federated: Federated, number: int) -> None:
    """What is mounted is good at every instant."""
    await federated.begun()
    await with_crashes(federated, number, lambda: federated.pod(annotations={"fedid.io/rotate": "all"}))
    federated.assert_in_order()
    assert len(federated.registry.records) == 2
