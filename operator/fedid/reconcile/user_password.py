"""The initial password of one user: in Vault, and nowhere else, from before Keycloak has it until the user goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedid.domain.initial_password import (
    CURRENT,
    PASSWORD_RETENTION,
    is_pending,
    parse_password_policy,
    password_entry,
)
from fedid.domain.naming import ObjectKey, vault_path
from fedid.domain.resources import Body, meta_of
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import VaultMark
from fedid.domain.user import DesiredUser
from fedid.errors import OwnershipConflictError
from fedid.reconcile.world import Backends, World

__all__ = ["UserPassword", "password_path"]


def password_path(prefix: str, user: ObjectKey) -> str:
    """Return where the initial password of a user lies, relative to the mount."""
    return vault_path(prefix, user.namespace, "users", user.name, "initial-password")


class UserPassword:
    """The entry of one user."""

    def __init__(self, world: World, body: Body, backends: Backends) -> None:
        """Ask nobody yet."""
        self._world, self._backends, self._meta = world, backends, meta_of(body)
        self._owner = world.owner(self._meta.uid)
        self.path = password_path(backends.federation.vault.path_prefix, self._meta.key)
        self.recorded: dict[str, Any] = dict((body.get("status") or {}).get("initialPassword") or {})
        """As the status tells it, and what this pass adds."""
        self._data: Mapping[str, Sensitive] = {}
        self._version: int | None = None
        self._was_read = False
        self.is_unused = False
        """Whether it was made in this pass, so that a user who is there already has another one."""

    async def is_pending(self, desired: DesiredUser) -> bool:
        """Tell whether Vault holds a password of the user that nobody has seen Keycloak take.

        Raises:
            OwnershipConflictError: Somebody else's entry lies there.
        """
        await self._read(desired)
        return is_pending(self._data)

    async def is_current(self, desired: DesiredUser) -> bool:
        """Tell whether Vault holds a password of the user that Keycloak took, at the latest before a crash.

        Raises:
            OwnershipConflictError: Somebody else's entry lies there.
        """
        await self._read(desired)
        return bool(self._data) and not is_pending(self._data)

    async def _read(self, desired: DesiredUser) -> None:
        """Look at the entry once, if there is to be one."""
        if self._was_read or not desired.initial_password:
            return
        entry = await self._backends.secret_store.read(self.path, self._owner)
        if entry is not None and entry.owner != self._owner:
            whose = f"carries the owner mark {entry.owner}" if entry.owner else "carries no owner mark of fedid"
            message = f"Vault path {self.path} exists and {whose}; it is left untouched. Have its owner remove it"
            raise OwnershipConflictError(message, backend="vault")
        if entry is not None:
            self._data, self._version = entry.data, entry.version
        self._was_read = True

    async def stage(self, desired: DesiredUser, policy: str) -> None:
        """Put a new password into Vault, marked pending.

        Args:
            desired: Whose.
            policy: The realm's `passwordPolicy`.

        Raises:
            BackendRejectedError: No password can meet the policy.
        """
        made = self._world.fresh_password(parse_password_policy(policy), desired.username, desired.email)
        await self._read(desired)
        await self._write(password_entry(desired.username, made))
        self.is_unused = True

    def value(self) -> Sensitive:
        """Return the pending password, for Keycloak; it is staged before the user is made."""
        return self._data["password"]

    async def publish(self) -> None:
        """Mark the pending password as the one that Keycloak took."""
        await self._write({**self._data, **CURRENT})

    async def remove(self) -> None:
        """Remove the entry with all versions and see it gone; a stranger's is left alone."""
        await self._backends.secret_store.destroy(self.path, self._owner)
        self._data, self._version, self.recorded, self.is_unused = {}, None, {}, False

    async def _write(self, data: Mapping[str, Sensitive]) -> None:
        mark = VaultMark(self._owner, str(self._meta.key))
        store = self._backends.secret_store
        self._version = await store.write(self.path, data, mark, version=self._version, retention=PASSWORD_RETENTION)
        self._data, self._was_read, self.recorded = data, True, {"path": self.path}
