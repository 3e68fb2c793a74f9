"""That the operator's memory does not grow with what has been."""

from __future__ import annotations

from collections import Counter

from tests.simulation.growth import LIFE_SECONDS, held, lives
from tests.simulation.simulation import simulate


def test_nothing_is_kept_of_identities_that_are_gone() -> None:
    """After so many lives as after twice as many: no container has an element for each, whatever it is there for."""
    lived, counts = 12, list[Counter[str]]()
    look = [(number * LIFE_SECONDS, lambda site: counts.append(held(site))) for number in (lived, 2 * lived)]

    result = simulate(lives(2 * lived), look)

    assert result.violation is None
    assert result.counts["ends"] >= 2 * lived
    first, second = counts
    assert any(path.endswith("Directory._bodies") for path in first)
    assert any(path.endswith("Acceptance._parsed") for path in first)
    assert {path: (first[path], n) for path, n in second.items() if n >= first[path] + lived // 2} == {}
