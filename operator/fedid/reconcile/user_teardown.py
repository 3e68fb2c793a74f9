"""The end of a user, or of its use: seen there, sessions ended, deleted or disabled, seen so, and only then told.

What proves it is what Keycloak says of the account by its id. Every token of a user hangs on a session, or on the id
as its `sub`: without session and account Keycloak refuses refresh, offline and access tokens, and a user who is made
anew under the name has another id. So nothing need wait for the next second here, as it must with clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason, condition_of, instant_in, rfc3339
from fedid.domain.federation_user import FederationUser, parse_federation_user
from fedid.domain.realm import UserRecord, UserSessions
from fedid.domain.receipt import ADMIN_API, Presented, cause_of, evidence_fields, receipt_of
from fedid.domain.resources import Body, meta_of
from fedid.domain.suspension import Suspension
from fedid.engine import Outcome
from fedid.errors import BackendUnavailableError, Error, OwnershipConflictError, StaleObjectError
from fedid.reconcile.gate import backends_of, federation_name, with_finalizer
from fedid.reconcile.members import require_tuples_gone
from fedid.reconcile.receipts import gone_from_vault, leave_receipt, withdrawal_of
from fedid.reconcile.release import let_go
from fedid.reconcile.repairs import tell_repair
from fedid.reconcile.retention import decide_retention, is_retained, revocation_of
from fedid.reconcile.status import newest_of, proof_of, write_status
from fedid.reconcile.user_observation import own_user
from fedid.reconcile.user_password import UserPassword
from fedid.reconcile.waiting import tell_waiting
from fedid.reconcile.world import Backends, World

__all__ = ["UserTeardown", "anything_made", "is_held"]

_MADE = ("userId", "applied", "initialPassword", "notification", "revocation")
"""Fields of the status that tell of something outside the cluster."""
_TOKENS = (
    "a verifier that only checks signatures may take access tokens that the user got before, as long as the realm and "
    "the clients that they were got by let them live"
)


def anything_made(body: Body) -> bool:
    """Tell whether something of the user may exist outside the cluster, as far as its object tells."""
    status = body.get("status") or {}
    return meta_of(body).has_finalizer or any(status.get(name) for name in _MADE)


def is_held(body: Body, suspension: Suspension) -> bool:
    """Tell whether the status says that the user is suspended for this very reason, and how that was seen."""
    ready = condition_of((body.get("status") or {}).get("conditions") or (), ConditionType.READY)
    return ready is not None and ready["reason"] == suspension.reason and not revocation_of(body)


class UserTeardown:
    """Takes users down."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world

    async def delete(self, body: Body) -> Outcome:
        """Run one pass over a user that is being deleted.

        Raises:
            Error: A backend does not let us finish; the condition `Revoked` says which step waits for what.
        """
        if not meta_of(body).has_finalizer:
            return Outcome()
        try:
            await self._run(body, None)
        except StaleObjectError:
            raise  # an ordinary conflict of writes: read again and repeated, nothing to tell
        except Error as error:
            await tell_waiting(self._world, newest_of(self._world, body), error)
            raise
        return Outcome()

    async def withdraw(self, body: Body, reason: Reason, ending: Condition) -> None:
        """Take everything outside the cluster away as at deletion, and keep the object.

        Args:
            body: The object.
            reason: Why; kept in the status until it is finished.
            ending: What is told of `Ready` then.

        Raises:
            Error: A backend does not let us finish.
        """
        body = await with_finalizer(self._world, body)
        if revocation_of(body).get("reason") != reason:
            body = await self._tell_begun(body, {"reason": str(reason)}, "The user is being withdrawn")
        await self._run(body, ending)

    async def hold(self, body: Body, spec: FederationUser, suspension: Suspension, backends: Backends) -> Body:
        """See to it that nobody can use the account: disabled, without sessions, whatever the grants say.

        Returns:
            The newest body, with the proof in its status.

        Raises:
            Error: Keycloak does not let us finish.
        """
        world, owner = self._world, self._world.owner(spec.meta.uid)
        user = await own_user(backends, body.get("status") or {}, spec.username, owner)
        held = is_held(body, suspension)
        if user is not None:
            _require_ours(user, owner)
        proof = proof_of(body)
        if user is not None and user.user_id is not None and (user.enabled or not held):
            if held:
                await tell_repair(world, body, ["enabled"])
            body = await self._witness(body, user, backends, {"reason": str(suspension.reason)})
            ended = await self._disable(user, backends)
            now = world.clock.now()
            message = f"Proven at {rfc3339(now)}: {_seen(body)}{ended}"
            proof = [Condition(ConditionType.REVOKED, True, Reason.PROVEN, message)]
            world.audit("DisableUser", key=spec.meta.key, username=spec.username)
            body = newest_of(world, body)
            seen = _evidence(body, spec, backends, ended, backends.identity_provider.server_now())
            cause = cause_of(body)
            receipt = receipt_of(body, cause, what=withdrawal_of(body), seen=seen, notes=[_TOKENS], proven_at=now)
            told = f"Revocation proven for user {spec.username}: {message}"
            await leave_receipt(world, body, receipt, message=told)
        ending = Condition(ConditionType.READY, False, suspension.reason, suspension.message)
        fields: dict[str, Any] = {"federation": backends.federation.meta.key.name, "revocation": None}
        if user is not None:
            fields["userId"] = user.user_id
        return await write_status(world, newest_of(world, body), (ending, *proof), fields) or body

    async def _run(self, body: Body, ending: Condition | None) -> None:
        world, meta, spec = self._world, meta_of(body), parse_federation_user(body)
        backends = backends_of(world, federation_name(world, spec.federation, body.get("status") or {}))
        if backends is None:
            return  # the Federation is looked at first, and wakes this object
        decided = await decide_retention(world, body, backends, retain=spec.retain, who="user", what="account")
        if decided is None:
            return  # seeing the namespace wakes this object
        body, owner = decided, world.owner(meta.uid)
        proven = bool(revocation_of(body).get("provenAt"))
        user = await own_user(backends, body.get("status") or {}, spec.username, owner)
        if user is not None and not (proven and is_retained(body)):
            _require_ours(user, owner)
        if not proven:
            body = await self._end(body, spec, user, backends)
        if (body.get("status") or {}).get("initialPassword"):
            await UserPassword(world, body, backends).remove()
        if is_retained(body) and user is not None and user.owner == owner:
            held = await backends.identity_provider.read_user(user.user_id or "")
            if held is not None and held.owner == owner:
                await backends.identity_provider.update_user(replace(held, owner=None, object_name=None))
                world.audit("ReleaseUser", key=meta.key, username=spec.username)
        await self._tell_proof(body, spec, backends)
        await let_go(self._world, body, ending, _MADE)

    async def _end(self, body: Body, spec: FederationUser, user: UserRecord | None, backends: Backends) -> Body:
        """End sessions and account, see that they are gone, and record it."""
        provider, user_id = backends.identity_provider, (body.get("status") or {}).get("userId")
        if user is None or user.user_id is None:
            ended = f"{user_id} answers 404" if user_id else "nobody of that username is ours"
        else:
            body = await self._witness(body, user, backends, {})
            if is_retained(body):
                ended = await self._disable(user, backends)
            else:
                await provider.end_sessions(user.user_id)
                await provider.delete_user(user.user_id)
                if await provider.read_user(user.user_id) is not None:
                    message = f"User {spec.username} is still there after it was deleted; deleting it again"
                    raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
                ended = f"sessions ended, {user.user_id} answers 404"
            step = "DisableUser" if is_retained(body) else "DeleteUser"
            self._world.audit(step, key=spec.meta.key, username=spec.username)
        if spec.meta.deleting:
            require_tuples_gone(self._world, spec.meta.uid)
        now = rfc3339(self._world.clock.now())
        proven = {
            "startedAt": now,
            **revocation_of(body),
            "provenAt": now,
            "evidence": evidence_fields(_evidence(body, spec, backends, ended, provider.server_now())),
            "waitingFor": None,
            "waitingSince": None,
        }
        told = (
            Condition(ConditionType.READY, False, Reason.REVOKING, "The user is revoked; its traces are being removed"),
            Condition(ConditionType.REVOKED, True, Reason.PROVEN, f"Proven at {now}: {_seen(body)}{ended}"),
        )
        fields = {"revocation": {name: value for name, value in proven.items() if value is not None}}
        return await write_status(self._world, newest_of(self._world, body), told, fields) or body

    async def _disable(self, user: UserRecord, backends: Backends) -> str:
        """Disable the account and end its sessions; return what was seen then.

        Disabled first, so that no session begins meanwhile, and logged out too: enabled again, those of before would
        be good again.

        Raises:
            BackendUnavailableError: It is not so yet; to be done again.
        """
        provider, user_id = backends.identity_provider, user.user_id or ""
        if user.enabled:
            await provider.update_user(replace(user, enabled=False))
        await provider.end_sessions(user_id)
        after, left = await provider.read_user(user_id), await provider.user_sessions(user_id)
        if after is not None and (after.enabled or left):
            message = f"User {user.username} is not disabled yet, or has {left} left; ending them again"
            raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
        return f"{user_id} is disabled and has no session" if after is not None else f"{user_id} answers 404"

    async def _witness(self, body: Body, user: UserRecord, backends: Backends, fields: Mapping[str, Any]) -> Body:
        """Record what is there before it ends, so that its absence will mean something; once per revocation."""
        revocation = revocation_of(body)
        if revocation.get("positiveCheckAt") and all(revocation.get(name) == fields[name] for name in fields):
            return body
        sessions = await backends.identity_provider.user_sessions(user.user_id or "")
        now = rfc3339(self._world.clock.now())
        witnessed = {"positiveCheckAt": now, "sessions": sessions.online, "offlineSessions": sessions.offline}
        return await self._tell_begun(body, {**witnessed, **fields}, f"User {user.username} is being revoked")

    async def _tell_begun(self, body: Body, fields: Mapping[str, Any], message: str) -> Body:
        started = {"startedAt": rfc3339(self._world.clock.now()), **revocation_of(body), **fields}
        told = (
            Condition(ConditionType.READY, False, Reason.REVOKING, message),
            Condition(ConditionType.REVOKED, False, Reason.REVOKING, message),
        )
        return await write_status(self._world, newest_of(self._world, body), told, {"revocation": started}) or body

    async def _tell_proof(self, body: Body, spec: FederationUser, backends: Backends) -> None:
        """Leave a receipt of what was seen; from the status, so that a restart tells the same."""
        status = body.get("status") or {}
        revoked = condition_of(status.get("conditions") or (), ConditionType.REVOKED)
        proof = revoked["message"] if revoked is not None else "nothing was ever made"
        stays = "; the account stays, disabled, and is nobody's" if is_retained(body) and status.get("userId") else ""
        vault = "; what is ours in Vault answers 404" if status.get("initialPassword") else ""
        receipt = receipt_of(
            body,
            cause_of(body),
            what=withdrawal_of(body),
            seen=[gone_from_vault(backends, self._world.clock.now())] if status.get("initialPassword") else [],
            notes=[*([_TOKENS] if status.get("userId") else []), stays.removeprefix("; ")],
            proven_at=self._world.clock.now(),
        )
        message = f"Revocation proven for user {spec.username}: {proof}{vault}{stays}"
        await leave_receipt(self._world, body, receipt, message=message)


def _evidence(body: Body, spec: FederationUser, backends: Backends, ended: str, at: datetime) -> tuple[Presented, ...]:
    """Return what Keycloak said of the account before it ended, as the status tells, and after.

    Args:
        body: The object.
        spec: What it says.
        backends: Of its Federation.
        ended: What was seen after.
        at: When (aware UTC, Keycloak's clock).
    """
    told, where = revocation_of(body), f"{ADMIN_API} {backends.federation.keycloak.issuer_url}"
    what, before = f"account {spec.username}", instant_in(told.get("positiveCheckAt"))
    after = Presented(what, where, ended, at)
    return (Presented(what, where, f"there, with {_sessions(told)}", before), after) if before else (after,)


def _sessions(revocation: Mapping[str, Any]) -> UserSessions:
    return UserSessions(revocation.get("sessions", 0), revocation.get("offlineSessions", 0))


def _seen(body: Body) -> str:
    """Return what was there before anything ended, as the status tells; nothing if the account was gone already."""
    told = revocation_of(body)
    if not told.get("positiveCheckAt"):
        return ""
    return f"the account was there at {told['positiveCheckAt']} with {_sessions(told)}; "


def _require_ours(user: UserRecord, owner: str) -> None:
    """See that nobody took our mark off the account that we made.

    Raises:
        OwnershipConflictError: Somebody did.
    """
    if user.owner != owner:
        message = (
            f"User {user.username} ({user.user_id}) does not carry our owner mark any more, so it is left untouched "
            "and this object waits; put the attribute fedid.owner back, or delete the user"
        )
        raise OwnershipConflictError(message, backend="keycloak")
