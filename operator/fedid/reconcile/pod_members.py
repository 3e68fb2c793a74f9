"""One pass over the members of a SuperLink: OpenFGA holds a tuple for each, and for nobody who is refused.

It has a key of its own in the queue (`PodMembers/…`): it waits for neither Keycloak nor Vault nor a pod, and they do
not wait for it. Who is to go goes first, and by what the status records alone; who is new is recorded before its tuple
is written, so that a crash in between leaves nothing that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fedid.domain.conditions import Reason
from fedid.domain.membership import Entry, Membership, Place, Record, TupleState, changes, record_in, tuple_of
from fedid.domain.naming import ObjectKey
from fedid.domain.openfga import problem
from fedid.domain.receipt import Cause, Presented, receipt_of
from fedid.domain.resources import FEDERATION, TUPLES_FINALIZER, Body, meta_of
from fedid.engine import Outcome, Priority
from fedid.errors import (
    BackendRejectedError,
    BackendUnavailableError,
    Error,
    InvalidSpecError,
    NotGrantedError,
    NotReadyError,
    OwnershipConflictError,
    StaleObjectError,
)
from fedid.platforms.flower_accounts import membership
from fedid.ports import TupleStore
from fedid.reconcile.gate import (
    UNSEEN_SECONDS,
    backends_of,
    federation_of,
    with_finalizer,
    without_finalizer,
)
from fedid.reconcile.judging import judged
from fedid.reconcile.members import Members
from fedid.reconcile.receipts import leave_receipt
from fedid.reconcile.status import newest_of, write_status
from fedid.reconcile.world import OpenFga, World

__all__ = ["PodMembers"]

_MOST: Final = 500
"""That one SuperLink lets in; the status records each, and an object of Kubernetes holds 1.5 MiB at most."""
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is wanted, as far as it can be told."""

    place: Place | None
    """None: nothing is, or where cannot be told; what is recorded says where that is."""
    entries: Mapping[str, Entry] = field(default_factory=dict)
    """By subject."""
    trouble: Error | None = None
    """Why it is not what the manifest says."""
    again_after: float | None = None
    """Seconds, if the rest is known soon."""


class PodMembers:
    """Brings the tuples of SuperLinks in line."""

    def __init__(self, world: World, members: Members) -> None:
        """Work in this world."""
        self._world = world
        self._members = members

    async def reconcile(self, body: Body) -> Outcome:
        """Run one pass over a PodIdentity.

        Raises:
            Error: What went wrong; the status tells it already.
        """
        record = record_in(body.get("status") or {})
        wanted = await self._wanted(body, record)
        try:
            body, record = await self._drop(body, record, wanted)
            foreign = await self._bring_in(body, record, wanted) if wanted.place is not None else ()
        except StaleObjectError:
            raise  # an ordinary conflict of writes: read again and repeated, nothing to tell
        except Error as error:
            await self._tell(newest_of(self._world, body), error, wanted)
            raise
        if (failed := wanted.trouble or _conflict(foreign)) is not None:
            await self._tell(newest_of(self._world, body), failed, wanted)
            raise failed
        if wanted.again_after is not None:
            return Outcome(self._world.clock.monotonic() + wanted.again_after)
        return Outcome()  # the PodIdentity's own pass, which comes regularly, begins the next one

    async def _wanted(self, body: Body, record: Record | None) -> _Wanted:
        """Return what the manifest and the grants say; if that cannot be told, who is refused leaves all the same."""
        if meta_of(body).deleting:
            return _Wanted(None)
        try:
            of = membership(body.get("spec") or {})
            return await self._granted(body, of) if of is not None else _Wanted(None)
        except NotGrantedError as error:
            return _Wanted(None, trouble=error)
        except Error as error:
            return self._as_recorded(body, record, error)

    async def _granted(self, body: Body, of: Membership) -> _Wanted:
        world, meta, status = self._world, meta_of(body), body.get("status") or {}
        federation = federation_of(world, body)
        backends = backends_of(world, federation)
        if backends is None or not world.directory.knows_namespace(meta.key.namespace):
            # The grants are not known yet; what makes them known wakes this object.
            return self._as_recorded(body, record_in(status), None, UNSEEN_SECONDS if backends is not None else None)
        verdict = await judged(world, backends, [of.ask], body)
        if not verdict.granted:
            raise NotGrantedError(verdict.message, reason=verdict.reason)
        connected = self._connected(federation)
        if connected is None:
            return self._as_recorded(body, record_in(status), None)
        if connected.access.store_id != of.store_id:
            message = (
                f"spec.platform.flower.superLink.openFga.storeId is {of.store_id}, and fedid writes into store "
                f"{connected.access.store_id} of Federation {federation}, of which the SuperLink would see nothing; "
                "write the same"
            )
            raise InvalidSpecError(message)
        entries = self._members.wanted(body, of, federation)
        if len(entries) > _MOST:
            message = f"{len(entries)} bots and users are selected; the most is {_MOST}: narrow the selectors"
            raise InvalidSpecError(message)
        return _Wanted(Place(federation, connected.access.url, of.store_id, of.object, of.relation), entries)

    def _as_recorded(
        self, body: Body, record: Record | None, trouble: Error | None, again_after: float | None = None
    ) -> _Wanted:
        """Return those who are in and may stay; nobody comes in before it is known where, and by what grant."""
        entries = self._members.still_wanted(body, record) if record is not None else {}
        return _Wanted(None, entries, trouble, again_after)

    def _connected(self, federation: str) -> OpenFga | None:
        """Return the OpenFGA of a Federation; None if it was not looked at yet, which wakes those who wait.

        Raises:
            Error: It has none, or none that can be asked.
        """
        found = self._world.openfgas.get(federation)
        if isinstance(found, Error):
            raise NotReadyError(found.message, reason=found.reason)
        body = self._world.directory.get(ObjectKey(FEDERATION, "", federation))
        if found is None and not ((body or {}).get("spec") or {}).get("openFga"):
            message = f"Federation {federation} does not say where OpenFGA is; have the platform team set spec.openFga"
            raise NotReadyError(message, reason=Reason.FEDERATION_NOT_READY)
        return found

    async def _drop(self, body: Body, record: Record | None, wanted: _Wanted) -> tuple[Body, Record | None]:
        """End the tuples of those who are not wanted, and forget all once there are none."""
        if record is not None:
            elsewhere = wanted.place is not None and not wanted.place.holds_what(record.place)
            stays: Collection[str] = () if elsewhere else wanted.entries
            leaving = tuple(one for one in record.entries if one.subject not in stays)
            if leaving:
                body = await self._end(body, record, leaving)
                record = record.without({one.subject for one in leaving})
            if elsewhere and not record.entries:
                record = None
        done = wanted.place is None and not (record and record.entries)
        if done and wanted.again_after is None:
            return await self._forget(body, wanted.trouble), None
        return body, record

    async def _end(self, body: Body, record: Record, leaving: tuple[Entry, ...]) -> Body:
        """Delete tuples of ours, see them gone, and take them off the record.

        Raises:
            Error: OpenFGA does not let us finish.
        """
        place, world = record.place, self._world
        try:
            connected = self._home_of(place)
            store = connected.store
            for one in leaving:
                await store.delete(tuple_of(place, one.subject))
                world.audit("DeleteTuple", key=meta_of(body).key, tuple=str(tuple_of(place, one.subject)))
            seen = await store.users(place.object, place.relation)
            left = [one for one in leaving if tuple_of(place, one.subject).user in seen]
            if left:
                message = f"Tuple {tuple_of(place, left[0].subject)} is still there; deleting it again"
                raise BackendUnavailableError(message, backend="openfga", reason=Reason.REVOKING)
            proof = await _checked(store, place, leaving)
        except BackendRejectedError as error:
            # Of a server at another address than before it says nothing that the store is not there.
            if error.reason != Reason.STORE_NOT_FOUND or connected.access.url != place.url:
                raise
            proof = f"store {place.store_id} is gone, and all that it held"
        meta, at, where = meta_of(body), world.clock.now(), f"OpenFGA {place.url}, store {place.store_id}"
        evidence = [
            Presented(f"tuple {tuple_of(place, one.subject)} of {one.member}", where, proof, at) for one in leaving
        ]
        # One who comes back leaves again; the status that says so is written right after.
        which = f"tuples {' '.join(sorted(one.subject for one in leaving))} {meta.resource_version}"
        cause = Cause.DELETED if meta.deleting else Cause.WITHDRAWN
        receipt = receipt_of(body, cause, what=which, seen=evidence, proven_at=at, recorded=False)
        message = f"Revocation proven: {_named(leaving)} may not use {place.object} any more: {proof}"
        await leave_receipt(world, body, receipt, message=message)
        body = await self._write(body, record.without({one.subject for one in leaving}), _problem_of(body))
        for one in leaving:
            world.wake(one.member, Priority.DELETION, look=False)  # one that is being deleted waits for this
        return body

    def _home_of(self, place: Place) -> OpenFga:
        """Return where recorded tuples are.

        Raises:
            Error: Nobody can say, or it was not looked at yet.
        """
        connected = self._connected(place.federation)
        if connected is None:
            message = f"OpenFGA of Federation {place.federation} is looked at first"
            raise NotReadyError(message)
        if connected.access.store_id != place.store_id:
            message = (
                f"Tuples of this PodIdentity are in store {place.store_id} of {place.url}, and Federation "
                f"{place.federation} names another; put it back in spec.openFga until they are deleted"
            )
            raise NotReadyError(message, reason=Reason.FEDERATION_NOT_READY)
        return connected

    async def _forget(self, body: Body, trouble: Error | None) -> Body:
        """Let the status say that nothing is written, and the object go as far as tuples are concerned."""
        if trouble is None:
            body = await self._write(body, None, None)
        elif record_in(body.get("status") or {}) is not None:
            body = await self._write(body, None, _problem_of(body))
        await without_finalizer(self._world, body, TUPLES_FINALIZER)
        return newest_of(self._world, body)

    async def _bring_in(self, body: Body, record: Record | None, wanted: _Wanted) -> tuple[Entry, ...]:
        """Have OpenFGA hold the tuples of all who are wanted, and return those whose tuple is a stranger's."""
        place = wanted.place
        if place is None:
            return ()
        store = self._home_of(place).store
        seen = await store.users(place.object, place.relation)
        planned = changes(Record(place, record.entries if record is not None else ()), wanted.entries.values(), seen)
        if planned.write:
            # Whether it knows such tuples at all it says here, so that what it refuses is not put on record in vain.
            await store.allowed(tuple_of(place, planned.write[0].subject))
            body = await with_finalizer(self._world, body, TUPLES_FINALIZER)
            body = await self._write(body, planned.record, _problem_of(body))
        done, foreign = planned.record, planned.foreign
        unsent = set(planned.fresh)
        try:
            for one in planned.write:
                written = await store.write(tuple_of(place, one.subject))
                unsent.discard(one.subject)
                if not written and one.subject in planned.fresh:
                    foreign, done = (*foreign, one), done.without({one.subject})
                    continue
                self._world.audit("WriteTuple", key=meta_of(body).key, tuple=str(tuple_of(place, one.subject)))
                done = _with(done, replace(one, state=TupleState.WRITTEN))
        except Error as error:
            if getattr(error, "outcome_unknown", False):
                unsent.discard(one.subject)
            # What was never sent is not on record: should a stranger write it meanwhile, it is the stranger's.
            await self._write(newest_of(self._world, body), done.without(unsent), _problem_of(body))
            raise
        wrong = _problem_of(body) if foreign else None
        await self._write(newest_of(self._world, body), done, wrong)
        return foreign

    async def _tell(self, body: Body, error: Error, wanted: _Wanted) -> None:
        """Tell what went wrong, unless all who are wanted are in, nobody else is, and only a backend is away."""
        record = record_in(body.get("status") or {})
        entries = record.entries if record is not None else ()
        in_order = {one.subject for one in entries if one.state is TupleState.WRITTEN} == {*wanted.entries}
        if isinstance(error, BackendUnavailableError) and in_order and len(entries) == len(wanted.entries):
            return
        await self._write(body, record, problem(error, _problem_of(body), self._world.clock.now()))

    async def _write(self, body: Body, record: Record | None, wrong: Mapping[str, Any] | None) -> Body:
        """Write `status.openFga`, and have the PodIdentity say in `Ready` what follows from it."""
        before = (body.get("status") or {}).get("openFga")
        fields: dict[str, Any] | None = record.fields() if record is not None else {}
        if wrong is not None:
            fields = {**(fields or {}), "problem": dict(wrong)}
        fields = fields or None
        if fields == before:
            return body
        written = await write_status(self._world, body, None, {"openFga": fields})
        if written is None:
            message = f"{meta_of(body).key} is gone"
            raise StaleObjectError(message)  # nothing may be written that no object records
        if wrong != (before or {}).get("problem"):
            self._world.wake(meta_of(body).key, Priority.CHANGE, look=False)
        return written


async def _checked(store: TupleStore, place: Place, ended: tuple[Entry, ...]) -> str:
    """Return what was seen of tuples that were read back as absent: OpenFGA's own answer to what a SuperLink asks."""
    try:
        still = [one for one in ended if await store.allowed(tuple_of(place, one.subject))]
    except BackendRejectedError as error:
        return f"their tuples are read back as absent; a Check could not be asked: {error.message}"
    if still:
        others = f"by tuples that fedid did not write OpenFGA lets in {_named(still)} all the same"
        return f"their tuples are read back as absent; {others}"
    return "their tuples are read back as absent, and Check answers that they are not allowed"


def _named(entries: Sequence[Entry]) -> str:
    more = f" and {len(entries) - _NAMED} more" if len(entries) > _NAMED else ""
    return ", ".join(str(one.member) for one in entries[:_NAMED]) + more


def _with(record: Record, entry: Entry) -> Record:
    others = tuple(entry if one.subject == entry.subject else one for one in record.entries)
    return replace(record, entries=others)


def _problem_of(body: Body) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = ((body.get("status") or {}).get("openFga") or {}).get("problem")
    return found


def _conflict(foreign: tuple[Entry, ...]) -> OwnershipConflictError | None:
    if not foreign:
        return None
    message = (
        f"OpenFGA holds tuples of {_named(foreign)} already that fedid did not write for this PodIdentity; they are "
        "left untouched, also when these members go. Delete them in OpenFGA, and fedid writes its own"
    )
    return OwnershipConflictError(message, backend="openfga")
