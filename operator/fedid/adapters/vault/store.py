"""The port: one KV mount of Vault as a `SecretStore`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from fedid.adapters.vault.failures import translated
from fedid.adapters.vault.hvac_adapter import HvacAdapter
from fedid.adapters.vault.kv_v1 import KvV1Layout
from fedid.adapters.vault.kv_v2 import KvV2Layout
from fedid.adapters.vault.paths import checked_path
from fedid.adapters.vault.probe import mounted_version, probe
from fedid.adapters.vault.session import LoginMethod, VaultSession
from fedid.errors import InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedid.adapters.transport import Transport
    from fedid.domain.sensitive import Sensitive
    from fedid.domain.stored import Retention, StoredEntry, StoreFacts, VaultMark
    from fedid.ports import Entries


class _Layout(Protocol):
    """How entries lie in a mount; may raise hvac's exceptions."""

    @property
    def version(self) -> int: ...
    def needs(self, prefix: str) -> dict[str, frozenset[str]]: ...
    async def read(self, path: str, owner: str | None) -> StoredEntry | None: ...
    async def write(
        self, path: str, data: Mapping[str, Sensitive], mark: VaultMark, *, version: int | None, retention: Retention
    ) -> int: ...
    async def destroy(self, path: str, owner: str) -> bool: ...
    async def listing(self, folder: str) -> tuple[str, ...]: ...


class _MountEntries:
    """The entries of one mount; `_layout` says how they lie."""

    async def _layout(self) -> _Layout:
        raise NotImplementedError

    async def read(self, path: str, owner: str) -> StoredEntry | None:
        """Return what lies at the path; data only if it carries this owner mark."""
        with translated():
            return await (await self._layout()).read(checked_path(path), owner)

    async def read_unmarked(self, path: str) -> StoredEntry | None:
        """Return what a person laid at the path; no data if it carries an owner mark, whosever."""
        with translated():
            return await (await self._layout()).read(checked_path(path), None)

    async def write(
        self, path: str, data: Mapping[str, Sensitive], mark: VaultMark, *, version: int | None, retention: Retention
    ) -> int:
        """Write data under our mark and return the new version (0 on KV v1)."""
        with translated():
            layout = await self._layout()
            return await layout.write(checked_path(path), data, mark, version=version, retention=retention)

    async def destroy(self, path: str, owner: str) -> bool:
        """Delete the entry with all versions and metadata and read back that it is gone."""
        with translated():
            return await (await self._layout()).destroy(checked_path(path), owner)

    async def names(self, folder: str) -> tuple[str, ...]:
        """Return the entry names directly below a folder, sorted."""
        return tuple(name for name in await self._listing(folder) if not name.endswith("/"))

    async def folders(self, folder: str) -> tuple[str, ...]:
        """Return the names of the sub-folders directly below a folder, sorted."""
        return tuple(name.removesuffix("/") for name in await self._listing(folder) if name.endswith("/"))

    async def _listing(self, folder: str) -> tuple[str, ...]:
        with translated():
            return await (await self._layout()).listing(checked_path(folder))


class _OtherMount(_MountEntries):
    """A mount beside the Federation's, in the layout that Vault says it has."""

    def __init__(self, adapter: HvacAdapter, mount: str) -> None:
        """Work on this mount; Vault is asked at the first use."""
        self._adapter = adapter
        self._mount = checked_path(mount)
        self._found: _Layout | None = None

    async def _layout(self) -> _Layout:
        if self._found is None:
            self._found = _layout_of(self._adapter, self._mount, await mounted_version(self._adapter, self._mount))
        return self._found


class VaultSecretStore(_MountEntries):
    """A `SecretStore`; owns its transport and its login."""

    def __init__(
        self,
        transport: Transport,
        *,
        mount: str,
        kv_version: int,
        login: LoginMethod,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is sent before the first call.

        Args:
            transport: To Vault, of its own; closed by `aclose`.
            mount: Where the KV engine is mounted, without slashes at the ends.
            kv_version: 1 or 2.
            login: How to get a token.
            monotonic: Seconds that never go back, for the token's life.

        Raises:
            InvalidSpecError: The mount or the version cannot be.
        """
        if kv_version not in {1, 2}:
            message = f"spec.vault.kvVersion is {kv_version}; write 1 or 2"
            raise InvalidSpecError(message)
        self._transport = transport
        self._mount = checked_path(mount)
        self._session = VaultSession(transport, login, monotonic)
        self._anonymous = HvacAdapter(transport)
        self._known = HvacAdapter(transport, self._session)
        self._own = _layout_of(self._known, mount, kv_version)
        self._others: dict[str, _OtherMount] = {}

    async def _layout(self) -> _Layout:
        return self._own

    def at(self, mount: str) -> Entries:
        """Return the entries of a mount, this one or another, of whichever KV version; connects to nothing yet."""
        if mount == self._mount:
            return self
        return self._others.setdefault(mount, _OtherMount(self._known, mount))

    async def probe(self, prefix: str) -> StoreFacts:
        """Check that Vault is unsealed, lets us in, and lets us work below the prefix."""
        with translated():
            facts = await probe(
                self._anonymous, self._known, mount=self._mount, prefix=checked_path(prefix), expected=self._own
            )
        if facts.missing_permissions:
            # A token keeps the policies that it was made with: the next look comes with a new one.
            await self._session.revoke()
        return facts

    async def aclose(self) -> None:
        """Give our own token back where possible and close the connections."""
        await self._session.revoke()
        await self._transport.aclose()


def _layout_of(adapter: HvacAdapter, mount: str, kv_version: int) -> _Layout:
    layout = KvV2Layout if kv_version == 2 else KvV1Layout  # noqa: PLR2004 - the KV version
    return layout(adapter, mount)
