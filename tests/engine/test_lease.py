"""Tests of leadership: never two at once, whatever fails, and one again soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedid.engine import Elector, LeaseRecord, LeaseTiming, NotLeadingError, loop_time

from .virtual_time import HandClock, VirtualTimeLoop, in_virtual_time, settle

TIMING = LeaseTiming(15.0, fence_after_seconds=10.0, retry_seconds=2.0, request_seconds=2.0)


@dataclass
class Shelf:
    """A store of one record, with faults."""

    record: LeaseRecord | None = None
    written: int = 0
    away: bool = False
    """Requests hang."""
    loses_answers: bool = False
    """A write is made, and its answer never comes."""
    slow_seconds: float = 0.0
    """Before the answer to a write."""
    holders: list[str] = field(default_factory=list)
    """After each write."""

    async def read(self) -> LeaseRecord | None:
        """Return the record."""
        if self.away:
            await asyncio.sleep(3600)
        return self.record

    async def write(self, holder: str, duration_seconds: float, over: LeaseRecord | None) -> LeaseRecord | None:
        """Put it in the place of that one."""
        if self.away:
            await asyncio.sleep(3600)
        if (over.version if over else None) != (self.record.version if self.record else None):
            return None
        self.written += 1
        self.record = LeaseRecord(holder, duration_seconds, str(self.written))
        self.holders.append(holder)
        if self.loses_answers:
            await asyncio.sleep(3600)
        made = self.record
        await asyncio.sleep(self.slow_seconds)
        return made


@dataclass
class Replica:
    """One of several."""

    elector: Elector
    troubles: list[Exception]
    terms: int = 0
    task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Stand by, lead, and begin anew once the lease is lost."""
        while True:
            await self.elector.acquire()
            self.terms += 1
            await self.elector.keep()

    def start(self) -> None:
        """Run in the background."""
        self.task = asyncio.create_task(self.run())

    async def kill(self) -> None:
        """End without a word."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def replica(shelf: Shelf, name: str, *clocks: Callable[[], float]) -> Replica:
    """Return one that has not begun."""
    troubles: list[Exception] = []
    elector = Elector(shelf, name, TIMING, clocks=clocks or (loop_time,), on_trouble=troubles.append)
    return Replica(elector, troubles)


async def leader(shelf: Shelf) -> Replica:
    """Return one that has led for a minute."""
    made = replica(shelf, "a")
    made.start()
    await asyncio.sleep(60)
    return made


async def leader_and_standby(shelf: Shelf) -> tuple[Replica, Replica]:
    """Return two, of which the first has led for a minute."""
    first, second = replica(shelf, "a"), replica(shelf, "b")
    first.start()
    await settle()
    second.start()
    await asyncio.sleep(60)
    return first, second


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param((10.0, 10.0, 2.0, 2.0), id="a fence as late as the others' patience"),
        pytest.param((15.0, 10.0, 0.0, 2.0), id="no pause"),
        pytest.param((15.0, 10.0, 2.0, 0.0), id="requests that may take no time"),
        pytest.param((15.0, 10.0, 2.0, 11.0), id="requests that outlast the fence"),
    ],
)
def test_timings_that_are_not_safe_are_refused(figures: tuple[float, float, float, float]) -> None:
    """Two could lead at once with them, or nobody for long."""
    with pytest.raises(ValueError, match="outlast"):
        LeaseTiming(*figures)


@pytest.mark.parametrize(("name", "clocks"), [("", (loop_time,)), ("a", ())])
def test_nobody_without_a_name_or_a_clock(name: str, clocks: tuple[Callable[[], float], ...]) -> None:
    """An empty name means that the lease is free."""
    with pytest.raises(ValueError, match="needs"):
        Elector(Shelf(), name, TIMING, clocks=clocks, on_trouble=lambda _: None)


@in_virtual_time
async def test_the_first_leads_and_the_others_wait() -> None:
    """As long as it renews, also if others come and look."""
    shelf = Shelf()
    first, second = replica(shelf, "a"), replica(shelf, "b")
    first.start()
    await settle()
    second.start()
    await asyncio.sleep(600)
    assert first.elector.leads
    assert not second.elector.leads
    with pytest.raises(NotLeadingError, match="b does not hold"):
        second.elector.check()
    first.elector.check()
    assert set(shelf.holders) == {"a"}
    await first.kill()
    await second.kill()


@in_virtual_time
async def test_another_takes_over_after_a_crash_and_not_before() -> None:
    """Once it has seen the same record for as long as it was given out."""
    shelf = Shelf()
    first, second = replica(shelf, "a"), replica(shelf, "b")
    first.start()
    second.start()
    await asyncio.sleep(60)
    await first.kill()
    silent_since = asyncio.get_running_loop().time()
    while first.elector.leads:
        await asyncio.sleep(0.1)
        assert not second.elector.leads
    while second.terms == 0:  # noqa: ASYNC110 - time is virtual, and what is watched tells nobody
        await asyncio.sleep(0.1)
    assert 13 <= asyncio.get_running_loop().time() - silent_since <= 20
    await second.kill()


@in_virtual_time
async def test_a_release_hands_over_at_once() -> None:
    """The next look of another one finds nobody there."""
    shelf = Shelf()
    first, second = await leader_and_standby(shelf)
    await first.kill()
    await first.elector.release()
    assert not first.elector.leads
    await asyncio.sleep(2.1)
    assert second.elector.leads
    await first.elector.release()  # of what it does not have
    await asyncio.sleep(2.1)
    assert second.elector.leads
    await second.kill()


@in_virtual_time
async def test_its_own_name_lets_a_replica_in_again_at_once() -> None:
    """A container that crashed comes back in the same pod."""
    shelf = Shelf()
    first = await leader(shelf)
    await first.kill()
    again = replica(shelf, "a")
    again.start()
    await settle()
    assert again.elector.leads
    await again.kill()


@in_virtual_time
async def test_a_store_that_hangs_ends_the_leadership_in_time() -> None:
    """And another one leads only after that, if the first is not back before."""
    shelf = Shelf()
    first, second = await leader_and_standby(shelf)
    shelf.away = True
    await asyncio.sleep(10.1)
    assert not first.elector.leads
    assert first.troubles
    assert all(isinstance(error, TimeoutError) for error in first.troubles)
    shelf.away = False
    await asyncio.sleep(30)
    assert first.elector.leads != second.elector.leads
    await first.kill()
    await second.kill()


@in_virtual_time
async def test_an_outage_ends_no_term_if_nobody_else_leads() -> None:
    """A short one is not even noticed; in a long one nothing is begun, and then it goes on."""
    shelf = Shelf()
    first = replica(shelf, "a")
    first.start()
    for seconds, led in ((5, True), (120, False)):
        await asyncio.sleep(60)
        shelf.away = True
        await asyncio.sleep(seconds)
        assert first.elector.leads is led
        shelf.away = False
        await asyncio.sleep(5)
        assert first.elector.leads
    assert first.terms == 1
    await first.kill()


@in_virtual_time
async def test_renewals_whose_answers_are_lost_do_not_count_but_are_not_held_against_it() -> None:
    """It finds its own name on a version that it does not know."""
    shelf = Shelf()
    first = await leader(shelf)
    shelf.loses_answers = True
    await asyncio.sleep(3)
    shelf.loses_answers = False
    await asyncio.sleep(60)
    assert first.terms == 1
    assert first.elector.leads
    await first.kill()


@in_virtual_time
async def test_a_lease_that_a_hand_deleted_is_made_again() -> None:
    """Or lost to who makes it first; never held by both."""
    shelf = Shelf()
    first = await leader(shelf)
    shelf.record = None
    await asyncio.sleep(5)
    assert first.elector.leads
    assert first.terms == 1
    shelf.record = LeaseRecord("somebody", 15.0, "by hand")
    await asyncio.sleep(5)
    assert not first.elector.leads
    await first.kill()


@in_virtual_time
async def test_a_renewal_counts_from_its_beginning() -> None:
    """Others may have seen it as soon as it was sent, however late its answer is."""
    shelf = Shelf(slow_seconds=1.5)
    first = replica(shelf, "a")
    await first.elector.acquire()
    assert first.elector.remaining_seconds == pytest.approx(8.5)


@pytest.mark.parametrize("led_meanwhile", [False, True])
def test_who_slept_goes_on_if_nobody_has_led_meanwhile(*, led_meanwhile: bool) -> None:
    """The record is as it left it; else it begins anew."""

    @in_virtual_time
    async def story() -> None:
        shelf, asleep = Shelf(), HandClock()
        first = replica(shelf, "a", lambda: loop_time() + asleep())
        first.start()
        await asyncio.sleep(7)
        asleep.now += 3600
        assert not first.elector.leads
        if led_meanwhile:
            shelf.record = LeaseRecord("b", 15.0, "b's")
        await asyncio.sleep(3)
        assert first.elector.leads is not led_meanwhile
        assert first.terms == 1
        await first.kill()

    story()


@in_virtual_time
async def test_a_process_that_slept_is_fenced_when_it_goes_on() -> None:
    """By whichever clock has gone on furthest, before anything is renewed."""
    for slept in (0, 1):
        clocks = HandClock(), HandClock()
        elector = replica(Shelf(), "a", *clocks).elector
        await elector.acquire()
        clocks[slept].now += 9.9
        elector.check()
        clocks[slept].now += 0.2
        with pytest.raises(NotLeadingError):
            elector.check()


@in_virtual_time
async def test_a_lease_is_given_out_for_as_long_as_its_holder_says() -> None:
    """An older version of the operator may have longer leases."""
    shelf = Shelf(LeaseRecord("older", 60.0, "0"))
    second = replica(shelf, "b")
    second.start()
    await asyncio.sleep(59)
    assert not second.elector.leads
    await asyncio.sleep(5)
    assert second.elector.leads
    await second.kill()


async def happen(what: str, shelf: Shelf, replicas: list[Replica], whom: Replica) -> None:
    """Have one thing happen to the store, or to one replica."""
    assert whom.task is not None
    match what:
        case "kill":
            await whom.kill()
        case "release":
            await whom.kill()
            await whom.elector.release()
        case "start" if whom.task.done() and not whom.elector.leads:
            whom.start()
        case "away" | "back":
            shelf.away = what == "away"
        case "lose" | "keep":
            shelf.loses_answers = what == "lose"
        case "delete" if not any(other.elector.leads for other in replicas):
            shelf.record = None


@settings(deadline=None, max_examples=200)
@given(
    seed=st.lists(
        st.tuples(
            st.sampled_from(["kill", "start", "release", "away", "back", "lose", "keep", "delete"]),
            st.integers(0, 2),
            st.floats(0.0, 25.0),
        ),
        max_size=30,
    )
)
def test_never_two_and_one_again_when_all_is_well(seed: list[tuple[str, int, float]]) -> None:
    """Three replicas that are started, killed and cut off at any time; what each may do is asked all the time."""

    async def story() -> None:
        shelf = Shelf()
        replicas = [replica(shelf, name) for name in "abc"]
        for one in replicas:
            one.start()

        async def watch(seconds: float) -> None:
            until = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < until:
                assert sum(one.elector.leads for one in replicas) <= 1
                await asyncio.sleep(0.25)

        for what, whom, seconds in seed:
            await happen(what, shelf, replicas, replicas[whom])
            await watch(seconds)
        shelf.away = shelf.loses_answers = False
        await watch(12)
        for one in replicas:
            assert one.task is not None
            if one.task.done():
                one.start()
        await watch(20)
        assert sum(one.elector.leads for one in replicas) == 1
        for one in replicas:
            await one.kill()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(story())
