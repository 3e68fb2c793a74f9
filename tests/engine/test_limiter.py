"""Tests of the adaptive concurrency limit."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.engine.limiter import AdaptiveLimiter, LimiterBounds

from .virtual_time import HandClock, in_virtual_time, settle


async def held(limiter: AdaptiveLimiter, count: int) -> AsyncExitStack:
    """Take slots and keep them until the stack is closed."""
    stack = AsyncExitStack()
    for _ in range(count):
        await stack.enter_async_context(limiter.slot())
    return stack


@pytest.mark.parametrize(
    ("minimum", "initial", "maximum"),
    [
        pytest.param(0, 1, 1, id="a minimum of none would never find out that the backend recovered"),
        pytest.param(2, 1, 4, id="an initial limit below the minimum"),
        pytest.param(1, 5, 4, id="an initial limit above the maximum"),
    ],
)
def test_bounds_out_of_order_are_refused(minimum: int, initial: int, maximum: int) -> None:
    """Bounds that no limit can satisfy are refused when they are made."""
    with pytest.raises(ValueError, match="minimum <= initial <= maximum"):
        LimiterBounds(minimum, initial, maximum)


@in_virtual_time
async def test_no_more_slots_than_the_limit() -> None:
    """The limit is never exceeded by those who come, and everybody gets a slot in the end."""
    limiter = AdaptiveLimiter(LimiterBounds(initial=3))
    running = peak = finished = 0

    async def request() -> None:
        nonlocal running, peak, finished
        async with limiter.slot():
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(1)
            running -= 1
            finished += 1

    await asyncio.gather(*(request() for _ in range(20)))
    assert (peak, finished, limiter.in_use, limiter.waiting) == (3, 20, 0, 0)


@in_virtual_time
async def test_slots_go_first_come_first_served() -> None:
    """Who waits gets the next slot, also before a newcomer that asks right after it was given back."""
    limiter = AdaptiveLimiter(LimiterBounds(initial=1))
    stack = await held(limiter, 1)
    order: list[str] = []

    async def request(name: str) -> None:
        async with limiter.slot():
            order.append(name)

    waiting = [asyncio.create_task(request(name)) for name in ("first", "second")]
    await settle()
    assert limiter.waiting == 2
    await stack.aclose()
    # Called and not scheduled: it asks before the loop has run who was waiting.
    await request("newcomer")
    await asyncio.gather(*waiting)
    assert order == ["first", "second", "newcomer"]


@in_virtual_time
async def test_a_cancelled_waiter_leaves_the_row() -> None:
    """A caller that is cancelled while it waits takes no slot with it."""
    limiter = AdaptiveLimiter(LimiterBounds(initial=1))
    stack = await held(limiter, 1)
    waiting = [asyncio.create_task(held(limiter, 1)) for _ in range(2)]
    await settle()
    waiting[0].cancel()
    await stack.aclose()
    await settle()
    assert waiting[1].done()
    assert (limiter.in_use, limiter.waiting) == (1, 0)
    await (await waiting[1]).aclose()


@in_virtual_time
async def test_a_slot_that_reaches_a_cancelled_caller_is_passed_on() -> None:
    """A slot handed over in the same instant as the caller's cancellation goes to the next in the row."""
    limiter = AdaptiveLimiter(LimiterBounds(initial=1))
    stack = await held(limiter, 1)
    waiting = [asyncio.create_task(held(limiter, 1)) for _ in range(2)]
    await settle()
    await stack.aclose()
    waiting[0].cancel()
    await settle()
    assert waiting[0].cancelled()
    assert waiting[1].done()
    assert limiter.in_use == 1
    await (await waiting[1]).aclose()
    assert limiter.in_use == 0


@in_virtual_time
async def test_a_request_that_raises_gives_its_slot_back() -> None:
    """An exception inside the slot frees it."""
    limiter = AdaptiveLimiter()
    with pytest.raises(KeyError):
        async with limiter.slot():
            raise KeyError
    assert limiter.in_use == 0


@in_virtual_time
async def test_grows_by_one_per_successful_round() -> None:
    """As many successes as the limit allows at a time make it one larger, up to the maximum."""
    limiter = AdaptiveLimiter(LimiterBounds(initial=2, maximum=4))
    limits = []
    async with await held(limiter, 2):
        for _ in range(2):
            limiter.succeeded()
            limits.append(limiter.limit)
    async with await held(limiter, 3):
        for _ in range(3):
            limiter.succeeded()
            limits.append(limiter.limit)
    async with await held(limiter, 4):
        for _ in range(4):
            limiter.succeeded()
            limits.append(limiter.limit)
    assert limits == [2, 3, 3, 3, 4, 4, 4, 4, 4]


@in_virtual_time
async def test_does_not_grow_while_it_is_not_reached() -> None:
    """Successes of a backend with little to do are no evidence that it would take more."""
    limiter = AdaptiveLimiter(LimiterBounds(initial=2))
    for _ in range(50):
        async with limiter.slot():
            limiter.succeeded()
    assert limiter.limit == 2


@in_virtual_time
async def test_growth_lets_a_waiter_in_at_once() -> None:
    """The slot that a grown limit adds goes to who waits, without one being released."""
    limiter = AdaptiveLimiter(LimiterBounds(initial=1))
    stack = await held(limiter, 1)
    waiting = asyncio.create_task(held(limiter, 1))
    await settle()
    limiter.succeeded()
    await settle()
    assert waiting.done()
    assert (limiter.limit, limiter.in_use) == (2, 2)
    await stack.aclose()
    await (await waiting).aclose()


@in_virtual_time
async def test_a_halved_limit_is_reached_by_attrition() -> None:
    """After a halving nobody is let in until fewer slots are in use than the new limit."""
    limiter = AdaptiveLimiter(LimiterBounds(initial=4))
    stacks = [await held(limiter, 1) for _ in range(4)]
    limiter.overloaded()
    waiting = asyncio.create_task(held(limiter, 1))
    await settle()
    in_use = []
    for stack in stacks:
        await stack.aclose()
        await settle()
        in_use.append(limiter.in_use)
    assert limiter.limit == 2
    assert in_use == [3, 2, 2, 1]
    await (await waiting).aclose()


def test_halves_at_most_once_per_interval_and_never_below_the_minimum() -> None:
    """A burst of refusals of one round trip counts once; a later one counts again."""
    clock = HandClock()
    limiter = AdaptiveLimiter(LimiterBounds(minimum=3, initial=16, halving_interval_seconds=2.0), clock=clock)
    limits = []
    for clock.now in (0.0, 0.0, 1.9, 2.0, 4.0, 6.0):
        limiter.overloaded()
        limits.append(limiter.limit)
    assert limits == [8, 8, 8, 4, 3, 3]


def test_what_was_sent_before_a_halving_does_not_halve_again() -> None:
    """A timeout of a request that was sent under the former limit says nothing about the present one."""
    clock = HandClock(5.0)
    limiter = AdaptiveLimiter(LimiterBounds(initial=16), clock=clock)
    limiter.overloaded(sent_at=0.0)
    clock.now = 15.0
    limiter.overloaded(sent_at=4.9)
    assert limiter.limit == 8
    limiter.overloaded(sent_at=5.1)
    assert limiter.limit == 4


@in_virtual_time
async def test_the_slot_tells_when_it_was_got() -> None:
    """A slot yields the instant at which it was got, not the one at which it was asked for."""
    limiter = AdaptiveLimiter(LimiterBounds(initial=1))
    stack = await held(limiter, 1)

    async def got_at() -> float:
        async with limiter.slot() as sent_at:
            return sent_at

    waiting = asyncio.create_task(got_at())
    await asyncio.sleep(3)
    await stack.aclose()
    assert await waiting == 3.0


@in_virtual_time
async def test_a_halving_starts_a_new_round() -> None:
    """Successes from before a halving do not count towards the next growth."""
    limiter = AdaptiveLimiter(LimiterBounds(initial=4))
    async with await held(limiter, 4):
        for _ in range(3):
            limiter.succeeded()
        limiter.overloaded()
        limiter.succeeded()
        assert limiter.limit == 2
        limiter.succeeded()
        assert limiter.limit == 3


@given(st.lists(st.sampled_from(["start", "cancel", "ok", "overload", "advance"]), max_size=60))
def test_slots_are_never_lost(actions: list[str]) -> None:
    """Whatever happens in whatever order, the limit stays in its bounds and every slot comes back."""

    @in_virtual_time
    async def scenario() -> None:
        limiter = AdaptiveLimiter(LimiterBounds(1, 3, 5))
        tasks: list[asyncio.Task[None]] = []

        async def request() -> None:
            async with limiter.slot():
                assert limiter.in_use <= 5
                await asyncio.sleep(2)

        for action in actions:
            match action:
                case "start":
                    tasks.append(asyncio.create_task(request()))
                case "cancel":
                    for task in tasks[::3]:
                        task.cancel()
                case "ok":
                    limiter.succeeded()
                case "overload":
                    limiter.overloaded()
                case _:
                    await asyncio.sleep(1)
                    # Nobody waits while a slot is free.
                    assert limiter.waiting == 0 or limiter.in_use >= limiter.limit
            assert 1 <= limiter.limit <= 5
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (limiter.in_use, limiter.waiting) == (0, 0)

    scenario()
