"""The reconcilers under load: real queue, workers and limiter, a slow Keycloak in memory, and virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import MethodType

import pytest

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT
from fedid.engine import AdaptiveLimiter, LimiterBounds, Outcome, Priority, RetryPolicy, Workers, WorkQueue
from fedid.reconcile.dispatch import retry_for
from tests.engine.virtual_time import in_virtual_time
from tests.fakes.identity_provider import FakeIdentityProvider
from tests.reconcile.small_operator import NAMESPACE, Clock, SmallOperator

CHANGES = 5_000
CALL_SECONDS = 0.05
VICTIM = ObjectKey(BOT_CLIENT, NAMESPACE, "victim")


class LoopClock(Clock):
    """The operator's clocks, by the loop's time: nobody moves them."""

    @property
    def seconds(self) -> float:
        """Seconds since the loop's start."""
        return asyncio.get_running_loop().time()

    @seconds.setter
    def seconds(self, _: float) -> None:
        """Stay with the loop."""


class BusyOperator(SmallOperator):
    """A small operator whose passes are run by workers, as many at a time as in a cluster."""

    def __init__(self, limit: int, *, workers: int = 16, reserved: int = 2) -> None:
        """Start, with a Keycloak that takes so many calls at a time and 50 ms for each."""
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        super().__init__(LoopClock())
        self.limiter = AdaptiveLimiter(LimiterBounds(minimum=1, initial=limit, maximum=limit))
        slow_down(self.provider, self.limiter)
        self.workers = Workers(
            self.queue, self._run, RetryPolicy(retry_for), lambda _: None, count=workers, reserved=reserved
        )
        self.workers.start()

    async def _run(self, key: ObjectKey, priority: Priority) -> Outcome:
        return await self.dispatch(key, priority)

    def _wake(
        self, key: ObjectKey, priority: Priority = Priority.CHANGE, *, look: bool = True, at: float | None = None
    ) -> None:
        if look and at is None:
            self.world.freshness.expire(key)
        body = self.world.directory.get(key)
        if body is not None and "deletionTimestamp" in body["metadata"]:
            priority = Priority.DELETION  # as the watches have it
        if at is None:
            self.queue.add(key, priority)
        else:
            self.queue.add_at(key, at, priority)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait in virtual time, whose passing costs nothing."""
        while not holds():  # noqa: ASYNC110 - what holds is in the fakes, which tell nobody
            await asyncio.sleep(CALL_SECONDS / 5)


def slow_down(provider: FakeIdentityProvider, limiter: AdaptiveLimiter) -> None:
    """Have each call wait for a place, and then for the answer, as the transport does."""
    begin = provider._begin  # noqa: SLF001 - the one place where each of its calls begins

    async def slowly(_: FakeIdentityProvider, operation: str, target: str = "") -> None:
        async with limiter.slot():
            await asyncio.sleep(CALL_SECONDS)
        await begin(operation, target)

    provider._begin = MethodType(slowly, provider)  # type: ignore[method-assign]  # noqa: SLF001


def apply(operator: SmallOperator, name: str) -> None:
    """Apply a bot with one token."""
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, name, {"tokens": [{"name": "default"}]})


async def seconds_of_a_deletion(limit: int, changes: int) -> float:
    """Return how long a bot takes from its deletion to its proven end, with so many changes before it."""
    operator = BusyOperator(limit)
    apply(operator, VICTIM.name)
    await operator.until(lambda: is_ready(operator, VICTIM))
    for number in range(changes):
        apply(operator, f"bot-{number}")
    await asyncio.sleep(5.0)  # in the middle of them
    assert changes == 0 or operator.limiter.waiting > 0
    asked = operator.queue.now()
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, VICTIM.name)
    await operator.until(lambda: VICTIM not in operator.cluster.bodies)
    took = operator.queue.now() - asked
    assert changes == 0 or operator.queue.depth()[Priority.CHANGE] > changes / 2
    await operator.workers.stop(0)
    return took


def is_ready(operator: SmallOperator, key: ObjectKey) -> bool:
    """Tell whether the object says Ready."""
    ready = condition_of(operator.status(key.kind, key.name).get("conditions") or (), ConditionType.READY)
    return ready is not None and ready["status"] == "True"


@pytest.mark.parametrize("limit", [1, 8])
def test_a_deletion_behind_5000_changes_takes_at_most_twice_as_long(limit: int) -> None:
    """A Keycloak that takes little is shared by sixteen workers, and none of them is in the way."""

    @in_virtual_time
    async def scenario() -> None:
        alone, behind = [await seconds_of_a_deletion(limit, changes) for changes in (0, CHANGES)]
        assert behind <= 2 * alone + CALL_SECONDS

    scenario()
