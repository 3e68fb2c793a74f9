"""Whether what an identity has in Keycloak outlives it (`deletionPolicy: Retain`), and how far a revocation has come.

That it stays is recorded before anything ends: from then on neither a grant nor the spec changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason, rfc3339
from fedid.domain.grants import RETAIN_ASK
from fedid.domain.resources import Body, meta_of
from fedid.reconcile.judging import judged
from fedid.reconcile.status import kept_conditions, write_status
from fedid.reconcile.world import Backends, World

__all__ = ["decide_retention", "is_retained", "revocation_of"]


def revocation_of(body: Body) -> Mapping[str, Any]:
    """Return how far the revocation has come, as the status tells."""
    revocation: Mapping[str, Any] = (body.get("status") or {}).get("revocation") or {}
    return revocation


def is_retained(body: Body) -> bool:
    """Tell whether it was decided that what is in Keycloak stays."""
    return bool(revocation_of(body).get("retain"))


async def decide_retention(  # noqa: PLR0913 - what differs between the kinds
    world: World, body: Body, backends: Backends, *, retain: bool, who: str, what: str
) -> Body | None:
    """Record whether it stays: where the spec says so and a grant lets it; else it is deleted.

    Args:
        world: Collaborators.
        body: The object.
        backends: Of its Federation.
        retain: What the spec says.
        who: The kind of identity, for people: `bot`.
        what: What of it would stay, for people: `client`.

    Returns:
        The newest body; None if that cannot be told yet, because the labels of the namespace are not known.
    """
    if is_retained(body) or not retain:
        return body
    meta = meta_of(body)
    if not world.directory.knows_namespace(meta.key.namespace):
        return None
    if not (await judged(world, backends, (RETAIN_ASK,), body)).granted:
        return body
    started = {"startedAt": rfc3339(world.clock.now()), **revocation_of(body), "retain": True}
    told = kept_conditions(body, (ConditionType.READY, ConditionType.REVOKED)) if revocation_of(body) else []
    if not told:
        message = f"The {who} is being revoked; its {what} will stay"
        told = [
            Condition(ConditionType.READY, False, Reason.REVOKING, message),
            Condition(ConditionType.REVOKED, False, Reason.REVOKING, message),
        ]
    return await write_status(world, body, told, {"revocation": started}) or body
