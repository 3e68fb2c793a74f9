"""Keys of a SuperNode that leaked: all of them end, once, and another is made, whatever comes in between."""

from __future__ import annotations

import itertools

import pytest

from fedid.domain.resources import POD_IDENTITY
from tests.reconcile.federated import (
    AWAY,
    LEAKED,
    POD,
    SECONDS,
    VAULT_AWAY,
    Federated,
    with_crashes,
)
from tests.reconcile.small_operator import NAMESPACE
from tests.reconcile.test_receipts import receipts

EFFECTS = 15
"""Of a pass that ends two keys and makes another."""


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


async def test_a_leak_that_is_told_from_the_first_and_a_lost_answer(federated: Federated) -> None:
    """What is made after the annotation is not what it is about, however often it takes."""
    federated.bot()
    federated.pod(annotations=LEAKED)
    asked = itertools.count()
    federated.registry.failures.add("nodes", AWAY, when=lambda _target: next(asked) == 1)
    await federated.operator.advance(100)
    federated.assert_in_order()
    assert (len(federated.registry.records), receipts(federated.operator)) == (1, [])


async def test_a_leak_that_is_called_off_as_it_begins(federated: Federated) -> None:
    """Once it is told, it is carried out: a key of which that was said is not mounted again."""
    await federated.begun()
    leaked, written = federated.good, itertools.count()

    def called_off(_target: str) -> bool:
        if next(written) != 1:
            return False
        federated.pod(annotations={"fedid.io/revoke-now": ""})
        return True

    federated.operator.cluster.failures.add("patch_status", AWAY, when=called_off)
    federated.pod(annotations=LEAKED)
    await federated.operator.advance(60)
    federated.assert_in_order()
    assert federated.good != leaked
    assert federated.status["revokedNow"] == "leaked-1"
    federated.pod(annotations=LEAKED)
    after = federated.good
    await federated.operator.advance(SECONDS)
    assert federated.good == after, "the same value asks for nothing more"


async def test_a_leak_while_vault_is_away(federated: Federated) -> None:
    """The SuperLink is asked all the same; the proof waits for Vault, and another key does."""
    await federated.begun()
    federated.operator.store.failures.add("*", VAULT_AWAY, times=None)
    federated.pod(annotations=LEAKED)
    await federated.operator.advance(60)
    assert federated.good == []
    assert set(federated.mounted.values()) == {""}
    assert federated.status["revocation"]["waitingFor"] == "vault"
    assert receipts(federated.operator) == []
    federated.operator.store.failures.clear()
    await federated.operator.advance(120)
    federated.assert_in_order()
    assert [told["cause"] for told in receipts(federated.operator)] == ["RevokedNow"]


async def test_another_obstacle_is_told_while_it_waits(federated: Federated) -> None:
    """Not the one of before."""
    await federated.begun()
    federated.registry.failures.add("*", AWAY, times=None)
    federated.pod(annotations=LEAKED)
    await federated.operator.advance(30)
    assert AWAY.message in federated.message("Ready")
    wrong = {"superNode": {"superLink": {"url": "nonsense"}, "mountPath": "nonsense"}}
    spec = {**federated.operator.cluster.bodies[POD]["spec"], "platform": {"flower": wrong}}
    federated.operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec, annotations=LEAKED)
    federated.registry.failures.clear()
    await federated.operator.advance(SECONDS)
    assert federated.told("Ready") == ("False", "InvalidSpec")


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


@pytest.mark.parametrize("number", range(EFFECTS + 1))
async def test_a_crash_while_a_leaked_key_ends(federated: Federated, number: int) -> None:
    """It ends, is told so once, and one other key comes out."""
    await federated.begun()
    federated.pod(annotations={"fedid.io/rotate": "secret-1"})
    await federated.operator.advance(1)
    leaked = set(federated.good)
    assert len(leaked) == 2
    assert await with_crashes(federated, number, lambda: federated.pod(annotations=LEAKED)) == (number < EFFECTS)
    federated.assert_in_order()
    assert leaked.isdisjoint(federated.good)
    assert federated.status["revokedNow"] == "leaked-1"
    assert [told["cause"] for told in receipts(federated.operator)] == ["RevokedNow"]
    assert len(federated.registry.records) == 3
