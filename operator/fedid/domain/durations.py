"""Durations in Kubernetes' own notation (`10m`, `1h30m`, `720h`).

Source: Go `time.ParseDuration`, which Kubernetes' CEL function `duration()` follows; whole numbers only here.
"""

from __future__ import annotations

import re
import zlib
from datetime import timedelta

from fedid.errors import InvalidSpecError

__all__ = ["duration", "duration_text", "scattered", "spread"]

_SPREAD = 0.1
"""The part of a period by which one object may come earlier than another."""
_PART = re.compile(r"([0-9]+)(ms|h|m|s)")
_WHOLE = re.compile(r"(?:[0-9]+(?:ms|h|m|s))+")
_UNIT = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


def duration(text: str, field: str) -> timedelta:
    """Return the duration written in `text`.

    Args:
        text: E.g. `10m` or `1h30m`.
        field: Where it stands, for the message.

    Raises:
        InvalidSpecError: It is not written that way, or longer than a timedelta holds.
    """
    if not _WHOLE.fullmatch(text):
        message = f"{field} is {text!r}; write a duration like 10m, 1h30m or 720h"
        raise InvalidSpecError(message)
    try:
        return sum((int(number) * _UNIT[unit] for number, unit in _PART.findall(text)), timedelta())
    except (OverflowError, ValueError) as error:  # ValueError: more digits than Python turns into a number
        message = f"{field} is {text!r}; that is longer than any credential can live"
        raise InvalidSpecError(message) from error


def duration_text(value: timedelta) -> str:
    """Return the duration in the same notation, down to seconds."""
    seconds = int(value.total_seconds())
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return "".join(f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if n) or "0s"


def spread(period: timedelta, uid: str) -> timedelta:
    """Return the period, shortened by up to a tenth of it, for the object of that uid always by the same.

    Objects that were looked at together, as after a start, thus come back one after the other: ten thousand that are
    due at one instant would hold the loop for tens of milliseconds. Never longer, since a period is a promise.
    """
    return period * (1 - _SPREAD * zlib.crc32(uid.encode()) / 2**32)


def scattered(period: timedelta, uid: str) -> timedelta:
    """Return an instant within the period for the object of that uid, always the same: for what begins together."""
    return period * (zlib.crc32(uid.encode()) / 2**32)
