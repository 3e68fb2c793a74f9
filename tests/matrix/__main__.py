"""`make crash-matrix`: every side effect of every operation, cut off in every way, on real servers."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.e2e.authority import Authority
from tests.e2e.operating import Proxies, apply_federation, federation, federation_ready
from tests.e2e.running import OperatorProcess
from tests.e2e.tenancy import Tenant
from tests.matrix.lives import Operation
from tests.matrix.matrix import Reference, prepared, run, run_again
from tests.matrix.random_runs import random_runs
from tests.matrix.results import Results
from tests.matrix.rounds import KINDS, World
from tests.testbed.bringup import down, up
from tests.testbed.paths import REPOSITORY
from tests.testbed.progress import Progress

REPORT = REPOSITORY / "build" / "crash-matrix.md"
LOGS = REPOSITORY / "build" / "crash-matrix-logs"
"""Of the operator, one file for each of its runs; they hold no credential."""
WORKERS, KEPT, KEPT_SECONDS = 48, 24, 45.0
"""Of the operator; requests to a backend that can wait for a kill, and how long: made wide, for fewer kills."""
MADE_WIDE = {"FEDID_WORKERS": str(WORKERS), "PYTHONPATH": str(Path(__file__).parent / "wide")}

_FURTHER_TRIES = 3
"""What the operator writes once in many lives, since two of its writes are one in the others, comes in one of these."""


def main() -> int:
    """Run it on a stack of its own; return the exit code."""
    options = _parser().parse_args()
    name, progress = os.environ.get("TESTBED") or "matrix", Progress()
    began = time.monotonic()
    try:
        with world(name, progress, {} if options.random_runs else MADE_WIDE) as made:
            told, good = _random_runs(made, options) if options.random_runs else _matrix(made, options)
    finally:
        if not os.environ.get("FEDID_KEEP_STACK"):
            down(name, progress=progress)
    _say(f"{told}; {(time.monotonic() - began) / 60:.0f} min")
    return 0 if good else 1


def _matrix(made: World, options: argparse.Namespace) -> tuple[str, bool]:
    """Break everything, or the sample; return what to tell at the end, and whether all is well."""
    reference = Reference.record(made)
    if gaps := reference.gaps(made.operator.output()):
        return f"no row, or no step, for: {', '.join(sorted(gaps))}", False
    if options.sample:
        _say(f"again with --seed {options.seed}")
    chance = random.Random(options.seed)  # noqa: S311 - not for a secret
    cells = reference.sample(chance) if options.sample else reference.every_cell()
    if options.operation:
        cells = {at: wanted for at, wanted in cells.items() if at[1] == options.operation}
    if options.kind:
        cells = {at: wanted for at, wanted in cells.items() if at[0].title == options.kind}
    _say(f"{sum(map(len, cells.values()))} cells")
    results = run(made, reference, cells)
    for _ in range(_FURTHER_TRIES):
        if results.not_met():
            run_again(made, reference, cells, results)
    write(results)
    _say(results.markdown())
    for failure in results.failures():
        _say(failure)
    good = not results.failures() and (options.sample or not results.not_met())
    return f"{results.summary()}; written to {REPORT}", good


def _random_runs(made: World, options: argparse.Namespace) -> tuple[str, bool]:
    """Likewise, of lives under random faults."""
    _say(f"again with --seed {options.seed}")
    figures = random_runs(made, options.random_runs, options.seed)
    for finding in (*figures.alive_after_end, *figures.without_credential, *figures.others):
        _say(finding)
    return f"{figures}; seed {options.seed}", figures.good


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--sample", action="store_true", help="each request once, in one of the five ways")
    parser.add_argument("--operation", choices=[*map(str, Operation)], help="nothing else is cut off")
    titles = [kind.title for kind in KINDS]
    parser.add_argument("--kind", choices=titles, help="nothing is cut off of any other")
    parser.add_argument("--random-runs", type=int, default=0, help="instead: so many lives under random faults")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of chance")  # noqa: S311
    return parser


def write(results: Results) -> None:
    """Write down what is known so far."""
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(results.markdown())


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def world(name: str, progress: Progress, extra: Mapping[str, str]) -> Iterator[World]:
    """Bring up what the matrix runs on: servers, proxies, the operator as a process, a namespace.

    Args:
        name: Of the stack.
        progress: Told about it.
        extra: Variables of the operator's environment.
    """
    stack = up(name, operator=False, progress=progress)
    with ExitStack() as ending:
        proxies = Proxies.start(stack)
        ending.callback(proxies.stop)
        shutil.rmtree(LOGS, ignore_errors=True)
        LOGS.mkdir(parents=True)
        operator = OperatorProcess(stack, proxies, LOGS, extra=extra)
        operator.start()
        ending.callback(operator.kill)
        apply_federation(stack, federation(stack, proxies))
        federation_ready(stack, "local")
        ground = ending.enter_context(prepared(stack, proxies))
        tenant = Tenant.create(stack)
        limits = (WORKERS, KEPT, KEPT_SECONDS)
        yield World(tenant, Authority(stack), operator, proxies, ground, *limits, _say, write)
        tenant.clean()


if __name__ == "__main__":
    sys.exit(main())
