"""Tests of exponential backoff with full jitter."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.engine.backoff import Backoff, backoff_ceiling_seconds


@pytest.mark.parametrize(
    ("attempt", "ceiling_seconds"),
    [
        pytest.param(1, 0.5, id="the first failure waits for the base at most"),
        pytest.param(2, 1.0, id="the second for twice as long"),
        pytest.param(7, 32.0, id="the last one below the cap is not cut"),
        pytest.param(8, 60.0, id="beyond the cap it is cut"),
        pytest.param(100_000, 60.0, id="a week of failures does not overflow"),
    ],
)
def test_ceiling_doubles_up_to_the_cap(attempt: int, ceiling_seconds: float) -> None:
    """The longest delay doubles with every failure in a row and stops at the cap."""
    assert backoff_ceiling_seconds(attempt, 0.5, 60.0) == ceiling_seconds


def test_attempts_are_counted_from_one() -> None:
    """No failure, no backoff: an attempt below 1 is a mistake of the caller."""
    with pytest.raises(ValueError, match="counted from 1"):
        backoff_ceiling_seconds(0, 0.5, 60.0)


@pytest.mark.parametrize(("base_seconds", "cap_seconds"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_bounds_that_make_no_interval_are_refused(base_seconds: float, cap_seconds: float) -> None:
    """A base of nothing would retry at once for ever, and a cap below the base has no meaning."""
    with pytest.raises(ValueError, match="0 < base <= cap"):
        Backoff(base_seconds, cap_seconds)


def test_full_jitter_draws_from_nothing_to_the_ceiling() -> None:
    """The random source is asked for the whole interval, and its answer is the delay."""
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return 0.25

    assert Backoff(1.0, 8.0, uniform).delay_seconds(3) == 0.25
    assert asked == [(0.0, 4.0)]


@given(st.integers(1, 10_000), st.integers())
def test_no_delay_leaves_its_interval(attempt: int, seed: int) -> None:
    """Whatever the attempt, a delay is at least nothing and at most the ceiling."""
    backoff = Backoff(uniform=random.Random(seed).uniform)  # noqa: S311 - jitter, no secret
    assert 0.0 <= backoff.delay_seconds(attempt) <= backoff_ceiling_seconds(attempt, 0.5, 60.0) <= 60.0
