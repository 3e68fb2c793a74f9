"""From a key of the work queue to the reconciler of its kind, and from an error to its retry."""

from __future__ import annotations

from collections.abc import Mapping
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
from fedid.reconcile.nudges import NUDGE, Nudges, pod_identity_of
from fedid.reconcile.pod_identity import PodIdentityReconciler
from fedid.reconcile.realm_watch import REALM_WATCH, RealmWatch, federation_of
from fedid.reconcile.reloads import RELOAD, Reloads
from fedid.reconcile.world import World

__all__ = ["Dispatch", "retry_for"]

_AUTHOR_SECONDS = 300.0
"""What only a new spec, grant or label can mend is woken by it; this is for what the watches may have lost."""
_DEPENDENCY_SECONDS = 30.0
"""What waits for another object is woken by it, likewise."""
_SLOW_SECONDS = 15.0
"""What a person mends in Keycloak, Vault or RBAC wakes nobody, so it is tried again at this pace."""


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
        self._realm_watch = RealmWatch(world)
        self._by_kind: Mapping[str, _Reconciler] = {
            FEDERATION: FederationReconciler(world),
            BOT_CLIENT: BotReconciler(world, acceptance),
            FEDERATION_USER: UserReconciler(world),
            POD_IDENTITY: PodIdentityReconciler(world, nudges, acceptance),
            NUDGE: nudges,
            RELOAD: reloads,
            REALM_WATCH: self._realm_watch,
        }

    async def __call__(self, key: ObjectKey, _priority: Priority) -> Outcome:
        """Run one pass over the newest known state of the object.

        Raises:
            Error: The pass failed; `retry_for` says when to try again.
        """
        about = federation_of(pod_identity_of(key))
        body = self._world.directory.get(about)
        if body is None:
            self._world.freshness.forget(about)
            self._world.sightings.forget(about)
            self._nudges.forget(about)
            self._acceptance.forget(about)
            self._wake_those_behind(about)
            if about.kind == FEDERATION:
                self._realm_watch.forget(about.name)
            return Outcome()
        try:
            outcome = await self._by_kind[key.kind].reconcile(body)
        except StaleObjectError:
            await self._refresh(about)
            raise
        if key.kind in {NUDGE, RELOAD}:
            self._wake_those_who_wait(body)
        return outcome

    def _wake_those_who_wait(self, before: Body) -> None:
        """Wake who waits for the pods of a PodIdentity if more of them hold what they should than before."""
        now = self._world.directory.get(key_of(before))
        if now is not None and (now.get("status") or {}).get("pods") != (before.get("status") or {}).get("pods"):
            self._acceptance.wake_waiting(now)

    def _wake_those_behind(self, gone: ObjectKey) -> None:
        """Wake bots that could not be made because another one was in their way; it may have been this one."""
        directory = self._world.directory
        if gone.kind != BOT_CLIENT:
            return
        self._acceptance.wake_listing(gone)
        for key in directory.identities_in(gone.namespace):
            status = (directory.get(key) or {}).get("status") or {}
            ready = condition_of(status.get("conditions") or (), ConditionType.READY)
            if ready is not None and ready["reason"] == Reason.CONFLICT:
                self._world.wake(key)

    async def _refresh(self, key: ObjectKey) -> None:
        """Read the object afresh after a conflict: the watch may be behind our own write."""
        fresh = await self._world.cluster.read(key.kind, key.namespace or None, key.name)
        if fresh is None:
            self._world.directory.remove(key)
        else:
            self._world.directory.put(fresh)
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
