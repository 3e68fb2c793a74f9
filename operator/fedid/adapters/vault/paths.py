"""Paths inside a mount, checked once more right before they become part of a URL."""

from __future__ import annotations

import re
from typing import Final

from fedid.errors import InvalidSpecError

_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+")


def checked_path(path: str) -> str:
    """Return the path as it is, if nobody can leave their folder with it.

    Raises:
        InvalidSpecError: A segment is empty, `.` or `..`, or holds more than letters, digits, dot, dash and underscore.
    """
    for segment in path.split("/"):
        if not _SEGMENT.fullmatch(segment) or segment in {".", ".."}:
            message = f"{segment!r} cannot be a part of a Vault path: use letters, digits, dots, dashes and underscores"
            raise InvalidSpecError(message)
    return path
