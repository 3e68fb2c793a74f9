"""One pass over a FederationUser: gate, suspension, convergence, status."""

from __future__ import annotations

from datetime import timedelta

from fedid.domain.conditions import Condition, ConditionType, Reason, reason_of
from fedid.domain.durations import spread
from fedid.domain.federation_user import FederationUser, parse_federation_user
from fedid.domain.judgement import Verdict
from fedid.domain.resources import Body, meta_of
from fedid.domain.suspension import Suspension
from fedid.domain.user import user_suspension
from fedid.engine import Outcome, Priority
from fedid.errors import BackendUnavailableError, Error, InvalidSpecError, NotGrantedError, StaleObjectError
from fedid.reconcile.gate import (
    LOOK_PERIOD,
    UNSEEN_SECONDS,
    backends_of,
    federation_name,
    pinned_federation,
    require_usable,
    trust_earlier,
    with_finalizer,
)
from fedid.reconcile.judging import user_verdict
from fedid.reconcile.retention import revocation_of
from fedid.reconcile.status import kept_conditions, newest_of, proof_of, ready_at_generation, write_status
from fedid.reconcile.user_convergence import UserConvergence, UserFacts
from fedid.reconcile.user_status import PARTS, about, conditions_of, facts_told, fields_of
from fedid.reconcile.user_teardown import UserTeardown, anything_made, is_held
from fedid.reconcile.waiting import tell_waiting
from fedid.reconcile.world import Backends, World

__all__ = ["UserReconciler"]

_FOR_GOOD = (Reason.SUSPENDED, Reason.EXPIRED)
"""Suspensions that are finished also when they are called off halfway: sessions of before are to be gone."""


class UserReconciler:
    """Reconciles FederationUsers."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._convergence = UserConvergence(world)
        self._teardown = UserTeardown(world)

    async def reconcile(self, body: Body) -> Outcome:
        """Run one pass.

        Raises:
            Error: What went wrong; the status tells it already.
        """
        meta = meta_of(body)
        if meta.deleting:
            return await self._teardown.delete(body)
        try:
            return await self._make_true(body)
        except StaleObjectError:
            raise  # an ordinary conflict of writes: read again and repeated, nothing to tell
        except Error as error:
            newest = newest_of(self._world, body)
            if revocation_of(newest):
                await tell_waiting(self._world, newest, error)  # in the middle of being withdrawn or suspended
            else:
                await self._tell(newest, error, meta.generation)
            self._wake_at_expiry(newest)
            raise

    async def _make_true(self, body: Body) -> Outcome:
        world, spec = self._world, parse_federation_user(body)
        made = anything_made(body)
        suspended = user_suspension(spec, world.clock.now(), made=made)
        if suspended is not None and not made:
            return await self._rest(body, suspended)
        federation = federation_name(world, spec.federation, body.get("status") or {})
        backends = backends_of(world, federation)
        if backends is None:
            return Outcome(self._expiry(spec))  # the Federation is looked at first, and wakes this object
        begun = revocation_of(body).get("reason")
        if suspended is None and begun in _FOR_GOOD:
            suspended = Suspension(Reason(begun), "The account is disabled and its sessions are ended; it comes back")
            await self._teardown.hold(await with_finalizer(world, body), spec, suspended, backends)
            world.freshness.expire(spec.meta.key)
            return Outcome(world.clock.monotonic(), Priority.DELETION)
        if suspended is not None and not (self._is_fresh(spec) and is_held(body, suspended)):
            # Before the grants are asked: what ends a user's access waits for nobody.
            body = await self._teardown.hold(await with_finalizer(world, body), spec, suspended, backends)
            self._looked(spec)
        if not world.directory.knows_namespace(spec.meta.key.namespace):
            return Outcome(world.clock.monotonic() + UNSEEN_SECONDS)  # its labels decide; seen, it wakes this object
        verdict = await user_verdict(world, backends, spec, body)
        if not verdict.granted and (not anything_made(body) or not verdict.may_exist):
            if anything_made(body):
                ending = Condition(ConditionType.READY, False, verdict.reason, "The user was withdrawn")
                await self._teardown.withdraw(body, Reason.NOT_GRANTED, ending)
            if suspended is not None:
                return Outcome(world.clock.monotonic())  # who is suspended, and of whom nothing is there, rests
            raise NotGrantedError(verdict.message, reason=verdict.reason)
        if suspended is not None:
            return Outcome(world.freshness.until(spec.meta.key))
        return await self._converge(body, spec, verdict, backends)

    async def _converge(self, body: Body, spec: FederationUser, verdict: Verdict, backends: Backends) -> Outcome:
        world, meta = self._world, spec.meta
        require_usable(backends, meta, vault=spec.initial_password)
        body = await with_finalizer(world, body)
        trust_earlier(world, body, verdict)
        facts = facts_told(body) if self._is_fresh(spec) else None
        looked = facts is None
        if facts is None:
            facts = await self._convergence.run(body, spec, verdict, backends)
        await self._settle(body, spec, verdict, backends, facts)
        if looked:  # only now: what the status does not tell would be taken from it by those that do not look
            self._looked(spec, backends.federation.resync_period if facts.mail_failed else LOOK_PERIOD)
        due = [at for at in (world.freshness.until(meta.key), self._expiry(spec)) if at is not None]
        first = min(due, default=None)
        return Outcome(first, Priority.DELETION if first == self._expiry(spec) else Priority.DRIFT)

    async def _rest(self, body: Body, suspended: Suspension) -> Outcome:
        """Make nothing of a user who is suspended before anything was made."""
        ending = Condition(ConditionType.READY, False, suspended.reason, suspended.message)
        fields = {"federation": pinned_federation(self._world, body)}
        await write_status(self._world, body, (ending, *proof_of(body)), fields)
        return Outcome()

    def _is_fresh(self, spec: FederationUser) -> bool:
        meta, world = spec.meta, self._world
        return world.freshness.is_fresh(meta.key, meta.uid, meta.generation, world.clock.monotonic())

    def _looked(self, spec: FederationUser, period: timedelta = LOOK_PERIOD) -> None:
        meta, world = spec.meta, self._world
        until = world.clock.monotonic() + spread(period, meta.uid).total_seconds()
        world.freshness.looked(meta.key, meta.uid, meta.generation, until)

    def _expiry(self, spec: FederationUser) -> float | None:
        """Return when the user expires (monotonic seconds), if ever."""
        if spec.expires_at is None:
            return None
        clock = self._world.clock
        return clock.monotonic() + max((spec.expires_at - clock.now()).total_seconds(), 0.0)

    def _has_expired(self, body: Body) -> bool:
        """Tell whether a user who was in order is to be disabled by now."""
        try:
            return user_suspension(parse_federation_user(body), self._world.clock.now()) is not None
        except InvalidSpecError:
            return False

    def _wake_at_expiry(self, body: Body) -> None:
        """Have a user whose pass failed expire in time: its retry may be later than that, or wait for a backend."""
        try:
            spec = parse_federation_user(body)
        except InvalidSpecError:
            return
        if (expiry := self._expiry(spec)) is not None and user_suspension(spec, self._world.clock.now()) is None:
            self._world.wake(spec.meta.key, look=False, at=expiry)

    async def _settle(
        self, body: Body, spec: FederationUser, verdict: Verdict, backends: Backends, facts: UserFacts
    ) -> None:
        latest = newest_of(self._world, body)
        told = conditions_of(spec, verdict, backends, facts)
        await write_status(
            self._world, latest, told, fields_of(body, verdict, backends, facts), generation=spec.meta.generation
        )

    async def _tell(self, body: Body, error: Error, generation: int) -> None:
        if isinstance(error, BackendUnavailableError) and ready_at_generation(body) and not self._has_expired(body):
            return  # the account stands; only a look at it has to wait
        reason, part = reason_of(error), about(error)
        told = [Condition(ConditionType.READY, False, reason, error.message)]
        told += [*kept_conditions(body, PARTS, but=part), *proof_of(body)]
        if part is not None:
            told.append(Condition(part, False, reason, error.message))
        pinned = {"federation": pinned_federation(self._world, body)}
        await write_status(self._world, body, told, pinned, generation=generation)
