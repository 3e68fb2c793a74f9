"""Tells an Event of what somebody changed by hand."""

from __future__ import annotations

from collections.abc import Iterable

from fedid.domain.resources import Body
from fedid.reconcile.world import World

__all__ = ["tell_repair"]


async def tell_repair(world: World, body: Body, changes: Iterable[str]) -> None:
    """Tell what of an object was changed by hand and is put back; each change in words."""
    message = f"Changed by hand and put back: {', '.join(changes)}"
    await world.cluster.emit(body, reason="DriftRepaired", message=message, warning=True, action="Repair")
