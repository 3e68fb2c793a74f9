"""Puts the wall clock of a process off by `SHIFTED_SECONDS`; Python imports this at its start, before anything else."""

from __future__ import annotations

import datetime as dt
import os
import time

_SHIFT = float(os.environ.get("SHIFTED_SECONDS", "0"))
_time = time.time


class _Shifted(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> _Shifted:  # type: ignore[override]
        """Return what the wrong clock shows."""
        return cls.fromtimestamp(_time() + _SHIFT, tz)


if _SHIFT:
    time.time = lambda: _time() + _SHIFT
    dt.datetime = _Shifted  # type: ignore[misc]
