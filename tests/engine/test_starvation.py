"""What could be in the way of a deletion, and is not: a long queue, busy workers, few places, a shared call."""

from __future__ import annotations

import asyncio

import pytest

from fedid.engine.asks import Priority
from fedid.engine.limiter import AdaptiveLimiter, LimiterBounds
from fedid.engine.single_flight import SingleFlight
from fedid.engine.urgency import is_urgent, urgency
from fedid.engine.work_queue import WorkQueue
from fedid.engine.workers import Outcome, Retry, RetryPolicy, Workers

from .virtual_time import in_virtual_time, settle

CHANGES = 5_000
CALLS, CALL_SECONDS = 8, 0.05
WORKERS, RESERVED = 16, 2


class Backend:
    """Answers each call after 50 ms, and takes as many at a time as its limit says."""

    def __init__(self, limit: int) -> None:
        """Take so many calls at a time."""
        self.limiter = AdaptiveLimiter(LimiterBounds(minimum=1, initial=limit, maximum=limit))

    async def call(self) -> None:
        """Wait for a place, and for the answer."""
        async with self.limiter.slot():
            await asyncio.sleep(CALL_SECONDS)


class Shop:
    """Workers whose passes make eight calls each."""

    def __init__(self, backend: Backend) -> None:
        """Start them on an empty queue."""
        self.queue: WorkQueue[str] = WorkQueue()
        self.ended: dict[str, float] = {}
        self._awaited: set[str] = set()
        self._over = asyncio.Event()
        self._backend = backend
        policy = RetryPolicy(lambda _: Retry(is_bug=True))
        self.workers = Workers(self.queue, self._process, policy, lambda _: None, count=WORKERS, reserved=RESERVED)
        self.workers.start()

    async def _process(self, key: str, _: Priority) -> Outcome:
        for _call in range(CALLS):
            await self._backend.call()
        self.ended[key] = self.queue.now()
        if self._awaited and self._awaited <= self.ended.keys():
            self._over.set()
        return Outcome()

    async def until(self, *keys: str) -> None:
        """Wait until the passes over all of these have ended."""
        self._awaited = set(keys)
        await self._over.wait()


@pytest.mark.parametrize("limit", [1, 2, 4, 8, 32])
def test_a_deletion_waits_for_one_call_of_others_at_a_time(limit: int) -> None:
    """Behind 5,000 changes a deletion takes at most twice as long as alone, however little the backend takes."""

    @in_virtual_time
    async def scenario() -> None:
        shop = Shop(Backend(limit))
        for number in range(CHANGES):
            shop.queue.add(f"change-{number}")
        await asyncio.sleep(10.0)  # all workers are in the middle of something

        asked = shop.queue.now()
        shop.queue.add("deletion", Priority.DELETION)
        await shop.until("deletion")

        alone = CALLS * CALL_SECONDS
        assert shop.ended["deletion"] - asked <= 2 * alone + CALL_SECONDS
        assert len(shop.ended) < CHANGES  # or nothing was in its way
        await shop.workers.stop(0)

    scenario()


@in_virtual_time
async def test_many_deletions_take_as_long_as_without_the_changes() -> None:
    """Two hundred of them use the backend wholly, as soon as the passes under way have ended."""
    limit, names = 4, [f"deletion-{number}" for number in range(200)]
    shop = Shop(Backend(limit))
    for number in range(CHANGES):
        shop.queue.add(f"change-{number}")
    await asyncio.sleep(10.0)

    asked = shop.queue.now()
    for name in names:
        shop.queue.add(name, Priority.DELETION)
    await shop.until(*names)

    alone = len(names) * CALLS * CALL_SECONDS / limit
    assert max(shop.ended[name] for name in names) - asked <= 1.1 * alone
    await shop.workers.stop(0)


@in_virtual_time
async def test_the_reserve_takes_nothing_else() -> None:
    """Changes never fill the reserve, and a deletion finds it while every other worker waits for ever."""
    queue: WorkQueue[str] = WorkQueue()
    begun: list[str] = []

    async def process(key: str, _: Priority) -> Outcome:
        begun.append(key)
        await asyncio.Event().wait()
        return Outcome()

    workers = Workers(queue, process, RetryPolicy(lambda _: Retry()), lambda _: None, count=2, reserved=1)
    workers.start()
    for name in "abcd":
        queue.add(name)
    await settle()
    assert begun == ["a", "b"]
    queue.add_at("later", queue.now() + 1.0, Priority.DELETION)  # by the timer
    await asyncio.sleep(2.0)
    assert begun == ["a", "b", "later"]
    await workers.stop(0)


@in_virtual_time
async def test_a_deletion_that_a_cancelled_worker_was_woken_for_reaches_the_reserve() -> None:
    """The announcement is passed on to who may take it."""
    queue: WorkQueue[str] = WorkQueue()
    general = asyncio.create_task(queue.get())
    reserve = asyncio.create_task(queue.get(only_deletions=True))
    await settle()
    queue.add("gone", Priority.DELETION)
    general.cancel()
    await settle()
    assert (await reserve).key == "gone"


@in_virtual_time
async def test_urgent_callers_get_the_next_slot_and_keep_their_own_order() -> None:
    """Before all who came earlier, and after the urgent ones who did."""
    limiter = AdaptiveLimiter(LimiterBounds(1, 1, 1))
    order: list[str] = []

    async def request(name: str, *, urgent: bool) -> None:
        with urgency(urgent):
            async with limiter.slot():
                order.append(name)
                await asyncio.sleep(1)

    asked = [("first", False), ("second", False), ("urgent", True), ("third", False), ("urgent too", True)]
    tasks = [asyncio.create_task(request(name, urgent=urgent)) for name, urgent in asked]
    await settle()
    assert limiter.waiting == 4
    await asyncio.gather(*tasks)
    assert order == ["first", "urgent", "urgent too", "second", "third"]


@in_virtual_time
async def test_a_shared_call_is_urgent_since_a_deletion_may_join_it() -> None:
    """A login that a change began does not hold up a deletion that needs it too."""
    flights: SingleFlight[str, bool] = SingleFlight()

    async def login() -> bool:
        await asyncio.sleep(1)
        return is_urgent()

    assert not is_urgent()
    assert await flights.run("token", login)
    assert not is_urgent()


def test_urgency_ends_with_its_context() -> None:
    """Also where a pass raises."""
    with pytest.raises(KeyError), urgency(True):
        raise KeyError
    assert not is_urgent()
