"""Tests of when a token is renewed: in time, and not all at once."""

from __future__ import annotations

import uuid
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.rotation import renewal_due_at
from tests.domain.samples import NOW

LIVES = st.integers(10, 86400 * 30).map(lambda seconds: timedelta(seconds=seconds))
UIDS = st.one_of(st.uuids().map(str), st.text())


@given(LIVES, UIDS, st.one_of(st.none(), LIVES))
def test_a_renewal_is_due_in_time(life: timedelta, uid: str, renew_before: timedelta | None) -> None:
    """Every token is renewed at the latest a third of its life, or `renewBefore`, before its end; never at once."""
    due = renewal_due_at(NOW, NOW + life, uid, renew_before)
    rounding = timedelta(milliseconds=1)
    latest = life * 2 / 3 if renew_before is None else life - min(renew_before, life * 0.9)
    assert NOW + 0.09 * latest < due + rounding
    assert due <= NOW + latest + rounding
    assert due == renewal_due_at(NOW, NOW + life, uid, renew_before)


def _uids(count: int) -> list[str]:
    return [str(uuid.uuid5(uuid.NAMESPACE_OID, str(i))) for i in range(count)]


def test_bots_that_were_applied_together_are_renewed_evenly_from_the_first_time_on() -> None:
    """Of a thousand bots of one instant each tenth of the period renews about a tenth, in every period."""
    life = timedelta(hours=1)
    period = life * (2 / 3) / 1.1
    uids = _uids(1000)
    issued = dict.fromkeys(uids, NOW)
    for beat in range(4):
        start = NOW + period * (0.1 + beat)
        tenths = [0] * 10
        for uid in uids:
            due = renewal_due_at(issued[uid], issued[uid] + life, uid)
            tenths[int((due - start) / period * 10) % 10] += 1
            issued[uid] = due + timedelta(seconds=1)
        assert all(60 < count < 140 for count in tenths), (beat, tenths)


@given(UIDS, st.integers(0, 5000))
def test_a_token_renewed_at_its_beat_lives_for_a_whole_period(uid: str, late_milliseconds: int) -> None:
    """Renewals neither come twice for one beat, however the instants are rounded, nor drift away from it."""
    life = timedelta(minutes=10)
    period = life * (2 / 3) / 1.1
    first = renewal_due_at(NOW, NOW + life, uid)
    issued = first + timedelta(milliseconds=late_milliseconds - 1000)
    assert abs(renewal_due_at(issued, issued + life, uid) - (first + period)) < timedelta(milliseconds=1)
