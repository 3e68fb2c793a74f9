"""When a former credential may end, by what is known of those who present it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fedid.domain.acceptance import OTHERS_SEE
from fedid.domain.handover import Handover, held_from, held_since
from fedid.domain.rotation import PATIENCE
from tests.domain.samples import NOW

MINUTE, A_SECOND = timedelta(minutes=1), timedelta(seconds=1)


def test_all_have_it() -> None:
    """The overlap is what counts, and it has no second."""
    assert not Handover().lets_end(NOW, MINUTE, NOW - A_SECOND)
    assert Handover().lets_end(NOW, MINUTE, NOW)


@pytest.mark.parametrize(("overlap", "patience"), [(MINUTE, PATIENCE), (2 * PATIENCE, 2 * PATIENCE)])
def test_who_misses_it_is_waited_for(overlap: timedelta, patience: timedelta) -> None:
    """For another overlap, five minutes at least; not for ever."""
    one = Handover(missing=True)
    assert not one.lets_end(NOW, overlap, NOW + patience - A_SECOND)
    assert one.lets_end(NOW, overlap, NOW + patience)


def test_patience_does_not_run_out_while_nobody_can_be_reached() -> None:
    """It begins anew when the servers are back that bring it to who misses it; who has it waits for nothing."""
    back_at = NOW + timedelta(hours=3)
    one = Handover(missing=True, reachable_since=back_at)
    assert not one.lets_end(NOW, MINUTE, back_at)
    assert not one.lets_end(NOW, MINUTE, back_at + PATIENCE - A_SECOND)
    assert one.lets_end(NOW, MINUTE, back_at + PATIENCE)
    assert Handover(reachable_since=back_at).lets_end(NOW, MINUTE, NOW)
    long_there = Handover(missing=True, reachable_since=NOW - timedelta(days=1))
    assert not long_there.lets_end(NOW, MINUTE, NOW + PATIENCE - A_SECOND)


def test_who_got_it_late() -> None:
    """A file takes two minutes, or half of a short overlap; a clock that was off counts for nothing."""
    assert held_from(None, MINUTE, NOW) is None
    since = "2030-01-01T00:00:00Z"
    assert held_from(since, MINUTE, NOW.replace(year=2029)) is None
    now = NOW.replace(year=2031)
    short, long = held_from(since, MINUTE, now), held_from(since, timedelta(hours=1), now)
    assert short is not None
    assert long is not None
    assert long - short == OTHERS_SEE - MINUTE / 2
    assert not Handover(held_from=NOW + A_SECOND).lets_end(NOW, MINUTE, NOW)
    assert Handover(held_from=NOW).lets_end(NOW, MINUTE, NOW)


def test_since_when_a_version_is_held() -> None:
    """It is told when another version was there before, and kept as long as that one stays."""
    assert held_since({}, 1, NOW) is None
    assert held_since({"secretVersion": 1}, 1, NOW) is None
    told = held_since({"secretVersion": 1}, 2, NOW)
    assert told is not None
    assert held_since({"secretVersion": 2, "secretSince": told}, 2, NOW + MINUTE) == told
