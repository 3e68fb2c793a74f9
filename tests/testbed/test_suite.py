"""Which stacks a run of the tests has, and which it has left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testbed import paths
from tests.testbed.paths import StatePaths
from tests.testbed.progress import print_line
from tests.testbed.suite import WORKER, guide_name, left_by, own_name


@pytest.fixture(autouse=True)
def _of_a_clone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have a clone without stacks, and no name given."""
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)
    monkeypatch.delenv("TESTBED", raising=False)
    monkeypatch.delenv(WORKER, raising=False)


def test_each_worker_has_a_stack_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the name that a person gave, if any."""
    assert own_name() == "test"
    monkeypatch.setenv(WORKER, "gw1")
    assert own_name() == "test-gw1"
    monkeypatch.setenv("TESTBED", "mine")
    assert own_name() == "mine-gw1"


def test_what_workers_left_is_found() -> None:
    """Of those that ran; the stack of a run without workers is somebody's who keeps it."""
    for name in ("test", "test-gw0", "test-gw7", guide_name()):
        StatePaths.of(name).root.mkdir(parents=True)
    assert list(left_by(3)) == ["test-gw0", "guide"]


def test_nobody_need_listen(tmp_path: Path) -> None:
    """A line that nobody reads stops nothing."""

    class Gone:
        def write(self, _text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            """Have nothing to flush."""

    print_line("a line", Gone())  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
