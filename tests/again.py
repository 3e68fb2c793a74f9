"""Says how many tests were red in the last run, and has `--last-failed` ask again whatever they build on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.guide.pages import ORDER
from tests.testbed.paths import REPOSITORY

LAST_FAILED = REPOSITORY / ".pytest_cache/v/cache/lastfailed"
GUIDE = "tests/guide/test_guide.py::"


def whole(red: Sequence[str]) -> tuple[int, list[str]]:
    """Return how many of these are red by themselves, and what is to be asked again.

    The pages of the guide are typed in one session: they count as one, and are typed again from the first on.
    """
    others = [test for test in red if not test.startswith(GUIDE)]
    if len(others) == len(red):
        return len(red), others
    pages = [f"{GUIDE}test_the_page_goes_as_written[{name}]" for name in ORDER]
    return len(others) + 1, [*others, *dict.fromkeys([*pages, *(test for test in red if test not in others)])]


def main(remembered: Path = LAST_FAILED) -> int:
    """Change what pytest remembers; return how many were red."""
    red = list(json.loads(remembered.read_text(encoding="utf-8"))) if remembered.exists() else []
    count, again = whole(red)
    if again != red:
        remembered.write_text(json.dumps(dict.fromkeys(again, True)), encoding="utf-8")
    return count


if __name__ == "__main__":
    print(main())
