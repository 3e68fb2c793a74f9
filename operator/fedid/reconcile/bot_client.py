"""One pass over a BotClient that is wanted: gate, observe, plan, apply, status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fedid.domain.acceptance import sharing_of
from fedid.domain.bot import (
    DesiredBot,
    desired_bot,
    is_keyless,
    suspension_of,
)
from fedid.domain.bot_authentication import ServiceAccount
from fedid.domain.conditions import Condition, ConditionType, Reason, reason_of, rfc3339
from fedid.domain.durations import spread
from fedid.domain.grants import Ask, AskKind
from fedid.domain.judgement import Verdict
from fedid.domain.resources import Body, BotClient, meta_of, parse_bot_client
from fedid.domain.rotation import (
    REVOKE_NOW,
    ROTATE,
    RotationRequest,
    revocation_request,
    rotation_request,
)
from fedid.domain.suspension import Suspension
from fedid.engine import Outcome, Priority
from fedid.errors import (
    BackendError,
    BackendUnavailableError,
    Error,
    InvalidSpecError,
    NotGrantedError,
    OwnershipConflictError,
    StaleObjectError,
)
from fedid.reconcile.acceptance import Acceptance
from fedid.reconcile.bot_application import BotApplication
from fedid.reconcile.bot_context import BotFacts
from fedid.reconcile.bot_convergence import BotConvergence, BotPass
from fedid.reconcile.bot_servers import BotServers
from fedid.reconcile.bot_status import (
    conditions_of,
    next_rotations,
    published_fields,
    short_overlaps,
)
from fedid.reconcile.bot_subject import require_own_subject
from fedid.reconcile.bot_teardown import BotTeardown, anything_made
from fedid.reconcile.gate import (
    UNSEEN_SECONDS,
    backends_of,
    federation_name,
    judged_as_before,
    pinned_federation,
    realm_now,
    require_usable,
    trust_earlier,
    with_finalizer,
)
from fedid.reconcile.judging import bot_verdict, judgement_fields
from fedid.reconcile.status import kept_conditions, newest_of, proof_of, ready_at_generation, write_status
from fedid.reconcile.waiting import tell_waiting
from fedid.reconcile.world import Backends, World

__all__ = ["BotReconciler"]

_WAITING_SECONDS = 5.0
"""When to look again at a credential that should have been replaced or ended and could not be."""
_SOON_SECONDS = 0.5
"""When to look again at what waits for nothing but the next second of Keycloak's clock, which is known no closer."""
_FOR_GOOD = (Reason.SUSPENDED, Reason.EXPIRED, Reason.REVOKED_NOW)
"""Withdrawals that are finished also when they are called off halfway: who suspends a bot, if only for a moment, wants
every credential of before dead, those too that nobody published."""
_PARTS = (ConditionType.GRANTED, ConditionType.KEYCLOAK_SYNCED, ConditionType.PUBLISHED)


class BotReconciler:
    """Reconciles BotClients."""

    def __init__(self, world: World, acceptance: Acceptance) -> None:
        """Work in this world."""
        self._world = world
        self._acceptance = acceptance
        self._servers = BotServers(world, acceptance)
        self._teardown = BotTeardown(world, acceptance)
        self._convergence = BotConvergence(world, acceptance)

    async def reconcile(self, body: Body) -> Outcome:
        """Run one pass.

        Raises:
            Error: What went wrong; the status tells it already.
        """
        meta = meta_of(body)
        for key in self._acceptance.out_of_step(body):
            # Before anything else: what servers take of a bot that is refused waits for no backend.
            self._world.wake(key, Priority.DELETION)
        if meta.deleting:
            return await self._teardown.delete(body)
        try:
            return await self._make_true(body)
        except StaleObjectError:
            raise  # an ordinary conflict of writes: read again and repeated, nothing to tell
        except Error as error:
            newest = newest_of(self._world, body)
            if (newest.get("status") or {}).get("revocation"):
                await tell_waiting(self._world, newest, error)  # in the middle of being withdrawn
            else:
                await self._tell(newest, error, meta.generation)
            self._wake_at_expiry(newest)
            raise

    async def _make_true(self, body: Body) -> Outcome:
        world, spec = self._world, parse_bot_client(body)
        suspension = suspension_of(spec, world.clock.now())
        if suspension is not None:
            return await self._suspend(body, suspension)
        begun = ((body.get("status") or {}).get("revocation") or {}).get("reason")
        if begun in _FOR_GOOD:
            message = "Everything of before was withdrawn and revoked; what is new is being made"
            finished = await self._teardown.withdraw(
                body, begun, Condition(ConditionType.READY, False, Reason.PROGRESSING, message)
            )
            return self._soon(0.0 if finished else _SOON_SECONDS)
        revoked_now = (body.get("status") or {}).get("revokedNow")
        asked = revocation_request(spec.meta.annotations, revoked_now)
        if asked is not None and anything_made(body):
            message = f"{REVOKE_NOW} {asked!r} is carried out: everything valid of the bot was ended; making it anew"
            ending = Condition(ConditionType.READY, False, Reason.PROGRESSING, message)
            finished = await self._teardown.withdraw(body, Reason.REVOKED_NOW, ending, {"revokedNow": asked})
            return self._soon(0.0 if finished else _SOON_SECONDS)
        revoked_now = asked or revoked_now
        federation = federation_name(world, spec.federation, body.get("status") or {})
        backends = backends_of(world, federation)
        if backends is None:
            return Outcome(self._expiry(spec))  # the Federation is looked at first, and wakes this object
        if not world.directory.knows_namespace(spec.meta.key.namespace):
            return Outcome(world.clock.monotonic() + UNSEEN_SECONDS)  # its labels decide; seen, it wakes this object
        require_own_subject(world, spec, body, federation)
        verdict = await bot_verdict(world, backends, spec, body)
        if not verdict.granted:
            await self._refuse(body, spec, verdict)
        require_usable(backends, spec.meta, vault=True)
        body = await with_finalizer(world, body)
        desired = desired_bot(spec, backends.federation, verdict, owner=world.owner(spec.meta.uid))
        if known := (body.get("status") or {}).get("clientUuid"):
            desired = replace(desired, client_uuid=known)  # an adopted client keeps its id
        sharing = sharing_of(body)
        request = rotation_request(spec.meta.annotations, sharing.withdrawals)
        same = judged_as_before(body, verdict)
        if request is not None and is_keyless(desired):
            request = RotationRequest(request.value, tokens=False, secret=False)
        application = BotApplication(world, body, desired, backends, request=request, tell_repairs=same)
        trust_earlier(world, body, verdict)
        ignored = await self._ignored(body, request)
        facts = await self._convergence.run(BotPass(body, spec, desired, backends, application, request))
        published = published_fields(spec, desired, backends, facts)
        self._measure(body, published)
        self._wake_consumers(body, published, anyway=facts.published)
        leaving = await self._servers.end(body, facts)
        handled = {
            "rotateIgnored": ignored,
            "revokedNow": revoked_now,
            "endingTokens": leaving,
            **sharing.fields(),
        }
        await self._settle(body, spec, desired, backends, verdict, facts, published, handled)
        self._servers.wake(body, published)
        status = body.get("status") or {}
        if not status.get("clientUuid") or status.get("revocation"):
            # Before the status said otherwise its consumers were to hold nothing, and one may have looked already.
            self._wake_consumers(body, {}, anyway=True)
        # What is not covered was told; what is covered goes on living, renewals included.
        return self._again(spec, desired, facts, backends, request)

    async def _suspend(self, body: Body, suspension: Suspension) -> Outcome:
        """See to it that nothing of the bot exists outside the cluster, whatever the grants say; then rest."""
        ending = Condition(ConditionType.READY, False, suspension.reason, suspension.message)
        if anything_made(body):
            finished = await self._teardown.withdraw(body, suspension.reason, ending)
            return Outcome() if finished else self._soon(_SOON_SECONDS)
        fields = {"federation": pinned_federation(self._world, body)}
        written = await write_status(self._world, body, (ending, *proof_of(body)), fields)
        self._told(body, written)
        return Outcome()

    def _soon(self, seconds: float) -> Outcome:
        return Outcome(self._world.clock.monotonic() + seconds, Priority.DELETION)

    def _expiry(self, spec: BotClient) -> float | None:
        """Return when the bot expires (monotonic seconds), if ever."""
        if spec.expires_at is None:
            return None
        clock = self._world.clock
        return clock.monotonic() + max((spec.expires_at - clock.now()).total_seconds(), 0.0)

    def _wake_at_expiry(self, body: Body) -> None:
        """Have a bot whose pass failed expire in time: its retry may be later than that, or wait for a backend."""
        try:
            spec = parse_bot_client(body)
        except InvalidSpecError:
            return
        if (expiry := self._expiry(spec)) is not None and suspension_of(spec, self._world.clock.now()) is None:
            self._world.wake(spec.meta.key, look=False, at=expiry)

    async def _refuse(self, body: Body, spec: BotClient, verdict: Verdict) -> None:
        """Stop what was never granted; withdraw everything where the ground itself is gone.

        An existing bot that asks for too much keeps what is covered (the caller goes on): a typo in a manifest must
        not end a running federation.
        """
        exists = anything_made(body)
        ground_gone = not verdict.may_exist or Ask(AskKind.CLIENT_ID, spec.client_id) in verdict.denied
        if exists and not ground_gone:
            return
        if exists:
            ending = Condition(ConditionType.READY, False, verdict.reason, "Everything was withdrawn and revoked")
            if not await self._teardown.withdraw(body, Reason.NOT_GRANTED, ending):
                soon = self._world.clock.monotonic() + _SOON_SECONDS
                self._world.wake(spec.meta.key, Priority.DELETION, at=soon)
        raise NotGrantedError(verdict.message, reason=verdict.reason)

    async def _ignored(self, body: Body, request: RotationRequest | None) -> str | None:
        """Tell once that a value of the annotation means nothing, and return it for the status."""
        if request is None or not request.meaningless:
            return None
        if (body.get("status") or {}).get("rotateIgnored") == request.value:
            return request.value
        if isinstance(parse_bot_client(body).authentication, ServiceAccount):
            message = f"Annotation {ROTATE} asks for nothing here: the bot authenticates by its ServiceAccount alone"
            await self._world.cluster.emit(body, reason="RotateIgnored", message=message, warning=True, action="Rotate")
            return request.value
        message = (
            f"Annotation {ROTATE} is {request.value[:40]!r}, which means nothing; write token, secret or all, "
            "optionally with -<anything> behind it, such as all-2"
        )
        await self._world.cluster.emit(body, reason="RotateIgnored", message=message, warning=True, action="Rotate")
        return request.value

    def _measure(self, body: Body, published: Mapping[str, Any]) -> None:
        newest = newest_of(self._world, body)
        pods = self._world.directory.pods_of_bot(meta_of(body).key)
        self._world.rotation_lag.published(newest, published, pods, realm_now(self._world, newest))

    def _wake_consumers(self, body: Body, published: Mapping[str, Any], *, anyway: bool) -> None:
        """Wake the consumers if the status is yet to say what is published.

        Before the status is written, and by what it says rather than by what this pass did: should an answer be lost
        in between, the next pass finds nothing left to publish and the consumers would go on with what has ended.
        """
        key = meta_of(body).key
        told = (self._world.directory.get(key) or body).get("status") or {}
        if anyway or any(told.get(name) != published.get(name) for name in ("secret", "tokens")):
            for pod in self._world.directory.pods_of_bot(key):
                self._world.wake(pod, Priority.CHANGE)

    async def _settle(  # noqa: PLR0913 - everything that the status tells
        self,
        body: Body,
        spec: BotClient,
        desired: DesiredBot,
        backends: Backends,
        verdict: Verdict,
        facts: BotFacts,
        published: Mapping[str, Any],
        handled: Mapping[str, Any],
    ) -> None:
        name = backends.federation.meta.key.name
        notes = [
            *short_overlaps(desired, self._convergence.consumers(spec.meta.key)),
            *self._servers.waits(body, facts),
        ]
        told = conditions_of(newest_of(self._world, body), desired, backends, verdict, facts, notes)
        fields = {
            "federation": name,
            "clientId": desired.client_id,
            "revocation": None,
            **judgement_fields(body, verdict),
            **handled,
            **published,
        }
        latest = newest_of(self._world, body)
        await write_status(self._world, latest, told, fields, generation=spec.meta.generation)

    async def _tell(self, body: Body, error: Error, generation: int) -> None:
        """Tell what went wrong, unless everything published is still good and only a backend is away."""
        if meta_of(body).deleting or (isinstance(error, BackendUnavailableError) and self._still_good(body)):
            return
        reason, about = reason_of(error), _about(error)
        told = [Condition(ConditionType.READY, False, reason, error.message)]
        told += kept_conditions(body, _PARTS, but=about)
        if about is not None:
            told.append(Condition(about, False, reason, error.message))
        pinned = {"federation": pinned_federation(self._world, body)}
        written = await write_status(self._world, body, told, pinned, generation=generation)
        self._told(body, written)

    def _told(self, before: Body, written: Body | None) -> None:
        """Have what mounts the bot say why it gets nothing, if the bot's own status is news."""
        if written is not None and written is not before:
            self._wake_consumers(before, {}, anyway=True)

    def _still_good(self, body: Body) -> bool:
        """Tell whether everything published is good although a look at it failed."""
        now = rfc3339(realm_now(self._world, body))
        tokens = (body.get("status") or {}).get("tokens") or ()
        return ready_at_generation(body) and all(token.get("expiresAt", "") > now for token in tokens)

    def _again(
        self,
        spec: BotClient,
        desired: DesiredBot,
        facts: BotFacts,
        backends: Backends,
        request: RotationRequest | None,
    ) -> Outcome:
        world = self._world
        now, mono = backends.identity_provider.server_now(), world.clock.monotonic()
        # What is due and was not done waits for something; not for the next instant of this clock.
        renewals = [
            mono + max((at - now).total_seconds(), _WAITING_SECONDS if at <= now else _SOON_SECONDS)
            for at in next_rotations(spec, desired, facts)
        ]
        asked = request is not None and request.wants_secret(facts.secret_rotated_for)
        if asked and facts.is_free:
            renewals.append(mono)  # what it had to wait for has just ended
        renewals += [
            mono + max((at - world.clock.now()).total_seconds(), 0.0) for at in self._servers.awaited(spec.meta, facts)
        ]
        look_at, expiry = world.freshness.until(spec.meta.key), self._expiry(spec)
        vault_at = mono + spread(backends.federation.resync_period, spec.meta.uid).total_seconds()
        first = min([*renewals, vault_at, *(at for at in (look_at, expiry) if at is not None)])
        return Outcome(first, Priority.DELETION if first == expiry else Priority.DRIFT)


def _about(error: Error) -> ConditionType | None:
    if isinstance(error, NotGrantedError):
        return ConditionType.GRANTED
    if isinstance(error, (BackendError, OwnershipConflictError)):
        return {"keycloak": ConditionType.KEYCLOAK_SYNCED, "vault": ConditionType.PUBLISHED}.get(error.backend or "")
    return None
