"""Writes a status if and only if it changed, and tells an Event when an object becomes ready or stops being so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason, condition_of, merged_conditions
from fedid.domain.resources import Body, meta_of
from fedid.reconcile.world import World

__all__ = ["kept_conditions", "merge_patch", "newest_of", "ready_at_generation", "write_status"]

_ORDINARY = frozenset(
    {Reason.PROGRESSING, Reason.REVOKING, Reason.WAITING_FOR_BOT, Reason.BOT_DELETING, Reason.SUSPENDED, Reason.EXPIRED}
)
"""Reasons for not being ready that belong to an ordinary life."""


def newest_of(world: World, body: Body) -> Body:
    """Return what is known of that very object now; statuses are written over the newest one."""
    found = world.directory.get(meta_of(body).key)
    return found if found is not None and found["metadata"]["uid"] == body["metadata"]["uid"] else body


async def write_status(
    world: World, body: Body, told: Sequence[Condition], fields: Mapping[str, Any], *, generation: int | None = None
) -> Body | None:
    """Bring `status` to the told conditions and fields; one PATCH, or none if nothing differs.

    Args:
        world: Collaborators.
        body: The object as last read; only this uid is written to.
        told: Every condition that holds now; others go.
        fields: Status fields to set; None removes one, absent ones stay.
        generation: What is told is true of this one; None: of `body`. A spec may change while a pass over the former
            one runs.

    Returns:
        The newest body, None if the object is gone.
    """
    meta = meta_of(body)
    generation = meta.generation if generation is None else generation
    observed: Mapping[str, Any] = body.get("status") or {}
    wanted = {**observed, **fields, "observedGeneration": generation}
    wanted["conditions"] = merged_conditions(
        observed.get("conditions") or (), told, generation=generation, now=world.clock.now()
    )
    wanted = {name: value for name, value in wanted.items() if value is not None}
    patch = merge_patch(observed, wanted)
    if not patch:
        return body
    written = await world.cluster.patch_status(body, patch)
    if written is None:
        world.directory.remove(meta.key, meta.uid)
        return None
    world.directory.put(written)
    await _tell_transition(world, written, observed.get("conditions") or (), wanted["conditions"])
    return written


def ready_at_generation(body: Body) -> bool:
    """Tell whether the status says Ready, and says it of the spec as it is now."""
    status = body.get("status") or {}
    ready = condition_of(status.get("conditions") or (), ConditionType.READY)
    return (
        ready is not None and ready["status"] == "True" and status.get("observedGeneration") == meta_of(body).generation
    )


def kept_conditions(body: Body, types: Iterable[ConditionType], *, but: ConditionType | None = None) -> list[Condition]:
    """Return those conditions of the status that go on holding while something else is told."""
    kept = []
    for kind in types:
        old = condition_of((body.get("status") or {}).get("conditions") or (), kind)
        if old is not None and kind is not but:
            value = {"True": True, "False": False}.get(old["status"])
            known = old["reason"] in Reason.__members__.values()  # another version of us may have written it
            reason = Reason(old["reason"]) if known else Reason.PROGRESSING
            kept.append(Condition(kind, value, reason, old["message"]))
    return kept


def merge_patch(observed: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch that leads from one object to the other; empty if they are equal.

    Source: RFC 7386.
    """
    patch: dict[str, Any] = {name: None for name in observed if name not in wanted}
    for name, value in wanted.items():
        before = observed.get(name)
        if before == value:
            continue
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            patch[name] = merge_patch(before, value)
        else:
            patch[name] = value
    return patch


async def _tell_transition(
    world: World, body: Body, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> None:
    old, new = condition_of(before, ConditionType.READY), condition_of(after, ConditionType.READY)
    if new is None or (old is not None and (old["status"], old["reason"]) == (new["status"], new["reason"])):
        return
    await world.cluster.emit(
        body,
        reason=new["reason"],
        message=new["message"],
        warning=new["status"] == "False" and new["reason"] not in _ORDINARY,
        action="Reconcile",
    )
