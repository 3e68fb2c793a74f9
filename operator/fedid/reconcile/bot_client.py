"""One pass over a BotClient that is wanted: gate, observe, plan, apply, status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from fedid.domain.bot import (
    DesiredBot,
    Suspension,
    asks_of_bot,
    desired_bot,
    has_secret,
    is_keyless,
    suspension_of,
)
from fedid.domain.bot_authentication import ClientSecret, ServiceAccount
from fedid.domain.bot_plan import plan_bot
from fedid.domain.bot_steps import BotStep, ObservedBot
from fedid.domain.conditions import Condition, ConditionType, Reason, instant_in, reason_of, rfc3339
from fedid.domain.drift import stored_as_published
from fedid.domain.durations import duration_text, spread
from fedid.domain.grants import Ask, AskKind, Verdict
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import Role
from fedid.domain.resources import Body, BotClient, Meta, meta_of, parse_bot_client
from fedid.domain.rotation import (
    REVOKE_NOW,
    ROTATE,
    RotationRequest,
    revocation_request,
    rotation_request,
)
from fedid.domain.secret_plan import secret_obstacle
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
from fedid.reconcile.bot_application import BotApplication
from fedid.reconcile.bot_context import BotFacts
from fedid.reconcile.bot_observation import observe_bot, observe_keys, recorded_in
from fedid.reconcile.bot_status import (
    conditions_of,
    next_rotations,
    published_fields,
    short_overlaps,
)
from fedid.reconcile.bot_subject import require_own_subject
from fedid.reconcile.bot_teardown import BotTeardown, anything_made, proof_of
from fedid.reconcile.gate import (
    LOOK_PERIOD,
    UNSEEN_SECONDS,
    backends_of,
    federation_name,
    judged,
    judged_as_before,
    pinned_federation,
    realm_now,
    require_usable,
    trust_earlier,
    with_finalizer,
)
from fedid.reconcile.roles import existing_roles, existing_scopes
from fedid.reconcile.status import kept_conditions, newest_of, ready_at_generation, write_status
from fedid.reconcile.waiting import tell_waiting
from fedid.reconcile.world import Backends, World

__all__ = ["BotReconciler"]

_WAITING_SECONDS = 5.0
"""When to look again at a credential that should have been replaced or ended and could not be."""
_SOON_SECONDS = 0.5
"""When to look again at a withdrawal that waits for nothing but the next second of Keycloak's clock."""
_FOR_GOOD = (Reason.SUSPENDED, Reason.EXPIRED, Reason.REVOKED_NOW)
"""Withdrawals that are finished also when they are called off halfway: who suspends a bot, if only for a moment, wants
every credential of before dead, those too that nobody published."""
_PARTS = (ConditionType.GRANTED, ConditionType.KEYCLOAK_SYNCED, ConditionType.PUBLISHED)


class BotReconciler:
    """Reconciles BotClients."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._teardown = BotTeardown(world)

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
        asks = asks_of_bot(spec, backends.federation)
        verdict = _bounded(judged(world, backends, asks, spec.meta.key.namespace), spec)
        if not verdict.granted:
            await self._refuse(body, spec, verdict)
        require_usable(backends, spec.meta, vault=True)
        body = await with_finalizer(world, body)
        desired = desired_bot(spec, backends.federation, verdict, owner=world.owner(spec.meta.uid))
        if known := (body.get("status") or {}).get("clientUuid"):
            desired = replace(desired, client_uuid=known)  # an adopted client keeps its id
        request, same = rotation_request(spec.meta.annotations), judged_as_before(body, verdict)
        if request is not None and is_keyless(desired):
            request = RotationRequest(request.value, tokens=False, secret=False)
        application = BotApplication(world, body, desired, backends, request=request, tell_repairs=same)
        trust_earlier(world, body, verdict)
        ignored = await self._ignored(body, request)
        facts = await self._converge(body, spec, desired, backends, application, request)
        published = published_fields(spec, desired, backends, facts)
        self._wake_consumers(body, published, anyway=facts.published)
        handled = {"rotateIgnored": ignored, "revokedNow": revoked_now}
        await self._settle(body, spec, desired, backends, verdict, facts, published, handled)
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
        await write_status(self._world, body, (ending, *proof_of(body)), fields)
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
        ground_gone = not verdict.namespace_matched or Ask(AskKind.CLIENT_ID, spec.client_id) in verdict.denied
        if exists and not ground_gone:
            return
        if exists:
            ending = Condition(ConditionType.READY, False, Reason.NOT_GRANTED, "Everything was withdrawn and revoked")
            if not await self._teardown.withdraw(body, Reason.NOT_GRANTED, ending):
                self._world.wake(spec.meta.key, Priority.DELETION)
        raise NotGrantedError(verdict.message)

    async def _converge(  # noqa: PLR0913 - everything that a pass works with
        self,
        body: Body,
        spec: BotClient,
        desired: DesiredBot,
        backends: Backends,
        application: BotApplication,
        request: RotationRequest | None,
    ) -> BotFacts:
        world, meta = self._world, spec.meta
        status: Mapping[str, Any] = body.get("status") or {}
        roles = await existing_roles(backends, desired.realm_roles, desired.client_roles)
        declared = desired.declared_scopes
        never_made = not status.get("clientUuid")
        # A withdrawal that was begun and called off may have ended anything: look at all of it.
        fresh = world.freshness.is_fresh(meta.key, meta.uid, meta.generation, world.clock.monotonic())
        look = not fresh or bool(status.get("revocation")) or self._secret_matters(status, request, backends)
        begun = await observe_keys(backends, meta.key, desired) if never_made else None
        if never_made and not (begun is not None and begun.data):
            # What was never created is created: a 409 tells if a crash came between the create and the status. A key
            # in Vault tells so too, and then that one is to be used.
            scopes = await existing_scopes(backends, declared) if declared else None
            observed = ObservedBot(
                keycloak_seen=True, recorded=recorded_in(status), realm_scopes=scopes, stored_client=begun
            )
            facts = await application.apply(self._plan(desired, observed, roles, spec, backends, request), observed)
            if facts is not None:
                return self._looked(spec, facts, backends)
        hold = self._consumers_hold(meta, (status.get("secret") or {}).get("version"))
        for _ in range(2):  # what was adopted is looked at before anything is done with it
            observe = partial(
                observe_bot, backends, meta.key, desired, status=status, consumers_hold=hold, read_key=world.read_key
            )
            observed = await observe(look=look or never_made)
            if not observed.keycloak_seen and not self._as_published(meta.key, desired, observed):
                # Somebody changed what lies in Vault, or the secret in Keycloak: only both sides tell what to do.
                observed = await observe(look=True)
            if observed.keycloak_seen:
                observed = replace(observed, realm_scopes=await existing_scopes(backends, declared))
            facts = await application.apply(self._plan(desired, observed, roles, spec, backends, request), observed)
            if facts is not None and observed.keycloak_seen:
                pending = request is not None and request.secret and facts.secret_rotated_for != request.value
                rotates = desired.rotation.every is not None or spec.secret_rotation is not None
                rotates, pending = rotates and has_secret(desired), pending and has_secret(desired)
                if observed.client is not None and (rotates or pending):
                    facts.obstacle = self._obstacle(desired, observed)
                return self._looked(spec, facts, backends)
            if facts is not None:
                return facts
        world.freshness.expire(meta.key)
        message = f"Client {desired.client_id} appeared while it was being created; looking again"
        raise BackendUnavailableError(message, backend="keycloak", retry_after=timedelta(seconds=1))

    def _obstacle(self, desired: DesiredBot, observed: ObservedBot) -> str | None:
        why = secret_obstacle(desired, observed)
        if why is None:
            return None
        if desired.rotation.allow_interruption:
            return f"The secret is replaced without an overlap, as spec.secretRotation.allowInterruption lets it: {why}"
        return (
            f"The bot secret stays as it is, since it cannot be replaced with an overlap: {why}. Or set "
            "spec.secretRotation.allowInterruption to true; clients are refused then until they read the new secret"
        )

    def _secret_matters(self, status: Mapping[str, Any], request: RotationRequest | None, backends: Backends) -> bool:
        """Tell whether the secret is to be replaced or ended now, so that Keycloak must be looked at."""
        secret, now = status.get("secret") or {}, backends.identity_provider.server_now()
        if request is not None and request.secret and secret.get("rotatedFor") != request.value:
            return True
        instants = (instant_in(secret.get(name)) for name in ("nextRotationAt", "previousEndsAt"))
        return any(at is not None and at <= now for at in instants)

    def _consumers(self, bot: ObjectKey) -> list[Body]:
        """Return the PodIdentities that mount the bot."""
        found = (self._world.directory.get(key) for key in sorted(self._world.directory.pods_of_bot(bot)))
        return [body for body in found if body is not None]

    def _consumers_hold(self, meta: Meta, version: int | None) -> bool:
        """Tell whether every Secret that holds something of the bot was filled from this version of its secret."""
        for pod in self._consumers(meta.key):
            status: Mapping[str, Any] = pod.get("status") or {}
            held = status.get("bot") or {}
            if (
                status.get("delivered")
                and held.get("uid") == meta.uid
                and held.get("secretVersion") not in {None, version}
            ):
                return False
        return True

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

    def _plan(  # noqa: PLR0913 - everything that a plan is made from
        self,
        desired: DesiredBot,
        observed: ObservedBot,
        roles: frozenset[Role],
        spec: BotClient,
        backends: Backends,
        request: RotationRequest | None,
    ) -> tuple[BotStep, ...]:
        return plan_bot(desired, observed, roles, spec.meta.uid, backends.identity_provider.server_now(), request)

    def _looked(self, spec: BotClient, facts: BotFacts, backends: Backends) -> BotFacts:
        facts.looked = True
        if facts.secret_issued_at is None:
            facts.secret_issued_at = backends.identity_provider.server_now()  # made before this was remembered
        meta, sightings = spec.meta, self._world.sightings
        until = self._world.clock.monotonic() + spread(LOOK_PERIOD, meta.uid).total_seconds()
        self._world.freshness.looked(meta.key, meta.uid, meta.generation, until)
        sightings.forget(meta.key)
        if not isinstance(spec.authentication, ClientSecret):
            return facts  # Keycloak keeps a secret for such clients too, which is nobody's business
        sightings.in_keycloak(meta.key, facts.secret)
        sightings.in_vault(meta.key, facts.secret)
        return facts

    def _as_published(self, key: ObjectKey, desired: DesiredBot, observed: ObservedBot) -> bool:
        """Tell whether Vault holds what was published, and the secret that Keycloak was last seen to hold."""
        stored = observed.stored_client
        if not has_secret(desired):
            return stored_as_published(desired, observed)
        agreed = self._world.sightings.in_vault(key, stored.data.get("client_secret") if stored is not None else None)
        return agreed and stored_as_published(desired, observed)

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
        notes = short_overlaps(desired, self._consumers(spec.meta.key))
        told = conditions_of(newest_of(self._world, body), desired, backends, verdict, facts, notes)
        fields = {
            "federation": name,
            "clientId": desired.client_id,
            "revocation": None,
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
        await write_status(self._world, body, told, pinned, generation=generation)

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
            mono + max((at - now).total_seconds(), _WAITING_SECONDS if at <= now else 0.0)
            for at in next_rotations(spec, desired, facts)
        ]
        asked = request is not None and request.secret and facts.secret_rotated_for != request.value
        if asked and facts.looked and facts.obstacle is None and facts.previous_ends_at is None:
            renewals.append(mono)  # what it had to wait for has just ended
        look_at, expiry = world.freshness.until(spec.meta.key), self._expiry(spec)
        vault_at = mono + spread(backends.federation.resync_period, spec.meta.uid).total_seconds()
        first = min([*renewals, vault_at, *(at for at in (look_at, expiry) if at is not None)])
        return Outcome(first, Priority.DELETION if first == expiry else Priority.DRIFT)


def _bounded(verdict: Verdict, spec: BotClient) -> Verdict:
    """Return the verdict with the asked token lifetime judged too."""
    limit = verdict.max_token_lifetime
    asked = [token.lifetime for token in spec.tokens if token.lifetime is not None]
    if limit is None or not asked or max(asked) <= limit:
        return verdict
    over = Ask(AskKind.TOKEN_LIFETIME, duration_text(max(asked)))
    message = (
        f"spec.tokens asks for a lifetime of {duration_text(max(asked))}; the widest maxTokenLifetime of the rules "
        f"that match the namespace is {duration_text(limit)}. Ask for less, or have the platform team raise it"
    )
    told = f"{verdict.message} {message}" if verdict.denied else message
    return Verdict(
        verdict.namespace_matched,
        verdict.denied | {over},
        limit,
        told if verdict.namespace_matched else verdict.message,
    )


def _about(error: Error) -> ConditionType | None:
    if isinstance(error, NotGrantedError):
        return ConditionType.GRANTED
    if isinstance(error, (BackendError, OwnershipConflictError)):
        return {"keycloak": ConditionType.KEYCLOAK_SYNCED, "vault": ConditionType.PUBLISHED}.get(error.backend or "")
    return None
