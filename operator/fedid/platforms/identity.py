"""What a renderer gets: the published credential of one bot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fedid.domain.sensitive import Sensitive

__all__ = ["MountedIdentity", "PublishedToken"]


@dataclass(frozen=True, slots=True)
class PublishedToken:
    """One bearer token as it lies in Vault."""

    token: Sensitive
    expires_at: datetime
    """Aware UTC."""


@dataclass(frozen=True, slots=True)
class MountedIdentity:
    """The published credential of one bot and where it is good."""

    client_id: str
    client_secret: Sensitive | None
    """None: it has none, but a key or its ServiceAccount."""
    subject: str
    issuer_url: str
    """Issuer of the realm; the endpoint URLs derive from it, since clients must see the same host as their tokens."""
    tokens: Mapping[str, PublishedToken]
    private_key: Sensitive | None = None
    """PEM (PKCS#8, P-256) of a bot that signs its assertions."""
    key_id: str | None = None
    """The `kid` that it names in them."""

    @property
    def default_token(self) -> str | None:
        """Name of the token that `{token}` means: `default`, else the only one."""
        if "default" in self.tokens:
            return "default"
        return next(iter(self.tokens)) if len(self.tokens) == 1 else None
