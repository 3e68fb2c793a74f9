"""What a kubeconfig, or a pod's ServiceAccount, says about the way to the API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedid.adapters.kubernetes.credential import Credential


@dataclass(frozen=True, slots=True)
class Found:
    """Where it is, whom to trust, and as whom to come."""

    server: str
    credential: Credential
    namespace: str | None = None
    ca_file: str | None = None
    """None: whom the system trusts."""
    verified: bool = True
    """False: whoever answers is believed, as the kubeconfig wants it."""
    certificate_file: str | None = None
    key_file: str | None = None
    server_hostname: str | None = None
    """What the server's certificate must be for; None: the host of the URL."""
    proxy: str | None = None
