"""Brings the backends in line with a bot that is wanted: observe what the decision needs, plan, apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from fedid.domain.bot import DesiredBot, has_secret
from fedid.domain.bot_authentication import ClientSecret
from fedid.domain.bot_plan import plan_bot
from fedid.domain.bot_steps import BotStep, ObservedBot
from fedid.domain.conditions import instant_in
from fedid.domain.drift import stored_as_published
from fedid.domain.durations import spread
from fedid.domain.handover import Handover, held_from
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import Role
from fedid.domain.resources import Body, BotClient
from fedid.domain.rotation import RotationRequest
from fedid.domain.secret_plan import secret_obstacle
from fedid.errors import BackendUnavailableError
from fedid.reconcile.acceptance import Acceptance
from fedid.reconcile.bot_application import BotApplication
from fedid.reconcile.bot_context import BotFacts
from fedid.reconcile.bot_observation import observe_bot, observe_keys, recorded_in
from fedid.reconcile.gate import LOOK_PERIOD, require_still_there
from fedid.reconcile.roles import existing_roles, existing_scopes
from fedid.reconcile.status import ready_at_generation, was_taken
from fedid.reconcile.world import Backends, World

__all__ = ["BotConvergence", "BotPass"]


@dataclass(frozen=True, slots=True)
class BotPass:
    """What one pass over a bot works with."""

    body: Body
    spec: BotClient
    desired: DesiredBot
    backends: Backends
    application: BotApplication
    request: RotationRequest | None
    """What a person asks to be replaced."""

    @property
    def status(self) -> Mapping[str, Any]:
        """Of the object, as the pass began."""
        return self.body.get("status") or {}


class BotConvergence:
    """Runs the part of a pass that looks at the backends and changes them."""

    def __init__(self, world: World, acceptance: Acceptance) -> None:
        """Work in this world."""
        self._world = world
        self._acceptance = acceptance

    async def run(self, one: BotPass) -> BotFacts:
        """Return what is true once the plan was carried out.

        Raises:
            Error: A backend does not let us finish, or what is asked for is not there.
        """
        world, meta, status = self._world, one.spec.meta, one.status
        spec, desired, backends, request = one.spec, one.desired, one.backends, one.request
        roles = await existing_roles(backends, desired.realm_roles, desired.client_roles)
        declared = desired.declared_scopes
        never_made = not status.get("clientUuid")
        # A withdrawal that was begun and called off may have ended anything: look at all of it.
        fresh = world.freshness.is_fresh(meta.key, meta.uid, meta.generation, world.clock.monotonic())
        look = not fresh or bool(status.get("revocation")) or self._secret_matters(one)
        begun = await observe_keys(backends, meta.key, desired) if never_made else None
        if never_made:
            await require_still_there(world, meta)
        if never_made and not (begun is not None and begun.data) and not was_taken(status):
            # What was never created is created: a 409 tells if a crash came between the create and the status. A key
            # in Vault tells so too, and then that one is to be used. Where somebody else's client was in the way, it
            # is looked whether it still is: an absence is waited out, and that would be told again at each attempt.
            scopes = await existing_scopes(backends, declared) if declared else None
            observed = ObservedBot(
                keycloak_seen=True, recorded=recorded_in(status), realm_scopes=scopes, stored_client=begun
            )
            facts = await one.application.apply(self._plan(one, observed, roles), observed)
            if facts is not None:
                return self._looked(one, facts)
        handover = self._handover(one)
        for _ in range(2):  # what was adopted is looked at before anything is done with it
            observe = partial(
                observe_bot, backends, meta.key, desired, status=status, handover=handover, read_key=world.read_key
            )
            observed = await observe(look=look or never_made)
            if not observed.keycloak_seen and not self._as_published(one, observed):
                # Somebody changed what lies in Vault, or the secret in Keycloak: only both sides tell what to do.
                observed = await observe(look=True)
            if observed.keycloak_seen:
                observed = replace(observed, realm_scopes=await existing_scopes(backends, declared))
            observed = self._with_servers(one, await _without_revoked(one, observed))
            facts = await one.application.apply(self._plan(one, observed, roles), observed)
            if facts is not None and observed.keycloak_seen:
                pending = request is not None and request.wants_secret(facts.secret_rotated_for)
                rotates = desired.rotation.every is not None or spec.secret_rotation is not None
                rotates, pending = rotates and has_secret(desired), pending and has_secret(desired)
                if observed.client is not None and (rotates or pending):
                    facts.obstacle = _obstacle(desired, observed)
                return self._looked(one, facts)
            if facts is not None:
                return facts
        world.freshness.expire(meta.key)
        message = f"Client {desired.client_id} appeared while it was being created; looking again"
        raise BackendUnavailableError(message, backend="keycloak", retry_after=timedelta(seconds=1))

    def _plan(self, one: BotPass, observed: ObservedBot, roles: frozenset[Role]) -> tuple[BotStep, ...]:
        now = one.backends.identity_provider.server_now()
        return plan_bot(one.desired, observed, roles, one.spec.meta.uid, now, one.request)

    def _with_servers(self, one: BotPass, observed: ObservedBot) -> ObservedBot:
        """Return it with what servers and presenting pods are known to hold of opaque tokens."""
        marks = {name: held.fingerprint for name, held in observed.opaque.items()}
        if not marks:
            return observed
        taken = self._acceptance.taken(one.body, marks)
        presented, _ = self._acceptance.presented(one.spec.meta, marks)
        return replace(observed, verifiers={name: one.everywhere for name, one in taken.items()}, presented=presented)

    def _secret_matters(self, one: BotPass) -> bool:
        """Tell whether the secret is to be replaced or ended now, so that Keycloak must be looked at."""
        secret, now = one.status.get("secret") or {}, one.backends.identity_provider.server_now()
        request = one.request
        if request is not None and request.wants_secret(secret.get("rotatedFor")):
            return True
        instants = (instant_in(secret.get(name)) for name in ("nextRotationAt", "previousEndsAt"))
        return any(at is not None and at <= now for at in instants)

    def consumers(self, bot: ObjectKey) -> list[Body]:
        """Return the PodIdentities that mount the bot."""
        found = (self._world.directory.get(key) for key in self._world.directory.pods_of_bot(bot))
        return [body for body in found if body is not None]

    def _handover(self, one: BotPass) -> Handover:
        """Return how far the bot's secret has come to those who mount it."""
        version = (one.status.get("secret") or {}).get("version")
        meta, overlap, now = one.spec.meta, one.desired.rotation.overlap, one.backends.identity_provider.server_now()
        missing, instants = False, []
        for pod in self.consumers(meta.key):
            status: Mapping[str, Any] = pod.get("status") or {}
            held = status.get("bot") or {}
            if not status.get("delivered") or held.get("uid") != meta.uid or held.get("secretVersion") is None:
                continue
            missing = missing or held["secretVersion"] != version
            if (from_ := held_from(held.get("secretSince"), overlap, now)) is not None:
                instants.append(from_)
        there_for = one.backends.vault_there_for(self._world.clock.monotonic())
        return Handover(missing, max(instants, default=None), reachable_since=now - there_for)

    def _looked(self, one: BotPass, facts: BotFacts) -> BotFacts:
        facts.looked = True
        if facts.secret_issued_at is None:
            facts.secret_issued_at = one.backends.identity_provider.server_now()  # made before this was remembered
        meta, sightings = one.spec.meta, self._world.sightings
        until = self._world.clock.monotonic() + spread(LOOK_PERIOD, meta.uid).total_seconds()
        self._world.freshness.looked(meta.key, meta.uid, meta.generation, until)
        sightings.forget(meta.key)
        if not isinstance(one.spec.authentication, ClientSecret):
            return facts  # Keycloak keeps a secret for such clients too, which is nobody's business
        sightings.in_keycloak(meta.key, facts.secret)
        sightings.in_vault(meta.key, facts.secret)
        return facts

    def _as_published(self, one: BotPass, observed: ObservedBot) -> bool:
        """Tell whether Vault holds what was published, and the secret that Keycloak was last seen to hold."""
        stored, desired, key = observed.stored_client, one.desired, one.spec.meta.key
        if not has_secret(desired):
            return stored_as_published(desired, observed)
        agreed = self._world.sightings.in_vault(key, stored.data.get("client_secret") if stored is not None else None)
        return agreed and stored_as_published(desired, observed)


async def _without_revoked(one: BotPass, observed: ObservedBot) -> ObservedBot:
    """Return it without the jwts that are good no more, where the last pass may not have come to its end.

    A token that says more than a changed spec is revoked before its successor is published. If a crash comes in
    between and the spec is then changed back, nothing but the token itself tells that it was revoked.
    """
    if not observed.keycloak_seen or ready_at_generation(one.body):
        return observed
    provider, good = one.backends.identity_provider, dict(observed.claims)
    for name, claims in observed.claims.items():
        published = observed.stored_tokens[name].data["token"]
        if claims.expires_at > provider.server_now() and not await provider.token_accepted(published):
            del good[name]
    return replace(observed, claims=good, revoked=frozenset(observed.claims.keys() - good.keys()))


def _obstacle(desired: DesiredBot, observed: ObservedBot) -> str | None:
    why = secret_obstacle(desired, observed)
    if why is None:
        return None
    if desired.rotation.allow_interruption:
        return f"The secret is replaced without an overlap, as spec.secretRotation.allowInterruption lets it: {why}"
    return (
        f"The bot secret stays as it is, since it cannot be replaced with an overlap: {why}. Or set "
        "spec.secretRotation.allowInterruption to true; clients are refused then until they read the new secret"
    )
