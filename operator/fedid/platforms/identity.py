"""What a renderer gets: the published credential of one bot, or what a server checks those of others with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeKey

__all__ = ["AcceptedBot", "Endpoints", "Identity", "MountedIdentity", "OidcClient", "PublishedToken", "ServedIdentity"]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The realm's addresses, under the host that its tokens name, since clients must see the same one.

    Source: Keycloak Server Administration Guide, "OpenID Connect endpoints"; the same as its discovery document tells.
    """

    issuer: str

    @property
    def token(self) -> str:
        """RFC 6749 section 3.2."""
        return self._endpoint("token")

    @property
    def authorization(self) -> str:
        """RFC 6749 section 3.1."""
        return self._endpoint("auth")

    @property
    def device_authorization(self) -> str:
        """RFC 8628 section 3.1."""
        return self._endpoint("auth/device")

    @property
    def introspection(self) -> str:
        """RFC 7662."""
        return self._endpoint("token/introspect")

    @property
    def userinfo(self) -> str:
        """OpenID Connect Core section 5.3."""
        return self._endpoint("userinfo")

    @property
    def jwks(self) -> str:
        """RFC 7517 section 5."""
        return self._endpoint("certs")

    def _endpoint(self, name: str) -> str:
        return f"{self.issuer}/protocol/openid-connect/{name}"


@dataclass(frozen=True, slots=True)
class PublishedToken:
    """One bearer token as it lies in Vault."""

    token: Sensitive
    expires_at: datetime
    """Aware UTC."""


@dataclass(frozen=True, slots=True)
class MountedIdentity:
    """The published credential of one bot and where it is good: `role: client`."""

    client_id: str
    client_secret: Sensitive | None
    """None: it has none, but a key or its ServiceAccount."""
    subject: str
    issuer_url: str
    """Issuer of the realm."""
    tokens: Mapping[str, PublishedToken]
    private_key: Sensitive | None = None
    """PEM (PKCS#8, P-256) of a bot that signs its assertions."""
    key_id: str | None = None
    """The `kid` that it names in them."""
    node_key: NodeKey | None = None
    """Of the SuperNode that the pod is, registered at its SuperLink."""

    @property
    def endpoints(self) -> Endpoints:
        """Addresses of the realm."""
        return Endpoints(self.issuer_url)

    @property
    def default_token(self) -> str | None:
        """Name of the token that `{token}` means: `default`, else the only one."""
        if "default" in self.tokens:
            return "default"
        return next(iter(self.tokens)) if len(self.tokens) == 1 else None


@dataclass(frozen=True, slots=True)
class AcceptedBot:
    """A bot whose opaque tokens a server takes."""

    name: str
    """`<namespace>/<name>`."""
    client_id: str
    subject: str
    tokens: tuple[Sensitive, ...]
    """The one in use first, then what is to take its place or was in use before; all of them are good now."""


@dataclass(frozen=True, slots=True)
class OidcClient:
    """The Keycloak client that a server is itself."""

    client_id: str
    client_secret: Sensitive | None
    """None: a public client, with PKCE."""
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServedIdentity:
    """What a server checks credentials with: `role: server`."""

    issuer_url: str
    """Issuer of the realm."""
    accepted: tuple[AcceptedBot, ...] = ()
    """By name, so that nothing in a file moves without a reason."""
    oidc_client: OidcClient | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Addresses of the realm."""
        return Endpoints(self.issuer_url)

    @property
    def accepted_tokens(self) -> tuple[Sensitive, ...]:
        """Every token that is good now, each once."""
        return tuple(dict.fromkeys(token for bot in self.accepted for token in bot.tokens))


Identity = MountedIdentity | ServedIdentity
