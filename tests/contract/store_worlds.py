"""A `SecretStore` with hands: what somebody else does to the mount, in the fake and in a real Vault."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from fedid.adapters.transport import Transport
from fedid.adapters.vault import JwtLogin, VaultSecretStore
from fedid.domain.stored import VaultMark
from fedid.ports import SecretStore
from tests.fakes.secret_store import FakeEntry, FakeSecretStore
from tests.testbed.stack import Stack

MOUNTS = {1: "secrets", 2: "secret"}
"""The stack's mount of each KV version."""


def unique_prefix() -> str:
    """Return a folder inside the operator's prefix that no other test uses."""
    return f"fedid/contract-{uuid.uuid4().hex[:12]}"


class StoreWorld(Protocol):
    """One mount, as the port sees it and as its administrator does."""

    store: SecretStore
    kv_version: int
    prefix: str

    def put_by_hand(self, path: str, data: Mapping[str, str], mark: VaultMark | None) -> None:
        """Write data, under a mark or under none."""

    def mark_by_hand(self, path: str, mark: VaultMark) -> None:
        """Write the mark alone (KV v2)."""

    def delete_newest_by_hand(self, path: str) -> None:
        """Soft-delete the newest version (KV v2)."""

    def data_of(self, path: str) -> dict[str, str]:
        """Return the newest data without the mark, whoever it belongs to; empty if there is none."""

    def pass_seconds(self, seconds: float) -> None:
        """Let time go by."""


@dataclass
class FakeWorld:
    """The mount in memory."""

    kv_version: int
    prefix: str = "fedid/contract"
    ahead: timedelta = timedelta()

    def __post_init__(self) -> None:
        """Make the mount with a clock that can be moved."""
        self.fake = FakeSecretStore(kv_version=self.kv_version, now=lambda: datetime.now(UTC) + self.ahead)
        self.store: SecretStore = self.fake

    def put_by_hand(self, path: str, data: Mapping[str, str], mark: VaultMark | None) -> None:
        """Write data."""
        self.fake.put_by_hand(path, data, mark)

    def mark_by_hand(self, path: str, mark: VaultMark) -> None:
        """Write the mark alone."""
        self.fake.entries[path] = FakeEntry(mark)

    def delete_newest_by_hand(self, path: str) -> None:
        """Soft-delete the newest version."""
        self.fake.delete_newest_by_hand(path)

    def data_of(self, path: str) -> dict[str, str]:
        """Return the newest data."""
        return self.fake.data_of(path)

    def pass_seconds(self, seconds: float) -> None:
        """Move the clock."""
        self.ahead += timedelta(seconds=seconds)


def mark_fields(mark: VaultMark | None) -> dict[str, str]:
    """Return a mark as it lies in Vault."""
    return {} if mark is None else {"fedid.owner": mark.owner, "fedid.object": mark.object_name}


@dataclass
class VaultWorld:
    """A mount of the stack's Vault; the hands are root's."""

    stack: Stack
    store: SecretStore
    kv_version: int
    prefix: str = field(default_factory=unique_prefix)

    @property
    def mount(self) -> str:
        """Name of the mount."""
        return MOUNTS[self.kv_version]

    def put_by_hand(self, path: str, data: Mapping[str, str], mark: VaultMark | None) -> None:
        """Write data."""
        if self.kv_version == 1:
            self.stack.vault("POST", f"/v1/{self.mount}/{path}", {**data, **mark_fields(mark)})
            return
        self.stack.vault("POST", f"/v1/{self.mount}/data/{path}", {"data": dict(data)})
        if mark is not None:
            self.mark_by_hand(path, mark)

    def mark_by_hand(self, path: str, mark: VaultMark) -> None:
        """Write the mark alone."""
        self.stack.vault("POST", f"/v1/{self.mount}/metadata/{path}", {"custom_metadata": mark_fields(mark)})

    def delete_newest_by_hand(self, path: str) -> None:
        """Soft-delete the newest version."""
        self.stack.vault("DELETE", f"/v1/{self.mount}/data/{path}")

    def data_of(self, path: str) -> dict[str, str]:
        """Return the newest data."""
        infix = "" if self.kv_version == 1 else "data/"
        answer = self.stack.vault("GET", f"/v1/{self.mount}/{infix}{path}", accept=(404,))
        data: dict[str, Any] = answer.get("data") or {}
        shown = data if self.kv_version == 1 else data.get("data") or {}
        return {key: value for key, value in shown.items() if not key.startswith("fedid.")}

    def metadata_of(self, path: str) -> dict[str, Any]:
        """Return the metadata of a KV v2 path; empty if there is none."""
        answer = self.stack.vault("GET", f"/v1/{self.mount}/metadata/{path}", accept=(404,))
        return answer.get("data") or {}

    def pass_seconds(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def remove_all(self) -> None:
        """Delete what the test left behind."""
        infix = "" if self.kv_version == 1 else "metadata/"

        def remove(folder: str) -> None:
            answer = self.stack.vault("GET", f"/v1/{self.mount}/{infix}{folder}?list=true", accept=(404,))
            for name in (answer.get("data") or {}).get("keys", ()):
                if name.endswith("/"):
                    remove(f"{folder}/{name.rstrip('/')}")
                else:
                    self.stack.vault("DELETE", f"/v1/{self.mount}/{infix}{folder}/{name}")

        remove(self.prefix)


def write_operator_jwt(stack: Stack, folder: Path) -> Path:
    """Mint the operator's projected token for Vault into a file and return its path."""
    path = folder / "vault-token"
    path.write_text(stack.token_request("fedid-system", "fedid", audience="vault") + "\n")
    return path


def vault_store(stack: Stack, token_file: Path, kv_version: int, *, url: str | None = None) -> VaultSecretStore:
    """Return the adapter, logged in as the operator.

    Args:
        stack: Whose Vault.
        token_file: What `write_operator_jwt` made.
        kv_version: Chooses the mount.
        url: A proxy in front of Vault; None: Vault itself.
    """
    return VaultSecretStore(
        Transport("vault", url or stack.vault_url),
        mount=MOUNTS[kv_version],
        kv_version=kv_version,
        login=JwtLogin(role="fedid", token_file=token_file),
    )
