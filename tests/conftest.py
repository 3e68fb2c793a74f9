"""Fixtures of the whole suite: the embedded stack."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.consumers.consumer import Consumers
from tests.testbed.bringup import down, up
from tests.testbed.paths import StatePaths
from tests.testbed.progress import Progress, print_line
from tests.testbed.python_environments import BITFOUNT, PLATFORMS, ensure_environment, missing_release
from tests.testbed.stack import Stack
from tests.testbed.suite import WORKER, names_with, own_name

ON_A_QUIET_STACK = ("chart", "contract", "adapters", "cli", "crds")
"""Folders whose tests use a stack in which nobody else does anything."""
WITH_AN_OPERATOR = ("guide", "e2e")
"""Folders whose tests run one, which goes on until the session ends. The others need no server."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what needs a quiet stack; end with what needs none, to keep every worker busy to the end."""
    order = (*ON_A_QUIET_STACK, *WITH_AN_OPERATOR)
    rank = {folder: place for place, folder in enumerate(order)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(Path(__file__).parent).parts[0], len(order)))


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Take down what workers left that were interrupted: pytest-xdist does not wait until they have done so.

    Before anybody else has a last word: where nobody listens any more, to say it is an error.
    """
    if os.environ.get(WORKER) or os.environ.get("FEDID_KEEP_STACK"):
        return
    if workers := config.getoption("numprocesses", None):
        for name in names_with(workers):
            if StatePaths.of(name).root.exists():
                down(name)


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The embedded stack with the chart installed and no operator; kept after the run with FEDID_KEEP_STACK=1."""
    progress = seen_progress(request)
    stack = up(own_name(), operator=False, progress=progress)
    yield stack
    if not os.environ.get("FEDID_KEEP_STACK"):
        down(stack.name, progress=progress)


@pytest.fixture(scope="session")
def platforms(request: pytest.FixtureRequest) -> Path:
    """The Python in whose environment the platforms' own packages are."""
    return ensure_environment(seen_progress(request), PLATFORMS)


@pytest.fixture(scope="session")
def bitfount(request: pytest.FixtureRequest) -> Path:
    """The Python in whose environment Bitfount's package is; without one of its release, its tests are skipped."""
    if missing := missing_release(BITFOUNT):
        pytest.skip(missing)
    return ensure_environment(seen_progress(request), BITFOUNT)


@pytest.fixture
def consumers(platforms: Path, tmp_path: Path) -> Iterator[Consumers]:
    """A starter of platforms' programs; what it started ends with the test."""
    with ExitStack() as ending:
        yield Consumers(platforms, tmp_path, ending)


def seen_progress(request: pytest.FixtureRequest) -> Progress:
    """Return a progress whose lines are seen as they come, on a line of their own."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    begun = False

    def say(line: str) -> None:
        nonlocal begun
        with capture.global_and_fixture_disabled():
            # Of a worker nobody sees the standard output.
            out = sys.stderr if os.environ.get(WORKER) else sys.stdout
            print_line(line if begun else f"\n{line}", out)
        begun = True

    return Progress(say)
