"""What the composition root decides by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fedid.adapters.answer import Call
from fedid.adapters.kubernetes.failures import BACKEND as CLUSTER
from fedid.app import Operator
from fedid.domain.naming import ObjectKey
from fedid.engine import WorkQueue
from tests.reconcile.small_operator import NAMESPACE, SmallOperator


class _Parts:
    """Stands for collaborators that nothing here calls, and counts questions to the API server."""

    def __init__(self) -> None:
        self.asked = 0

    async def read(self, *_: object) -> None:
        """Answer that there is none."""
        self.asked += 1


@pytest.fixture
async def queue() -> WorkQueue[Any]:
    """A queue with one key that was parked on the API server for a minute."""
    queue: WorkQueue[Any] = WorkQueue(clock=lambda: 1.0)
    queue.parking.park("key", CLUSTER, since=0.0)
    queue.add_at("key", 60.0)
    return queue


@pytest.fixture
def parts() -> _Parts:
    """The collaborators."""
    return _Parts()


@pytest.fixture
def operator(queue: WorkQueue[Any], parts: _Parts) -> Operator:
    """The operator around that queue."""
    unused: Any = parts
    return Operator(unused, unused, queue, *[unused] * 7)


def _call(status: int | None) -> Call:
    return Call("kubernetes", "PATCH", status, None if status else "refused", 0.1)


@pytest.mark.parametrize("away", [None, 502, 503, 504])
async def test_what_waits_for_the_api_server_goes_on_when_it_answers_again(
    operator: Operator, queue: WorkQueue[Any], away: int | None
) -> None:
    """Not after the backoff of each key, which an outage makes long."""
    operator.note_cluster_call(_call(away))
    assert len(queue) == 0
    operator.note_cluster_call(_call(200))
    assert len(queue) == 1


@pytest.mark.parametrize("status", [200, 409, 500])
async def test_what_fails_while_the_api_server_answers_keeps_its_pause(
    operator: Operator, queue: WorkQueue[Any], status: int
) -> None:
    """A 500 is about one request: two of them in turn with good answers must make no hot loop."""
    for _ in range(3):
        operator.note_cluster_call(_call(status))
        operator.note_cluster_call(_call(200))
    assert len(queue) == 0


async def test_it_is_asked_for_only_while_it_is_away(operator: Operator, parts: _Parts) -> None:
    """In quiet times nothing is asked."""
    await operator.look_for_cluster()
    assert parts.asked == 0
    operator.note_cluster_call(_call(None))
    await operator.look_for_cluster()
    assert parts.asked == 1


async def test_a_listing_tells_of_approvals_that_came_and_went(queue: WorkQueue[Any], parts: _Parts) -> None:
    """Before the identities, and whoever an approval names is looked at: also if it is gone, and no other."""
    small = SmallOperator()
    unused: Any = parts
    every: Any = SimpleNamespace(watch_namespaces=())
    cluster: Any = small.cluster
    operator = Operator(every, small.world, queue, unused, unused, unused, unused, cluster, unused, unused)
    for name in ("trainer", "other"):
        small.cluster.apply("BotClient", NAMESPACE, name, {})
    key = ObjectKey("BotClient", NAMESPACE, "trainer")
    uid = small.cluster.bodies[key]["metadata"]["uid"]
    named = {"kind": "BotClient", "namespace": NAMESPACE, "name": "trainer", "uid": uid}
    await operator.relist()
    for change in ("made", "gone"):
        if change == "made":
            small.cluster.on_change = None
            small.cluster.apply("IdentityApproval", None, "yes", {"identity": named})
        else:
            small.cluster.delete("IdentityApproval", None, "yes")
        small.due.clear()
        await operator.relist()
        assert set(small.due) == {key}, change
        assert bool(small.world.directory.approvals_of(uid)) is (change == "made")
