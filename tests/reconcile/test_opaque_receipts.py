"""An opaque token that has ended leaves a receipt once no server takes it any more, and not before."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.resources import BOT_CLIENT
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendRejectedError, BackendUnavailableError
from tests.reconcile.small_operator import NAMESPACE, SmallOperator
from tests.reconcile.test_receipts import receipts
from tests.reconcile.test_servers import BOT, LABELS, TOKEN, Loop

OVERLAP = 300


def mark(token: str) -> str:
    """Return what a status tells of a token."""
    return Sensitive(token).fingerprint()


def ending(operator: SmallOperator) -> list[Any]:
    """Return the fingerprints of what is still on its way out."""
    return [one["fingerprint"] for one in operator.status(BOT_CLIENT, "trainer").get("endingTokens") or ()]


async def test_a_rotation_leaves_one_when_the_lists_are_without_the_former() -> None:
    """It names the token by its fingerprint, and each list that was seen without it."""
    loop = await Loop().begun()
    former = loop.presented()
    loop.rotate("token-1")
    await loop.advance(OVERLAP - 50)
    assert former in loop.taken()
    assert receipts(loop) == []
    await loop.advance(100)
    assert former not in loop.taken()
    (found,) = receipts(loop)
    assert found["cause"] == "Rotated"
    (evidence,) = found["evidence"]
    assert evidence["credential"] == f"opaque token list ({mark(former)})"
    assert evidence["presentedTo"] == "list of PodIdentity/site-a/aggregator"
    assert ending(loop) == []
    assert former not in str(loop.cluster.bodies)


async def test_a_server_that_keeps_it_holds_up_the_receipt_and_nothing_else() -> None:
    """What is on its way out stays in the status, also when the next one follows it."""
    loop = await Loop().begun()
    former = loop.presented()
    loop.rotate("token-1")
    await loop.advance(OVERLAP - 50)
    denied = BackendRejectedError("quota", backend="kubernetes")
    loop.cluster.failures.add("replace_secret", denied, times=None, when=lambda target: target.endswith("/aggregator"))
    await loop.advance(100)
    assert former in loop.taken()
    assert ending(loop) == [mark(former)]
    assert receipts(loop) == []
    loop.cluster.failures.clear()
    await loop.advance(700)
    assert [one["evidence"][0]["credential"] for one in receipts(loop)] == [f"opaque token list ({mark(former)})"]
    assert ending(loop) == []


async def test_pods_that_were_not_told_of_the_list_may_still_take_it() -> None:
    """The Secret is without it, and its files are not yet."""
    loop = await Loop().begun()
    former = loop.presented()
    loop.rotate("token-1")
    await loop.advance(OVERLAP - 50)
    loop.cluster.failures.add(
        "nudge_pod", BackendRejectedError("a webhook denies it", backend="kubernetes"), times=None
    )
    await loop.advance(100)
    assert former not in loop.taken()
    assert (ending(loop), receipts(loop)) == ([mark(former)], [])
    loop.cluster.failures.clear()
    await loop.advance(700)
    assert len(receipts(loop)) == 1


@pytest.mark.parametrize("at", ["before", "after"])
async def test_a_crash_at_the_receipt_leaves_one_all_the_same(at: str) -> None:
    """Vault has forgotten the token; the status tells of it until the receipt is there."""
    loop = await Loop().begun()
    loop.cluster.failures.add("create_receipt", BackendUnavailableError("cut", backend="kubernetes"), at=at)
    loop.rotate("token-1")
    await loop.advance(OVERLAP + 20)
    loop.restart()
    await loop.look()
    await loop.advance(60)
    assert len(receipts(loop)) == 1


async def test_one_that_goes_from_the_spec_leaves_one() -> None:
    """Whether a jwt takes its name or nothing does."""
    for tokens in ([{"name": "list", "lifetime": "10m"}], [{"name": "other", "lifetime": "10m"}]):
        loop = await Loop().begun()
        loop.watched = False
        former = loop.presented()
        loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {"tokens": tokens}, labels=LABELS)
        await loop.advance(60)
        assert loop.taken() == []
        (found,) = receipts(loop)
        assert found["evidence"][0]["credential"] == f"opaque token list ({mark(former)})"
        assert found["cause"] == ("Rotated" if tokens[0]["name"] == "list" else "Withdrawn")


async def test_one_that_no_server_takes_says_so() -> None:
    """Who else verifies it reads Vault, and cannot be asked."""
    operator = SmallOperator()
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", BOT)
    await operator.advance(5)
    rotate = {"fedid.io/rotate": "token-1"}
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {"tokens": [TOKEN]}, annotations=rotate)
    await operator.advance(OVERLAP + 20)
    (found,) = receipts(operator)
    assert found["evidence"][0]["presentedTo"] == "Vault"
    assert found["remains"]["notes"][0].startswith("no PodIdentity accepts it")
