"""Tells what a deletion waits for, and since when."""

from __future__ import annotations

from fedid.domain.conditions import Condition, ConditionType, reason_of, rfc3339
from fedid.domain.resources import Body
from fedid.errors import Error
from fedid.reconcile.status import kept_conditions, write_status
from fedid.reconcile.world import World

__all__ = ["tell_waiting", "waited_for"]


def waited_for(error: Error) -> str:
    """Return what is waited for where this stands in the way, as `status.revocation.waitingFor` names it."""
    return getattr(error, "backend", None) or str(reason_of(error))


async def tell_waiting(world: World, body: Body, error: Error) -> None:
    """Write into `Ready`, `Revoked` and `status.revocation` what keeps the object from going."""
    before = (body.get("status") or {}).get("revocation") or {}
    waiting_for = waited_for(error)
    same = before.get("waitingFor") == waiting_for and before.get("waitingSince")
    since = before["waitingSince"] if same else rfc3339(world.clock.now())
    message = f"Waiting for {waiting_for} since {since}: {error.message}"
    reason = reason_of(error)
    # What was seen to be refused stays told: once the credentials are removed, nobody can see it again.
    proven = kept_conditions(body, (ConditionType.REVOKED,)) if before.get("provenAt") else ()
    told = (
        Condition(ConditionType.READY, False, reason, message),
        *(proven or (Condition(ConditionType.REVOKED, False, reason, message),)),
    )
    revocation = {"startedAt": since, **before, "waitingFor": waiting_for, "waitingSince": since}
    await write_status(world, body, told, {"revocation": revocation})
