"""The operator's own clock is off: whether a token has expired is Keycloak's to tell, and what it said may be wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fedid.domain.conditions import condition_of
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from fedid.domain.super_node import NodeStatus
from tests.reconcile.federated import Federated
from tests.reconcile.small_operator import NAMESPACE, SmallOperator


@pytest.mark.parametrize("off", [timedelta(minutes=3), timedelta(minutes=-3)])
async def test_a_good_token_is_not_told_to_have_expired(off: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock of the machine shows, the pod identity of a bot with short tokens is Ready throughout."""
    operator = SmallOperator()
    right = operator.clock.now
    monkeypatch.setattr(operator.clock, "now", lambda: right() + off)  # the realm keeps the right one
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {"tokens": [{"name": "default", "lifetime": "20s"}]})
    spec = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": {"generic": {"files": {"t": "{token}"}}}}
    operator.cluster.apply(POD_IDENTITY, NAMESPACE, "pod", spec)
    await operator.advance(5)
    for _ in range(20):
        ready = condition_of(operator.status(POD_IDENTITY, "pod")["conditions"], "Ready")
        assert ready is not None
        assert ready["status"] == "True", ready["message"]
        await operator.advance(3)


@pytest.mark.parametrize("off", [timedelta(hours=2), timedelta(hours=-2)])
async def test_a_key_that_was_replaced_while_the_clock_was_off_ends_after_the_overlap(
    off: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted by a clock that did not jump: neither at once when it is right again, nor hours later."""
    federated = Federated()
    await federated.begun()
    (first,) = federated.good
    with monkeypatch.context() as wrong:
        right = federated.operator.clock.now
        wrong.setattr(federated.operator.clock, "now", lambda: right() + off)
        federated.pod(annotations={"fedid.io/rotate": "secret-1"})
        await federated.operator.advance(10)
    assert len(federated.good) == 2
    federated.registry.set_status(federated.good[1], NodeStatus.ONLINE)
    await federated.operator.look()
    await federated.operator.advance(45)
    assert first in federated.good, "its SuperNode may need it for the overlap"
    await federated.operator.advance(30)
    assert first not in federated.good
    federated.assert_in_order()
