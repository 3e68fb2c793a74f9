"""Simulates stories of many seeds: `make simulate`, with SEED=… one of them, with MUTATIONS=1 planted bugs."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.pool import Pool

from tests.simulation.mutations import MUTATIONS, caught
from tests.simulation.shrink import shrunk
from tests.simulation.simulation import Result, simulate
from tests.simulation.story import story_of

_SHRINKING_SECONDS = 120.0
_TOLD_SECONDS = 30.0
_YEAR_SECONDS = 365.25 * 86400


def main() -> int:
    """Run what the environment asks for; 1 if anything failed."""
    if os.environ.get("MUTATIONS"):
        return _plant_all()
    if seed := os.environ.get("SEED"):
        result = simulate(story_of(int(seed)))
        print(result.story)
        print(f"trace {result.trace}, {dict(sorted(result.counts.items()))}")
        print(result.violation or "nothing was violated")
        return int(result.violation is not None)
    return _run(_seeds())


def _seeds() -> Iterator[int]:
    """Return seeds from FIRST on: SEEDS of them, or as many as begin within SECONDS (default 60)."""
    first, count = int(os.environ.get("FIRST", "0")), os.environ.get("SEEDS")
    if count is not None:
        return iter(range(first, first + int(count)))
    ends_at = time.monotonic() + float(os.environ.get("SECONDS", "60"))
    return itertools.takewhile(lambda _: time.monotonic() < ends_at, itertools.count(first))


@dataclass(frozen=True, slots=True)
class _Figures:
    """What one seed came to."""

    seed: int
    seconds: float
    """Simulated."""
    cpu_seconds: float
    failed: bool


def _collect_rarely() -> None:
    """Let garbage lie for longer: there is memory, and most of what is made lives as long as its story."""
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)


def _measured(seed: int) -> _Figures:
    worked = time.process_time()
    result = simulate(story_of(seed))
    return _Figures(seed, result.seconds, time.process_time() - worked, result.violation is not None)


def _run(seeds: Iterator[int]) -> int:
    """Simulate seeds in JOBS processes (default: one for each core); each goes its own way, whoever runs beside it."""
    began = told = time.monotonic()
    count, simulated, cpu, failed = 0, 0.0, 0.0, []
    jobs = int(os.environ.get("JOBS") or os.cpu_count() or 1)
    with multiprocessing.get_context("fork").Pool(jobs, _collect_rarely) as pool:
        for one in _as_they_end(pool, seeds, ahead=2 * jobs):
            count, simulated, cpu = count + 1, simulated + one.seconds, cpu + one.cpu_seconds
            if one.failed:
                failed.append(one.seed)
                _tell(simulate(story_of(one.seed)))
            if time.monotonic() - told > _TOLD_SECONDS:
                told = time.monotonic()
                print(f"{count} seeds so far, {simulated / _YEAR_SECONDS:.4f} simulated years", flush=True)
    minutes = (time.monotonic() - began) / 60
    print(
        f"{count} seeds, {simulated / _YEAR_SECONDS:.4f} simulated years, {len(failed)} violations {failed or ''}; "
        f"{count / max(minutes, 1e-9):.0f} seeds per minute, {count / max(cpu / 60, 1e-9):.0f} per minute of a core"
    )
    return int(bool(failed))


def _as_they_end(pool: Pool, seeds: Iterator[int], ahead: int) -> Iterator[_Figures]:
    """Have the pool simulate seeds, so many of them asked for before the first has ended; their figures in order."""
    asked = deque(pool.apply_async(_measured, (seed,)) for seed in itertools.islice(seeds, ahead))
    while asked:
        yield asked.popleft().get()
        asked.extend(pool.apply_async(_measured, (seed,)) for seed in itertools.islice(seeds, 1))


def _tell(result: Result) -> None:
    print(f"seed {result.story.seed}: {result.violation}; looking for a smaller story ...", flush=True)
    least = shrunk(result, _SHRINKING_SECONDS)
    print(f"{least.violation}\n{least.story}", flush=True)


def _plant_all() -> int:
    missed = 0
    for mutation in MUTATIONS:
        found = caught(mutation)
        missed += found is None
        print(f"{'caught' if found else 'MISSED'}  {mutation}: {found or 'by none of its seeds'}", flush=True)
    print(f"{len(MUTATIONS) - missed} of {len(MUTATIONS)} planted bugs caught")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
