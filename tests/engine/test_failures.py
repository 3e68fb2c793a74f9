"""Tests of how failures in a row are counted."""

from __future__ import annotations

from fedid.engine.failures import Failures


def test_attempts_count_up_and_reset() -> None:
    """Each counted failure is one attempt more, until the key succeeds."""
    failures: Failures[str] = Failures()
    assert [failures.note("a"), failures.note("a"), failures.note("b")] == [1, 2, 1]
    assert failures.attempts("a") == 2
    failures.reset("a")
    failures.reset("unknown")
    assert failures.attempts("a") == 0
    assert len(failures) == 1


def test_an_outage_spends_no_attempts_but_backs_off() -> None:
    """Failures that are not counted have a streak of their own and leave the attempts alone."""
    failures: Failures[str] = Failures()
    failures.note("a")
    assert [failures.note("a", counted=False) for _ in range(3)] == [1, 2, 3]
    assert failures.attempts("a") == 1
    assert failures.note("a") == 2


def test_a_counted_failure_ends_an_outage() -> None:
    """A failure of the key's own shows that the backend answered, so the next outage starts from 1."""
    failures: Failures[str] = Failures()
    failures.note("a", counted=False)
    failures.note("a", counted=False)
    failures.note("a")
    assert failures.note("a", counted=False) == 1
