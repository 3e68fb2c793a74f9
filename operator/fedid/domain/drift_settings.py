"""How a Federation wants changes made by hand in Keycloak to be looked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from fedid.domain.durations import duration, duration_text
from fedid.domain.fields import Body, text_or_none
from fedid.errors import InvalidSpecError

__all__ = ["LARGEST_PAGE", "DriftSettings", "parse_drift_settings"]

_T = TypeVar("_T")
_SHORTEST = timedelta(seconds=1)
LARGEST_PAGE = 500


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """How changes made by hand in Keycloak are looked for."""

    admin_events: bool = True
    """Whether the realm's admin events are read, where it records them."""
    events_interval: timedelta = timedelta(seconds=10)
    sweep_period: timedelta | None = None
    """None: by whether admin events are read."""
    page_size: int = 100


def parse_drift_settings(drift: Body) -> DriftSettings:
    """Return what `spec.drift` of a Federation says.

    Raises:
        InvalidSpecError: A field means nothing; the message names it.
    """
    usual, mode, size = DriftSettings(), text_or_none(drift, "spec.drift.adminEvents") or "Auto", drift.get("pageSize")
    if mode not in ("Auto", "Never"):
        message = f"spec.drift.adminEvents is {mode!r}; write Auto or Never"
        raise InvalidSpecError(message)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LARGEST_PAGE):
        message = f"spec.drift.pageSize is {size!r}; write a number from 1 to {LARGEST_PAGE}"
        raise InvalidSpecError(message)
    interval = _duration(drift, "spec.drift.eventsInterval", usual.events_interval)
    period = _duration(drift, "spec.drift.sweepPeriod", None)
    for name, value in (("eventsInterval", interval), ("sweepPeriod", period)):
        if value is not None and value < _SHORTEST:
            message = f"spec.drift.{name} is {duration_text(value)}; write at least {duration_text(_SHORTEST)}"
            raise InvalidSpecError(message)
    return DriftSettings(mode == "Auto", interval, period, size or usual.page_size)


def _duration(parent: Body, path: str, default: _T) -> timedelta | _T:
    written = text_or_none(parent, path)
    return duration(written, path) if written is not None else default
