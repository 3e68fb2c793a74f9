"""The end of a Federation: after that of its identities, which need it."""

from __future__ import annotations

from fedid.domain.resources import BOT_CLIENT, FEDERATION
from tests.reconcile.small_operator import NAMESPACE, SmallOperator


async def test_a_federation_that_goes_serves_its_identities_to_the_end() -> None:
    """Also one whose deletion began before a restart: their proof is to be had from its backends alone."""
    operator = SmallOperator()
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "last", {"tokens": [{"name": "default", "lifetime": "1h"}]})
    await operator.advance(10)
    operator.cluster.delete(FEDERATION, None, "local")
    await operator.advance(10)
    operator.restart()
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "last")
    await operator.advance(60)
    assert not operator.provider.realm.clients
    assert {key.kind for key in operator.cluster.bodies}.isdisjoint({BOT_CLIENT, FEDERATION})
