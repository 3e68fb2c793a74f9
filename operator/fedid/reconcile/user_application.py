"""Carries out the steps of a user's plan."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from fedid.domain.conditions import Reason, rfc3339
from fedid.domain.grants import Ask, AskKind
from fedid.domain.initial_password import parse_password_policy
from fedid.domain.realm import UserRecord, UserRules
from fedid.domain.resources import Body, meta_of
from fedid.domain.user import DesiredUser, user_as_wanted
from fedid.domain.user_steps import (
    CreateUser,
    EnableUser,
    EndSessions,
    JoinGroup,
    LeaveGroup,
    LinkIdentity,
    MapRoles,
    MembershipStep,
    Notice,
    ObservedUser,
    PublishPassword,
    SendActions,
    StagePassword,
    UnlinkIdentity,
    UnmapRoles,
    UpdateUser,
    UserStep,
)
from fedid.errors import BackendError, BackendRejectedError
from fedid.reconcile.roles import ask_of, role_names
from fedid.reconcile.user_password import UserPassword
from fedid.reconcile.world import Backends, World

__all__ = ["UserApplication", "repair"]


@dataclass(slots=True)
class UserApplication:
    """One pass over one user, and what it learns."""

    world: World
    body: Body
    desired: DesiredUser
    backends: Backends
    password: UserPassword
    rules: UserRules | None
    user_id: str = ""
    notification: dict[str, Any] = field(default_factory=dict)
    """As the status tells it, and what this pass adds."""

    def __post_init__(self) -> None:
        """Begin with what the status tells."""
        self.notification = dict((self.body.get("status") or {}).get("notification") or {})

    async def run(self, plan: tuple[UserStep, ...], observed: ObservedUser) -> bool:
        """Carry out the steps; False if the user that was to be created is there already.

        Raises:
            Error: A step failed; those before it are done, and a later pass finds them so.
        """
        if observed.user is not None:
            self.user_id = observed.user.user_id or ""
        key, audit, federation = meta_of(self.body).key, self.world.audit, self.backends.federation.meta.key.name
        for step in plan:
            name = type(step).__name__
            with audit.attempt(name, key=key):
                if not await self._take(step, observed):
                    return False
            asks, what = _given(step, self.desired)
            audit(name, key=key, federation=federation, asks=asks, username=self.desired.username, **what)
        return True

    async def _take(self, step: UserStep, observed: ObservedUser) -> bool:
        match step:
            case CreateUser():
                return await self._create()
            case StagePassword():
                await self.password.stage(self.desired, self.rules.password_policy if self.rules is not None else "")
            case PublishPassword():
                await self.password.publish()
            case UpdateUser() | EnableUser():
                await self._update(step, observed)
            case EndSessions():
                await self.backends.identity_provider.end_sessions(self.user_id)
            case SendActions(actions):
                await self._send(actions)
            case _:
                await self._change(step)
        return True

    async def _change(self, step: MembershipStep) -> None:
        """Give the user a group, roles or a link, or take it away."""
        provider, user_id = self.backends.identity_provider, self.user_id
        match step:
            case JoinGroup(_, group_id):
                await provider.join_group(user_id, group_id)
            case LeaveGroup(_, group_id):
                await provider.leave_group(user_id, group_id)
            case MapRoles(roles):
                await provider.add_roles(user_id, roles)
            case UnmapRoles(roles):
                await provider.remove_roles(user_id, roles)
            case LinkIdentity(link):
                if not await provider.link_identity(user_id, link):
                    raise self._provider_missing({link.alias})
            case UnlinkIdentity(alias):
                await provider.unlink_identity(user_id, alias)
            case _:
                assert_never(step)

    async def _update(self, step: UpdateUser | EnableUser, observed: ObservedUser) -> None:
        user = observed.user
        if user is None:
            message = "only a user that is there is changed"
            raise AssertionError(message)
        wanted = user_as_wanted(self.desired, user, observed.applied)
        enabled = wanted.enabled and (user.enabled or isinstance(step, EnableUser))
        await self.backends.identity_provider.update_user(replace(wanted, enabled=enabled))

    async def _create(self) -> bool:
        """Create the user and read it back: Keycloak drops without a word what it does not know."""
        provider, desired = self.backends.identity_provider, self.desired
        password = self.password.value() if desired.initial_password else None
        try:
            user_id = await provider.create_user(desired.record, password)
        except BackendRejectedError as error:
            if error.reason != Reason.PASSWORD_POLICY_UNMET:
                raise
            await self.password.remove()  # the policy may be another one by now; the next one is made to that
            raise self._policy_unmet(error) from error
        if user_id is None:
            return False
        created = await provider.read_user(user_id)
        dropped = self._dropped(created)
        if dropped is not None:
            # Nothing that nobody owns, or that is less than what was asked for, is left behind.
            await provider.delete_user(user_id)
            raise dropped
        self.user_id = user_id
        return True

    def _dropped(self, created: UserRecord | None) -> BackendRejectedError | None:
        """Return what is missing of an account that was just made, None if nothing is."""
        desired = self.desired
        taken_back = f"User {desired.username} was created and taken back"
        if created is None or created.owner != desired.owner:
            message = f"{taken_back}: it did not keep its owner mark"
            return BackendRejectedError(message, backend="keycloak", reason=Reason.USER_PROFILE_INCOMPLETE)
        if dropped := sorted(desired.attributes.keys() - created.attributes.keys()):
            message = (
                f"{taken_back}: Keycloak did not keep {', '.join(dropped)}; declare it in the realm's user profile"
            )
            return BackendRejectedError(message, backend="keycloak", reason=Reason.ATTRIBUTE_MISSING)
        if dropped := sorted(desired.required_actions - created.required_actions):
            message = f"{taken_back}: Keycloak did not keep the required action {', '.join(dropped)}"
            return BackendRejectedError(message, backend="keycloak", reason=Reason.REQUIRED_ACTION_MISSING)
        if unknown := desired.links.keys() - {link.alias for link in created.links}:
            return self._provider_missing(unknown)
        return None

    def _policy_unmet(self, error: BackendRejectedError) -> BackendRejectedError:
        """Return the error with the policies that only Keycloak can judge, which are the likely reason."""
        unknown = parse_password_policy(self.rules.password_policy if self.rules is not None else "").unknown
        beyond = f"; nobody outside Keycloak can tell what meets {', '.join(unknown)}" if unknown else ""
        message = f"{error.message}{beyond}. Change the realm's password policy, or take spec.initialPassword out"
        return BackendRejectedError(message, backend="keycloak", reason=Reason.PASSWORD_POLICY_UNMET)

    def _provider_missing(self, aliases: set[str]) -> BackendRejectedError:
        realm = self.backends.federation.keycloak.realm
        message = f"realm {realm} has no identity provider {', '.join(sorted(aliases))}; create it there, or take the "
        message += "link out of spec.identityProviderLinks"
        return BackendRejectedError(message, backend="keycloak", reason=Reason.IDENTITY_PROVIDER_MISSING)

    async def _send(self, actions: frozenset[str]) -> None:
        """Have the mail sent; a mail that cannot be sent is told, and keeps nobody from being made."""
        why = ""
        if self.rules is None or not self.rules.sends_mail:
            realm = self.backends.federation.keycloak.realm
            why = f"realm {realm} has no mail server and sender (Realm settings, Email)"
        else:
            try:
                await self.backends.identity_provider.send_actions(self.user_id, actions)
            except BackendError as error:
                why = error.message
        now = rfc3339(self.world.clock.now())
        if not why:
            self.notification = {"state": str(Notice.SENT), "at": now}
            return
        if self.notification.get("state") != Notice.FAILED or self.notification.get("message") != why:
            self.notification = {"state": str(Notice.FAILED), "at": now, "message": why}
            message = f"The mail to user {self.desired.username} was not sent: {why}"
            await self.world.cluster.emit(
                self.body, reason="MailNotSent", message=message[:1000], warning=True, action="Notify"
            )


def _given(step: UserStep, desired: DesiredUser) -> tuple[list[Ask], dict[str, Any]]:
    """Return what a step gives that a grant covers, and what the audit says of it."""
    match step:
        case CreateUser():
            return _given_at_first(desired)
        case JoinGroup(path):
            return [Ask(AskKind.GROUP, path)], {"groups": [path]}
        case LeaveGroup(path):
            return [], {"groups": [path]}
        case MapRoles(roles):
            return [ask_of(role) for role in roles], {"roles": role_names(roles)}
        case UnmapRoles(roles):
            return [], {"roles": role_names(roles)}
        case LinkIdentity(link):
            return [Ask(AskKind.IDENTITY_PROVIDER, link.alias)], {"identityProviders": [link.alias]}
        case UnlinkIdentity(alias):
            return [], {"identityProviders": [alias]}
        case UpdateUser(fields):
            return [], {"fields": list(fields)}
        case SendActions(actions):
            return [], {"actions": sorted(actions)}
        case _:
            return [], {}


def _given_at_first(desired: DesiredUser) -> tuple[list[Ask], dict[str, Any]]:
    asks = [Ask(AskKind.GROUP, path) for path in desired.groups]
    asks += [Ask(AskKind.ATTRIBUTE, name) for name in desired.attributes]
    asks += [Ask(AskKind.IDENTITY_PROVIDER, alias) for alias in desired.links]
    given = {
        "groups": sorted(desired.groups),
        "attributes": sorted(desired.attributes),
        "identityProviders": sorted(desired.links),
    }
    return asks, {name: values for name, values in given.items() if values}


def repair(step: UserStep) -> str | None:
    """Return in words what somebody changed by hand, as this step found it; None where another step tells it."""
    match step:
        case CreateUser():
            return "the user (deleted)"
        case UpdateUser(fields):
            return ", ".join(fields)
        case EnableUser():
            return "enabled"
        case UnmapRoles(roles):
            return f"roles added ({', '.join(role_names(roles))})"
        case MapRoles(roles):
            return f"roles removed ({', '.join(role_names(roles))})"
        case JoinGroup(path):
            return f"groups left ({path})"
        case LeaveGroup(path):
            return f"groups joined ({path})"
        case LinkIdentity(link):
            return f"links to identity providers ({link.alias})"
        case EndSessions() | UnlinkIdentity() | StagePassword() | PublishPassword() | SendActions():
            return None
        case _:
            assert_never(step)
