"""Fixtures of the whole suite: the embedded stack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.consumers.consumer import Consumers
from tests.testbed.bringup import down, up
from tests.testbed.progress import Progress
from tests.testbed.python_environments import BITFOUNT, PLATFORMS, ensure_environment, missing_release
from tests.testbed.stack import Stack

_NAME = os.environ.get("TESTBED") or "test"


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The embedded stack with the chart installed and no operator; kept after the run with FEDID_KEEP_STACK=1."""
    progress = _progress(request)
    stack = up(_NAME, operator=False, progress=progress)
    yield stack
    if not os.environ.get("FEDID_KEEP_STACK"):
        down(_NAME, progress=progress)


@pytest.fixture(scope="session")
def platforms(request: pytest.FixtureRequest) -> Path:
    """The Python in whose environment the platforms' own packages are."""
    return ensure_environment(_progress(request), PLATFORMS)


@pytest.fixture(scope="session")
def bitfount(request: pytest.FixtureRequest) -> Path:
    """The Python in whose environment Bitfount's package is; without one of its release, its tests are skipped."""
    if missing := missing_release(BITFOUNT):
        pytest.skip(missing)
    return ensure_environment(_progress(request), BITFOUNT)


@pytest.fixture
def consumers(platforms: Path, tmp_path: Path) -> Iterator[Consumers]:
    """A starter of platforms' programs; what it started ends with the test."""
    with ExitStack() as ending:
        yield Consumers(platforms, tmp_path, ending)


def _progress(request: pytest.FixtureRequest) -> Progress:
    """Return a progress whose lines are seen as they come, on a line of their own."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    begun = False

    def say(line: str) -> None:
        nonlocal begun
        with capture.global_and_fixture_disabled():
            print(line if begun else f"\n{line}", flush=True)
        begun = True

    return Progress(say)
