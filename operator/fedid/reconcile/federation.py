"""One pass over a Federation: make its adapters, look whether they work, wake who waits for them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from fedid.domain.bot import TWO_SECRETS
from fedid.domain.conditions import Condition, ConditionType, Reason, condition_of, reason_of
from fedid.domain.durations import duration_text
from fedid.domain.grants import parse_grants
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import OBJECT_ATTRIBUTE, OWNER_ATTRIBUTE, RealmFacts
from fedid.domain.resources import BOT_CLIENT, Body, Federation, meta_of, parse_federation
from fedid.engine import Outcome, Priority
from fedid.errors import BackendDeniedError, Error, InvalidSpecError, NotReadyError
from fedid.reconcile.census import Census
from fedid.reconcile.epochs import Epochs
from fedid.reconcile.federation_access import access_digest, keycloak_credentials, vault_credentials, vault_holder
from fedid.reconcile.gate import with_finalizer, without_finalizer
from fedid.reconcile.openfga_watch import has_openfga, openfga_watch_key
from fedid.reconcile.realm_watch import sweep_period, watch_key
from fedid.reconcile.status import ready_at_generation, write_status
from fedid.reconcile.world import Backends, World

__all__ = ["FederationReconciler"]

_LOOK_AGAIN = timedelta(minutes=1)
"""While it works: outages are noticed by the calls themselves, this finds what no call touches."""
_LOOK_AGAIN_SOON = timedelta(seconds=2)
"""While it does not: one cheap probe that stands for every identity that waits."""
_LISTED = 5
_AWAY = frozenset({Reason.BACKEND_UNAVAILABLE, Reason.VAULT_SEALED})


class FederationReconciler:
    """Reconciles Federations."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._census = Census(world)
        self._epochs = Epochs(world)

    async def reconcile(self, body: Body) -> Outcome:
        """Run one pass.

        Raises:
            Error: Our own access to the cluster fails; what Keycloak and Vault say becomes conditions instead.
        """
        meta = meta_of(body)
        if has_openfga(
            body
        ):  # also of one that cannot be used, or is to go: who is refused leaves OpenFGA all the same
            self._world.wake(openfga_watch_key(meta.key.name), Priority.DRIFT, look=False)
        if meta.deleting and not self._dependents(meta.key.name):
            return await self._teardown(body)
        try:
            federation, grants = parse_federation(body), parse_grants(body["spec"])
            body = body if meta.deleting else await with_finalizer(self._world, body)
            backends = await self._backends(federation, grants)
        except (InvalidSpecError, NotReadyError, BackendDeniedError) as error:
            return await self._unusable(body, error)
        first, before = not backends.looked_at, backends.readiness
        conditions, fields = await self._look(backends)
        exclusive = await self._epochs.look(body, backends)
        after = backends.readiness
        if first or any(now and not was for was, now in zip(before, after, strict=True)):
            # At the first look also if neither is ready: those who waited for it say why then.
            self._wake_identities(meta.key.name, pods=first, look=not first)
        if meta.deleting:
            return await self._teardown(body)  # those whose end it waits for need the backends, after a restart too
        counts = await self._census.fields(meta.key.name)
        conditions += (exclusive,) if exclusive is not None else ()
        await write_status(self._world, body, (self._ready(body, conditions), *conditions), {**fields, **counts})
        if backends.keycloak_ready:
            await self._wake_those_without_overlap(backends)
            self._world.wake(watch_key(meta.key.name), Priority.DRIFT, look=False)
        decided = backends.may_write or any(one.status is False for one in conditions)  # a person's word wakes it
        ready = backends.keycloak_ready and backends.vault_ready and decided
        return self._again(_LOOK_AGAIN if ready else _LOOK_AGAIN_SOON)

    async def _wake_those_without_overlap(self, backends: Backends) -> None:
        """Have bots whose secret could not be replaced look again once the realm's policy for two secrets is another.

        They do not ask by themselves: that would be a call for each of them, for as long as nobody sets it up.
        """
        directory = self._world.directory
        if not directory.readiness()[BOT_CLIENT, "False", Reason.OVERLAP_IMPOSSIBLE]:
            return
        policy = await backends.identity_provider.secret_policy({TWO_SECRETS: "true"})
        if policy == backends.secret_policy:
            return
        backends.secret_policy = policy
        for key in directory.identities_of(backends.federation.meta.key.name):
            body = directory.get(key)
            told = (body.get("status") or {}).get("conditions") or () if body is not None else ()
            ready = condition_of(told, ConditionType.READY)
            if ready is not None and ready["reason"] == Reason.OVERLAP_IMPOSSIBLE:
                self._world.wake(key, Priority.DRIFT)

    async def _backends(self, federation: Federation, grants: tuple[Any, ...]) -> Backends:
        """Return the adapters, made anew where url, realm, access or trust changed."""
        world, name = self._world, federation.meta.key.name
        to_keycloak = await keycloak_credentials(world.cluster, federation.keycloak.auth)
        to_vault = await vault_credentials(world.cluster, federation.vault.auth)
        digest = access_digest(federation, to_keycloak, to_vault)
        known = world.backends.get(name)
        if known is not None and known.access_digest == digest:
            defaults = (known.federation.token_lifetime, known.federation.resync_period)
            changed = (known.grants, defaults) != (grants, (federation.token_lifetime, federation.resync_period))
            known.grants, known.federation = grants, federation
            if changed:
                self._wake_identities(name)
            return known
        made = Backends(
            federation=federation,
            grants=grants,
            identity_provider=world.factory.identity_provider(federation.keycloak, to_keycloak),
            secret_store=world.factory.secret_store(federation.vault, to_vault),
            access_digest=digest,
        )
        world.backends[name] = made
        world.unusable.pop(name, None)
        if known is not None:
            for key in world.directory.identities_of(name):
                world.freshness.expire(key)  # it may be another server
            await _close(known)
        return made

    async def _look(self, backends: Backends) -> tuple[tuple[Condition, ...], dict[str, Any]]:
        """Probe both backends at once and return the conditions and what the status tells of them."""
        federation = backends.federation
        (keycloak, facts), (vault, version) = await asyncio.gather(
            self._look_at_keycloak(backends), self._look_at_vault(backends)
        )
        backends.keycloak_ready = keycloak.status is True
        backends.saw_vault(self._world.clock.monotonic(), ready=vault.status is True)
        backends.keycloak_refusal, backends.vault_refusal = _refusal(keycloak), _refusal(vault)
        fields: dict[str, Any] = {"isDefault": self._is_default(federation)}
        if facts is not None:
            fields["issuer"] = facts.issuer
            fields["drift"] = _drift(backends, facts)
        if version is not None:
            fields["vaultVersion"] = version
        return (keycloak, vault), fields

    async def _look_at_keycloak(self, backends: Backends) -> tuple[Condition, RealmFacts | None]:
        realm = backends.federation.keycloak.realm
        try:
            facts = await backends.identity_provider.probe()
        except Error as error:
            return _failed(ConditionType.KEYCLOAK_READY, error), None
        if facts.missing_permissions:
            message = (
                f"The operator's client lacks {', '.join(facts.missing_permissions)}; assign these roles of client "
                f"realm-management to its service account in realm {realm}"
            )
            return _no(ConditionType.KEYCLOAK_READY, Reason.PERMISSION_MISSING, message), facts
        if not facts.owner_attributes_kept:
            message = (
                f"The user profile of realm {realm} does not declare {OWNER_ATTRIBUTE} and {OBJECT_ATTRIBUTE}, so "
                "Keycloak would drop the owner mark of users; declare both (view and edit: admin) under Realm "
                "settings, User profile"
            )
            return _no(ConditionType.KEYCLOAK_READY, Reason.USER_PROFILE_INCOMPLETE, message), facts
        message = f"Realm {realm} answers and the operator may do its work"
        return Condition(ConditionType.KEYCLOAK_READY, True, Reason.READY, message), facts

    async def _look_at_vault(self, backends: Backends) -> tuple[Condition, str | None]:
        access = backends.federation.vault
        try:
            facts = await backends.secret_store.probe(access.path_prefix)
        except Error as error:
            return _failed(ConditionType.VAULT_READY, error), None
        if facts.missing_permissions:
            holder, policy = vault_holder(access.auth)
            message = (
                f"{holder} lacks {', '.join(facts.missing_permissions)}; add it to {policy}, or correct "
                "spec.vault.mount and spec.vault.pathPrefix"
            )
            return _no(ConditionType.VAULT_READY, Reason.PERMISSION_MISSING, message), facts.version
        message = f"Mount {access.mount} (KV version {access.kv_version}) answers below {access.path_prefix}/"
        return Condition(ConditionType.VAULT_READY, True, Reason.READY, message), facts.version

    def _ready(self, body: Body, conditions: tuple[Condition, ...]) -> Condition:
        bad = next((c for c in conditions if c.status is False), None)
        if bad is not None:
            return Condition(ConditionType.READY, False, bad.reason, bad.message)
        rivals = self._rival_defaults(body)
        if rivals:
            message = (
                f"Federations {', '.join(rivals)} say default: true as well, so none is the default; "
                "let all but one give it up"
            )
            return Condition(ConditionType.READY, False, Reason.CONFLICT, message)
        return Condition(ConditionType.READY, True, Reason.READY, "Keycloak and Vault are ready")

    def _rival_defaults(self, body: Body) -> list[str]:
        if not (body.get("spec") or {}).get("default"):
            return []
        own = body["metadata"]["name"]
        return sorted(
            name
            for other in self._world.directory.federations()
            if (name := other["metadata"]["name"]) != own and (other.get("spec") or {}).get("default")
        )

    def _is_default(self, federation: Federation) -> bool:
        body = self._world.directory.get(federation.meta.key)
        return federation.default and (body is None or not self._rival_defaults(body))

    async def _unusable(self, body: Body, error: Error) -> Outcome:
        """Tell what is wrong with the Federation itself; identities hear it as their reason too."""
        name = meta_of(body).key.name
        known = self._world.backends.get(name)
        if known is not None:
            known.keycloak_ready = False
            known.saw_vault(self._world.clock.monotonic(), ready=False)
            known.keycloak_refusal = known.vault_refusal = error.message
        elif self._world.unusable.get(name) != error.message:
            self._world.unusable[name] = error.message
            self._wake_identities(name)
        await write_status(self._world, body, (_failed(ConditionType.READY, error),), {})
        return self._again(_LOOK_AGAIN_SOON)

    async def _teardown(self, body: Body) -> Outcome:
        """Wait for the identities, then let go; a Federation that goes first would strand their credentials."""
        meta = meta_of(body)
        if not meta.has_finalizer:
            return Outcome()
        needed_by = [str(key) for key in self._dependents(meta.key.name)]
        if needed_by:
            more = f" and {len(needed_by) - _LISTED} more" if len(needed_by) > _LISTED else ""
            message = (
                f"{len(needed_by)} identities still need this Federation to be revoked: "
                f"{', '.join(sorted(needed_by)[:_LISTED])}{more}. Delete them first"
            )
            told = (Condition(ConditionType.READY, False, Reason.FEDERATION_IN_USE, message),)
            await write_status(self._world, body, told, {})
            return self._again(_LOOK_AGAIN_SOON)
        known = self._world.backends.get(meta.key.name)
        await self._epochs.forget(known)
        await without_finalizer(self._world, body)
        self._census.forget(meta.key.name)
        self._world.unusable.pop(meta.key.name, None)
        self._world.backends.pop(meta.key.name, None)
        if known is not None:
            await _close(known)
        return Outcome()

    def _dependents(self, federation: str) -> list[ObjectKey]:
        """Return the identities of this Federation that may have something outside the cluster."""
        directory = self._world.directory
        found = []
        for key in directory.identities_of(federation):
            other = directory.get(key)
            if other is not None and meta_of(other).is_held:
                found.append(key)
        return found

    def _wake_identities(self, federation: str, *, pods: bool = False, look: bool = True) -> None:
        """Wake bots and users, who wake the pods of what they publish; of the pods those that are not Ready, or all."""
        directory = self._world.directory
        for key in directory.identities_of(federation):
            self._world.wake(key, Priority.CHANGE, look=look)
            for pod in directory.pods_of_bot(key):
                body = directory.get(pod)
                if pods or (body is not None and not ready_at_generation(body)):
                    self._world.wake(pod, Priority.CHANGE)

    def _again(self, after: timedelta) -> Outcome:
        return Outcome(self._world.clock.monotonic() + after.total_seconds(), Priority.CHANGE)


def _failed(about: ConditionType, error: Error) -> Condition:
    return Condition(about, False, reason_of(error), error.message)


def _no(about: ConditionType, reason: Reason, message: str) -> Condition:
    return Condition(about, False, reason, message)


def _refusal(told: Condition) -> str:
    """Return why nothing new may be begun, empty if the backend is ready or only away."""
    return "" if told.status is True or told.reason in _AWAY else told.message


def _drift(backends: Backends, facts: RealmFacts) -> dict[str, str]:
    """Decide how changes made by hand are found, and return what the status says of it; it moves when the way does."""
    drift, realm = backends.federation.drift, backends.federation.keycloak.realm
    backends.admin_events = drift.admin_events and facts.admin_events_recorded and facts.admin_events_readable
    sweep = f"a sweep every {duration_text(sweep_period(backends))}"
    if backends.admin_events:
        found_by = f"the realm's admin events within {duration_text(drift.events_interval)}, and by {sweep}"
        return {"mode": "AdminEvents", "message": f"Changes made by hand are found by {found_by}"}
    if not drift.admin_events:
        why = "spec.drift.adminEvents is Never"
    elif not facts.admin_events_recorded:
        why = f"realm {realm} records no admin events"
    else:
        why = "the operator's client lacks the role view-events of client realm-management"
    return {"mode": "Sweep", "message": f"Changes made by hand are found by {sweep}; {why}"}


async def _close(backends: Backends) -> None:
    await asyncio.gather(backends.identity_provider.aclose(), backends.secret_store.aclose(), return_exceptions=True)
