"""One Vault: entries at paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import Retention, StoredEntry, StoreFacts, VaultMark

__all__ = ["Entries", "SecretStore"]


class Entries(Protocol):
    """The entries of one KV mount of Vault, paths relative to the mount (e.g. `fedid/site-a/bots/trainer/client`)."""

    async def read(self, path: str, owner: str) -> StoredEntry | None:
        """Return what lies at the path; data only if it carries this owner mark.

        Raises:
            BackendRejectedError: The mount does not exist or is no KV engine (reason `MountMismatch`).
        """

    async def read_unmarked(self, path: str) -> StoredEntry | None:
        """Return what a person laid at the path; no data if it carries an owner mark, whosever.

        Only for a place that a grant lists: nothing else says who may see it.

        Raises:
            BackendRejectedError: As `read`.
        """

    async def write(
        self, path: str, data: Mapping[str, Sensitive], mark: VaultMark, *, version: int | None, retention: Retention
    ) -> int:
        """Write data under our mark and return the new version (0 on KV v1).

        `version` is what `read` saw (check-and-set); None: it found nothing, so the mark is made first, then the data
        with cas=0.

        Raises:
            OwnershipConflictError: Somebody else's mark, or data without one, lies there.
            StaleObjectError: Somebody wrote in between.
        """

    async def destroy(self, path: str, owner: str) -> bool:
        """Delete the entry with all versions and metadata and read back that it is gone.

        Returns:
            True if it is gone (or never was), False if a stranger's entry lies there and was left alone.
        """

    async def names(self, folder: str) -> tuple[str, ...]:
        """Return the entry names directly below a folder (sub-folders left out), sorted; empty if there is none."""

    async def folders(self, folder: str) -> tuple[str, ...]:
        """Return the names of the sub-folders directly below a folder, sorted; empty if there is none."""


class SecretStore(Entries, Protocol):
    """The KV mount of a Federation, and the way to others in the same Vault."""

    def at(self, mount: str) -> Entries:
        """Return the entries of a mount, this one or another, of whichever KV version; connects to nothing yet."""

    async def probe(self, prefix: str) -> StoreFacts:
        """Check that Vault is unsealed, lets us in, and lets us work below the prefix.

        Bypasses an open breaker and closes it on success.

        Raises:
            BackendUnavailableError: No answer, or sealed (reason `VaultSealed`) or not initialised.
            BackendDeniedError: The login is refused.
            BackendRejectedError: The mount does not exist or is of the other KV version (reason `MountMismatch`).
        """

    async def aclose(self) -> None:
        """Revoke our own login token where possible and close connections."""
