"""Writes a status if and only if it changed, and tells an Event when an object becomes ready or stops being so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason, condition_of, merged_conditions
from fedid.domain.exposure import proof_seconds
from fedid.domain.openfga import with_openfga
from fedid.domain.orphans import with_orphans
from fedid.domain.pod_reload import mounted_condition
from fedid.domain.resources import FEDERATION, POD_IDENTITY, Body, meta_of
from fedid.reconcile.news import learned
from fedid.reconcile.world import World

__all__ = [
    "kept_conditions",
    "merge_patch",
    "newest_of",
    "proof_of",
    "ready_at_generation",
    "was_taken",
    "write_status",
]

_ORDINARY = frozenset(
    {Reason.PROGRESSING, Reason.REVOKING, Reason.WAITING_FOR_BOT, Reason.BOT_DELETING, Reason.SUSPENDED, Reason.EXPIRED}
)
"""Reasons for not being ready that belong to an ordinary life."""

_DENIALS = frozenset({Reason.NOT_GRANTED, Reason.WAITING_FOR_APPROVAL})


_OPENFGA = {FEDERATION: ConditionType.OPENFGA_READY}
"""What the part of a status about OpenFGA stands for, where it is no server's."""


def newest_of(world: World, body: Body) -> Body:
    """Return what is known of that very object now; statuses are written over the newest one."""
    if (departed := world.departed.of(body)) is not None:
        return departed
    found = world.directory.get(meta_of(body).key)
    return found if found is not None and found["metadata"]["uid"] == body["metadata"]["uid"] else body


def was_taken(status: Mapping[str, Any]) -> bool:
    """Tell whether a client of somebody else's was in the way when this status was written."""
    synced = condition_of(status.get("conditions") or (), ConditionType.KEYCLOAK_SYNCED)
    return synced is not None and synced["reason"] == Reason.CONFLICT


async def write_status(
    world: World,
    body: Body,
    told: Sequence[Condition] | None,
    fields: Mapping[str, Any],
    *,
    generation: int | None = None,
) -> Body | None:
    """Bring `status` to the told conditions and fields; one PATCH, or none if nothing differs.

    Several passes may be about one object, each with a part of the status. They write one after the other, each over
    the newest one, so that none undoes what another told meanwhile.

    Args:
        world: Collaborators.
        body: The object as last read; only this uid is written to.
        told: Every condition that holds now; others go. None: those that there are stay, and the generation of which
            they are true. `Mounted`
            of a PodIdentity need not be told.
        fields: Status fields to set; None removes one, absent ones stay.
        generation: What is told is true of this one; None: of `body`. A spec may change while a pass over the former
            one runs.

    Returns:
        The newest body, None if the object is gone.
    """
    meta = meta_of(body)
    generation = meta.generation if generation is None and told is not None else generation
    async with world.status_locks.setdefault(meta.key, asyncio.Lock()):
        body = newest_of(world, body)
        before = (body.get("status") or {}).get("conditions") or []
        written = await _write(world, body, told, fields, generation)
    if written is not None and written is not body:
        if (seconds := proof_seconds(body, written, world.clock.now())) is not None:
            world.meter.revoked(meta.key.kind, seconds)
        await _tell_transition(world, written, before, written["status"]["conditions"])
    return written


async def _write(
    world: World, body: Body, told: Sequence[Condition] | None, fields: Mapping[str, Any], generation: int | None
) -> Body | None:
    meta, observed = meta_of(body), body.get("status") or {}
    told = _all_conditions(body) if told is None else told
    generation = observed.get("observedGeneration", meta.generation) if generation is None else generation
    wanted = {**observed, **fields, "observedGeneration": generation}
    told = _with_mounted(body, wanted, told, generation)
    told = with_orphans(told, wanted.get("orphans")) if body["kind"] == FEDERATION else told
    wanted["conditions"] = merged_conditions(
        observed.get("conditions") or (),
        with_openfga(told, _OPENFGA.get(meta.key.kind, ConditionType.OPENFGA_SYNCED), wanted.get("openFga")),
        generation=generation,
        now=world.clock.now(),
    )
    wanted = {name: value for name, value in wanted.items() if value is not None}
    patch = merge_patch(observed, wanted)
    if not patch:
        return body
    if world.departed.of(body) is not None:
        departed = {**body, "status": wanted}
        world.departed.keep(departed)
        return departed
    written = await world.cluster.patch_status(body, patch)
    if written is None:
        world.directory.remove(meta.key, meta.uid)
        return None
    learned(world, written)
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


def proof_of(body: Body) -> list[Condition]:
    """Return the condition with the proof of the last withdrawal, to be told for as long as nothing is made anew."""
    return [condition for condition in kept_conditions(body, (ConditionType.REVOKED,)) if condition.status]


def _all_conditions(body: Body) -> list[Condition]:
    """Return the conditions of the status in the order that they have there: told again, they change nothing."""
    known = [one["type"] for one in (body.get("status") or {}).get("conditions") or ()]
    return kept_conditions(body, [ConditionType(kind) for kind in known if kind in ConditionType.__members__.values()])


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


def _with_mounted(
    body: Body, status: Mapping[str, Any], told: Sequence[Condition], generation: int
) -> Sequence[Condition]:
    """Return the conditions, and `Mounted` as it follows from this status: many write what it depends on."""
    if body["kind"] != POD_IDENTITY:
        return told
    others = [condition for condition in told if condition.type is not ConditionType.MOUNTED]
    mounted = mounted_condition({**body, "metadata": {**body["metadata"], "generation": generation}, "status": status})
    return [*others, mounted] if mounted is not None else others


async def _tell_transition(
    world: World, body: Body, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> None:
    old, new = condition_of(before, ConditionType.READY), condition_of(after, ConditionType.READY)
    if new is None:
        return
    same = old is not None and (old["status"], old["reason"]) == (new["status"], new["reason"])
    # Of what is denied each change is told: something more that was granted may have been withdrawn.
    if same and (new["reason"] not in _DENIALS or (old or {})["message"] == new["message"]):
        return
    await world.cluster.emit(
        body,
        reason=new["reason"],
        message=new["message"],
        warning=new["status"] == "False" and new["reason"] not in _ORDINARY,
        action="Reconcile",
    )
