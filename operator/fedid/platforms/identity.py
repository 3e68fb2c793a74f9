"""What a renderer gets: the published credential of one bot, or what a server checks those of others with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeKey

__all__ = [
    "AcceptedBot",
    "CopiedEntry",
    "CopySource",
    "Endpoints",
    "Identity",
    "MountedIdentity",
    "OidcClient",
    "PublishedToken",
    "ServedIdentity",
]


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
class CopySource:
    """Where in Vault a person laid a credential that is to be copied, and who alone can end it."""

    field: str
    """Field of the PodIdentity that names the place."""
    path: str
    """Relative to the mount."""
    mount: str | None
    """None: that of the Federation."""
    id_key: str
    """Key of the entry under which the credential's id lies, which is no secret."""
    authority: str
    """Where a person ends it, for messages."""


@dataclass(frozen=True, slots=True)
class CopiedEntry:
    """A credential of a platform that takes none from here, as a person laid it into Vault."""

    values: Mapping[str, Sensitive]
    """What is in use."""
    previous: Mapping[str, Sensitive] = field(default_factory=dict)
    """What was in use before and is good too, by the same keys; empty: there is none."""

    def ids(self, id_key: str) -> tuple[str, ...]:
        """Return the ids of what only a person can end: of the one in use, then of the one before it."""
        slots = (self.values.get(id_key), self.previous.get(id_key))
        return tuple(slot.reveal().strip() for slot in slots if slot is not None)


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
    copied: CopiedEntry | None = None
    """What lies beside it in Vault for a platform that takes nothing from Keycloak."""
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
    """All that are good now, in an order that a rotation does not change: to a server each change is a reload."""
    in_use: Sensitive
    """The one that clients present; the others are to take its place, or were in use before."""


@dataclass(frozen=True, slots=True)
class OidcClient:
    """The Keycloak client that a server is itself."""

    client_id: str
    client_secret: Sensitive | None
    """None: a public client, with PKCE."""
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    base_url: str | None = None
    """Where the server is reached, without a final slash."""
    public_client_id: str | None = None
    """Of the client beside it that programs of its users sign in with; None: there is none."""


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
