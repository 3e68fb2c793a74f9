"""What lies in Vault and in Secrets, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from fedid.domain.sensitive import Sensitive

__all__ = ["MountedSecret", "StoreFacts", "StoredEntry", "VaultMark"]


@dataclass(frozen=True, slots=True)
class VaultMark:
    """Who an entry in Vault belongs to; on KV v2 in its custom_metadata, on KV v1 in the data."""

    owner: str
    """Owner mark `<installation id>/<CR uid>`."""
    object_name: str
    """`<kind>/<namespace>/<name>` of the custom resource."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One path in Vault as observed."""

    data: Mapping[str, Sensitive]
    """Empty when the path is only marked, or its newest version is deleted."""
    version: int
    """KV v2: version of the newest data, what a check-and-set must name (0: none yet). KV v1: always 0."""
    owner: str | None
    """Owner mark; None: nobody's. A stranger's data is never read: `data` is empty then."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a probe of Vault found."""

    version: str
    """Vault's own version."""
    missing_permissions: tuple[str, ...]
    """`<capability> on <path>` that our token lacks."""


@dataclass(frozen=True, slots=True)
class MountedSecret:
    """A Kubernetes Secret as far as fedid sets or compares it."""

    namespace: str
    name: str
    type: str
    data: Mapping[str, Sensitive]
    """Plain text by key (not base64)."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner_uid: str | None = None
    """uid of the controlling owner reference; None: nobody's."""
    owner_name: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    immutable: bool = False


@dataclass(frozen=True, slots=True)
class Retention:
    """How long Vault keeps what was written (KV v2 only)."""

    max_versions: int
    delete_version_after: timedelta | None
    """None: for ever."""
