"""Fixtures of the whole suite: the embedded stack."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.testbed.bringup import down, up
from tests.testbed.progress import Progress
from tests.testbed.stack import Stack

_NAME = os.environ.get("TESTBED") or "test"


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The embedded stack with the chart installed and no operator; kept after the run with FEDID_KEEP_STACK=1."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(line, flush=True)

    progress = Progress(say)
    with capture.global_and_fixture_disabled():
        print()
    stack = up(_NAME, operator=False, progress=progress)
    yield stack
    if not os.environ.get("FEDID_KEEP_STACK"):
        down(_NAME, progress=progress)
