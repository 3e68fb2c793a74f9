"""A PodIdentity that is a SuperNode: made, replaced, withdrawn, deleted; on the fakes, with a crash at every step."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest

from fedid.domain.conditions import condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FINALIZER, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeStatus
from fedid.errors import BackendUnavailableError
from tests.fakes.failures import Failures
from tests.fakes.node_registry import FakeNodeRegistry
from tests.reconcile.small_operator import NAMESPACE, SmallOperator
from tests.reconcile.test_receipts import receipts

URL = "https://superlink.example.org:8000"
POD = ObjectKey(POD_IDENTITY, NAMESPACE, "trainer")
PATH = f"fedid/{NAMESPACE}/pods/trainer/keys/supernode"
AWAY = BackendUnavailableError("the SuperLink is away", backend="superlink")
LEAKED = {"fedid.io/revoke-now": "leaked-1"}
SECONDS = 1300.0
"""Longer than a resync, an overlap and the patience with a SuperNode together."""


class Crash(BaseException):
    """The process ends here."""


class Federated:
    """The operator with a Federation that grants a SuperLink, a bot, and a PodIdentity that is a SuperNode."""

    def __init__(self) -> None:
        """Apply the Federation, and nothing else yet."""
        self.operator = SmallOperator()
        self.registry = self.operator.super_links[URL] = FakeNodeRegistry()
        self.grant(URL)

    def grant(self, *urls: str) -> None:
        """Let the namespace register SuperNodes at these addresses, and no others."""
        rule = {"namespaces": {"names": [NAMESPACE]}, "superlinkUrls": list(urls)}
        spec = self.operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        self.operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": [rule]})

    def bot(self, **spec: Any) -> None:
        """Apply the bot."""
        self.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", spec)

    def pod(self, *, annotations: dict[str, str] | None = None, account: str = "None", **node: Any) -> None:
        """Apply the PodIdentity."""
        block = {"superLink": {"url": URL, "account": account}, "rotation": {"overlap": "1m"}, **node}
        spec = {
            "role": "client",
            "botClientRef": {"name": "trainer"},
            "platform": {"flower": {"superNode": block}},
        }
        self.operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec, annotations=annotations)

    async def begun(self) -> None:
        """Make both and let them become Ready."""
        self.bot()
        self.pod()
        await self.operator.advance(30)
        assert self.told("Ready") == ("True", "Ready")

    @property
    def status(self) -> dict[str, Any]:
        """The PodIdentity's."""
        return self.operator.status(POD_IDENTITY, "trainer")

    def told(self, about: str) -> tuple[str, str] | None:
        """Return status and reason of a condition."""
        found = condition_of(self.status.get("conditions") or (), about)  # type: ignore[arg-type]
        return (found["status"], found["reason"]) if found is not None else None

    def message(self, about: str) -> str:
        """Return what a condition says."""
        found = condition_of(self.status["conditions"], about)  # type: ignore[arg-type]
        return found["message"] if found is not None else ""

    @property
    def mounted(self) -> dict[str, str]:
        """What the Secret holds; empty if there is none."""
        secret = self.operator.cluster.secrets.get((NAMESPACE, "trainer"))
        return {key: value.reveal() for key, value in secret.data.items()} if secret is not None else {}

    @property
    def good(self) -> list[int]:
        """Ids of the nodes that are let in."""
        return [node.node_id for node in self.registry.records.values() if not node.ended]

    @property
    def proofs(self) -> list[str]:
        """Events that tell a proof."""
        return [event.message for event in self.operator.cluster.events if event.reason == "RevocationProven"]

    def failures(self) -> list[Failures]:
        """Return what can fail."""
        operator = self.operator
        return [operator.cluster.failures, operator.store.failures, self.registry.failures]

    def assert_in_order(self) -> None:
        """See one node, and the Secret, Vault and the status of one mind about it."""
        assert self.told("Ready") == ("True", "Ready"), self.status
        (node,) = [node for node in self.registry.records.values() if not node.ended]
        assert self.status["nodeId"] == str(node.node_id)
        assert self.status["superNode"]["keyId"] == node.key_id
        entry = self.operator.store.data_of(PATH)
        assert entry["private_key"] == self.mounted["supernode.key"]
        assert entry["key_id"] == node.key_id
        assert "pending_private_key" not in entry

    def assert_nothing_left(self) -> None:
        """See nothing that is let in, and nothing in Vault."""
        assert self.good == []
        assert PATH not in self.operator.store.entries


@pytest.fixture
def federated() -> Federated:
    """One that was not begun."""
    return Federated()


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


async def test_a_key_that_leaked(federated: Federated) -> None:
    """Both keys of a rotation under way end at once, with a receipt; another one is made in the same pass, once."""
    await federated.begun()
    federated.pod(annotations={"fedid.io/rotate": "secret-1"})
    await federated.operator.advance(1)
    leaked = set(federated.good)
    assert len(leaked) == 2
    federated.pod(annotations=LEAKED)
    await federated.operator.advance(1)
    federated.assert_in_order()
    assert leaked.isdisjoint(federated.good)
    assert federated.status["revokedNow"] == "leaked-1"
    assert "revocation" not in federated.status
    assert [told["cause"] for told in receipts(federated.operator)] == ["RevokedNow"]
    after = federated.good
    await federated.operator.advance(SECONDS)
    assert federated.good == after, "one annotation, one end"


async def test_a_leak_that_is_told_from_the_first(federated: Federated) -> None:
    """There is nothing to end, and nothing is, later."""
    federated.bot()
    federated.pod(annotations=LEAKED)
    await federated.operator.advance(30)
    federated.assert_in_order()
    assert (federated.status["revokedNow"], receipts(federated.operator)) == ("leaked-1", [])
    before = federated.good
    await federated.operator.look()
    assert federated.good == before


async def test_a_leak_and_a_deletion_in_the_midst(federated: Federated) -> None:
    """No other key is made for what is to go."""
    await federated.begun()

    def delete(_target: str) -> bool:
        federated.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")
        return False

    federated.operator.store.failures.add("destroy", AWAY, when=delete)
    federated.pod(annotations=LEAKED)
    await federated.operator.advance(5)
    federated.operator.store.failures.clear()
    await federated.operator.advance(60)
    federated.assert_nothing_left()
    assert POD not in federated.operator.cluster.bodies
    assert len(federated.registry.records) == 1


async def test_a_leak_while_the_superlink_is_away(federated: Federated) -> None:
    """No pod gets at the key any more; what was begun is finished, also if nobody asks for it by then."""
    await federated.begun()
    leaked = federated.good
    federated.registry.failures.add("*", AWAY, times=None)
    federated.pod(annotations=LEAKED)
    await federated.operator.advance(30)
    assert set(federated.mounted.values()) == {""}
    assert federated.told("Revoked") == ("False", "BackendUnavailable")
    assert federated.told("Ready") == ("False", "BackendUnavailable")
    federated.pod(annotations={"fedid.io/revoke-now": ""})
    federated.registry.failures.clear()
    await federated.operator.advance(120)
    federated.assert_in_order()
    assert federated.good != leaked
    assert [told["cause"] for told in receipts(federated.operator)] == ["RevokedNow"]


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


class Accounts(dict[str, str]):
    """Takes every token that the realm takes; so a SuperLink with account authentication does."""

    def __init__(self, federated: Federated) -> None:
        """Ask this realm."""
        super().__init__()
        self._realm = federated.operator.provider.realm

    def get(self, token: str, default: Any = None) -> Any:
        """Return whose it is."""
        claims = self._realm.tokens.get(token)
        return claims.subject if claims is not None and self._realm.accepts(Sensitive(token)) else default


async def with_account(federated: Federated) -> None:
    """Make a SuperNode that is owned by the bot's account."""
    federated.registry.accounts = Accounts(federated)
    federated.bot(tokens=[{"name": "default", "lifetime": "1h"}])
    federated.pod(account="Bot")
    await federated.operator.advance(30)
    federated.assert_in_order()


async def test_an_account(federated: Federated) -> None:
    """Where the SuperLink has accounts, the bot's own token is presented, the one that is published now."""
    await with_account(federated)
    assert len({node.owner for node in federated.registry.records.values()}) == 1
    federated.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")
    await federated.operator.advance(30)
    federated.assert_nothing_left()


@pytest.mark.parametrize("how", ["suspended", "deleted", "both deleted"])
async def test_a_bot_waits_for_the_nodes_of_its_account(federated: Federated, how: str) -> None:
    """Nobody else could end them: its token is revoked only after the SuperLink was asked with it."""
    await with_account(federated)
    if how == "suspended":
        federated.bot(tokens=[{"name": "default", "lifetime": "1h"}], suspend=True)
    else:
        federated.operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    if how == "both deleted":
        federated.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")
    await federated.operator.advance(10)
    federated.assert_nothing_left()
    assert any("lists node" in proof for proof in federated.proofs)
    assert (how == "suspended") == (ObjectKey(BOT_CLIENT, NAMESPACE, "trainer") in federated.operator.cluster.bodies)


async def test_a_bot_waits_no_longer_than_a_moment(federated: Federated) -> None:
    """A SuperLink that is away holds up no revocation; what it leaves behind is told, by id."""
    await with_account(federated)
    node_id = federated.status["nodeId"]
    federated.registry.failures.add("*", AWAY, times=None)
    federated.operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await federated.operator.advance(12)
    assert ObjectKey(BOT_CLIENT, NAMESPACE, "trainer") in federated.operator.cluster.bodies
    await federated.operator.advance(18)
    assert ObjectKey(BOT_CLIENT, NAMESPACE, "trainer") not in federated.operator.cluster.bodies
    assert federated.told("Revoked") == ("False", "BackendUnavailable")
    federated.registry.failures.clear()
    await federated.operator.advance(120)
    assert federated.told("Revoked") == ("False", "ManualRevocationRequired")
    assert f"node {node_id} at the SuperLink {URL}" in federated.message("Revoked")
    assert PATH not in federated.operator.store.entries
    federated.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")
    await federated.operator.advance(5)
    assert POD not in federated.operator.cluster.bodies


async def test_an_account_without_a_token(federated: Federated) -> None:
    """The condition says what the bot lacks."""
    federated.bot()
    federated.pod(account="Bot")
    await federated.operator.advance(30)
    assert federated.told("Ready") == ("False", "TokenMissing")


async def _with_crashes(federated: Federated, number: int, act: Any) -> bool:
    """Do something and let the process end after so many effects, from 0; False if there were fewer."""
    counter = itertools.count()

    def due(_target: str) -> bool:
        return next(counter) == number

    for failures in federated.failures():
        failures.add("*", Crash(), at="after", when=due)  # type: ignore[arg-type]
    act()
    with contextlib.suppress(Crash):
        await federated.operator.advance(SECONDS)
    for failures in federated.failures():
        failures.clear()
    crashed = next(counter) > number
    if crashed:
        federated.operator.restart()
    await federated.operator.advance(SECONDS)
    return crashed


@pytest.mark.parametrize("number", range(22))
async def test_a_crash_while_it_is_made(federated: Federated, number: int) -> None:
    """One node comes out, wherever the process ends."""

    def make() -> None:
        federated.bot()
        federated.pod()

    await _with_crashes(federated, number, make)
    federated.assert_in_order()


@pytest.mark.parametrize("number", range(14))
async def test_a_crash_in_a_rotation(federated: Federated, number: int) -> None:
    """What is mounted is good at every instant."""
    await federated.begun()
    await _with_crashes(federated, number, lambda: federated.pod(annotations={"fedid.io/rotate": "all"}))
    federated.assert_in_order()
    assert len(federated.registry.records) == 2


@pytest.mark.parametrize("number", range(15))
async def test_a_crash_while_a_leaked_key_ends(federated: Federated, number: int) -> None:
    """It ends, is told so once, and one other key comes out."""
    await federated.begun()
    leaked = federated.good
    assert await _with_crashes(federated, number, lambda: federated.pod(annotations=LEAKED)) == (number < 14)
    federated.assert_in_order()
    assert federated.good != leaked
    assert federated.status["revokedNow"] == "leaked-1"
    assert [told["cause"] for told in receipts(federated.operator)] == ["RevokedNow"]
    assert len(federated.registry.records) == 2


@pytest.mark.parametrize("number", range(15))
async def test_a_crash_in_a_withdrawal(federated: Federated, number: int) -> None:
    """Nothing is left, and the proof is told, wherever the process ends."""
    await federated.begun()
    await _with_crashes(federated, number, lambda: federated.bot(suspend=True))
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

    await _with_crashes(federated, number, delete)
    federated.assert_nothing_left()
    assert POD not in federated.operator.cluster.bodies
    assert federated.proofs
