"""A fixed budget of seeds for every run; `make simulate` runs as many as there is time for."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.simulation.mutations import MUTATIONS, ROOT, Mutation, caught
from tests.simulation.shrink import shrunk
from tests.simulation.simulation import simulate
from tests.simulation.story import Action, drill_of, story_of

SEEDS = (0, 2, 10, 12, 14, 16, 18, 22, 23, 33, 1008, 3005)
"""Short ones, in which much happens; 1008 once misled the witness, 3005 found a bug."""
SAMPLE = tuple(
    {
        mutation.invariant: mutation for mutation in MUTATIONS if mutation.invariant in {"1", "2", "9", "10", "11"}
    }.values()
)
"""One for each of some invariants; `make simulate MUTATIONS=1` plants all."""


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_violated_whatever_happens(seed: int) -> None:
    """A story of each seed, weather and hands included."""
    assert simulate(story_of(seed)).violation is None


def test_users_may_do_what_they_like() -> None:
    """The drill in which planted bugs are found, without one."""
    result = simulate(drill_of(0))

    assert result.violation is None
    assert result.counts["ends"] >= 3  # several bots ended, with a token and a secret to be looked for ever after


@pytest.mark.parametrize("seconds", [5.4, 5.6, 6.0])
def test_vault_goes_away_before_a_new_secret_is_mounted(seconds: float) -> None:
    """Longer than any patience: its pods have the former alone all that time, and when Vault is back."""
    bot = "site-b/trainer"
    happens = (
        Action(5.0, "create_bot", bot, 1),
        Action(150.0, "rotate", bot, "secret-1"),
        Action(150.0 + seconds, "outage", "vault", 1000.0),
    )
    story = replace(story_of(1), replicas=1, actions=happens, length=1800.0, latency=0.2, lifetime=600.0, lease=60.0)

    result = simulate(replace(story, events=True, quiet=True))

    assert result.violation is None


def test_a_seed_goes_the_same_way_each_time_and_whatever_strings_hash_to() -> None:
    """Else a failure could not be looked at again."""
    program = (
        "from tests.simulation.simulation import simulate; from tests.simulation.story import drill_of, story_of; "
        "print(simulate(story_of(2)).trace, simulate(drill_of(5)).trace)"
    )
    path = os.pathsep.join([str(ROOT / "operator"), str(ROOT)])
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2", "4", "5")
    }

    assert len(traces) == 1


@pytest.mark.parametrize("mutation", SAMPLE, ids=str)
def test_a_planted_bug_is_found(mutation: Mutation) -> None:
    """A sample, each for the invariant that it breaks."""
    assert f"invariant {mutation.invariant} " in (caught(mutation) or "")


def test_every_planted_bug_has_its_line() -> None:
    """Else it would plant nothing, or more than it says."""
    for mutation in MUTATIONS:
        source = (ROOT / "operator" / "fedid" / mutation.file).read_text(encoding="utf-8")
        assert source.count(mutation.old) == 1, str(mutation)


def test_a_failure_is_cut_down_to_what_it_needs() -> None:
    """Of a story in which a hand changes a stranger's client, that hand alone is left."""
    calm = drill_of(0)
    culprit = Action(20.0, "spoil_stranger")
    failed = simulate(replace(calm, actions=(*calm.actions[:5], culprit), length=30.0))
    assert failed.violation is not None
    assert failed.violation.invariant == "8"

    least = shrunk(failed, seconds=20.0)

    assert least.story.actions == (culprit,)
