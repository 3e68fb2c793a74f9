"""SuperNodes of a SuperLink with accounts: only the account that registered one can end it."""

from __future__ import annotations

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from tests.reconcile.federated import (
    AWAY,
    LEAKED,
    PATH,
    POD,
    TOKENS,
    URL,
    VAULT_AWAY,
    Federated,
    with_account,
)
from tests.reconcile.small_operator import NAMESPACE
from tests.reconcile.test_receipts import receipts


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
        federated.bot(tokens=TOKENS, suspend=True)
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


@pytest.mark.parametrize("leaked", [True, False], ids=["leaked", "kept"])
async def test_another_account_of_the_bot_proves_nothing(federated: Federated, leaked: bool) -> None:  # noqa: FBT001
    """It is not shown the node of the former one, which is let in: a person has to end it, and is told so by id."""
    await with_account(federated)
    (former,) = federated.good
    federated.registry.failures.add("*", AWAY, times=None)
    if leaked:
        federated.pod(account="Bot", annotations=LEAKED)
        await federated.operator.advance(5)
    now = {"fedid.io/revoke-now": "account-1"}
    federated.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {"tokens": TOKENS}, annotations=now)
    await federated.operator.advance(120)
    federated.registry.failures.clear()
    await federated.operator.advance(300)
    assert former in federated.good
    told = [one for one in receipts(federated.operator) if one["object"]["kind"] == POD_IDENTITY]
    assert [one.get("provenAt") for one in told] == [None]
    assert any(str(former) in note for note in told[0]["remains"]["notes"])
    assert federated.told("Ready") == ("True", "Ready")
    assert federated.status["nodeId"] != str(former)


async def test_a_suspended_bot_whose_account_is_gone(federated: Federated) -> None:
    """The end does not wait for what cannot come."""
    await with_account(federated)
    (former,) = federated.good
    federated.registry.failures.add("*", AWAY, times=None)
    federated.bot(tokens=TOKENS, suspend=True)
    await federated.operator.advance(60)
    federated.registry.failures.clear()
    await federated.operator.advance(300)
    assert federated.told("Revoked") == ("False", "ManualRevocationRequired")
    assert str(former) in federated.message("Revoked")
    assert PATH not in federated.operator.store.entries


async def test_a_bot_without_its_token_for_a_moment(federated: Federated) -> None:
    """The account is there, so its next token is waited for."""
    await with_account(federated)
    federated.operator.store.failures.add("read", VAULT_AWAY, times=3)
    federated.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")
    await federated.operator.advance(120)
    federated.assert_nothing_left()
    assert POD not in federated.operator.cluster.bodies
