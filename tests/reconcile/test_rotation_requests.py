"""What a person asks for while an overlap runs is done when the overlap is over: not lost, and not next to a third."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.realm import SecretPolicy
from fedid.domain.resources import BOT_CLIENT
from fedid.engine import Priority
from fedid.errors import BackendUnavailableError
from tests.reconcile.small_operator import NAMESPACE, SmallOperator
from tests.reconcile.test_suspension import dies

SPEC = {
    "tokens": [
        {"name": "list", "type": "opaque", "lifetime": "1h", "overlap": "60s"},
        {"name": "jwt", "lifetime": "1h"},
    ],
    "secretRotation": {"overlap": "60s"},
}


async def asking(operator: SmallOperator, value: str) -> None:
    """Annotate the bot and run what is due."""
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", SPEC, annotations={"fedid.io/rotate": value})
    for key in operator.identities():
        operator.world.wake(key)
    await operator.settle()


async def rotated_once() -> SmallOperator:
    """Return a world in which everything of a bot was replaced a moment ago."""
    operator = SmallOperator()
    operator.provider.realm.secret_policy = SecretPolicy("two", timedelta(days=3650), timedelta(days=365))
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", SPEC)
    await operator.advance(10)
    await asking(operator, "all-1")
    assert handled(operator) == {"list": "all-1", "jwt": "all-1", "secret": "all-1"}
    return operator


def handled(operator: SmallOperator) -> dict[str, str]:
    """Return the values that were carried out."""
    status = operator.status(BOT_CLIENT, "trainer")
    found = {token["name"]: token.get("rotatedFor", "") for token in status["tokens"]}
    return {**found, "secret": status["secret"].get("rotatedFor", "")}


def versions(operator: SmallOperator) -> dict[str, int]:
    """Return the version of each token."""
    return {token["name"]: token["version"] for token in operator.status(BOT_CLIENT, "trainer")["tokens"]}


def secret(operator: SmallOperator) -> Any:
    """Return the secret in Keycloak."""
    (client,) = operator.provider.realm.clients.values()
    return client.secret


async def test_tokens_that_are_asked_for_during_an_overlap_are_made_after_it() -> None:
    """The opaque one once, and a second too early it is not told as done; a jwt need not wait."""
    operator = await rotated_once()
    before = versions(operator)
    await asking(operator, "token-2")
    await operator.advance(50)
    assert versions(operator) == {**before, "jwt": before["jwt"] + 1}
    assert (handled(operator)["list"], handled(operator)["jwt"]) == ("all-1", "token-2")
    await operator.advance(15)
    assert versions(operator) == {name: version + 1 for name, version in before.items()}
    assert handled(operator)["list"] == "token-2"
    await operator.advance(120)
    assert versions(operator)["jwt"] == before["jwt"] + 1
    assert versions(operator)["list"] == before["list"] + 2  # the second one is without the token before


async def test_a_secret_that_is_asked_for_during_an_overlap_is_replaced_right_after_it() -> None:
    """Not at the next look at the client, which may be minutes away."""
    operator = await rotated_once()
    before = secret(operator)
    await asking(operator, "secret-2")
    await operator.advance(50)
    assert secret(operator) == before
    await operator.advance(15)
    assert secret(operator) != before
    assert handled(operator)["secret"] == "secret-2"


async def test_an_ask_that_a_crash_cut_is_carried_out_to_its_end() -> None:
    """One token was made and not told; the other follows at once, and the first is not made again."""
    operator = await rotated_once()
    await operator.advance(70)
    before = versions(operator)
    cut = BackendUnavailableError("no answer", backend="vault")
    operator.store.failures.add("write", cut, when=lambda path: path.endswith("tokens/jwt"))
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", SPEC, annotations={"fedid.io/rotate": "token-2"})
    with pytest.raises(BackendUnavailableError):
        await operator.dispatch(ObjectKey(BOT_CLIENT, NAMESPACE, "trainer"), Priority.CHANGE)
    operator.restart()
    await operator.advance(10)
    assert {handled(operator)["list"], handled(operator)["jwt"]} == {"token-2"}
    assert versions(operator) == {name: version + 1 for name, version in before.items()}


async def test_an_overlap_whose_end_was_not_told_is_no_new_token() -> None:
    """The entry was written, and the token in it is the same: what is asked for then is still to be made."""
    operator = await rotated_once()
    before, bot = versions(operator), ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
    cut = BackendUnavailableError("no answer", backend="kubernetes")
    operator.cluster.failures.add("patch_status", cut, times=None)
    operator.clock.seconds += 61
    with pytest.raises(BackendUnavailableError):
        await operator.dispatch(bot, Priority.CHANGE)
    operator.cluster.failures.clear()
    operator.restart()
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", SPEC, annotations={"fedid.io/rotate": "token-2"})
    await operator.advance(10)
    assert {handled(operator)["list"], handled(operator)["jwt"]} == {"token-2"}
    assert versions(operator) == {"list": before["list"] + 2, "jwt": before["jwt"] + 1}


@pytest.mark.parametrize("authentication", [{"clientSecret": {}}, {"privateKeyJwt": {}}], ids=["secret", "key"])
async def test_what_was_asked_for_before_a_bot_was_made_is_no_reason_to_make_it_twice(
    authentication: dict[str, object],
) -> None:
    """Wherever its making is cut off: what nobody was told of yet is as new as anybody can ask for."""
    effects, cut = 0, True
    while cut:
        effects += 1
        operator = SmallOperator()
        operator.provider.realm.secret_policy = SecretPolicy("two", timedelta(days=3650), timedelta(days=365))
        spec = {**SPEC, "authentication": authentication}
        operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", spec, annotations={"fedid.io/rotate": "all-1"})
        cut = await dies(operator, effects)
        assert handled(operator) == {"list": "all-1", "jwt": "all-1", "secret": "all-1"}, effects
        (client,) = operator.provider.realm.clients.values()
        assert client.previous_secret is None, effects
        assert "previousEndsAt" not in operator.status(BOT_CLIENT, "trainer")["secret"], effects
        assert versions(operator)["list"] == 1, effects
    assert effects > 5, "it was cut off in a few places only"
