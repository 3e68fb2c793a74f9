"""What a FederationUser becomes, and the plan that leads there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedid.domain.grants import Ask, AskKind, Verdict
from fedid.domain.realm import Role, RoleMappings, UserRecord, role_changes
from fedid.domain.resources import FederationUser

__all__ = [
    "CreateUser",
    "EndSessions",
    "JoinGroup",
    "LeaveGroup",
    "MapRoles",
    "ObservedUser",
    "UnmapRoles",
    "UpdateUser",
    "UserStep",
    "asks_of_user",
    "desired_user",
    "granted_realm_roles",
    "plan_user",
    "user_differences",
]


@dataclass(frozen=True, slots=True)
class CreateUser:
    """Create the user with its groups."""


@dataclass(frozen=True, slots=True)
class UpdateUser:
    """Make the user's own fields equal to what is desired; `fields` differ."""

    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndSessions:
    """End the sessions of a user who is disabled: enabled again, the old ones would be good again.

    So they end when the user is disabled and, since that may have been cut off, once more before it is enabled.
    """


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """Add the user to a group."""

    path: str
    group_id: str


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """Take the user out of a group that the spec does not name."""

    path: str
    group_id: str


@dataclass(frozen=True, slots=True)
class MapRoles:
    """Map roles to the user."""

    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class UnmapRoles:
    """Unmap roles that the spec does not name."""

    roles: frozenset[Role]


UserStep = CreateUser | UpdateUser | EndSessions | JoinGroup | LeaveGroup | MapRoles | UnmapRoles


@dataclass(frozen=True, slots=True)
class ObservedUser:
    """What Keycloak holds of a user."""

    user: UserRecord | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    """Path to group id."""
    mappings: RoleMappings | None = None


def asks_of_user(spec: FederationUser) -> frozenset[Ask]:
    """Return what the spec asks the grants for."""
    roles = {Ask(AskKind.REALM_ROLE, role) for role in spec.realm_roles}
    return frozenset(roles | {Ask(AskKind.GROUP, path) for path in spec.groups})


def granted_realm_roles(spec: FederationUser, verdict: Verdict) -> frozenset[str]:
    """Return those of the asked realm roles that the grants cover."""
    return frozenset(r for r in spec.realm_roles if Ask(AskKind.REALM_ROLE, r) not in verdict.denied)


def desired_user(spec: FederationUser, verdict: Verdict, *, owner: str, user_id: str | None = None) -> UserRecord:
    """Return the user that the granted part of the spec asks for."""
    return UserRecord(
        user_id=user_id,
        username=spec.username,
        owner=owner,
        object_name=str(spec.meta.key),
        enabled=spec.enabled,
        email=spec.email.lower() if spec.email else None,
        first_name=spec.first_name,
        last_name=spec.last_name,
        groups=frozenset(g for g in spec.groups if Ask(AskKind.GROUP, g) not in verdict.denied),
    )


def user_differences(desired: UserRecord, observed: UserRecord) -> tuple[str, ...]:
    """Return the fields in which the observed user is not what is desired, by Keycloak's names."""
    pairs = (
        ("username", desired.username, observed.username),
        ("enabled", desired.enabled, observed.enabled),
        ("email", desired.email, observed.email),
        ("firstName", desired.first_name, observed.first_name),
        ("lastName", desired.last_name, observed.last_name),
        ("attributes[fedid.object]", desired.object_name, observed.object_name),
    )
    return tuple(name for name, wanted, found in pairs if (wanted or None) != (found or None))


def plan_user(
    desired: UserRecord, observed: ObservedUser, roles: frozenset[Role], group_ids: Mapping[str, str]
) -> tuple[UserStep, ...]:
    """Return the steps, in order; empty when nothing differs.

    Args:
        desired: The granted part of the spec.
        observed: What Keycloak holds.
        roles: The granted realm roles, with their ids.
        group_ids: Ids of the desired groups, by path.
    """
    if observed.user is None:
        return (CreateUser(), *((MapRoles(roles),) if roles else ()))
    fields = user_differences(desired, observed.user)
    removed, added = role_changes(observed.mappings, roles)
    left = sorted(set(observed.groups) - desired.groups)
    joined = sorted(desired.groups - set(observed.groups))
    return (
        *((EndSessions(),) if desired.enabled and not observed.user.enabled else ()),
        *((UpdateUser(fields),) if fields else ()),
        *((EndSessions(),) if not desired.enabled and observed.user.enabled else ()),
        *(LeaveGroup(path, observed.groups[path]) for path in left),
        *((UnmapRoles(removed),) if removed else ()),
        *(JoinGroup(path, group_ids[path]) for path in joined),
        *((MapRoles(added),) if added else ()),
    )
