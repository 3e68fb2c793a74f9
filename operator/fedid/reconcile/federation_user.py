"""One pass over a FederationUser: gate, observe, plan, apply, status; and its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from fedid.domain.conditions import Condition, ConditionType, Reason, reason_of
from fedid.domain.durations import spread
from fedid.domain.grants import Verdict
from fedid.domain.realm import UserRecord
from fedid.domain.resources import Body, FederationUser, Meta, meta_of, parse_federation_user
from fedid.domain.user import (
    CreateUser,
    EndSessions,
    JoinGroup,
    LeaveGroup,
    MapRoles,
    ObservedUser,
    UnmapRoles,
    UpdateUser,
    UserStep,
    asks_of_user,
    desired_user,
    granted_realm_roles,
    plan_user,
)
from fedid.engine import Outcome
from fedid.errors import (
    BackendError,
    BackendRejectedError,
    BackendUnavailableError,
    Error,
    NotGrantedError,
    OwnershipConflictError,
    StaleObjectError,
)
from fedid.reconcile.gate import (
    LOOK_PERIOD,
    UNSEEN_SECONDS,
    backends_of,
    federation_name,
    granted_condition,
    judged,
    judged_as_before,
    pinned_federation,
    require_usable,
    trust_earlier,
    with_finalizer,
    without_finalizer,
)
from fedid.reconcile.roles import existing_roles, role_names
from fedid.reconcile.status import kept_conditions, newest_of, ready_at_generation, write_status
from fedid.reconcile.waiting import tell_waiting
from fedid.reconcile.world import Backends, World

__all__ = ["UserReconciler"]


class UserReconciler:
    """Reconciles FederationUsers."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world

    async def reconcile(self, body: Body) -> Outcome:
        """Run one pass.

        Raises:
            Error: What went wrong; the status tells it already.
        """
        meta = meta_of(body)
        try:
            if meta.deleting:
                return await self._delete(body)
            return await self._make_true(body)
        except StaleObjectError:
            raise  # an ordinary conflict of writes: read again and repeated, nothing to tell
        except Error as error:
            newest = newest_of(self._world, body)
            await (
                tell_waiting(self._world, newest, error)
                if meta.deleting
                else self._tell(newest, error, meta.generation)
            )
            raise

    async def _make_true(self, body: Body) -> Outcome:
        world, spec = self._world, parse_federation_user(body)
        federation = federation_name(world, spec.federation, body.get("status") or {})
        backends = backends_of(world, federation)
        if backends is None:
            return Outcome()  # the Federation is looked at first, and wakes this object
        if not world.directory.knows_namespace(spec.meta.key.namespace):
            return Outcome(world.clock.monotonic() + UNSEEN_SECONDS)  # its labels decide; seen, it wakes this object
        verdict = judged(world, backends, asks_of_user(spec), spec.meta.key.namespace)
        if not verdict.granted and (not spec.meta.has_finalizer or not verdict.namespace_matched):
            if spec.meta.has_finalizer:
                await self._withdraw(body, spec.meta, backends)
            raise NotGrantedError(verdict.message)
        require_usable(backends, spec.meta, vault=False)
        body = await with_finalizer(world, body)
        trust_earlier(world, body, verdict)
        meta, freshness = spec.meta, world.freshness
        user_id: str | None = (body.get("status") or {}).get("userId")
        if user_id is None or not freshness.is_fresh(meta.key, meta.uid, meta.generation, world.clock.monotonic()):
            user_id = await self._converge(body, spec, verdict, backends)
            until = world.clock.monotonic() + spread(LOOK_PERIOD, meta.uid).total_seconds()
            freshness.looked(meta.key, meta.uid, meta.generation, until)
        await self._settle(body, spec, verdict, backends, user_id)
        return Outcome(freshness.until(meta.key))

    async def _converge(self, body: Body, spec: FederationUser, verdict: Verdict, backends: Backends) -> str:
        """Bring the user to what is desired and return its id."""
        owner = self._world.owner(spec.meta.uid)
        status: Mapping[str, Any] = body.get("status") or {}
        roles = await existing_roles(backends, granted_realm_roles(spec, verdict), {})
        desired = desired_user(spec, verdict, owner=owner)
        group_ids = await _existing_groups(desired.groups, backends)
        if not status.get("userId"):
            # What was never created is created: a conflict tells if a crash came between the create and the status.
            user_id = await self._apply(body, plan_user(desired, ObservedUser(), roles, group_ids), desired, backends)
            if user_id is not None:
                return user_id
        observed = await _observe(backends, status.get("userId"), spec.username, owner)
        plan = plan_user(desired, observed, roles, group_ids)
        user_id = await self._apply(body, plan, desired, backends, observed.user)
        if user_id is None:
            message = f"User {spec.username} appeared while it was being created; looking again"
            raise BackendUnavailableError(message, backend="keycloak")
        unasked = status.get("observedGeneration") == spec.meta.generation and judged_as_before(body, verdict)
        if plan and unasked and status.get("userId"):
            await self._tell_repair(body, plan)
        return user_id

    async def _apply(
        self,
        body: Body,
        plan: tuple[UserStep, ...],
        desired: UserRecord,
        backends: Backends,
        found: UserRecord | None = None,
    ) -> str | None:
        """Carry out the steps and return the user's id; None if the user to be created was there already."""
        provider = backends.identity_provider
        user_id = found.user_id if found is not None else None
        for step in plan:
            if isinstance(step, CreateUser):
                user_id = await provider.create_user(desired)
                if user_id is None:
                    return None
            else:
                await self._change(step, user_id or "", desired, found, backends)
            self._world.audit(
                type(step).__name__,
                key=str(meta_of(body).key),
                username=desired.username,
                federation=backends.federation.meta.key.name,
            )
        if any(isinstance(step, CreateUser) for step in plan) and user_id is not None:
            created = await provider.read_user(user_id)
            if created is None or created.owner != desired.owner:
                # Either it went again, or Keycloak dropped our mark: never leave something that nobody owns.
                await provider.delete_user(user_id)
                message = f"User {desired.username} was created and did not keep its owner mark; it was taken back"
                raise BackendRejectedError(message, backend="keycloak", reason=Reason.USER_PROFILE_INCOMPLETE)
        return user_id

    async def _change(
        self, step: UserStep, user_id: str, desired: UserRecord, found: UserRecord | None, backends: Backends
    ) -> None:
        provider = backends.identity_provider
        match step:
            case UpdateUser():
                attributes = found.attributes if found is not None else {}
                await provider.update_user(_with_id(desired, user_id, attributes))
            case EndSessions():
                await provider.end_sessions(user_id)
            case JoinGroup(_, group_id):
                await provider.join_group(user_id, group_id)
            case LeaveGroup(_, group_id):
                await provider.leave_group(user_id, group_id)
            case MapRoles(roles):
                await provider.add_roles(user_id, roles)
            case UnmapRoles(roles):
                await provider.remove_roles(user_id, roles)
            case CreateUser():
                message = "a create is no change"
                raise AssertionError(message)
            case _:
                assert_never(step)

    async def _settle(
        self, body: Body, spec: FederationUser, verdict: Verdict, backends: Backends, user_id: str
    ) -> None:
        realm = backends.federation.keycloak.realm
        synced = f"User {spec.username} of realm {realm} is as the spec says"
        told = (
            Condition(ConditionType.READY, True, Reason.READY, synced)
            if verdict.granted
            else Condition(ConditionType.READY, False, Reason.NOT_GRANTED, verdict.message),
            granted_condition(verdict),
            Condition(ConditionType.KEYCLOAK_SYNCED, True, Reason.SYNCED, synced),
        )
        fields = {"federation": backends.federation.meta.key.name, "userId": user_id, "revocation": None}
        latest = newest_of(self._world, body)
        await write_status(self._world, latest, told, fields, generation=spec.meta.generation)

    async def _delete(self, body: Body) -> Outcome:
        meta = meta_of(body)
        if not meta.has_finalizer:
            return Outcome()
        spec = parse_federation_user(body)
        federation = federation_name(self._world, spec.federation, body.get("status") or {})
        backends = backends_of(self._world, federation)
        if backends is None:
            return Outcome()  # the Federation is looked at first, and wakes this object
        await self._end(body, meta, spec.username, backends)
        await without_finalizer(self._world, body)
        return Outcome()

    async def _withdraw(self, body: Body, meta: Meta, backends: Backends) -> None:
        """Take the user away and keep the object: no rule is about its namespace any more."""
        spec = parse_federation_user(body)
        await self._end(body, meta, spec.username, backends)
        told = (Condition(ConditionType.READY, False, Reason.NOT_GRANTED, "The user was withdrawn"),)
        body = await write_status(self._world, body, told, {"userId": None, "revocation": None}) or body
        await without_finalizer(self._world, body)

    async def _end(self, body: Body, meta: Meta, username: str, backends: Backends) -> None:
        """End sessions, delete the user, see it gone; a user that is gone already, or never was, is fine.

        Raises:
            OwnershipConflictError: Somebody took the owner mark off the user that we made.
        """
        provider, owner = backends.identity_provider, self._world.owner(meta.uid)
        user_id = (body.get("status") or {}).get("userId")
        user = await provider.read_user(user_id) if user_id else await provider.find_user(username)
        if user is not None and user.owner != owner:
            if user_id is None:
                user = None  # a stranger of the same name; we never made ours
            else:
                message = (
                    f"User {username} ({user_id}) does not carry our owner mark any more, so it is left untouched and "
                    "this object waits; put the attribute fedid.owner back, or delete the user"
                )
                raise OwnershipConflictError(message, backend="keycloak")
        if user is not None and user.user_id is not None:
            await provider.end_sessions(user.user_id)
            await provider.delete_user(user.user_id)
            if await provider.read_user(user.user_id) is not None:
                message = f"User {username} is still there after it was deleted; deleting it again"
                raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
            user_id = user.user_id
        self._world.audit("RevocationProven", key=str(meta.key), username=username, user_id=user_id)
        message = f"Revocation proven for user {username}: sessions ended, {user_id or 'no id'} answers 404"
        await self._world.cluster.emit(body, reason="RevocationProven", message=message, warning=False, action="Revoke")

    async def _tell(self, body: Body, error: Error, generation: int) -> None:
        if isinstance(error, BackendUnavailableError) and ready_at_generation(body):
            return  # the account stands; only a look at it has to wait
        reason = reason_of(error)
        about = _about(error)
        told = [Condition(ConditionType.READY, False, reason, error.message)]
        told += kept_conditions(body, (ConditionType.GRANTED, ConditionType.KEYCLOAK_SYNCED), but=about)
        if about is not None:
            told.append(Condition(about, False, reason, error.message))
        pinned = {"federation": pinned_federation(self._world, body)}
        await write_status(self._world, body, told, pinned, generation=generation)

    async def _tell_repair(self, body: Body, plan: tuple[UserStep, ...]) -> None:
        made_anew = [step for step in plan if isinstance(step, CreateUser)]  # it took its groups and roles along
        message = f"Changed by hand and put back: {', '.join(filter(None, map(_repair, made_anew or plan)))}"
        await self._world.cluster.emit(body, reason="DriftRepaired", message=message, warning=True, action="Repair")


def _repair(step: UserStep) -> str | None:
    match step:
        case CreateUser():
            return "the user (deleted)"
        case UpdateUser(fields):
            return ", ".join(fields)
        case UnmapRoles(roles):
            return f"roles added ({', '.join(role_names(roles))})"
        case MapRoles(roles):
            return f"roles removed ({', '.join(role_names(roles))})"
        case JoinGroup(path):
            return f"groups left ({path})"
        case LeaveGroup(path):
            return f"groups joined ({path})"
        case EndSessions():
            return None  # belongs to `enabled`
        case _:
            assert_never(step)


async def _observe(backends: Backends, user_id: str | None, username: str, owner: str) -> ObservedUser:
    """Return what Keycloak holds of the user.

    Raises:
        OwnershipConflictError: The username is somebody else's.
    """
    provider, realm = backends.identity_provider, backends.federation.keycloak.realm
    user = await provider.read_user(user_id) if user_id else None
    if user is None:
        user = await provider.find_user(username)
    if user is None or user.user_id is None:
        return ObservedUser()
    if user.owner != owner:
        whose = f"carries the owner mark {user.owner}" if user.owner else "carries no owner mark of fedid"
        what = f" ({user.object_name})" if user.object_name else ""
        message = (
            f"User {username} of realm {realm} exists and {whose}{what}; it is left untouched. "
            "Choose another spec.username (a new FederationUser), or have its owner delete the user"
        )
        raise OwnershipConflictError(message, backend="keycloak")
    groups = await provider.user_groups(user.user_id)
    return ObservedUser(user, groups, await provider.role_mappings(user.user_id))


async def _existing_groups(paths: frozenset[str], backends: Backends) -> Mapping[str, str]:
    found = await backends.identity_provider.group_ids(paths) if paths else {}
    if missing := sorted(paths - set(found)):
        realm = backends.federation.keycloak.realm
        what = f"group {', '.join(missing)} does not exist in realm {realm}"
        message = f"{what}; create it there, or take it out of spec.groups"
        raise BackendRejectedError(message, backend="keycloak", reason=Reason.GROUP_MISSING)
    return found


def _with_id(user: UserRecord, user_id: str, attributes: Mapping[str, tuple[str, ...]]) -> UserRecord:
    return UserRecord(
        user_id=user_id,
        username=user.username,
        owner=user.owner,
        object_name=user.object_name,
        enabled=user.enabled,
        email=user.email,
        first_name=user.first_name,
        last_name=user.last_name,
        groups=user.groups,
        attributes=attributes,
    )


def _about(error: Error) -> ConditionType | None:
    if isinstance(error, NotGrantedError):
        return ConditionType.GRANTED
    if isinstance(error, (BackendError, OwnershipConflictError)):
        return ConditionType.KEYCLOAK_SYNCED
    return None
