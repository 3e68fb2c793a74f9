"""The finalizer that a hand took off an object that stays."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION_USER, FINALIZER, Body
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

IDENTITIES = [
    (BOT_CLIENT, "trainer", {"tokens": [{"name": "default", "lifetime": "10m"}]}),
    (FEDERATION_USER, "ana", {"username": "ana", "email": "ana@example.org"}),
]


def _take_off(operator: SmallOperator, kind: str, name: str) -> Body:
    """Take our finalizer off by hand, and return the object as it goes on."""
    body = operator.cluster.bodies[ObjectKey(kind, NAMESPACE, name)]
    body["metadata"]["finalizers"] = ["example.org/theirs"]
    operator.cluster._touch(body)  # noqa: SLF001 - what the API server would do after a patch
    return body


@pytest.mark.parametrize(("kind", "name", "spec"), IDENTITIES)
async def test_a_finalizer_that_a_hand_took_off_is_back_at_once(kind: str, name: str, spec: dict[str, Any]) -> None:
    """Until then the object could go without its end being proven."""
    operator = SmallOperator()
    operator.cluster.apply(kind, NAMESPACE, name, spec)
    await operator.advance(10)
    body = _take_off(operator, kind, name)
    await operator.advance(2)
    assert body["metadata"]["finalizers"] == ["example.org/theirs", FINALIZER]


async def test_the_one_that_we_take_off_ourselves_has_nothing_looked_at() -> None:
    """A bot that is suspended does without: nothing of it is left, and its own write tells nobody anything new."""
    kind, name, spec = IDENTITIES[0]
    operator = SmallOperator()
    operator.cluster.apply(kind, NAMESPACE, name, spec)
    await operator.advance(10)
    set_finalizers, woken = operator.cluster.set_finalizers, []

    async def note(body: Body, finalizers: tuple[str, ...]) -> Any:
        operator.due.pop(ObjectKey(kind, NAMESPACE, name), None)
        written = await set_finalizers(body, finalizers)
        woken.append(ObjectKey(kind, NAMESPACE, name) in operator.due)
        return written

    operator.cluster.set_finalizers = note  # type: ignore[method-assign]
    operator.cluster.apply(kind, NAMESPACE, name, {**spec, "suspend": True})
    await operator.advance(30)
    assert operator.cluster.bodies[ObjectKey(kind, NAMESPACE, name)]["metadata"]["finalizers"] == []
    assert woken == [False]
