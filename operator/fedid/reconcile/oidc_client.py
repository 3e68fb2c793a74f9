"""The Keycloak clients of a server, brought in line with its PodIdentity: gate, observe, plan, apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from fedid.domain.bot import TWO_SECRETS
from fedid.domain.bot_steps import ObservedBot
from fedid.domain.conditions import Condition, ConditionType, Reason, instant_in, rfc3339
from fedid.domain.grants import is_reserved_client
from fedid.domain.judgement import Verdict
from fedid.domain.oidc_client import OidcClientSpec
from fedid.domain.oidc_client_plan import plan_oidc_client
from fedid.domain.oidc_client_record import (
    DesiredOidcClient,
    asks_of_oidc_client,
    client_uuids,
    desired_oidc_clients,
)
from fedid.domain.realm import ClientRecord
from fedid.domain.resources import Body, meta_of
from fedid.domain.rotation import REVOKE_NOW, revocation_request, rotation_request
from fedid.domain.secret_plan import secret_obstacle
from fedid.domain.stored import StoredEntry
from fedid.errors import (
    BackendUnavailableError,
    Error,
    NotGrantedError,
    NotReadyError,
    OwnershipConflictError,
    StaleObjectError,
)
from fedid.platforms.identity import OidcClient
from fedid.reconcile.bot_context import BotFacts
from fedid.reconcile.bot_paths import BotPaths
from fedid.reconcile.gate import (
    granted_condition,
    judged_as_before,
    require_still_there,
    require_usable,
    still_wanted,
    with_finalizer,
)
from fedid.reconcile.judging import judged, judgement_fields
from fedid.reconcile.oidc_client_pass import ClientPass, recorded_of, secret_due_at, synced_condition
from fedid.reconcile.oidc_client_steps import OidcClientSteps
from fedid.reconcile.oidc_client_teardown import OidcClientTeardown, anything_made
from fedid.reconcile.roles import existing_scopes
from fedid.reconcile.status import newest_of
from fedid.reconcile.waiting import tell_waiting
from fedid.reconcile.world import Backends, World

__all__ = ["BroughtClient", "OidcClients"]

_INSTANTS: Final = ("nextRotationAt", "previousEndsAt")
"""Fields of the status after which Keycloak has to be looked at."""


@dataclass(frozen=True, slots=True)
class BroughtClient:
    """What is true of a server's clients after a pass."""

    client: OidcClient
    """What renderers get."""
    body: Body
    """The object as it is now: the finalizer may have been put on."""
    conditions: tuple[Condition, ...]
    """`Granted` and `KeycloakSynced`, to be told with those about the Secret."""
    fields: Mapping[str, Any]
    """Of the status, to be written with the rest of it."""
    granted: bool
    """Whether everything that was asked for is covered; what is not, was left out."""
    again_at: float | None
    """When to come again at the latest (monotonic seconds)."""


class OidcClients:
    """Makes the Keycloak clients of servers, and takes them down."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self.teardown = OidcClientTeardown(world)

    async def refused(self, body: Body, spec: OidcClientSpec, backends: Backends) -> bool:
        """Tell whether nothing of use is granted, or what is asked for is too much for what was never made."""
        verdict, desired = await self._granted(body, spec, backends)
        return _is_refused(body, verdict, desired)

    async def published(self, body: Body, spec: OidcClientSpec, backends: Backends) -> OidcClient | None:
        """Return the client as it was published last, if Vault has it: Keycloak is away, or somebody is in the way."""
        made, meta = (body.get("status") or {}).get("oidcClient") or {}, meta_of(body)
        if spec.public or not made.get("version") or (body.get("status") or {}).get("revocation"):
            return None
        owner = self._world.owner(meta.uid)
        path = BotPaths(backends.federation.vault.path_prefix, meta.key).client
        stored = await backends.secret_store.read(path, owner)
        if stored is None or stored.owner != owner or stored.version != made["version"]:
            return None
        return OidcClient(
            client_id=made["clientId"],
            client_secret=stored.data.get("client_secret"),
            redirect_uris=tuple(sorted(spec.redirect_uris)),
            post_logout_redirect_uris=tuple(sorted(spec.post_logout_redirect_uris)),
            base_url=spec.base_url,
            public_client_id=made.get("publicClientId"),
        )

    async def _granted(
        self, body: Body, spec: OidcClientSpec, backends: Backends
    ) -> tuple[Verdict, tuple[DesiredOidcClient, ...]]:
        meta = meta_of(body)
        verdict = await judged(self._world, backends, asks_of_oidc_client(spec), body)
        owner = self._world.owner(meta.uid)
        return verdict, desired_oidc_clients(spec, meta, backends.federation, verdict, owner=owner)

    async def bring_in_line(self, body: Body, spec: OidcClientSpec, backends: Backends) -> BroughtClient:
        """Bring Keycloak and Vault to what the object asks for, as far as it is granted.

        Raises:
            NotGrantedError: Nothing that would be of use is covered. What was made of it before is gone, or going.
            OwnershipConflictError: The clientId is somebody else's, who keeps it untouched.
            Error: A backend does not let us finish.
        """
        world, meta = self._world, meta_of(body)
        verdict, desired = await self._granted(body, spec, backends)
        if _is_refused(body, verdict, desired):
            if anything_made(body):
                ending = Condition(ConditionType.READY, False, verdict.reason, "Its client was withdrawn")
                await self.teardown.withdraw(body, spec.client_id, backends, Reason.NOT_GRANTED, ending)
            raise NotGrantedError(verdict.message, reason=verdict.reason)
        require_usable(backends, meta, vault=True)
        body = await self._ended_now(body, spec, backends)
        body = await with_finalizer(world, body)
        if not judged_as_before(body, verdict):
            world.freshness.expire(meta.key)
        fresh = world.freshness.is_fresh(meta.key, meta.uid, meta.generation, world.clock.monotonic())
        one = ClientPass(body, meta, backends, verdict, rotation_request(meta.annotations), fresh, world.clock.now())
        if not (body.get("status") or {}).get("oidcClient"):
            await require_still_there(world, meta)
        main = desired[0]
        facts = await self._main(one, main)
        second = await self._second(one, desired[1] if len(desired) > 1 else None)
        return self._brought(one, spec, main, facts, second)

    async def _ended_now(self, body: Body, spec: OidcClientSpec, backends: Backends) -> Body:
        """End everything that is valid of the clients if `fedid.io/revoke-now` asks for it; return the object as it is.

        Raises:
            NotReadyError: It is under way; this object is woken when there is more to do.
            StaleObjectError: The object was deleted meanwhile: nothing is to be made anew.
            Error: A backend does not let us finish; the status says what it waits for.
        """
        meta, status = meta_of(body), body.get("status") or {}
        asked = revocation_request(meta.annotations, status.get("revokedNow"))
        # Begun is finished, also if the annotation is gone meanwhile.
        begun = (status.get("revocation") or {}).get("reason") == Reason.REVOKED_NOW
        if not (begun or (asked is not None and anything_made(body))):
            return body
        message = f"{REVOKE_NOW} is carried out: everything valid of the client is ended, and then made anew"
        ending = Condition(ConditionType.READY, False, Reason.REVOKED_NOW, message)
        handled = {"revokedNow": asked} if asked is not None else {}
        withdraw = self.teardown.withdraw
        try:
            finished = await withdraw(body, spec.client_id, backends, Reason.REVOKED_NOW, ending, handled)
        except StaleObjectError:
            raise  # an ordinary conflict of writes: read again and repeated, nothing to tell
        except Error as error:
            await tell_waiting(self._world, newest_of(self._world, body), error)
            raise
        if not finished:
            raise NotReadyError(message, reason=Reason.REVOKED_NOW)
        return still_wanted(self._world, meta)

    async def _main(self, one: ClientPass, main: DesiredOidcClient) -> BotFacts:
        """Return what is true of the server's own client, and why its secret cannot be replaced as it is wanted."""
        stored = await self._stored(one, main)
        if self._may_rest(one, main, stored):
            recorded, facts = recorded_of(one.made), BotFacts(main.client_uuid)
            if stored is None:
                return facts
            facts.secret, facts.secret_version = stored.data.get("client_secret"), stored.version
            facts.previous_secret = stored.data.get("previous_client_secret")
            facts.previous_ends_at = recorded.previous_ends_at if facts.previous_secret is not None else None
            facts.secret_issued_at, facts.secret_rotated_for = recorded.secret_issued_at, recorded.secret_rotated_for
            return facts
        facts, observed = await self._converge(one, main, stored)
        until = self._world.clock.monotonic() + one.look_period.total_seconds()
        self._world.freshness.looked(one.meta.key, one.meta.uid, one.meta.generation, until)
        facts.looked = True
        pending = one.asks_for_secret(facts.secret_rotated_for)
        if not main.public and (pending or main.rotation.every is not None):
            facts.obstacle = secret_obstacle(main.as_bot, observed)
        return facts

    async def _second(self, one: ClientPass, second: DesiredOidcClient | None) -> DesiredOidcClient | None:
        """Bring the public client in line, or take away one that is not wanted any more."""
        made, wanted_uuid = one.made.get("publicClientUuid"), client_uuids(one.meta.uid)[1]
        if second is None:
            if made is not None:
                await self.teardown.remove_public(one.body, made, one.made.get("publicClientId") or "", one.backends)
            return None
        if not (one.fresh and made == wanted_uuid):
            await self._converge(one, second, None)
        return second

    async def _converge(
        self, one: ClientPass, desired: DesiredOidcClient, stored: StoredEntry | None
    ) -> tuple[BotFacts, ObservedBot]:
        steps = OidcClientSteps(self._world, one.body, desired, one.backends, one.request)
        made = {one.made.get("clientUuid"), one.made.get("publicClientUuid")}
        observed = await self._observe(one, desired, stored, look=desired.client_uuid in made or one.was_taken)
        for _ in range(2):  # what was never created is created: a 409 tells if a crash came before the status
            now = one.backends.identity_provider.server_now()
            plan = plan_oidc_client(desired, observed, one.meta.uid, now, one.request)
            facts = await steps.apply(plan, observed)
            if facts is not None:
                if one.changed_by_hand and desired.client_uuid in made:
                    await steps.tell_repair(plan)
                return facts, observed
            observed = await self._observe(one, desired, stored, look=True)
        self._world.freshness.expire(one.meta.key)
        message = f"Client {desired.client_id} appeared while it was being created; looking again"
        raise BackendUnavailableError(message, backend="keycloak", retry_after=timedelta(seconds=1))

    async def _observe(
        self, one: ClientPass, desired: DesiredOidcClient, stored: StoredEntry | None, *, look: bool
    ) -> ObservedBot:
        provider = one.backends.identity_provider
        return ObservedBot(
            keycloak_seen=True,
            client=await _own_client(one.backends, desired) if look else None,
            policy=None if desired.public else await provider.secret_policy({TWO_SECRETS: "true"}),
            stored_client=stored,
            handover=one.handover,
            recorded=recorded_of(one.made, withdrawn=bool(one.status.get("revocation"))),
            realm_scopes=await existing_scopes(one.backends, desired.default_scopes | desired.optional_scopes),
        )

    async def _stored(self, one: ClientPass, main: DesiredOidcClient) -> StoredEntry | None:
        """Return our entry in Vault.

        Raises:
            OwnershipConflictError: Somebody else's lies there.
        """
        if main.public:
            return None
        path = one.path
        stored = await one.backends.secret_store.read(path, main.owner)
        if stored is not None and stored.owner != main.owner:
            whose = f"carries the owner mark {stored.owner}" if stored.owner else "carries no owner mark of fedid"
            message = f"Vault path {path} exists and {whose}; it is left untouched. Have its owner remove it"
            raise OwnershipConflictError(message, backend="vault")
        return stored

    def _may_rest(self, one: ClientPass, main: DesiredOidcClient, stored: StoredEntry | None) -> bool:
        """Tell whether Keycloak need not be asked: it was lately, and Vault holds what was published then."""
        made = one.made
        if not one.fresh or one.status.get("revocation") or made.get("clientUuid") != main.client_uuid:
            return False
        if main.public:
            return True
        if stored is None:
            return False
        if one.asks_for_secret(made.get("rotatedFor")):
            return False
        now = one.backends.identity_provider.server_now()
        if any(at is not None and at <= now for at in map(instant_in, map(made.get, _INSTANTS))):
            return False
        return "client_secret" in stored.data and stored.version == made.get("version")

    def _brought(
        self,
        one: ClientPass,
        spec: OidcClientSpec,
        main: DesiredOidcClient,
        facts: BotFacts,
        second: DesiredOidcClient | None,
    ) -> BroughtClient:
        client = OidcClient(
            client_id=main.client_id,
            client_secret=facts.secret,
            redirect_uris=tuple(sorted(main.redirect_uris)),
            post_logout_redirect_uris=tuple(sorted(main.post_logout_redirect_uris)),
            base_url=spec.base_url,
            public_client_id=second.client_id if second is not None else None,
        )
        asked = revocation_request(one.meta.annotations, None)
        fields: dict[str, Any] = {"oidcClient": self._fields(one, main, facts, second), "revocation": None}
        if asked is not None:
            fields["revokedNow"] = asked  # carried out by now, or there was nothing to end
        fields |= judgement_fields(one.body, one.verdict)
        told = (granted_condition(one.verdict), synced_condition(one, main, facts))
        again = self._again(one, main, facts)
        return BroughtClient(client, one.body, told, fields, one.verdict.granted, again)

    def _fields(
        self, one: ClientPass, main: DesiredOidcClient, facts: BotFacts, second: DesiredOidcClient | None
    ) -> dict[str, Any]:
        public = {"publicClientId": second.client_id, "publicClientUuid": second.client_uuid} if second else {}
        found: dict[str, Any] = {"clientId": main.client_id, "clientUuid": main.client_uuid, **public}
        if not main.public:
            issued_at = facts.secret_issued_at or one.backends.identity_provider.server_now()
            found |= {"vaultPath": one.path, "version": facts.secret_version, "issuedAt": rfc3339(issued_at)}
            found["previousEndsAt"] = rfc3339(facts.previous_ends_at) if facts.previous_ends_at is not None else None
            found["rotatedFor"] = facts.secret_rotated_for
            due_at = secret_due_at(one, main, issued_at)
            found["nextRotationAt"] = rfc3339(due_at) if due_at is not None else None
        return {name: value for name, value in found.items() if value is not None}

    def _again(self, one: ClientPass, main: DesiredOidcClient, facts: BotFacts) -> float | None:
        look_at = self._world.freshness.until(one.meta.key)
        now, mono = one.backends.identity_provider.server_now(), self._world.clock.monotonic()
        # What is in the way of a replacement is found gone at the next look, not by asking all the time.
        due_at = secret_due_at(one, main, facts.secret_issued_at) if facts.obstacle is None else None
        if one.asks_for_secret(facts.secret_rotated_for) or (due_at is not None and due_at <= now):
            # It waits for the end of an overlap, or what it had to wait for has just ended.
            due_at = now if facts.is_free and not main.public else None
        instants = [mono + max((at - now).total_seconds(), 1.0) for at in (facts.previous_ends_at, due_at) if at]
        return min([*instants, *([look_at] if look_at is not None else [])], default=None)


def _is_refused(body: Body, verdict: Verdict, desired: tuple[DesiredOidcClient, ...]) -> bool:
    useless = not verdict.may_exist or not desired
    return not verdict.granted and (useless or not anything_made(body))


async def _own_client(backends: Backends, desired: DesiredOidcClient) -> ClientRecord | None:
    """Return our client, None if its id is free.

    Raises:
        OwnershipConflictError: The id or the clientId belongs to somebody else; nothing of it is read or changed.
    """
    provider, client_id = backends.identity_provider, desired.client_id
    found = await provider.read_client(desired.client_uuid)
    if found is None:
        found = await provider.find_client(client_id)
        if found is None:
            return None
    elif found.owner == desired.owner:
        return found
    whose = f"carries the owner mark {found.owner}" if found.owner else "carries no owner mark of fedid"
    what = f" ({found.object_name})" if found.object_name else ""
    advice = "Choose another clientId (a new PodIdentity), or have its owner delete the client"
    if is_reserved_client(client_id) or client_id == provider.operator_client_id:
        advice = "It is one of Keycloak's, or the operator's own; choose another clientId"
    realm = backends.federation.keycloak.realm
    message = f"Client {client_id} of realm {realm} exists and {whose}{what}; it is left untouched. {advice}"
    raise OwnershipConflictError(message, backend="keycloak")
