"""The users of a realm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from fedid.domain.realm import (
    IdentityProviderLink,
    Role,
    RoleMappings,
    UserRecord,
    UserRules,
    UserSessions,
)
from fedid.domain.sensitive import Sensitive

__all__ = ["Users"]


class Users(Protocol):
    """The users of a realm and what they have; a service account is one of them."""

    async def role_mappings(self, user_id: str) -> RoleMappings:
        """Return the roles mapped directly to a user, the realm's own `default-roles-*` left out."""

    async def add_roles(self, user_id: str, roles: frozenset[Role]) -> None:
        """Map roles to a user: one call for all realm roles, one per client for client roles."""

    async def remove_roles(self, user_id: str, roles: frozenset[Role]) -> None:
        """Unmap roles from a user, likewise."""

    async def user_rules(self, suffices: Callable[[UserRules], bool]) -> UserRules:
        """Return what the realm lets its users have, cached, and read again where that does not suffice."""

    async def create_user(self, user: UserRecord, password: Sensitive | None = None) -> str | None:
        """Create a user with all that its record says (not its roles); return its id, None if the username is taken.

        Keycloak drops attributes, required actions and links that it does not know without a word: read it back.

        Args:
            user: As desired; its id is Keycloak's to choose.
            password: Temporary; None: the user has none, and nothing is hashed.

        Raises:
            OwnershipConflictError: The e-mail address belongs to another user.
            BackendRejectedError: Keycloak refuses a field (the message names it), or the password (reason
                `PasswordPolicyUnmet`), or a group does not exist.
        """

    async def read_user(self, user_id: str) -> UserRecord | None:
        """Return the user by id with its links, groups not filled."""

    async def find_user(self, username: str) -> UserRecord | None:
        """Return the user by exact username, groups and links not filled."""

    async def user_groups(self, user_id: str) -> Mapping[str, str]:
        """Return the user's direct groups: path to group id."""

    async def update_user(self, user: UserRecord) -> None:
        """Make the existing user's own fields equal to the record.

        Groups, roles, links, required actions and credentials are untouched.

        Raises:
            OwnershipConflictError: The e-mail address belongs to another user.
        """

    async def join_group(self, user_id: str, group_id: str) -> None:
        """Add the user to a group."""

    async def leave_group(self, user_id: str, group_id: str) -> None:
        """Take the user out of a group."""

    async def end_sessions(self, user_id: str) -> None:
        """End the user's sessions, offline sessions included; success if the user is gone."""

    async def user_sessions(self, user_id: str) -> UserSessions:
        """Return how many sessions the user has; none if the user is gone."""

    async def link_identity(self, user_id: str, link: IdentityProviderLink) -> bool:
        """Link the user to an identity at a provider; False if the realm has no such provider.

        Raises:
            StaleObjectError: The user is gone, or has a link to another identity there.
        """

    async def unlink_identity(self, user_id: str, alias: str) -> None:
        """Take the user's link to an identity provider away; success if there is none."""

    async def linked_users(self, link: IdentityProviderLink) -> tuple[UserRecord, ...]:
        """Return the users, whoever made them, that are linked to this very identity; links not filled.

        Keycloak takes any number of them, and then lets nobody in who comes from there.
        """

    async def send_actions(self, user_id: str, actions: frozenset[str]) -> None:
        """Have Keycloak send the user a mail that leads to these required actions.

        Raises:
            StaleObjectError: The user is gone.
            BackendRejectedError: The mail could not be sent (reason `MailNotSent`).
        """

    async def delete_user(self, user_id: str) -> None:
        """Delete the user; success if it is gone."""
