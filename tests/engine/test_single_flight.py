"""Tests of sharing one running call."""

from __future__ import annotations

import asyncio
import gc

import pytest

from fedid.engine.single_flight import SharedCallCancelledError, SingleFlight

from .virtual_time import in_virtual_time, settle


class Backend:
    """A call that takes a second and counts how often it was begun and ended."""

    def __init__(self, failure: BaseException | None = None) -> None:
        """Answer with a number, or raise `failure`."""
        self.failure = failure
        self.begun = 0
        self.cancelled = 0

    async def call(self) -> int:
        """Return the how-manieth call this is, after a second."""
        self.begun += 1
        number = self.begun
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return number


@in_virtual_time
async def test_concurrent_callers_share_one_call() -> None:
    """Two hundred callers at the same time make one call and get its result."""
    flights: SingleFlight[str, int] = SingleFlight()
    backend = Backend()
    results = await asyncio.gather(*(flights.run("token", backend.call) for _ in range(200)))
    assert (set(results), backend.begun, len(flights)) == ({1}, 1, 0)


@in_virtual_time
async def test_a_later_caller_makes_a_new_call() -> None:
    """Nothing is kept of a call that is over."""
    flights: SingleFlight[str, int] = SingleFlight()
    backend = Backend()
    assert await flights.run("token", backend.call) == 1
    assert await flights.run("token", backend.call) == 2


@in_virtual_time
async def test_who_comes_right_after_the_end_does_not_get_the_old_result() -> None:
    """Callers in the very instant between a call's end and its clearing away start anew, and share that."""
    flights: SingleFlight[str, int] = SingleFlight()
    backend = Backend()
    late: list[asyncio.Task[int]] = []

    async def ask_again_at_the_end() -> int:
        number = await backend.call()
        # Runs before what the loop does when a task is done.
        late.append(asyncio.create_task(flights.run("token", backend.call)))
        return number

    assert await flights.run("token", ask_again_at_the_end) == 1
    await settle()
    late.append(asyncio.create_task(flights.run("token", backend.call)))
    assert await asyncio.gather(*late) == [2, 2]


@in_virtual_time
async def test_keys_do_not_share() -> None:
    """Callers of different keys make different calls."""
    flights: SingleFlight[str, int] = SingleFlight()
    backend = Backend()
    results = await asyncio.gather(flights.run("a", backend.call), flights.run("b", backend.call))
    assert tuple(results) == (1, 2)


@in_virtual_time
async def test_an_exception_is_shared_and_not_kept() -> None:
    """Every caller gets what the call raised, and the next one tries again."""
    flights: SingleFlight[str, int] = SingleFlight()
    backend = Backend(KeyError("no"))
    results = await asyncio.gather(*(flights.run("token", backend.call) for _ in range(3)), return_exceptions=True)
    assert results == [backend.failure] * 3
    backend.failure = None
    assert await flights.run("token", backend.call) == 2


@in_virtual_time
async def test_a_cancelled_caller_leaves_the_others_alone() -> None:
    """The call goes on for those who still wait, also if it was the first caller that went."""
    flights: SingleFlight[str, int] = SingleFlight()
    backend = Backend()
    callers = [asyncio.create_task(flights.run("token", backend.call)) for _ in range(3)]
    await asyncio.sleep(0.5)
    callers[0].cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert (results[1:], backend.begun, backend.cancelled) == ([1, 1], 1, 0)


@in_virtual_time
async def test_a_call_that_nobody_waits_for_is_cancelled() -> None:
    """When the last caller has gone, the call ends too, and whoever comes next does not join it."""
    flights: SingleFlight[str, int] = SingleFlight()
    backend = Backend()
    callers = [asyncio.create_task(flights.run("token", backend.call)) for _ in range(2)]
    await asyncio.sleep(0.5)
    for caller in callers:
        caller.cancel()
    newcomer = asyncio.create_task(flights.run("token", backend.call))
    await settle()
    assert all(caller.cancelled() for caller in callers)
    assert (backend.begun, backend.cancelled, len(flights)) == (2, 1, 1)
    assert await newcomer == 2


@in_virtual_time
async def test_a_timeout_of_one_caller_is_its_own() -> None:
    """A caller with a deadline gets its TimeoutError, not somebody else's cancellation."""
    flights: SingleFlight[str, int] = SingleFlight()
    backend = Backend()
    patient = asyncio.create_task(flights.run("token", backend.call))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await flights.run("token", backend.call)
    assert await patient == 1


@in_virtual_time
async def test_a_call_cancelled_from_within_is_an_error_to_its_callers() -> None:
    """Nobody ends as cancelled whom nobody cancelled."""
    flights: SingleFlight[str, int] = SingleFlight()
    backend = Backend(asyncio.CancelledError())
    with pytest.raises(SharedCallCancelledError):
        await flights.run("token", backend.call)


@in_virtual_time
async def test_a_failure_that_nobody_waits_for_is_not_complained_about() -> None:
    """A call that raises while it is being cancelled leaves no "exception was never retrieved" behind."""
    flights: SingleFlight[str, int] = SingleFlight()

    async def fails_on_cancel() -> int:
        try:
            await asyncio.sleep(1)
        finally:
            raise KeyError

    caller = asyncio.create_task(flights.run("token", fails_on_cancel))
    await settle()
    caller.cancel()
    await asyncio.wait([caller])
    await settle()
    gc.collect()
