"""The users of the fake `IdentityProvider`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NoReturn

from fedid.domain.initial_password import parse_password_policy
from fedid.domain.realm import IdentityProviderLink, Role, RoleMappings, UserRecord, UserRules, UserSessions
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendRejectedError, OwnershipConflictError, StaleObjectError
from tests.fakes.realm import FakeRealm, FakeUser

BACKEND = "keycloak"


class FakeUsers:
    """The part of a fake `IdentityProvider` that is about users."""

    realm: FakeRealm

    async def role_mappings(self, user_id: str) -> RoleMappings:
        """Return what is mapped to a user, the realm's default role left out."""
        await self._begin("role_mappings", user_id)
        user = self._user(user_id)
        held = {self.realm.roles[one] for one in user.role_ids if one != self.realm.default_role.role_id}
        return RoleMappings(
            realm=frozenset(role for role in held if role.client_id is None),
            client=frozenset(role for role in held if role.client_id is not None),
        )

    async def add_roles(self, user_id: str, roles: frozenset[Role]) -> None:
        """Map roles, all or none."""
        await self._begin("add_roles", user_id)
        user = self._user(user_id)
        user.role_ids |= self._ids(roles)
        self._wrote("add_roles", user_id)

    async def remove_roles(self, user_id: str, roles: frozenset[Role]) -> None:
        """Unmap roles, all or none."""
        await self._begin("remove_roles", user_id)
        user = self._user(user_id)
        user.role_ids -= self._ids(roles)
        self._wrote("remove_roles", user_id)

    async def user_rules(self, suffices: Callable[[UserRules], bool]) -> UserRules:
        """Return what the realm lets its users have; from a cache, so not counted as a call."""
        del suffices
        await asyncio.sleep(0)
        realm = self.realm
        marks = {"fedid.owner", "fedid.object"} if realm.owner_attributes_kept else set()
        return UserRules(
            attributes=frozenset(realm.declared_attributes | marks),
            takes_any_attribute=False,
            required_actions=frozenset(realm.required_actions),
            password_policy=realm.password_policy,
            sends_mail=realm.sends_mail,
        )

    async def create_user(self, user: UserRecord, password: Sensitive | None = None) -> str | None:
        """Create a user unless its name is taken."""
        await self._begin("create_user", user.username)
        if missing := sorted(user.groups - self.realm.groups.keys()):
            message = f"there is no group {', '.join(missing)}"
            raise BackendRejectedError(message, backend=BACKEND, reason="GroupMissing")
        self._check_fields(user)
        if self.realm.user(user.username) is not None:
            return None
        self._check_email(user)
        self._check_password(password)
        user_id = self.realm.put_user(user, password)
        self._wrote("create_user", user.username)
        return user_id

    async def read_user(self, user_id: str) -> UserRecord | None:
        """Return a user by id."""
        await self._begin("read_user", user_id)
        user = self.realm.users.get(user_id)
        return None if user is None else user.record

    async def find_user(self, username: str) -> UserRecord | None:
        """Return a user by name."""
        await self._begin("find_user", username)
        user = self.realm.user(username)
        return None if user is None else replace(user.record, links=frozenset())

    async def user_groups(self, user_id: str) -> Mapping[str, str]:
        """Return a user's groups."""
        await self._begin("user_groups", user_id)
        return {path: self.realm.groups[path] for path in sorted(self._user(user_id).groups)}

    async def group_ids(self, paths: frozenset[str]) -> Mapping[str, str]:
        """Return those groups that exist; from a cache, so not counted as a call."""
        await asyncio.sleep(0)
        return {path: self.realm.groups[path] for path in sorted(paths) if path in self.realm.groups}

    async def update_user(self, user: UserRecord) -> None:
        """Replace a user's own fields."""
        user_id = user.user_id or ""
        await self._begin("update_user", user_id)
        old = self._user(user_id)
        self._check_fields(user)
        self._check_email(user)
        record = old.record
        verified = record.email_verified if user.email_verified is None else user.email_verified
        changed = replace(user, username=record.username, groups=frozenset(), email_verified=verified)
        old.record = self.realm.kept(replace(changed, required_actions=record.required_actions, links=record.links))
        self._wrote("update_user", user_id)

    async def join_group(self, user_id: str, group_id: str) -> None:
        """Add a user to a group."""
        await self._begin("join_group", user_id)
        path = self._path(group_id)
        if path is None:
            raise_gone("group")
        self._user(user_id).groups.add(path)
        self._wrote("join_group", user_id)

    async def leave_group(self, user_id: str, group_id: str) -> None:
        """Take a user out of a group."""
        await self._begin("leave_group", user_id)
        path, user = self._path(group_id), self.realm.users.get(user_id)
        if path is not None and user is not None and path in user.groups:
            user.groups.discard(path)
            self._wrote("leave_group", user_id)

    async def end_sessions(self, user_id: str) -> None:
        """End all sessions of a user."""
        await self._begin("end_sessions", user_id)
        user = self.realm.users.get(user_id)
        if user is not None:
            user.sessions.clear()
            self._wrote("end_sessions", user_id)

    async def user_sessions(self, user_id: str) -> UserSessions:
        """Count a user's sessions; all offline ones are one client's."""
        await self._begin("user_sessions", user_id)
        user = self.realm.users.get(user_id)
        found = [session.offline for session in user.sessions] if user is not None else []
        return UserSessions(found.count(False), int(True in found))

    async def link_identity(self, user_id: str, link: IdentityProviderLink) -> bool:
        """Link a user to an identity."""
        await self._begin("link_identity", user_id)
        user = self._user(user_id)
        held = next((one for one in user.record.links if one.alias == link.alias), None)
        if held is not None and held.user_id != link.user_id:
            message = "the user is linked to another identity there"
            raise StaleObjectError(message)
        if link.alias not in self.realm.identity_providers:
            return False
        if held is None:
            user.record = replace(user.record, links=user.record.links | {link})
            self._wrote("link_identity", user_id)
        return True

    async def unlink_identity(self, user_id: str, alias: str) -> None:
        """Take a link away."""
        await self._begin("unlink_identity", user_id)
        user = self.realm.users.get(user_id)
        left = frozenset(link for link in user.record.links if link.alias != alias) if user is not None else frozenset()
        if user is not None and left != user.record.links:
            user.record = replace(user.record, links=left)
            self._wrote("unlink_identity", user_id)

    async def linked_users(self, link: IdentityProviderLink) -> tuple[UserRecord, ...]:
        """Return who is linked to an identity."""
        await self._begin("linked_users", link.alias)
        whom = (link.alias, link.user_id)
        users = (user.record for user in self.realm.users.values())
        found = (one for one in users if whom in {(held.alias, held.user_id) for held in one.links})
        return tuple(replace(one, links=frozenset()) for one in found)

    async def send_actions(self, user_id: str, actions: frozenset[str]) -> None:
        """Send a mail, or say why it was not."""
        await self._begin("send_actions", user_id)
        self._user(user_id)
        if not self.realm.sends_mail or self.realm.mail_failure is not None:
            message = f"Failed to send execute actions email: {self.realm.mail_failure}"
            raise BackendRejectedError(message, backend=BACKEND, reason="MailNotSent")
        self.realm.mails.append((user_id, actions))
        self._wrote("send_actions", user_id)

    async def delete_user(self, user_id: str) -> None:
        """Delete a user if it is there."""
        await self._begin("delete_user", user_id)
        if self.realm.users.pop(user_id, None) is not None:
            self._wrote("delete_user", user_id)

    def _ids(self, roles: frozenset[Role]) -> set[str]:
        if any(self.realm.roles.get(role.role_id) is None for role in roles):
            raise_gone("role")
        return {role.role_id for role in roles}

    def _user(self, user_id: str) -> FakeUser:
        user = self.realm.users.get(user_id)
        if user is None:
            raise_gone("user")
        return user

    def _path(self, group_id: str) -> str | None:
        return next((path for path, one in self.realm.groups.items() if one == group_id), None)

    def _check_fields(self, user: UserRecord) -> None:
        if user.email and "@" not in user.email:
            message = "email: error-invalid-email"
            raise BackendRejectedError(message, backend=BACKEND)

    def _check_password(self, password: Sensitive | None) -> None:
        counts = parse_password_policy(self.realm.password_policy).counts
        text = password.reveal() if password is not None else ""
        have = {"length": len(text), "digits": sum(map(str.isdigit, text)), "upperCase": sum(map(str.isupper, text))}
        if password is not None and any(have[name] < counts.get(name, 0) for name in have):
            message = "Keycloak refuses the password: Invalid password"
            raise BackendRejectedError(message, backend=BACKEND, reason="PasswordPolicyUnmet")

    def _check_email(self, user: UserRecord) -> None:
        email = (user.email or "").lower()
        for other in self.realm.users.values():
            if email and other.record.email == email and other.record.user_id != user.user_id:
                message = "the e-mail address belongs to another user"
                raise OwnershipConflictError(message, backend=BACKEND)

    async def _begin(self, operation: str, target: str = "") -> None:
        raise NotImplementedError

    def _wrote(self, operation: str, target: str) -> None:
        raise NotImplementedError


def raise_gone(what: str) -> NoReturn:
    """Say that something went."""
    message = f"the {what} is gone"
    raise StaleObjectError(message)
