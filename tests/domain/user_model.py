"""The smallest world that a user's plan can act on: one account, its groups, roles and sessions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from fedid.domain.realm import Role, RoleMappings, UserRecord
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
    plan_user,
)

GROUP_IDS = {path: f"id-of-{path}" for path in ("/sites/a", "/sites/b", "/admins")}


@dataclass
class UserWorld:
    """Keycloak, as far as it is about one user."""

    desired: UserRecord
    roles: frozenset[Role]
    user: UserRecord | None = None
    groups: dict[str, str] = field(default_factory=dict)
    held: frozenset[Role] = frozenset()
    sessions: int = 0
    """Sessions that would be good whenever the user is enabled."""

    def plan(self) -> tuple[UserStep, ...]:
        """Return the plan of a pass now."""
        held = RoleMappings(self.held, frozenset()) if self.user is not None else None
        group_ids = {path: GROUP_IDS[path] for path in self.desired.groups}
        return plan_user(self.desired, ObservedUser(self.user, dict(self.groups), held), self.roles, group_ids)

    def run(self, *, steps: int | None = None) -> tuple[UserStep, ...]:
        """Run one pass, or the first steps of it, and return its plan."""
        plan = self.plan()
        for step in plan[:steps]:
            self._take(step)
        return plan

    def _take(self, step: UserStep) -> None:
        match step:
            case CreateUser():
                assert self.user is None, "a user that is there is not created"
                self.user = replace(self.desired, user_id="made", groups=frozenset())
                self.groups = {path: GROUP_IDS[path] for path in self.desired.groups}
                return
            case _:
                assert self.user is not None, "there is no user to change"
        match step:
            case UpdateUser():
                self.user = replace(self.desired, user_id=self.user.user_id, groups=frozenset())
            case EndSessions():
                self.sessions = 0
            case JoinGroup(path, group_id):
                self.groups[path] = group_id
            case LeaveGroup(path, group_id):
                assert self.groups.pop(path) == group_id
            case MapRoles(roles):
                self.held |= roles
            case UnmapRoles(roles):
                self.held -= roles
            case _:
                assert_never(step)
