"""The smallest world that a user's plan can act on: one account and all that it has, Vault's entry, and sent mails."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from fedid.domain.realm import IdentityProviderLink, Role, RoleMappings, UserRecord
from fedid.domain.user import UPDATE_PASSWORD, AppliedToUser, DesiredUser, applied_by, user_as_wanted
from fedid.domain.user_plan import plan_user
from fedid.domain.user_steps import (
    CreateUser,
    EnableUser,
    EndSessions,
    JoinGroup,
    LeaveGroup,
    LinkIdentity,
    MapRoles,
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
from tests.domain.samples import OWNER, realm_role

MEMBER = realm_role("fl-member")
ANA = DesiredUser(
    username="ana",
    owner=OWNER,
    object_name="FederationUser/site-a/ana",
    enabled=True,
    email="ana@site-a.example",
    first_name="Ana",
    last_name="Novak",
    groups=frozenset({"/sites/a"}),
    realm_roles=frozenset({"fl-member"}),
)
GROUP_IDS = {path: f"id-of-{path}" for path in ("/sites/a", "/sites/b", "/admins")}


@dataclass
class UserWorld:
    """Keycloak, Vault and the status, as far as they are about one user."""

    desired: DesiredUser
    roles: frozenset[Role]
    user: UserRecord | None = None
    groups: dict[str, str] = field(default_factory=dict)
    held: frozenset[Role] = frozenset()
    sessions: int = 0
    """Sessions that would be good whenever the user is enabled."""
    applied: AppliedToUser = field(default_factory=AppliedToUser)
    recorded: bool = False
    pending: str | None = None
    """The initial password in Vault that nobody has seen Keycloak take."""
    current: str | None = None
    password: str | None = None
    """What the user logs in with."""
    made: int = 0
    """How many passwords were made."""
    mails: list[frozenset[str]] = field(default_factory=list)
    notice: Notice = Notice.NONE

    def plan(self) -> tuple[UserStep, ...]:
        """Return the plan of a pass now."""
        held = RoleMappings(self.held, frozenset()) if self.user is not None else None
        group_ids = {path: GROUP_IDS[path] for path in self.desired.groups}
        observed = ObservedUser(
            user=self.user,
            groups=dict(self.groups),
            mappings=held,
            applied=self.applied,
            password_pending=self.desired.initial_password and self.pending is not None,
            recorded=self.recorded,
            notice=self.notice,
        )
        return plan_user(self.desired, observed, self.roles, group_ids)

    def run(self, *, steps: int | None = None) -> tuple[UserStep, ...]:
        """Run one pass, or the first steps of it, and return its plan; what is to be given is noted before."""
        self.applied |= applied_by(self.desired)
        plan = self.plan()
        for step in plan[:steps]:
            self._take(step)
        if steps is None or steps > len(plan):
            self.recorded, self.applied = True, applied_by(self.desired)
        return plan

    def link(self, alias: str) -> str | None:
        """Return whom the user is linked to at an identity provider."""
        links = self.user.links if self.user is not None else frozenset()
        return next((one.user_id for one in links if one.alias == alias), None)

    def _take(self, step: UserStep) -> None:
        match step:
            case StagePassword():
                self.made += 1
                self.pending = f"password-{self.made}"
            case CreateUser():
                self._create()
            case PublishPassword():
                assert self.pending is not None, "only one that is pending is published"
                self.current, self.pending = self.pending, None
            case SendActions(actions):
                self.mails.append(actions)
                self.notice = Notice.SENT
            case EndSessions():
                self.sessions = 0
            case _:
                self._change(step, self._there())

    def _create(self) -> None:
        assert self.user is None, "a user that is there is not created"
        made = replace(self.desired.record, user_id=f"made-{self.made}", groups=frozenset())
        self.groups = {path: GROUP_IDS[path] for path in self.desired.groups}
        if self.desired.initial_password:
            assert self.pending is not None, "what cannot be read back later is in Vault first"
            self.password = self.pending
            made = replace(made, required_actions=made.required_actions | {UPDATE_PASSWORD})
        self.user = made

    def _there(self) -> UserRecord:
        assert self.user is not None, "there is no user to change"
        return self.user

    def _change(self, step: UserStep, user: UserRecord) -> None:
        match step:
            case UpdateUser() | EnableUser():
                wanted = user_as_wanted(self.desired, user, self.applied)
                enabled = wanted.enabled and (user.enabled or isinstance(step, EnableUser))
                self.user = replace(wanted, enabled=enabled, groups=frozenset())
            case JoinGroup(path, group_id):
                self.groups[path] = group_id
            case LeaveGroup(path, group_id):
                assert self.groups.pop(path) == group_id
            case MapRoles(roles):
                self.held |= roles
            case UnmapRoles(roles):
                self.held -= roles
            case LinkIdentity(link):
                assert self.link(link.alias) is None, "a user has one link to each provider"
                self.user = replace(user, links=user.links | {link})
            case UnlinkIdentity(alias):
                self.user = replace(user, links=frozenset(one for one in user.links if one.alias != alias))
            case StagePassword() | CreateUser() | PublishPassword() | EndSessions() | SendActions():
                message = "no change of what a user has"
                raise AssertionError(message)
            case _:
                assert_never(step)


def link_to(alias: str, whom: str) -> IdentityProviderLink:
    """Return a link."""
    return IdentityProviderLink(alias, whom, whom)


def settled(**changes: Any) -> UserWorld:
    """Return the world after the user of design.md was made, with one session open."""
    world = UserWorld(replace(ANA, **changes), frozenset({MEMBER}))
    world.run()
    world.sessions = 1
    return world
