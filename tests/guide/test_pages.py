"""What the test of the guide can see: the convention of its blocks, the session, the closed list, the links."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedid.domain.conditions import ConditionType, Reason
from tests import again
from tests.again import GUIDE as GUIDE_TESTS
from tests.guide.pages import GUIDE, ORDER, GuideError, difference, page, steps_in, steps_of
from tests.guide.session import BlockError, Session
from tests.testbed.paths import REPOSITORY

MARKDOWN = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A bash with nothing but a PATH."""
    started = Session(tmp_path, {"PATH": os.environ["PATH"]}, tmp_path)
    yield started
    started.close()


def test_a_page_is_read_as_steps() -> None:
    """A `sh` block is a step, the `console` block after it is what it shows, other blocks are for reading."""
    text = "# T\n\n```sh\necho a\n```\n\nThen\n\n```console\na\n```\n\n```yaml\nb: 1\n```\n\n```sh\ntrue\n```\n"
    first, second = steps_in(text, "t.md")
    assert (first.place, first.script, first.shown) == ("t.md:3", "echo a\n", "a\n")
    assert (second.script, second.shown) == ("true\n", None)


def test_an_output_of_nothing_is_refused() -> None:
    """A `console` block that no command stands before would never be compared."""
    with pytest.raises(GuideError, match=r"t\.md:1"):
        steps_in("```console\na\n```\n", "t.md")


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a b\n", "a    b\n"),
        ("at ...Z: ok\n", "at 2026-01-01Z: ok\n"),
        ("...\nlast\n", "one\ntwo\nlast\n"),
        ("...\nlast\n", "last\n"),
        ("a\n\nb\n", "a\nb\n"),
        ("a\n", 'I1124 02:42:23.142017    9738 reflector.go:664] "Warning: watch ended with error"\na\n'),
    ],
    ids=["spaces", "within a line", "lines", "no lines", "empty lines", "a log of client-go"],
)
def test_what_is_taken_for_the_same(shown: str, printed: str) -> None:
    """Spaces, empty lines, what `...` stands for and what a library logs do not count."""
    assert difference(shown, printed) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a\n", "b\n"),
        ("a\n", "a\nb\n"),
        ("a\nb\n", "a\n"),
        ("a ... c\n", "a b\nc\n"),
        ('{"active":false}\n', '{"active":true}\n'),
        ("a.c\n", "abc\n"),
    ],
    ids=["another", "more", "less", "over two lines", "the opposite", "no expressions"],
)
def test_what_is_not_taken_for_the_same(shown: str, printed: str) -> None:
    """A page shows all that is printed, and nothing else."""
    assert difference(shown, printed) is not None


def test_pages_that_were_red_are_one_and_are_typed_again_from_the_first_on(tmp_path: Path) -> None:
    """Each builds on those before it; what else was red is asked again by itself."""
    other, last = "tests/e2e/test_x.py::test_y[a b]", f"{GUIDE_TESTS}test_the_page_goes_as_written[{ORDER[-1]}]"
    remembered = tmp_path / "lastfailed"
    assert again.main(remembered) == 0
    for red, count, asked in (
        ([other], 1, 1),
        ([other, last, f"{GUIDE_TESTS}test_nothing_is_left"], 2, 1 + len(ORDER) + 1),
    ):
        remembered.write_text(json.dumps(dict.fromkeys(red, True)), encoding="utf-8")
        assert again.main(remembered) == count
        left = json.loads(remembered.read_text(encoding="utf-8"))
        assert set(red) <= left.keys()
        assert len(left) == asked


def test_a_session_keeps_what_was_set(session: Session) -> None:
    """Variables and functions live from block to block, and both streams are seen."""
    session.run("A=1\nf() { echo $A; echo err >&2; }\n", seconds=10)
    assert session.run("f\n", seconds=10) == "1\nerr\n"


@pytest.mark.parametrize(
    "script", ["false\ntrue\n", "true | false | cat\n", "echo $UNSET\n", "a=$(false)\n", "true &\nwait $!\nexit 0\n"]
)
def test_a_command_that_fails_is_seen(session: Session, script: str) -> None:
    """Wherever in a block it stands."""
    with pytest.raises(BlockError, match="A command failed"):
        session.run(script, seconds=10)


def test_a_command_that_hangs_is_ended(session: Session) -> None:
    """The session does not wait for ever."""
    with pytest.raises(BlockError, match="did not end within"):
        session.run("echo begun; read -r _ < <(sleep 60)\n", seconds=0.5)


def test_every_page_is_run() -> None:
    """No page is forgotten, and each has something to type."""
    assert sorted(ORDER) == sorted(path.stem for path in GUIDE.glob("[0-9]*.md"))
    assert all(steps_of(page(name)) for name in ORDER)
    assert steps_of(page("README")) == []


def test_no_page_sleeps() -> None:
    """The guide waits for conditions, never for a time."""
    typed = [step for name in ORDER for step in steps_of(page(name))]
    assert [step.place for step in typed if re.search(r"\bsleep [0-9]", step.script)] == []


@pytest.mark.parametrize("word", sorted({*Reason, *ConditionType}))
def test_every_reason_is_explained(word: str) -> None:
    """Each word that a condition can say stands in a table of the troubleshooting page."""
    rows = [line for line in page("8-troubleshooting").read_text().splitlines() if line.startswith("| `")]
    assert any(f"`{word}`" in row.split("|")[1] for row in rows)


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(path: Path) -> None:
    """Files exist, and headings that are linked to do."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        if heading:
            assert heading in _anchors(found.read_text(encoding="utf-8")), target


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
