"""From a key of the work queue to the reconciler of its kind, and from an error to its retry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from fedid.domain.conditions import ConditionType, Reason, condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER, POD_IDENTITY, Body
from fedid.engine import Outcome, Priority, Retry
from fedid.errors import (
    BackendUnavailableError,
    Error,
    InvalidSpecError,
    NotGrantedError,
    NotReadyError,
    StaleObjectError,
)
from fedid.reconcile.acceptance import Acceptance
from fedid.reconcile.bot_client import BotReconciler
from fedid.reconcile.directory import key_of
from fedid.reconcile.federation import FederationReconciler
from fedid.reconcile.federation_user import UserReconciler
from fedid.reconcile.force_release import force_released
from fedid.reconcile.members import POD_MEMBERS, Members
from fedid.reconcile.news import learned
from fedid.reconcile.nudges import NUDGE, Nudges
from fedid.reconcile.openfga_watch import OPENFGA_WATCH, OpenFgaWatch
from fedid.reconcile.orphans import ORPHAN_WATCH, Orphans
from fedid.reconcile.pod_identity import PodIdentityReconciler
from fedid.reconcile.pod_members import PodMembers
from fedid.reconcile.realm_watch import REALM_WATCH, RealmWatch
from fedid.reconcile.reloads import RELOAD, Reloads
from fedid.reconcile.status import ready_at_generation
from fedid.reconcile.world import World

__all__ = ["Dispatch", "retry_for"]

_AUTHOR_SECONDS = 300.0
"""What only a new spec, grant or label can mend is woken by it; this is for what the watches may have lost."""
_DEPENDENCY_SECONDS = 30.0
"""What waits for another object is woken by it, likewise."""
_SLOW_SECONDS = 15.0
"""What a person mends in Keycloak, Vault or RBAC wakes nobody, so it is tried again at this pace."""


_IN_EACH_OTHERS_WAY = frozenset({Reason.CONFLICT, Reason.NOT_GRANTED})
"""Reasons that may go with another object of the namespace: a clientId or a ServiceAccount is free, or a place."""

_ABOUT: Mapping[str, str] = {
    NUDGE: POD_IDENTITY,
    RELOAD: POD_IDENTITY,
    POD_MEMBERS: POD_IDENTITY,
    REALM_WATCH: FEDERATION,
    OPENFGA_WATCH: FEDERATION,
    ORPHAN_WATCH: FEDERATION,
}
"""Kinds of keys that stand for a part of what is to be done about an object, and that object's kind."""


class _Reconciler(Protocol):
    async def reconcile(self, body: Body) -> Outcome: ...


class Dispatch:
    """Runs one pass over whatever key the queue hands out."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        reloads = Reloads(world)
        self._nudges = nudges = Nudges(world, reloads)
        self._acceptance = acceptance = Acceptance(world)
        self._orphans = orphans = Orphans(world)
        self._realm_watch = RealmWatch(world, orphans)
        self._openfga_watch = OpenFgaWatch(world)
        self._members = members = Members(world)
        self._by_kind: Mapping[str, _Reconciler] = {
            FEDERATION: FederationReconciler(world),
            BOT_CLIENT: BotReconciler(world, acceptance),
            FEDERATION_USER: UserReconciler(world),
            POD_IDENTITY: PodIdentityReconciler(world, nudges, acceptance),
            NUDGE: nudges,
            RELOAD: reloads,
            REALM_WATCH: self._realm_watch,
            OPENFGA_WATCH: self._openfga_watch,
            ORPHAN_WATCH: orphans,
            POD_MEMBERS: PodMembers(world, members),
        }

    async def __call__(self, key: ObjectKey, _priority: Priority) -> Outcome:
        """Run one pass over the newest known state of the object.

        Raises:
            Error: The pass failed; `retry_for` says when to try again.
        """
        about = replace(key, kind=_ABOUT.get(key.kind, key.kind))
        body = self._world.directory.get(about)
        if key == about and (departed := self._departed(key, body)) is not None:
            return await self._see_off(departed)
        if body is None:
            self._world.freshness.forget(about)
            self._world.sightings.forget(about)
            self._world.audit.forget(about)
            self._world.rotation_lag.forget(about)
            self._nudges.forget(about)
            self._acceptance.forget(about)
            self._members.forget(about)
            self._wake_those_behind(about)
            if about.kind == FEDERATION:
                self._realm_watch.forget(about.name)
                self._orphans.forget(about.name)
                await self._openfga_watch.forget(about.name)
            return Outcome()
        self._follow(body)  # before anything else: who is refused leaves OpenFGA whatever his own pass waits for
        try:
            outcome = await self._by_kind[key.kind].reconcile(body)
        except StaleObjectError:
            await self._refresh(about)
            raise
        except Error as error:
            if not await force_released(self._world, body, error):
                raise
            return Outcome()
        finally:
            if (after := self._world.directory.get(about)) is not None:
                self._follow(after)
            elif key == about and self._departed(key, None) is not None:
                self._world.wake(key, Priority.DELETION)
        if key.kind in {NUDGE, RELOAD}:
            self._wake_those_who_wait(body)
        if key == about and after is not None and ready_at_generation(after):
            self._world.departed.alive(key)
        return outcome

    def _departed(self, key: ObjectKey, body: Body | None) -> Body | None:
        if self._world.departed.notice(key, body, self._world.clock.now()):
            self._world.audit("Departed", key=key, why="it went while it was first held; what was made of it ends")
        return self._world.departed.get(key)

    async def _see_off(self, departed: Body) -> Outcome:
        """Take down what was made of an object that is gone, and then see to whoever has its name now."""
        outcome = await self._by_kind[departed["kind"]].reconcile(departed)
        return outcome if self._world.departed.of(departed) else Outcome(self._world.clock.monotonic())

    def _follow(self, body: Body) -> None:
        if body["kind"] in {BOT_CLIENT, FEDERATION_USER}:
            self._members.follow(body)

    def _wake_those_who_wait(self, before: Body) -> None:
        """Wake who waits for the pods of a PodIdentity if more of them hold what they should than before."""
        now = self._world.directory.get(key_of(before))
        if now is not None and (now.get("status") or {}).get("pods") != (before.get("status") or {}).get("pods"):
            self._acceptance.wake_waiting(now)

    def _wake_those_behind(self, gone: ObjectKey) -> None:
        """Wake who could not be made because another one was in the way, or one too many; it may have been this one."""
        directory = self._world.directory
        if gone.kind in {BOT_CLIENT, FEDERATION_USER}:
            self._members.wake_recording(gone)
        if gone.kind == BOT_CLIENT:
            self._acceptance.wake_listing(gone)
        for key in directory.identities_in(gone.namespace):
            status = (directory.get(key) or {}).get("status") or {}
            ready = condition_of(status.get("conditions") or (), ConditionType.READY)
            if ready is not None and ready["reason"] in _IN_EACH_OTHERS_WAY:
                self._world.wake(key)

    async def _refresh(self, key: ObjectKey) -> None:
        """Read the object afresh after a conflict: the watch may be behind our own write."""
        fresh = await self._world.cluster.read(key.kind, key.namespace or None, key.name)
        if fresh is None:
            self._world.directory.remove(key)
        else:
            learned(self._world, fresh)
        self._world.freshness.expire(key)


def retry_for(error: Exception) -> Retry:
    """Return how a failed pass is tried again."""
    match error:
        case BackendUnavailableError():
            after = error.retry_after.total_seconds() if error.retry_after is not None else None
            return Retry(after, count_attempt=False, parked_on=error.backend)
        case StaleObjectError():
            return Retry(count_attempt=False)
        case NotReadyError() if error.reason == Reason.PROGRESSING:
            return Retry(1.0, count_attempt=False)
        case NotReadyError():
            return Retry(_DEPENDENCY_SECONDS, count_attempt=False)
        case NotGrantedError() | InvalidSpecError():
            return Retry(_AUTHOR_SECONDS, count_attempt=False)
        case Error():
            return Retry(_SLOW_SECONDS)
        case _:
            return Retry(is_bug=True)
