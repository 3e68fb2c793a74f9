"""The steps that a user's plan is made of, and what the plan is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fedid.domain.realm import IdentityProviderLink, Role, RoleMappings, UserRecord
from fedid.domain.user import AppliedToUser

__all__ = [
    "CreateUser",
    "EnableUser",
    "EndSessions",
    "JoinGroup",
    "LeaveGroup",
    "LinkIdentity",
    "MapRoles",
    "MembershipStep",
    "Notice",
    "ObservedUser",
    "PublishPassword",
    "SendActions",
    "StagePassword",
    "UnlinkIdentity",
    "UnmapRoles",
    "UpdateUser",
    "UserStep",
]


@dataclass(frozen=True, slots=True)
class StagePassword:
    """Put a new initial password into Vault, marked pending: nothing else could tell it after a crash."""


@dataclass(frozen=True, slots=True)
class CreateUser:
    """Create the user with its groups, links, required actions and, where one is pending, its password."""


@dataclass(frozen=True, slots=True)
class PublishPassword:
    """Mark the pending password as the one that Keycloak took."""


@dataclass(frozen=True, slots=True)
class UpdateUser:
    """Make the user's own fields equal to what is desired; `fields` differ. It enables nobody."""

    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnableUser:
    """Let the user log in again: after everything else, so that no login meets rights of before."""


@dataclass(frozen=True, slots=True)
class EndSessions:
    """End the sessions of a user who is disabled: enabled again, the old ones would be good again.

    So they end when the user is disabled and, since that may have been cut off, once more before it is enabled. Those
    of an account that is taken over were not opened for us and end too.
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


@dataclass(frozen=True, slots=True)
class LinkIdentity:
    """Let somebody at an identity provider log in as the user."""

    link: IdentityProviderLink


@dataclass(frozen=True, slots=True)
class UnlinkIdentity:
    """Take a link away that the spec does not name any more, or that leads to somebody else."""

    alias: str


@dataclass(frozen=True, slots=True)
class SendActions:
    """Have Keycloak send the user a mail that leads to these required actions."""

    actions: frozenset[str]


MembershipStep = JoinGroup | LeaveGroup | MapRoles | UnmapRoles | LinkIdentity | UnlinkIdentity
"""What changes what a user has, and nothing of the account itself."""
UserStep = (
    StagePassword | CreateUser | PublishPassword | UpdateUser | EnableUser | EndSessions | SendActions | MembershipStep
)


class Notice(StrEnum):
    """What became of the mail to a new user."""

    NONE = "None"
    SENT = "Sent"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class ObservedUser:
    """What the backends hold of a user."""

    user: UserRecord | None = None
    """Ours, or nobody's that is to be taken over."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Path to group id."""
    mappings: RoleMappings | None = None
    applied: AppliedToUser = field(default_factory=AppliedToUser)
    password_pending: bool = False
    """Whether Vault holds an initial password that nobody has seen Keycloak take."""
    recorded: bool = False
    """Whether an earlier pass came to its end and told the status which account it made, or took over."""
    notice: Notice = Notice.NONE
