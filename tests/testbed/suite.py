"""The stacks of one run of the tests, by name."""

import os
from collections.abc import Iterator

WORKER = "PYTEST_XDIST_WORKER"
"""Names the worker of a parallel run; not set without one."""


def own_name() -> str:
    """Return the name of the stack of this process, which no other worker has."""
    return _of(os.environ.get(WORKER))


def guide_name() -> str:
    """Return the name of the one on which the guide is typed."""
    return "-".join(part for part in (os.environ.get("TESTBED"), "guide") if part)


def names_with(workers: int) -> Iterator[str]:
    """Yield the names of all stacks that a run with so many workers may make."""
    for number in range(workers):
        yield _of(f"gw{number}")
    yield guide_name()


def _of(worker: str | None) -> str:
    name = os.environ.get("TESTBED") or "test"
    return f"{name}-{worker}" if worker else name
