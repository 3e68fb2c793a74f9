"""Lets go of an object of which nothing is left outside the cluster."""

from __future__ import annotations

from collections.abc import Iterable

from fedid.domain.conditions import Condition
from fedid.domain.resources import Body, meta_of
from fedid.reconcile.gate import without_finalizer
from fedid.reconcile.status import newest_of, proof_of, write_status
from fedid.reconcile.world import World

__all__ = ["let_go"]


async def let_go(world: World, body: Body, ending: Condition | None, made: Iterable[str]) -> None:
    """Take the finalizer off; where the object stays, forget what was made.

    In this order: after a crash in between, the status still has the proof, and it is told again as it was. The
    other way round nothing would be left to present, and a second run would tell that nothing ever was.

    Args:
        world: Collaborators.
        body: The object.
        ending: `Ready` of one that stays; None: it is being deleted.
        made: The fields by which its status claims that something exists.

    Raises:
        StaleObjectError: The object changed meanwhile.
    """
    meta = meta_of(body)
    world.freshness.expire(meta.key)
    await without_finalizer(world, body)
    if ending is not None:
        body = newest_of(world, body)
        await write_status(world, body, (ending, *proof_of(body)), dict.fromkeys(made), generation=meta.generation)
