"""SuperNodes that only their bot's own token can end: a bot that goes waits a moment for them, and no longer."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fedid.domain.conditions import instant_in
from fedid.domain.resources import Body, meta_of
from fedid.engine import Priority
from fedid.platforms.flower import BOT
from fedid.reconcile.world import World

__all__ = ["waits_for_nodes"]

_PATIENCE: Final = timedelta(seconds=15)
"""Enough for a SuperLink that answers; nobody holds up a revocation for longer."""


def waits_for_nodes(world: World, body: Body) -> bool:
    """Tell whether a bot that is to be revoked keeps its token a moment longer, for SuperNodes to be unregistered with.

    They are woken, and wake the bot when they are done.
    """
    meta, revocation = meta_of(body), (body.get("status") or {}).get("revocation") or {}
    since = instant_in(body["metadata"].get("deletionTimestamp") or revocation.get("startedAt"))
    if since is None or world.clock.now() - since > _PATIENCE:
        return False
    registered = []
    for key in world.directory.pods_of_bot(meta.key):
        status = (world.directory.get(key) or {}).get("status") or {}
        if (status.get("superNode") or {}).get("account") == BOT:
            registered.append(key)
    for key in registered:
        world.wake(key, Priority.DELETION)
    return bool(registered)
