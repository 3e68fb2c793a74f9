"""How many identities a Federation has, and which of its rules they use: for its status, which must not move often."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.resources import Body, meta_of
from fedid.reconcile.gate import pinned_federation
from fedid.reconcile.world import World

__all__ = ["Census"]

_PERIOD = timedelta(seconds=50)
"""At most one count in this time, and so one write: a little less than the minute of a Federation's passes."""
_COUNTED_AT_ONCE = 1000
"""Objects that are counted before the loop gets a turn."""


class Census:
    """Counts the identities of Federations."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._due: dict[str, float] = {}
        """Federation name to when it is counted again (monotonic seconds)."""

    async def fields(self, federation: str) -> Mapping[str, Any]:
        """Return the status fields with the counts, nothing if it was counted a short while ago.

        Not at first sight either: what was applied together with the Federation, or is restored at a start, is under
        way then. What identities tell of themselves is counted, so a restart counts what was counted before.
        """
        now = self._world.clock.monotonic()
        if now < self._due.setdefault(federation, now + _PERIOD.total_seconds()):
            return {}
        self._due[federation] = now + _PERIOD.total_seconds()
        total: Counter[str] = Counter()
        ready: Counter[str] = Counter()
        used: Counter[int] = Counter()
        for number, key in enumerate(self._world.directory.identities_of(federation), 1):
            if number % _COUNTED_AT_ONCE == 0:
                await asyncio.sleep(0)
            body = self._world.directory.get(key)
            if body is None or pinned_federation(self._world, body) != federation:
                continue
            total[key.kind] += 1
            ready[key.kind] += _is_ready(body)
            # What was withdrawn as a whole uses none, though its status may still tell of those that it used.
            used.update((body.get("status") or {}).get("grants") or () if meta_of(body).has_finalizer else ())
        kinds = [{"kind": kind, "total": total[kind], "ready": ready[kind]} for kind in sorted(total)]
        return {
            "identities": {"total": total.total(), "ready": ready.total(), "kinds": kinds},
            "grantsInUse": [{"index": index, "identities": used[index]} for index in sorted(used)] or None,
        }

    def forget(self, federation: str) -> None:
        """Drop what is kept of a Federation that is gone."""
        self._due.pop(federation, None)


def _is_ready(body: Body) -> bool:
    told = condition_of((body.get("status") or {}).get("conditions") or (), ConditionType.READY)
    return told is not None and told["status"] == "True"
