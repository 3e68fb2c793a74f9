"""OpenFGA as a Federation names it: what is wrong with it is told and holds up nothing else, and it may move."""

from __future__ import annotations

import pytest

from fedid.domain.conditions import ConditionType
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, POD_IDENTITY
from tests.reconcile.grid import AWAY, BOT, LINK, OPENFGA, USER, Grid
from tests.reconcile.small_operator import NAMESPACE


@pytest.mark.parametrize("what", ["no OpenFGA", "another store", "no store", "no model", "no key"])
async def test_what_is_wrong_with_openfga_is_told_and_holds_up_nothing_else(what: str) -> None:
    """The Federation and the SuperLink stay what they are beside that; mended, the members are let in."""
    grid = Grid()
    reasons = {"no OpenFGA": "FederationNotReady", "another store": "InvalidSpec", "no store": "StoreNotFound"}
    reasons |= {"no model": "ModelNotFound", "no key": "CredentialsMissing"}
    match what:
        case "no OpenFGA":
            grid.federate(openfga=None)
        case "another store":
            grid.federate(openfga={**OPENFGA, "storeId": "01JSTORE000000000000000001"})
        case "no store":
            grid.tuples.exists = False
        case "no model":
            grid.tuples.has_model = False
        case _:
            grid.federate(openfga={**OPENFGA, "auth": {"presharedKey": {"secretName": "missing"}}})
    grid.link()
    await grid.advance(20)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", reasons[what])
    assert grid.told(ConditionType.PUBLISHED) == ("True", "Published")
    federation = ObjectKey(FEDERATION, "", "local")
    assert grid.told(ConditionType.READY, federation) == ("True", "Ready")
    if what in {"no store", "no model", "no key"}:
        assert grid.told(ConditionType.OPENFGA_READY, federation) == ("False", reasons[what])
    if what == "no OpenFGA":
        assert grid.told(ConditionType.OPENFGA_READY, federation) is None
    assert grid.told(ConditionType.READY, BOT) == ("True", "Ready")
    grid.tuples.exists = grid.tuples.has_model = True
    grid.federate()
    await grid.advance(90)
    assert grid.users() == {grid.of(BOT), grid.of(USER)}
    assert grid.told(ConditionType.READY) == ("True", "Ready")


async def test_an_outage_changes_no_status_while_all_is_in_order() -> None:
    """Whoever is in stays in; only somebody who has to come or go is told to wait."""
    grid = await Grid.begun()
    grid.tuples.failures.add("*", AWAY, times=None)
    await grid.advance(1200)
    assert grid.told(ConditionType.OPENFGA_READY, ObjectKey(FEDERATION, "", "local")) == ("False", "BackendUnavailable")
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("True", "Synced")
    assert grid.told(ConditionType.READY) == ("True", "Ready")
    grid.bot(name="second")
    await grid.advance(60)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "BackendUnavailable")
    grid.tuples.failures.clear()
    await grid.advance(60)
    assert grid.told(ConditionType.READY) == ("True", "Ready")
    assert len(grid.users()) == 3


async def test_a_store_that_is_gone_has_nothing_to_take_away() -> None:
    """All that it held went with it: nothing waits for ever."""
    grid = await Grid.begun()
    grid.tuples.exists = False
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    grid.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await grid.advance(60)
    assert LINK not in grid.cluster.bodies
    assert BOT not in grid.cluster.bodies


async def test_what_was_written_elsewhere_holds_the_object() -> None:
    """Nobody can delete it there any more: the condition says what to put back."""
    grid = await Grid.begun()
    grid.federate(openfga={**OPENFGA, "storeId": "01JSTORE000000000000000001"})
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(60)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "FederationNotReady")
    assert "put it back in spec.openFga" in grid.condition(ConditionType.OPENFGA_SYNCED)["message"]
    grid.federate()
    await grid.advance(60)
    assert LINK not in grid.cluster.bodies
    assert grid.users() == set()


async def test_a_server_that_moves_takes_its_stores_along() -> None:
    """At another address it is the same store; but that there is none, only the address of before can say."""
    grid = await Grid.begun()
    grid.federate(openfga={**OPENFGA, "url": "https://another"})
    await grid.advance(20)
    assert grid.status(POD_IDENTITY, "superlink")["openFga"]["url"] == "https://another"
    assert grid.told(ConditionType.READY) == ("True", "Ready")
    assert len(grid.tuples.writes) == 2
    grid.federate(openfga={**OPENFGA, "url": "https://elsewhere"})
    grid.tuples.exists = False
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(60)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "StoreNotFound")
    grid.federate(openfga={**OPENFGA, "url": "https://another"})
    await grid.advance(60)
    assert LINK not in grid.cluster.bodies
