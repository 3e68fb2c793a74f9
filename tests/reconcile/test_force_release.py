"""An end that cannot be proven is given up where somebody who may says so, and what may stay behind is told."""

from __future__ import annotations

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION_USER
from fedid.errors import BackendUnavailableError
from fedid.reconcile.force_release import FORCE_RELEASE
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

TOKENS = {"tokens": [{"name": "default"}]}
BOT = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
AWAY = BackendUnavailableError("keycloak did not answer; check its health.", backend="keycloak")


@pytest.fixture
async def operator() -> SmallOperator:
    """A bot whose deletion waits for Keycloak."""
    made = SmallOperator()
    made.world.force_release = True
    made.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", TOKENS)
    await made.settle()
    assert made.status(BOT_CLIENT, "trainer")["clientUuid"]
    made.provider.failures.add("*", AWAY, times=None)
    made.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await made.advance(60)
    assert BOT in made.cluster.bodies
    return made


def annotate(operator: SmallOperator, why: str) -> None:
    """Let somebody who may do that give the bot up."""
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", TOKENS, annotations={FORCE_RELEASE: why})


async def test_what_may_stay_behind_is_told(operator: SmallOperator) -> None:
    """Why it was given up, what it waited for, the client and the paths; never a credential."""
    status = operator.cluster.bodies[BOT]["status"]
    data = [operator.store.data_of(path) for path in operator.store.entries]
    credentials = {entry[name] for entry in data for name in ("token", "client_secret") if name in entry}
    assert credentials
    annotate(operator, "FL-31: gone\nfor good" + "x" * 500)
    await operator.advance(120)
    assert BOT not in operator.cluster.bodies
    (event,) = [one for one in operator.cluster.events if one.reason == "ForceReleased"]
    path = status["tokens"][0]["vaultPath"]
    for part in ("FL-31: gonefor good", "keycloak did not answer", status["clientUuid"], path):
        assert part in event.message
    assert "x" * 300 not in event.message
    (line,) = [one for one in operator.audited if one["step"] == "ForceRelease"]
    assert line["object"] == str(BOT)
    assert line["waited_for"] == "BackendUnavailable"
    assert not [one for one in credentials if one in f"{event.message} {line}"]


async def test_one_that_was_never_ready_is_let_go_for_good() -> None:
    """Nobody goes on ending it from memory, as if it had gone under our hands."""
    made = SmallOperator()
    made.world.force_release = True
    made.provider.failures.add("mint", AWAY, times=None)
    made.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", TOKENS)
    await made.advance(20)
    made.provider.failures.add("*", AWAY, times=None)
    made.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    annotate(made, "FL-31")
    await made.advance(120)
    assert BOT not in made.cluster.bodies
    told = [one["step"] for one in made.audited]
    assert "ForceRelease" in told
    assert "Departed" not in told


async def test_nobody_checks_who_asks(operator: SmallOperator) -> None:
    """Then nothing is given up."""
    operator.world.force_release = False
    annotate(operator, "please")
    await operator.advance(600)
    assert BOT in operator.cluster.bodies


@pytest.mark.parametrize("why", ["", " \n"])
async def test_without_a_reason_nothing_is_given_up(operator: SmallOperator, why: str) -> None:
    """Whoever reads the audit has to know why."""
    annotate(operator, why)
    await operator.advance(600)
    assert BOT in operator.cluster.bodies


async def test_what_can_be_proven_is(operator: SmallOperator) -> None:
    """The annotation alone ends nothing early: with Keycloak back, the proof is told as ever."""
    operator.provider.failures.clear()
    annotate(operator, "too late")
    await operator.advance(120)
    assert BOT not in operator.cluster.bodies
    reasons = {one.reason for one in operator.cluster.events}
    assert "RevocationProven" in reasons
    assert "ForceReleased" not in reasons


async def test_what_is_not_deleted_is_not_given_up() -> None:
    """Whatever is the matter with it."""
    operator = SmallOperator()
    operator.world.force_release = True
    operator.cluster.apply(
        FEDERATION_USER, NAMESPACE, "ana", {"username": "ana", "groups": ["/none"]}, annotations={FORCE_RELEASE: "x"}
    )
    await operator.advance(60)
    assert ObjectKey(FEDERATION_USER, NAMESPACE, "ana") in operator.cluster.bodies
    assert "ForceReleased" not in {one.reason for one in operator.cluster.events}
