"""Which stacks a run of the tests may make."""

from __future__ import annotations

from io import StringIO

import pytest

from tests.testbed.progress import print_line
from tests.testbed.suite import WORKER, names_with, own_name


@pytest.fixture(autouse=True)
def _without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no name given, and no worker."""
    monkeypatch.delenv("TESTBED", raising=False)
    monkeypatch.delenv(WORKER, raising=False)


def test_each_worker_has_a_stack_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the name that a person gave, if any."""
    assert own_name() == "test"
    monkeypatch.setenv(WORKER, "gw1")
    assert own_name() == "test-gw1"
    monkeypatch.setenv("TESTBED", "mine")
    assert own_name() == "mine-gw1"


def test_workers_make_stacks_of_known_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that ran; the stack of a run without workers is somebody's who keeps it."""
    assert list(names_with(3)) == ["test-gw0", "test-gw1", "test-gw2", "guide"]
    monkeypatch.setenv("TESTBED", "mine")
    assert list(names_with(1)) == ["mine-gw0", "mine-guide"]


def test_nobody_need_listen() -> None:
    """A line that nobody reads is written all the same, and stops nothing."""
    asked: list[str] = []

    class Gone(StringIO):
        def write(self, text: str, /) -> int:
            asked.append(text)
            raise BrokenPipeError

    print_line("a line", Gone())
    assert asked == ["a line"]
