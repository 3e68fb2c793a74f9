"""The secrets of a stack: random per stack, kept in files that only their owner reads."""

import json
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from tests.testbed.paths import write_private

KEYCLOAK_ADMIN = "admin"
"""Keycloak's bootstrap administrator."""


def _secret() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Secrets that the testbed chooses before the servers start.

    None of them is in the repr, so that no failing test prints one.
    """

    kubernetes_admin_token: str = field(default_factory=_secret, repr=False)
    """Bearer token of the cluster's administrator (group system:masters)."""
    controller_manager_token: str = field(default_factory=_secret, repr=False)
    """Bearer token of kube-controller-manager."""
    scheduler_token: str = field(default_factory=_secret, repr=False)
    """Bearer token of kube-scheduler."""
    kubelet_token: str = field(default_factory=_secret, repr=False)
    """Bearer token of the kubelet."""
    keycloak_admin_password: str = field(default_factory=_secret, repr=False)
    """Password of KEYCLOAK_ADMIN in the realm `master`."""
    superlink_client_secret: str = field(default_factory=_secret, repr=False)
    """Secret of the client `superlink` in the realm `fl`."""


@dataclass(frozen=True, slots=True)
class VaultKeys:
    """What Vault hands out once, when it is initialised."""

    root_token: str = field(repr=False)
    unseal_key: str = field(repr=False)
    """The only key share (base64)."""


def settle_credentials(path: Path) -> Credentials:
    """Return the stack's credentials; make what is missing, and remember it."""
    known = json.loads(path.read_text()) if path.exists() else {}
    names = {field.name for field in fields(Credentials)}
    settled = Credentials(**{name: value for name, value in known.items() if name in names})
    if asdict(settled) != known:
        write_private(path, json.dumps(asdict(settled), indent=1))
    return settled


def load_vault_keys(path: Path) -> VaultKeys:
    """Read what Vault handed out."""
    return VaultKeys(**json.loads(path.read_text()))


def save_vault_keys(path: Path, keys: VaultKeys) -> None:
    """Keep what Vault handed out; it cannot be had a second time."""
    write_private(path, json.dumps(asdict(keys), indent=1))
