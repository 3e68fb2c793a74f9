"""Users and their groups and sessions."""

from __future__ import annotations

from collections.abc import Mapping

from fedid.adapters.keycloak.access import RealmAccess
from fedid.adapters.keycloak.refusals import BACKEND, NotFoundError, TakenError
from fedid.adapters.keycloak.representations import user_record, user_representation
from fedid.adapters.transport import segment
from fedid.domain.realm import UserRecord
from fedid.errors import BackendRejectedError, BackendUnavailableError, OwnershipConflictError


class RealmUsers:
    """The part of `IdentityProvider` that is about users."""

    _access: RealmAccess

    async def create_user(self, user: UserRecord) -> str | None:
        """Create a user with its groups (not its roles); return its id, None if the username is taken (409).

        Raises:
            OwnershipConflictError: The e-mail address belongs to another user.
            BackendRejectedError: Keycloak refuses a field (the message names it) or a group does not exist.
        """
        # Keycloak answers 500 for a group that does not exist, so they are looked up first (from the cache).
        missing = user.groups - (await self.group_ids(user.groups)).keys()
        if missing:
            message = f"Keycloak has no group {', '.join(sorted(missing))}"
            raise BackendRejectedError(message, backend=BACKEND, reason="GroupMissing")
        representation = user_representation(user)
        if user.groups:
            representation["groups"] = sorted(user.groups)
        try:
            return await self._access.admin.a_create_user(representation)
        except TakenError as error:
            # Where both are taken Keycloak only speaks of the address.
            if not _about_email(error) or await self.find_user(user.username) is not None:
                return None
            raise await self._email_conflict(user) from error
        except BackendUnavailableError:
            # It may be that 500: a group went away after it was cached.
            self._access.groups.clear()
            raise

    async def read_user(self, user_id: str) -> UserRecord | None:
        """Return the user by id, groups not filled."""
        try:
            return user_record(await self._access.admin.a_get_user(segment(user_id)))
        except NotFoundError:
            return None

    async def find_user(self, username: str) -> UserRecord | None:
        """Return the user by exact username (Keycloak keeps it in lower case), groups not filled."""
        # With `max`, because without it the library pages: a second call after a full page.
        found = await self._access.admin.a_get_users({"username": username, "exact": True, "max": 2})
        users = [user_record(one) for one in found]
        return next((user for user in users if user.username == username.lower()), None)

    async def user_groups(self, user_id: str) -> Mapping[str, str]:
        """Return the user's direct groups: path to group id.

        Raises:
            StaleObjectError: The user is gone.
        """
        found = await self._access.admin.a_get_user_groups(segment(user_id))
        return {group["path"]: group["id"] for group in found}

    async def group_ids(self, paths: frozenset[str]) -> Mapping[str, str]:
        """Return those of the group paths that exist with their ids, cached."""
        return await self._access.groups.ids(paths)

    async def update_user(self, user: UserRecord) -> None:
        """Make the existing user's own fields equal to the record (groups and roles untouched).

        Raises:
            OwnershipConflictError: The e-mail address belongs to another user.
            StaleObjectError: The user is gone.
            BackendRejectedError: Keycloak refuses a field (the message names it).
        """
        try:
            await self._access.admin.a_update_user(segment(user.user_id or ""), user_representation(user))
        except TakenError as error:
            raise await self._email_conflict(user) from error

    async def join_group(self, user_id: str, group_id: str) -> None:
        """Add the user to a group; success if it is a member.

        Raises:
            StaleObjectError: The user or the group is gone.
        """
        try:
            await self._access.admin.a_group_user_add(segment(user_id), segment(group_id))
        except NotFoundError:
            self._access.groups.clear()
            raise

    async def leave_group(self, user_id: str, group_id: str) -> None:
        """Take the user out of a group; success if it is no member, or one of the two is gone."""
        try:
            await self._access.admin.a_group_user_remove(segment(user_id), segment(group_id))
        except NotFoundError:
            self._access.groups.clear()

    async def end_sessions(self, user_id: str) -> None:
        """End the user's sessions, offline sessions included; success if the user is gone.

        Logout makes every refresh token stale (the user's not-before moves) but leaves offline sessions where they
        are; they go with the consent that Keycloak keeps for each client that was given one.
        """
        user = segment(user_id)
        admin = self._access.admin
        try:
            await admin.a_user_logout(user)
            for consent in await admin.a_user_consents(user):
                if consent.get("additionalGrants"):
                    await admin.a_revoke_consent(user, segment(consent["clientId"]))
        except NotFoundError:
            return

    async def delete_user(self, user_id: str) -> None:
        """Delete the user; success if it is gone."""
        try:
            await self._access.admin.a_delete_user(segment(user_id))
        except NotFoundError:
            return

    async def _email_conflict(self, user: UserRecord) -> OwnershipConflictError:
        """Return the error that says whose the address is; by owner mark, never by name."""
        found = await self._access.admin.a_get_users({"email": user.email, "exact": True, "max": 2})
        other = next((one for one in map(user_record, found) if one.user_id != user.user_id), None)
        whose = "who carries no owner mark of fedid"
        if other is not None and other.owner:
            whose = f"who carries the owner mark {other.owner}"
            whose += f" ({other.object_name})" if other.object_name else ""
        message = (
            f"The e-mail address of {user.username} belongs to another user of the realm, {whose}; that one is left "
            "untouched. Set spec.email to an address that is free, or have the owner give it up"
        )
        return OwnershipConflictError(message, backend=BACKEND)


def _about_email(error: TakenError) -> bool:
    return "email" in error.what.lower()
