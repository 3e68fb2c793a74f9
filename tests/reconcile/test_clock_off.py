"""The operator's own clock is off: whether a token has expired is Keycloak's to tell."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fedid.domain.conditions import condition_of
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
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
