"""The plan that leads from the account as it is to the account as it is wanted."""

from __future__ import annotations

from collections.abc import Mapping

from fedid.domain.realm import Role, UserRecord, role_changes
from fedid.domain.user import DesiredUser, user_as_wanted, user_differences
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

__all__ = ["plan_user"]


def plan_user(
    desired: DesiredUser, observed: ObservedUser, roles: frozenset[Role], group_ids: Mapping[str, str]
) -> tuple[UserStep, ...]:
    """Return the steps, in order; empty when nothing differs.

    Args:
        desired: The granted part of the spec.
        observed: What the backends hold.
        roles: The granted roles, with their ids.
        group_ids: Ids of the desired groups, by path.
    """
    user = observed.user
    if user is None:
        stage = desired.initial_password and not observed.password_pending
        return (
            *((StagePassword(),) if stage else ()),
            CreateUser(),
            *((PublishPassword(),) if desired.initial_password else ()),
            *((MapRoles(roles),) if roles else ()),
            *((SendActions(desired.required_actions),) if desired.notify else ()),
        )
    adopted = user.owner != desired.owner
    fields = user_differences(user_as_wanted(desired, user, observed.applied), user)
    enabling = desired.enabled and not user.enabled
    removed, added = role_changes(observed.mappings, roles)
    unlinked, linked = _link_changes(desired, user, observed)
    changed = tuple(name for name in fields if not (enabling and name == "enabled"))
    return (
        *((PublishPassword(),) if observed.password_pending and not adopted else ()),
        *((EndSessions(),) if enabling or adopted else ()),
        *((UpdateUser(changed),) if changed else ()),
        *((EndSessions(),) if not desired.enabled and user.enabled else ()),
        *unlinked,
        *(LeaveGroup(path, observed.groups[path]) for path in sorted(set(observed.groups) - desired.groups)),
        *((UnmapRoles(removed),) if removed else ()),
        *(JoinGroup(path, group_ids[path]) for path in sorted(desired.groups - set(observed.groups))),
        *((MapRoles(added),) if added else ()),
        *linked,
        *((EnableUser(),) if enabling else ()),
        *_notices(desired, user, observed),
    )


def _link_changes(
    desired: DesiredUser, user: UserRecord, observed: ObservedUser
) -> tuple[tuple[UnlinkIdentity, ...], tuple[LinkIdentity, ...]]:
    """Return the links that go and those that come; whom one leads to counts, not what that person is called."""
    held = {link.alias: link.user_id for link in user.links}
    wanted = {alias: link.user_id for alias, link in desired.links.items()}
    withdrawn = {alias for alias in held if alias in observed.applied.links and alias not in wanted}
    moved = {alias for alias, whom in wanted.items() if held.get(alias, whom) != whom}
    missing = {alias for alias in wanted if held.get(alias) != wanted[alias]}
    return (
        tuple(UnlinkIdentity(alias) for alias in sorted(withdrawn | moved)),
        tuple(LinkIdentity(desired.links[alias]) for alias in sorted(missing)),
    )


def _notices(desired: DesiredUser, user: UserRecord, observed: ObservedUser) -> tuple[SendActions, ...]:
    """Return the mail that a crash, or a mail server, kept from a user whom we made; if it is still of use."""
    unsent = observed.notice is Notice.FAILED or (observed.notice is Notice.NONE and not observed.recorded)
    left = desired.required_actions & user.required_actions
    ours = user.owner == desired.owner
    return (SendActions(left),) if desired.notify and ours and unsent and left else ()
