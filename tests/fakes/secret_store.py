"""A KV mount in memory: a `SecretStore` with the semantics of both KV versions.

tests/contract/test_secret_store.py holds it against a real Vault. Points of a write at which it can be made to fail:
`before`, `marked` (KV v2: the mark lies there, the data does not) and `after`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fedid.adapters.vault.paths import checked_path
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import Retention, StoredEntry, StoreFacts, VaultMark
from fedid.errors import BackendRejectedError, BackendUnavailableError, OwnershipConflictError, StaleObjectError
from tests.fakes.failures import Failures

KV_V2 = 2


@dataclass(slots=True)
class FakeVersion:
    """One version of the data."""

    data: dict[str, str]
    deleted_at: datetime | None
    """From when on it is not shown any more; None: never."""


@dataclass(slots=True)
class FakeEntry:
    """One path."""

    mark: VaultMark | None = None
    retention: Retention | None = None
    """None: whatever the mount does."""
    newest: int = 0
    versions: dict[int, FakeVersion] = field(default_factory=dict)

    def shown(self, now: datetime) -> dict[str, str]:
        """Return the newest data, empty if it is deleted."""
        version = self.versions.get(self.newest)
        if version is None or (version.deleted_at is not None and version.deleted_at <= now):
            return {}
        return version.data


@dataclass(frozen=True, slots=True)
class StoreCall:
    """One call of the port."""

    operation: str
    path: str


class FakeSecretStore:
    """A `SecretStore`; `entries` is the mount."""

    def __init__(self, *, kv_version: int = KV_V2, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Start with an empty mount.

        Args:
            kv_version: 1 or 2.
            now: Vault's clock (aware UTC).
        """
        self.kv_version = kv_version
        self.entries: dict[str, FakeEntry] = {}
        self.records: dict[str, FakeEntry] = {}
        """What an installation tells of itself, below `.fedid`; neither entries nor writes of any identity."""
        self.calls: list[StoreCall] = []
        """Every call, in order."""
        self.writes: list[StoreCall] = []
        """The calls that changed something."""
        self.failures = Failures()
        self.sealed = False
        self.missing_permissions: tuple[str, ...] = ()
        self.closed = False
        self.mounts: dict[str, FakeSecretStore] = {}
        """Other mounts of the same Vault, by name; a test puts them there."""
        self._now = now

    def at(self, mount: str) -> FakeSecretStore:
        """Return another mount; `secret` is this one."""
        if mount == "secret":
            return self
        if mount not in self.mounts:
            message = f"Vault shows the operator no mount {mount}"
            raise BackendRejectedError(message, backend="vault", reason="MountMismatch")
        return self.mounts[mount]

    async def probe(self, prefix: str) -> StoreFacts:
        """Return what a healthy Vault would."""
        await self._begin("probe", prefix)
        return StoreFacts(version="1.21.0", missing_permissions=self.missing_permissions)

    async def read(self, path: str, owner: str) -> StoredEntry | None:
        """Return what lies at the path; data only under this mark."""
        return await self._read("read", path, owner)

    async def read_unmarked(self, path: str) -> StoredEntry | None:
        """Return what a person laid at the path; no data under any mark."""
        return await self._read("read_unmarked", path, None)

    async def _read(self, operation: str, path: str, owner: str | None) -> StoredEntry | None:
        await self._begin(operation, path)
        entry = self._lying_at(path).get(path)
        if entry is None:
            return None
        found = None if entry.mark is None else entry.mark.owner
        shown = entry.shown(self._now()) if found == owner else {}
        version = entry.newest if self.kv_version == KV_V2 else 0
        return StoredEntry({key: Sensitive(value) for key, value in shown.items()}, version, found)

    async def write(
        self, path: str, data: Mapping[str, Sensitive], mark: VaultMark, *, version: int | None, retention: Retention
    ) -> int:
        """Write under our mark with check-and-set."""
        await self._begin("write", path)
        entries = self._lying_at(path)
        entry = entries.get(path)
        if entry is not None and (entry.mark is None or entry.mark.owner != mark.owner):
            whose = f"belongs to {entry.mark.owner}" if entry.mark else "was not made by fedid"
            message = f"what lies at {path} {whose}"
            raise OwnershipConflictError(message)
        if self._is_stale(entry, version):
            message = f"{path} changed"
            raise StaleObjectError(message)
        if entry is None:
            entry = entries[path] = FakeEntry()
        if self.kv_version == KV_V2:
            entry.mark, entry.retention = mark, retention
            self.failures.strike("write", path, "marked")
        entry.mark = mark
        self._append(entry, {key: value.reveal() for key, value in data.items()})
        if entries is self.entries:
            self.writes.append(StoreCall("write", path))
        self.failures.strike("write", path, "after")
        return entry.newest if self.kv_version == KV_V2 else 0

    async def destroy(self, path: str, owner: str) -> bool:
        """Delete the entry if it is ours."""
        await self._begin("destroy", path)
        entries = self._lying_at(path)
        entry = entries.get(path)
        if entry is not None:
            if entry.mark is None or entry.mark.owner != owner:
                return False
            del entries[path]
            if entries is self.entries:
                self.writes.append(StoreCall("destroy", path))
        self.failures.strike("destroy", path, "after")
        return True

    async def names(self, folder: str) -> tuple[str, ...]:
        """Return the entries directly below the folder."""
        await self._begin("names", folder)
        below = (path.removeprefix(f"{folder}/") for path in self.entries if path.startswith(f"{folder}/"))
        return tuple(sorted(name for name in below if "/" not in name))

    async def folders(self, folder: str) -> tuple[str, ...]:
        """Return the folders directly below the folder."""
        await self._begin("folders", folder)
        lying = (*self.entries, *self.records)
        below = (path.removeprefix(f"{folder}/") for path in lying if path.startswith(f"{folder}/"))
        return tuple(sorted({name.split("/")[0] for name in below if "/" in name}))

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def put_by_hand(self, path: str, data: Mapping[str, str], mark: VaultMark | None = None) -> None:
        """Write as somebody who does not ask; not counted as a write of ours."""
        entry = self.entries.setdefault(path, FakeEntry())
        entry.mark = mark
        self._append(entry, dict(data))

    def delete_newest_by_hand(self, path: str) -> None:
        """Soft-delete the newest version, as `vault kv delete` does on KV v2."""
        self.entries[path].versions[self.entries[path].newest].deleted_at = self._now()

    def data_of(self, path: str) -> dict[str, str]:
        """Return the newest data in the clear, whoever it belongs to; empty if there is none."""
        entry = self.entries.get(path)
        return {} if entry is None else entry.shown(self._now())

    def _lying_at(self, path: str) -> dict[str, FakeEntry]:
        return self.records if "/.fedid/" in path else self.entries

    async def _begin(self, operation: str, path: str) -> None:
        checked_path(path)
        # A turn of the loop, so that calls at the same time interleave as they would with a server.
        await asyncio.sleep(0)
        self.calls.append(StoreCall(operation, path))
        self.failures.strike(operation, path, "before")
        if self.sealed:
            message = "Vault is sealed"
            raise BackendUnavailableError(message, backend="vault", reason="VaultSealed")

    def _is_stale(self, entry: FakeEntry | None, version: int | None) -> bool:
        if self.kv_version == KV_V2:
            return (version is not None) if entry is None else entry.newest != (version or 0)
        return (entry is None) != (version is None)

    def _append(self, entry: FakeEntry, data: dict[str, str]) -> None:
        retention = entry.retention or Retention(max_versions=10, delete_version_after=None)
        after = retention.delete_version_after
        entry.newest += 1
        entry.versions[entry.newest] = FakeVersion(data, None if after is None else self._now() + after)
        entry.versions.pop(entry.newest - retention.max_versions, None)
