"""When an object is looked at again though nothing happened."""

from __future__ import annotations

from datetime import timedelta

from fedid.domain.durations import spread
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION_USER
from tests.reconcile.small_operator import NAMESPACE, SmallOperator


async def test_what_was_looked_at_together_comes_back_one_after_the_other() -> None:
    """Each at the instant that follows from its uid, within the last tenth of the period.

    A bot for its credentials in Vault, a user only to be on the safe side: what is changed in Keycloak wakes them.
    """
    operator = SmallOperator()
    keys = [ObjectKey(FEDERATION_USER, NAMESPACE, f"user-{number}") for number in range(20)]
    keys += [ObjectKey(BOT_CLIENT, NAMESPACE, f"bot-{number}") for number in range(20)]
    for key in keys:
        operator.cluster.apply(key.kind, NAMESPACE, key.name, {"username": key.name} if "user" in key.name else {})
    await operator.settle()

    uids = {key: operator.cluster.bodies[key]["metadata"]["uid"] for key in keys}
    due = {key: operator.due[key] for key in keys}
    periods = {BOT_CLIENT: timedelta(minutes=10), FEDERATION_USER: timedelta(days=7)}
    assert due == {key: spread(periods[key.kind], uid).total_seconds() for key, uid in uids.items()}
    assert len(set(due.values())) == len(keys)
