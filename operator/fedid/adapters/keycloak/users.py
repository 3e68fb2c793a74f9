"""Users and their groups and sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from fedid.adapters.answer import Answer
from fedid.adapters.keycloak.access import RealmAccess
from fedid.adapters.keycloak.refusals import BACKEND, NotFoundError, TakenError, explanation
from fedid.adapters.keycloak.representations import new_user_representation, user_record, user_representation
from fedid.adapters.transport import segment
from fedid.domain.realm import IdentityProviderLink, UserRecord, UserRules, UserSessions
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendRejectedError, BackendUnavailableError, OwnershipConflictError, StaleObjectError

MAIL_NOT_SENT: Final = "MailNotSent"


class RealmUsers:
    """The part of `IdentityProvider` that is about users."""

    _access: RealmAccess

    async def user_rules(self, suffices: Callable[[UserRules], bool]) -> UserRules:
        """Return what the realm lets its users have, cached, and read again where that does not suffice."""
        return await self._access.rules.rules(suffices)

    async def create_user(self, user: UserRecord, password: Sensitive | None = None) -> str | None:
        """Create a user with all that its record says (not its roles); return its id, None if the username is taken.

        Keycloak drops attributes, required actions and links that it does not know without a word: read it back.

        Raises:
            OwnershipConflictError: The e-mail address belongs to another user.
            BackendRejectedError: Keycloak refuses a field (the message names it), or the password (reason
                `PasswordPolicyUnmet`), or a group does not exist.
        """
        # Keycloak answers 500 for a group that does not exist, so they are looked up first (from the cache).
        missing = user.groups - (await self.group_ids(user.groups)).keys()
        if missing:
            message = f"Keycloak has no group {', '.join(sorted(missing))}"
            raise BackendRejectedError(message, backend=BACKEND, reason="GroupMissing")
        try:
            return await self._access.admin.a_create_user(new_user_representation(user, password))
        except TakenError as error:
            # Where both are taken Keycloak only speaks of the address.
            if not _about_email(error) or await self.find_user(user.username) is not None:
                return None
            raise await self._email_conflict(user) from error
        except BackendUnavailableError:
            # It may be that 500: a group went away after it was cached.
            self._access.groups.clear()
            raise
        except BackendRejectedError:
            self._access.rules.clear()
            raise

    async def read_user(self, user_id: str) -> UserRecord | None:
        """Return the user by id with its links, groups not filled."""
        try:
            return user_record(await self._access.admin.a_get_user(segment(user_id)))
        except NotFoundError:
            return None

    async def find_user(self, username: str) -> UserRecord | None:
        """Return the user by exact username (Keycloak keeps it in lower case), groups and links not filled."""
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

    async def user_sessions(self, user_id: str) -> UserSessions:
        """Return how many sessions the user has; none if the user is gone."""
        path = f"/users/{segment(user_id)}"
        try:
            online = (await self._access.connection.call("GET", f"{path}/sessions")).json()
            consents = await self._access.admin.a_user_consents(segment(user_id))
        except NotFoundError:
            return UserSessions()
        return UserSessions(len(online), sum(1 for consent in consents if consent.get("additionalGrants")))

    async def link_identity(self, user_id: str, link: IdentityProviderLink) -> bool:
        """Link the user to an identity at a provider; False if the realm has no such provider.

        Raises:
            StaleObjectError: The user is gone, or has a link to another identity there.
        """
        path = f"/users/{segment(user_id)}/federated-identity/{segment(link.alias)}"
        data = {"identityProvider": link.alias, "userId": link.user_id, "userName": link.user_name}
        try:
            await self._access.connection.call("POST", path, data=data)
        except TakenError as error:
            found = await self.read_user(user_id)
            if found is not None and any((one.alias, one.user_id) == (link.alias, link.user_id) for one in found.links):
                return True
            raise StaleObjectError(error.message) from error
        # Keycloak takes a link to a provider that it does not have, and shows only those to others.
        found = await self.read_user(user_id)
        if found is not None and link.alias not in {one.alias for one in found.links}:
            await self.unlink_identity(user_id, link.alias)
            return False
        return True

    async def unlink_identity(self, user_id: str, alias: str) -> None:
        """Take the user's link to an identity provider away; success if there is none."""
        try:
            path = f"/users/{segment(user_id)}/federated-identity/{segment(alias)}"
            await self._access.connection.call("DELETE", path)
        except NotFoundError:
            return

    async def linked_users(self, link: IdentityProviderLink) -> tuple[UserRecord, ...]:
        """Return the users, whoever made them, that are linked to this very identity; links not filled."""
        query = {"idpAlias": link.alias, "idpUserId": link.user_id, "max": "10"}
        found = (await self._access.connection.call("GET", "/users", params=query)).json()
        return tuple(user_record(one) for one in found)

    async def send_actions(self, user_id: str, actions: frozenset[str]) -> None:
        """Have Keycloak send the user a mail that leads to these required actions.

        Raises:
            StaleObjectError: The user is gone.
            BackendRejectedError: The mail could not be sent (reason `MailNotSent`).
        """
        path = f"/users/{segment(user_id)}/execute-actions-email"
        try:
            await self._access.connection.call("PUT", path, data=sorted(actions), explain=_mail_not_sent)
        except BackendRejectedError as error:
            self._access.rules.clear()  # there may be no mail server any more
            raise BackendRejectedError(error.message, backend=BACKEND, reason=MAIL_NOT_SENT) from error

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


def _mail_not_sent(answer: Answer) -> BackendRejectedError | None:
    """Return what a 500 means here, in Keycloak's words: its mail server is at fault, not itself."""
    text = explanation(answer)
    if answer.status != HTTPStatus.INTERNAL_SERVER_ERROR or not text:
        return None
    return BackendRejectedError(f"Keycloak: {text}", backend=BACKEND, reason=MAIL_NOT_SENT)
