"""Tests of durations in Kubernetes' notation."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.durations import duration, duration_text, spread
from fedid.errors import InvalidSpecError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("10m", timedelta(minutes=10), id="minutes"),
        pytest.param("720h", timedelta(hours=720), id="hours beyond a day stay hours"),
        pytest.param("1h30m", timedelta(hours=1, minutes=30), id="parts add up"),
        pytest.param("45s", timedelta(seconds=45), id="seconds"),
        pytest.param("250ms", timedelta(milliseconds=250), id="ms is not taken for m"),
        pytest.param("1m500ms", timedelta(minutes=1, milliseconds=500), id="m and ms side by side"),
        pytest.param("1h1h", timedelta(hours=2), id="a unit may come twice as in Go"),
        pytest.param("0s", timedelta(), id="nothing"),
        pytest.param("007m", timedelta(minutes=7), id="leading zeros do not make it octal"),
    ],
)
def test_a_duration_is_read_as_kubernetes_reads_it(text: str, expected: timedelta) -> None:
    """Every notation that the CRDs admit means what Go's `time.ParseDuration` says."""
    assert duration(text, "spec.x") == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing at all"),
        pytest.param("10", id="a number without unit"),
        pytest.param("m", id="a unit without number"),
        pytest.param("10d", id="days are no unit of Kubernetes"),
        pytest.param("-5m", id="the past"),
        pytest.param("1.5h", id="fractions are not written by anyone and not read"),
        pytest.param(" 10m", id="a blank before"),
        pytest.param("10m ", id="a blank behind"),
        pytest.param("10m\n", id="a line break behind"),
        pytest.param("10M", id="units are lower case"),
        pytest.param("\u0661\u0660m", id="digits of another script"),
        pytest.param("P1D", id="ISO 8601"),
    ],
)
def test_anything_else_is_refused_with_the_field_and_an_example(text: str) -> None:
    """What is no duration is refused by a message that names the field, shows the text and says what to write."""
    with pytest.raises(InvalidSpecError) as caught:
        duration(text, "spec.tokens[0].lifetime")
    assert "spec.tokens[0].lifetime" in caught.value.message
    assert repr(text) in caught.value.message
    assert "write a duration like 10m" in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("99999999999h", id="longer than a timedelta"),
        pytest.param("9" * 400 + "h", id="longer than a C number"),
        pytest.param("9" * 5000 + "h", id="longer than Python turns into a number"),
    ],
)
def test_a_duration_beyond_all_bounds_is_refused_and_not_a_crash(text: str) -> None:
    """However long the number, the author gets a message and the operator goes on."""
    with pytest.raises(InvalidSpecError, match=r"^spec\.x is "):
        duration(text, "spec.x")


@given(st.text())
def test_no_text_makes_it_crash(text: str) -> None:
    """Whatever an author writes, the answer is a duration of at least nothing or an `InvalidSpecError`."""
    try:
        found = duration(text, "spec.x")
    except InvalidSpecError:
        return
    assert found >= timedelta()


@given(st.integers(0, 10**7))
def test_text_of_whole_seconds_reads_back(seconds: int) -> None:
    """What `duration_text` writes of whole seconds means the same to `duration`."""
    assert duration(duration_text(timedelta(seconds=seconds)), "x") == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(minutes=10), "10m"),
        (timedelta(hours=1, minutes=30), "1h30m"),
        (timedelta(days=30), "720h"),
        (timedelta(hours=2, seconds=5), "2h5s"),
        (timedelta(seconds=61, milliseconds=900), "1m1s"),
    ],
)
def test_text_leaves_out_what_is_nothing(value: timedelta, text: str) -> None:
    """A duration is written the short way that an author would write it."""
    assert duration_text(value) == text


def test_a_period_is_spread_by_up_to_a_tenth_and_never_longer() -> None:
    """A thousand objects that were looked at together come back over a tenth of the period, none of them late."""
    period = timedelta(minutes=10)
    spreads = [spread(period, f"uid-{number}") for number in range(1000)]
    assert all(timedelta(minutes=9) <= one <= period for one in spreads)
    in_each_second = Counter(int(one.total_seconds()) for one in spreads)
    assert len(in_each_second) == 60
    assert max(in_each_second.values()) < 60


def test_an_object_has_always_the_same_period() -> None:
    """It follows from the uid alone, in every process."""
    assert spread(timedelta(minutes=10), "a") == spread(timedelta(minutes=10), "a")
    assert round(spread(timedelta(minutes=10), "a").total_seconds(), 3) == 545.457
