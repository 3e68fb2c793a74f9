"""Lets the operator have many requests open at a time, and for long; Python imports this before anything else.

What waits for a kill holds its place. An operator begins with 8 and gives each 15 s, so few could wait for one; with
more of both the matrix needs fewer kills.
"""

from __future__ import annotations

from datetime import timedelta

from fedid.adapters.transport import Transport
from fedid.engine.limiter import LimiterBounds

INITIAL = 32
PATIENCE = timedelta(minutes=1)

_minimum, _initial, *_others = LimiterBounds.__init__.__defaults__  # type: ignore[misc]
LimiterBounds.__init__.__defaults__ = (_minimum, INITIAL, *_others)
Transport.__init__.__kwdefaults__["total_timeout"] = PATIENCE  # type: ignore[index]
