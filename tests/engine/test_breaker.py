"""Tests of the circuit breaker."""

from __future__ import annotations

import asyncio

import pytest

from fedid.engine.breaker import Breaker, BreakerOpenError, BreakerPolicy, BreakerState

from .virtual_time import HandClock, complaints, in_virtual_time

POLICY = BreakerPolicy(threshold=3, cooldown_seconds=2.0, cooldown_cap_seconds=5.0, probe_lease_seconds=10.0)


def opened(clock: HandClock) -> Breaker:
    """Return a breaker that has just opened."""
    breaker = Breaker("vault", POLICY, clock=clock)
    for _ in range(POLICY.threshold):
        breaker.failed()
    return breaker


def refusal(breaker: Breaker) -> BreakerOpenError:
    """Return the error with which the breaker refuses."""
    with pytest.raises(BreakerOpenError) as caught:
        breaker.check()
    return caught.value


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param((0, 1.0, 1.0, 1.0), id="a threshold of none"),
        pytest.param((1, 0.0, 1.0, 1.0), id="no cool-down"),
        pytest.param((1, 2.0, 1.0, 1.0), id="a cap below the first cool-down"),
        pytest.param((1, 1.0, 1.0, 0.0), id="no probe lease"),
    ],
)
def test_figures_that_make_no_breaker_are_refused(figures: tuple[int, float, float, float]) -> None:
    """Figures with which it would never open or never close are refused."""
    with pytest.raises(ValueError, match="a breaker needs"):
        BreakerPolicy(*figures)


def test_opens_after_failures_in_a_row() -> None:
    """Only failures in a row open it: one success between them starts the count anew."""
    breaker = Breaker("vault", POLICY, clock=HandClock())
    for verdict in (breaker.failed, breaker.failed, breaker.succeeded, breaker.failed, breaker.failed):
        verdict()
        breaker.check()
    breaker.failed()
    assert breaker.state is BreakerState.OPEN


def test_refuses_fast_and_says_until_when() -> None:
    """While open it refuses at once, with the instant and the pause after which a call may go out, and whose it is."""
    clock = HandClock(100.0)
    breaker = opened(clock)
    clock.now = 100.5
    error = refusal(breaker)
    assert (error.backend, error.retry_at, error.retry_after_seconds) == ("vault", 102.0, 1.5)
    assert str(error) == "vault does not answer; the next attempt is in 1.5 s"


def test_admits_one_probe_at_a_time() -> None:
    """After the cool-down exactly one call goes out; the others are refused until its verdict."""
    clock = HandClock()
    breaker = opened(clock)
    clock.now = 2.0
    breaker.check()
    assert breaker.state is BreakerState.HALF_OPEN
    assert refusal(breaker).retry_at == 4.0
    breaker.succeeded()
    breaker.check()
    breaker.check()


def test_a_probe_without_a_verdict_makes_room_for_another() -> None:
    """A probe whose caller was cancelled does not keep the breaker shut for ever."""
    clock = HandClock()
    breaker = opened(clock)
    clock.now = 2.0
    breaker.check()
    clock.now = 11.5
    assert refusal(breaker).retry_at == 12.0
    clock.now = 12.0
    breaker.check()
    assert refusal(breaker).retry_at == 14.0


def test_cooldown_doubles_to_a_cap_and_a_success_resets_it() -> None:
    """Each failed probe doubles the cool-down up to its cap; after a success it starts from the beginning."""
    clock = HandClock()
    breaker = opened(clock)
    pauses = []
    for _ in range(3):
        pauses.append(refusal(breaker).retry_after_seconds)
        clock.now = refusal(breaker).retry_at
        breaker.check()
        breaker.failed()
    pauses.append(refusal(breaker).retry_after_seconds)
    assert pauses == [2.0, 4.0, 5.0, 5.0]
    breaker.succeeded()
    for _ in range(POLICY.threshold):
        breaker.failed()
    assert refusal(breaker).retry_after_seconds == 2.0


def test_one_failure_is_enough_to_open_it_again() -> None:
    """A failed probe opens it at once, without counting to the threshold."""
    clock = HandClock()
    breaker = opened(clock)
    clock.now = 2.0
    breaker.check()
    breaker.failed()
    assert breaker.state is BreakerState.OPEN


def test_failures_of_calls_from_before_do_not_lengthen_the_cooldown() -> None:
    """Fifty calls that were on the way when it opened fail one after the other, and change nothing."""
    clock = HandClock()
    breaker = opened(clock)
    for clock.now in (0.5, 1.0, 1.5):
        breaker.failed()
    assert refusal(breaker).retry_at == 2.0


def test_any_success_closes_it() -> None:
    """A call from before it opened that still comes through shows that the backend answers."""
    breaker = opened(HandClock())
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    breaker.check()


def test_listeners_hear_every_change_once() -> None:
    """Each new state is told once, in order, and a verdict that changes nothing is not told."""
    clock = HandClock()
    breaker = Breaker("vault", POLICY, clock=clock)
    heard: list[BreakerState] = []
    breaker.on_change(heard.append)
    breaker.succeeded()
    for _ in range(5):
        breaker.failed()
    clock.now = 2.0
    breaker.check()
    clock.now = 12.0
    breaker.check()
    breaker.succeeded()
    breaker.succeeded()
    assert heard == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


@in_virtual_time
async def test_a_failing_listener_harms_nobody() -> None:
    """A bug of one listener reaches neither the caller nor the other listeners."""
    breaker = Breaker("vault", BreakerPolicy(threshold=1))
    heard: list[BreakerState] = []

    def failing(_: BreakerState) -> None:
        raise KeyError

    breaker.on_change(failing)
    breaker.on_change(heard.append)
    breaker.failed()
    assert heard == [BreakerState.OPEN]
    assert len(complaints()) == 1
    complaints().clear()


@in_virtual_time
async def test_a_health_check_passes_the_gate_and_nobody_else_does() -> None:
    """Within `probing` calls go out whatever the state, other tasks are still refused, and other breakers too."""
    breaker, other = opened(HandClock()), opened(HandClock())

    async def somebody_else() -> None:
        refusal(breaker)

    unrelated = asyncio.create_task(somebody_else())
    with breaker.probing():
        breaker.check()
        breaker.check()
        refusal(other)
        with other.probing():
            other.check()
            breaker.check()
        await unrelated
    assert breaker.state is BreakerState.OPEN
    refusal(breaker)


def test_the_verdict_of_a_health_check_counts() -> None:
    """A health check that fails does not lengthen the cool-down, and one that succeeds ends it."""
    breaker = opened(HandClock())
    with breaker.probing():
        breaker.failed()
    assert refusal(breaker).retry_at == 2.0
    with breaker.probing():
        breaker.succeeded()
    breaker.check()
