"""Brings a user that is wanted to what its spec and the grants say: observe, plan, apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason
from fedid.domain.federation_user import FederationUser
from fedid.domain.judgement import Verdict
from fedid.domain.resources import Body
from fedid.domain.user import DesiredUser, applied_by, applied_in, desired_user
from fedid.domain.user_plan import plan_user
from fedid.domain.user_steps import CreateUser, LinkIdentity, Notice, ObservedUser, StagePassword, UserStep
from fedid.errors import BackendUnavailableError
from fedid.reconcile.gate import judged_as_before, require_still_there
from fedid.reconcile.repairs import tell_repair
from fedid.reconcile.roles import existing_roles
from fedid.reconcile.status import kept_conditions, write_status
from fedid.reconcile.user_application import UserApplication, repair
from fedid.reconcile.user_observation import existing_groups, observe_user, require_free, rules_for
from fedid.reconcile.user_password import UserPassword
from fedid.reconcile.world import Backends, World

__all__ = ["UserConvergence", "UserFacts"]


@dataclass(frozen=True, slots=True)
class UserFacts:
    """What a pass that came to its end leaves in the status."""

    user_id: str
    applied: dict[str, Any] | None
    initial_password: dict[str, Any] | None
    notification: dict[str, Any] | None

    @property
    def mail_failed(self) -> str:
        """Why the mail to the user could not be sent; empty if it was, or none is asked for."""
        told = self.notification or {}
        return str(told.get("message", "")) if told.get("state") == Notice.FAILED else ""


class UserConvergence:
    """Converges users."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world

    async def run(self, body: Body, spec: FederationUser, verdict: Verdict, backends: Backends) -> UserFacts:
        """Bring the user to what is desired.

        Raises:
            Error: What keeps it from that; what was done is found again by the next pass.
        """
        desired = desired_user(spec, verdict, owner=self._world.owner(spec.meta.uid))
        roles = await existing_roles(backends, desired.realm_roles, desired.client_roles)
        group_ids = await existing_groups(desired.groups, backends)
        known_id = (body.get("status") or {}).get("userId")
        rules = await rules_for(desired, backends, new=known_id is None)
        if known_id is None:
            await require_still_there(self._world, spec.meta)
        password = UserPassword(self._world, body, backends)
        body = await self._announce(body, desired)
        status = body.get("status") or {}
        application = UserApplication(self._world, body, desired, backends, password, rules)
        if known_id is None and not desired.adopt and not await password.is_current(desired):
            # What was never created is created: a conflict tells if a crash came between the create and the status.
            await require_free(desired.links.values(), desired, backends)
            observed = ObservedUser(password_pending=await password.is_pending(desired))
            plan = plan_user(desired, observed, roles, group_ids)
            body = await self._announce_password(body, plan, password)
            if await application.run(plan, observed):
                return await self._facts(application)
            if password.is_unused:
                await password.remove()
        observed = await observe_user(backends, status, desired)
        if observed.user is None or observed.user.user_id != known_id:
            observed = replace(observed, password_pending=await password.is_pending(desired))
        plan = plan_user(desired, observed, roles, group_ids)
        creates = any(isinstance(step, CreateUser) for step in plan)
        coming = [step.link for step in plan if isinstance(step, LinkIdentity)]
        await require_free(desired.links.values() if creates else coming, desired, backends)
        if creates and known_id is not None:
            application.rules = await rules_for(desired, backends, new=True)
        body = await self._announce_password(body, plan, password)
        if not await application.run(plan, observed):
            message = f"User {spec.username} appeared while it was being created; looking again"
            raise BackendUnavailableError(message, backend="keycloak")
        unasked = status.get("observedGeneration") == spec.meta.generation and judged_as_before(body, verdict)
        if plan and unasked and known_id is not None:
            await self._tell_repair(body, plan)
        return await self._facts(application)

    async def _announce(self, body: Body, desired: DesiredUser) -> Body:
        """Write down what is about to be given, before it is: only what is written down is ever taken back."""
        told = applied_in(body.get("status") or {})
        giving = told | applied_by(desired)
        return await self._note(body, {"applied": giving.fields()}) if giving != told else body

    async def _announce_password(self, body: Body, plan: tuple[UserStep, ...], password: UserPassword) -> Body:
        """Write down where a password is about to lie, so that a deletion knows to look there."""
        if password.recorded or StagePassword() not in plan:
            return body
        return await self._note(body, {"initialPassword": {"path": password.path}})

    async def _note(self, body: Body, fields: Mapping[str, Any]) -> Body:
        """Write fields of the status, and leave all that it tells as it is."""
        about = (ConditionType.READY, ConditionType.GRANTED, ConditionType.KEYCLOAK_SYNCED, ConditionType.PUBLISHED)
        making = Condition(ConditionType.READY, False, Reason.PROGRESSING, "The user is being made")
        generation = (body.get("status") or {}).get("observedGeneration", 0)
        told_now = kept_conditions(body, about) or [making]
        return await write_status(self._world, body, told_now, fields, generation=generation) or body

    async def _facts(self, application: UserApplication) -> UserFacts:
        desired, password = application.desired, application.password
        if not desired.initial_password and password.recorded:
            await password.remove()
        return UserFacts(
            user_id=application.user_id,
            applied=applied_by(desired).fields(),
            initial_password=password.recorded or None,
            notification=(application.notification or None) if desired.notify else None,
        )

    async def _tell_repair(self, body: Body, plan: tuple[UserStep, ...]) -> None:
        made_anew = [step for step in plan if isinstance(step, CreateUser)]  # it took its groups and roles along
        changes = list(filter(None, map(repair, made_anew or plan)))
        if changes:
            await tell_repair(self._world, body, changes)
