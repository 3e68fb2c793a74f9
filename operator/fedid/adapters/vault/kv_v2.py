"""The layout on KV version 2: the mark in custom_metadata, the data by check-and-set.

The mark is written before the first data, so that a crash in between leaves an empty path that is known as ours. KV has
no check-and-set for metadata: it is read right before each write of it, and the answer to the data's own write, which
has one, shows whose mark it went under.

Source: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvac.api.secrets_engines import KvV2
from hvac.exceptions import InvalidPath

from fedid.adapters.vault.entries import conflict, mark_fields, owner_in, shown_data
from fedid.adapters.vault.failures import BACKEND, LostVersionError, is_absent
from fedid.domain.durations import duration
from fedid.domain.stored import StoredEntry
from fedid.errors import BackendUnavailableError, InvalidSpecError, StaleObjectError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedid.adapters.vault.hvac_adapter import HvacAdapter
    from fedid.domain.sensitive import Sensitive
    from fedid.domain.stored import Retention, VaultMark


@dataclass(frozen=True, slots=True)
class _Metadata:
    """What KV v2 knows about a path beside the data."""

    owner: str | None
    custom: Mapping[str, str]
    version: int
    """Newest version ever written, deleted or not; 0: none."""
    max_versions: int
    keeps_seconds: float | None
    """After how long a version is deleted; None: not in a way that we write."""


class KvV2Layout:
    """Entries of one KV v2 mount."""

    version: Final = 2

    def __init__(self, adapter: HvacAdapter, mount: str) -> None:
        """Work on the mount through the adapter."""
        self._kv = KvV2(adapter)
        self._mount = mount

    def needs(self, prefix: str) -> dict[str, frozenset[str]]:
        """Return the capabilities that the operator needs, by path pattern below the prefix."""
        return {
            f"{self._mount}/data/{prefix}/*": frozenset({"create", "read", "update"}),
            f"{self._mount}/metadata/{prefix}/*": frozenset({"create", "read", "update", "delete", "list"}),
        }

    async def read(self, path: str, owner: str | None) -> StoredEntry | None:
        """Return what lies there, data only under this mark (None: no mark); one call unless there is no data."""
        try:
            answer = await self._kv.read_secret_version(path, mount_point=self._mount, raise_on_deleted_version=True)
        except LostVersionError:
            # Else what was half deleted could never be deleted, nor written anew.
            return await self._marked(path)
        except InvalidPath as error:
            deleted = (error.json or {}).get("data")
            if not deleted:
                if not is_absent(error):
                    raise
                return await self._marked(path)
            # Deleted, expired or destroyed: the 404 shows the metadata of the newest version.
            answer = {"data": deleted}
        metadata = answer["data"]["metadata"]
        found = owner_in(metadata.get("custom_metadata"))
        shown = shown_data(answer["data"].get("data") or {}, found=found, owner=owner)
        return StoredEntry(shown, metadata["version"], found)

    async def write(
        self, path: str, data: Mapping[str, Sensitive], mark: VaultMark, *, version: int | None, retention: Retention
    ) -> int:
        """Write the mark where it is missing or differs, then the data; two or three calls."""
        metadata = await self._metadata(path)
        if metadata is not None and metadata.owner != mark.owner:
            raise conflict(path, metadata.owner)
        if (metadata is None and version is not None) or (metadata is not None and (version or 0) != metadata.version):
            message = f"{path} in Vault changed since it was read; reading it again"
            raise StaleObjectError(message)
        if metadata is None or not _carries(metadata, mark, retention):
            await self._write_metadata(path, mark, retention)
        answer = await self._kv.create_or_update_secret(
            path,
            {key: value.reveal() for key, value in data.items()},
            cas=version or 0,
            mount_point=self._mount,
        )
        written = answer["data"]
        if owner_in(written.get("custom_metadata")) != mark.owner:
            # Another installation marked the path between our two writes; theirs stays, and they will overwrite ours.
            raise conflict(path, owner_in(written.get("custom_metadata")))
        return int(written["version"])

    async def destroy(self, path: str, owner: str) -> bool:
        """Delete metadata and all versions, and look whether they are gone."""
        metadata = await self._metadata(path)
        if metadata is None:
            return True
        if metadata.owner != owner:
            return False
        await self._kv.delete_metadata_and_all_versions(path, mount_point=self._mount)
        left = await self._metadata(path)
        if left is not None and left.owner == owner:
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

    async def _marked(self, path: str) -> StoredEntry | None:
        """Return the entry that is marked but has no data, None if there is no mark either."""
        metadata = await self._metadata(path)
        return None if metadata is None else StoredEntry({}, metadata.version, metadata.owner)

    async def _metadata(self, path: str) -> _Metadata | None:
        try:
            answer = await self._kv.read_secret_metadata(path, mount_point=self._mount)
        except InvalidPath as error:
            if not is_absent(error):
                raise
            return None
        data = answer["data"]
        custom = data.get("custom_metadata") or {}
        return _Metadata(
            owner=owner_in(custom),
            custom=custom,
            version=data["current_version"],
            max_versions=data["max_versions"],
            keeps_seconds=_seconds(data["delete_version_after"]),
        )

    async def _write_metadata(self, path: str, mark: VaultMark, retention: Retention) -> None:
        await self._kv.update_metadata(
            path,
            max_versions=retention.max_versions,
            delete_version_after=f"{_kept_seconds(retention)}s",
            custom_metadata=mark_fields(mark),
            mount_point=self._mount,
        )


def _carries(metadata: _Metadata, mark: VaultMark, retention: Retention) -> bool:
    """Tell whether mark and retention are as asked, so that the metadata need not be written."""
    return (
        metadata.custom == mark_fields(mark)
        and metadata.max_versions == retention.max_versions
        and metadata.keeps_seconds == _kept_seconds(retention)
    )


def _kept_seconds(retention: Retention) -> int:
    """Return the whole seconds that Vault is told; 0: for ever."""
    after = retention.delete_version_after
    return 0 if after is None else math.ceil(after.total_seconds())


def _seconds(text: str) -> float | None:
    try:
        return duration(text, "delete_version_after").total_seconds()
    except InvalidSpecError:
        return None
