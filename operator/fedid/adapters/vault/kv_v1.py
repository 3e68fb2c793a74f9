"""The layout on KV version 1: no metadata, no versions, no check-and-set.

The mark lies beside the data. Two writers at the same instant are not told apart here; the epoch that the installation
keeps in Vault is what keeps a second one away.

Source: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hvac.api.secrets_engines import KvV1
from hvac.exceptions import InvalidPath

from fedid.adapters.vault.entries import conflict, mark_fields, owner_in, shown_data
from fedid.adapters.vault.failures import BACKEND, is_absent
from fedid.domain.stored import StoredEntry
from fedid.errors import BackendUnavailableError, StaleObjectError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedid.adapters.vault.hvac_adapter import HvacAdapter
    from fedid.domain.sensitive import Sensitive
    from fedid.domain.stored import Retention, VaultMark


class KvV1Layout:
    """Entries of one KV v1 mount."""

    version: Final = 1

    def __init__(self, adapter: HvacAdapter, mount: str) -> None:
        """Work on the mount through the adapter."""
        self._kv = KvV1(adapter)
        self._mount = mount

    def needs(self, prefix: str) -> dict[str, frozenset[str]]:
        """Return the capabilities that the operator needs, by path pattern below the prefix."""
        return {f"{self._mount}/{prefix}/*": frozenset({"create", "read", "update", "delete", "list"})}

    async def read(self, path: str, owner: str | None) -> StoredEntry | None:
        """Return what lies there, data only under this mark (None: no mark); one call."""
        data = await self._data(path)
        if data is None:
            return None
        found = owner_in(data)
        return StoredEntry(shown_data(data, found=found, owner=owner), 0, found)

    async def write(
        self,
        path: str,
        data: Mapping[str, Sensitive],
        mark: VaultMark,
        *,
        version: int | None,
        retention: Retention,  # noqa: ARG002 - KV v1 keeps the newest for ever
    ) -> int:
        """Write data and mark in one; two calls."""
        there = await self._data(path)
        if there is not None and owner_in(there) != mark.owner:
            raise conflict(path, owner_in(there))
        if (there is None) != (version is None):
            message = f"{path} in Vault changed since it was read; reading it again"
            raise StaleObjectError(message)
        content = {key: value.reveal() for key, value in data.items()}
        await self._kv.create_or_update_secret(
            path, {**content, **mark_fields(mark)}, method="POST", mount_point=self._mount
        )
        return 0

    async def destroy(self, path: str, owner: str) -> bool:
        """Delete the entry, and look whether it is gone."""
        there = await self._data(path)
        if there is None:
            return True
        if owner_in(there) != owner:
            return False
        await self._kv.delete_secret(path, mount_point=self._mount)
        left = await self._data(path)
        if left is not None and owner_in(left) == owner:
            message = f"{path} is still in Vault after its deletion; trying again"
            raise BackendUnavailableError(message, backend=BACKEND)
        return True

    async def listing(self, folder: str) -> tuple[str, ...]:
        """Return what is directly below the folder; folders end in a slash."""
        try:
            answer = await self._kv.list_secrets(folder, mount_point=self._mount)
        except InvalidPath as error:
            if not is_absent(error):
                raise
            return ()
        return tuple(sorted(answer["data"]["keys"]))

    async def _data(self, path: str) -> Mapping[str, Any] | None:
        try:
            answer = await self._kv.read_secret(path, mount_point=self._mount)
        except InvalidPath as error:
            if not is_absent(error):
                raise
            return None
        data: Mapping[str, Any] = answer["data"]
        return data
