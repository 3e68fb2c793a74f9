"""The pages of the guide as steps: what is typed, and what is to be seen.

A `sh` block is typed. A `console` block is everything that the `sh` block before it prints, where `...` stands for any
text in its line, or for any lines if it is a line of its own; how many spaces part two words does not matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.paths import REPOSITORY

GUIDE = REPOSITORY / "docs" / "guide"

ORDER = (
    "1-install",
    "2-first-bot",
    "3-mount",
    "4-rotate",
    "9-reload",
    "5-revoke",
    "6-upgrade",
    "8-troubleshooting",
    "7-uninstall",
)
"""Reloading needs a bot, which revoking ends; troubleshooting an installation, so uninstalling comes last."""

_FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_WILDCARD = "..."
_KLOG = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \S+:\d+\] ")
"""How a line begins that the Go client of Kubernetes logs."""


class GuideError(Exception):
    """A page breaks the convention of its blocks."""


@dataclass(frozen=True, slots=True)
class Step:
    """One `sh` block."""

    place: str
    """File and line, for messages."""
    script: str
    shown: str | None
    """What the page says it prints; None: it does not say."""


def page(name: str) -> Path:
    """Return the file of a page."""
    return GUIDE / f"{name}.md"


def steps_of(path: Path) -> list[Step]:
    """Return the steps of a page.

    Raises:
        GuideError: A `console` block does not follow a `sh` block.
    """
    return steps_in(path.read_text(encoding="utf-8"), path.name)


def steps_in(text: str, name: str) -> list[Step]:
    """Return the steps in the text of a page.

    Args:
        text: Markdown.
        name: What messages call it.

    Raises:
        GuideError: A `console` block does not follow a `sh` block.
    """
    steps: list[Step] = []
    before = ""
    for fence in _FENCE.finditer(text):
        place = f"{name}:{text.count(chr(10), 0, fence.start()) + 1}"
        kind = fence["kind"]
        if kind == "sh":
            steps.append(Step(place, fence["text"], None))
        elif kind == "console" and before == "sh":
            steps[-1] = Step(steps[-1].place, steps[-1].script, fence["text"])
        elif kind == "console":
            message = f"{place}: a console block shows what the sh block before it prints, and there is none"
            raise GuideError(message)
        before = kind
    return steps


def difference(shown: str, printed: str) -> str | None:
    """Return why what was printed is not what the page shows, None if it is.

    What the Go client of Kubernetes logs of its own accord, of a connection that broke, is nothing that a page shows.
    """
    pattern = "".join(_line_pattern(line) for line in shown.splitlines())
    seen = [" ".join(line.split()) for line in printed.splitlines() if not _KLOG.match(line)]
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in seen if line)):
        return None
    return f"The page shows:\n{_indented(shown)}\nand it printed:\n{_indented(printed)}"


def _line_pattern(line: str) -> str:
    words = " ".join(line.split())
    if not words:
        return ""
    if words == _WILDCARD:
        return r"(?:.*\n)*?"
    return ".*?".join(re.escape(part) for part in words.split(_WILDCARD)) + r"\n"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()) or "    (nothing)"
