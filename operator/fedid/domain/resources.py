"""The custom resources as frozen values, parsed from what the API server holds.

The CRD schema has checked the shape; parsing checks meaning and fills defaults, so that an object admitted by an older
schema gets a condition and never a crash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fedid.domain.durations import duration
from fedid.domain.naming import ObjectKey, default_client_id
from fedid.errors import InvalidSpecError

__all__ = [
    "FINALIZER",
    "BotClient",
    "Federation",
    "FederationUser",
    "KeycloakAccess",
    "Meta",
    "PodIdentity",
    "TokenSpec",
    "VaultAccess",
    "meta_of",
    "parse_bot_client",
    "parse_federation_user",
    "parse_pod_identity",
]

GROUP_VERSION = "fedid.io/v1alpha1"
FINALIZER = "fedid.io/revoke"
"""Ours alone; kopf strips its own finalizer from objects that no kopf handler needs it for."""

FEDERATION, BOT_CLIENT, FEDERATION_USER, POD_IDENTITY = "Federation", "BotClient", "FederationUser", "PodIdentity"
KINDS = (FEDERATION, BOT_CLIENT, FEDERATION_USER, POD_IDENTITY)
PLURALS = {
    FEDERATION: "federations",
    BOT_CLIENT: "botclients",
    FEDERATION_USER: "federationusers",
    POD_IDENTITY: "podidentities",
}

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Meta:
    """Identity and life of one custom resource."""

    key: ObjectKey
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    finalizers: tuple[str, ...]
    annotations: Mapping[str, str]

    @property
    def has_finalizer(self) -> bool:
        """Whether something of it may exist outside the cluster."""
        return FINALIZER in self.finalizers


@dataclass(frozen=True, slots=True)
class KeycloakAccess:
    """Where the realm is and how the operator gets in."""

    url: str
    realm: str
    issuer_url: str
    ca_bundle: str | None
    secret_name: str
    """Secret in the operator's namespace with keys `client-id` and `client-secret`."""


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """Where Vault is and how the operator gets in."""

    url: str
    mount: str
    kv_version: int
    path_prefix: str
    ca_bundle: str | None
    jwt_mount: str
    jwt_role: str


@dataclass(frozen=True, slots=True)
class Federation:
    """A realm, a Vault mount, and (in `grants`, parsed elsewhere) who may ask for what."""

    meta: Meta
    default: bool
    keycloak: KeycloakAccess
    vault: VaultAccess
    token_lifetime: timedelta
    resync_period: timedelta
    """How often an untouched identity is compared with the backends."""


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """One bearer token of a bot."""

    name: str
    lifetime: timedelta | None
    """None: the Federation's default."""


@dataclass(frozen=True, slots=True)
class BotClient:
    """A confidential Keycloak client with a service account, and its bearer tokens."""

    meta: Meta
    federation: str | None
    client_id: str
    default_named: bool
    """Whether the clientId is the default, which needs no grant of its own."""
    description: str
    realm_roles: frozenset[str]
    client_roles: Mapping[str, frozenset[str]]
    audiences: frozenset[str]
    tokens: tuple[TokenSpec, ...]


@dataclass(frozen=True, slots=True)
class FederationUser:
    """A person's account in the realm."""

    meta: Meta
    federation: str | None
    username: str
    email: str | None
    first_name: str | None
    last_name: str | None
    enabled: bool
    groups: frozenset[str]
    realm_roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """What one kind of pod mounts: the credential of a bot, as files of one Secret."""

    meta: Meta
    bot_name: str
    secret_name: str
    files: Mapping[str, str]
    """Secret key to template."""


def meta_of(body: Body) -> Meta:
    """Return identity and life of an object as the API server sends it."""
    metadata = body["metadata"]
    return Meta(
        key=ObjectKey(body["kind"], metadata.get("namespace") or "", metadata["name"]),
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 0)),
        resource_version=str(metadata.get("resourceVersion", "")),
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
        annotations=dict(metadata.get("annotations") or {}),
    )


def parse_federation(body: Body) -> Federation:
    """Return the Federation.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    spec = _spec(body)
    keycloak, vault = _section(spec, "keycloak"), _section(spec, "vault")
    credentials = (keycloak.get("auth") or {}).get("clientCredentials")
    jwt = (vault.get("auth") or {}).get("jwt")
    if credentials is None:
        message = "spec.keycloak.auth needs clientCredentials: {secretName: <Secret in the operator's namespace>}"
        raise InvalidSpecError(message)
    if jwt is None:
        message = "spec.vault.auth needs jwt: {mount: <auth mount>, role: <role bound to the operator>}"
        raise InvalidSpecError(message)
    url, realm = _text(keycloak, "keycloak", "url").rstrip("/"), _text(keycloak, "keycloak", "realm")
    defaults = spec.get("defaults") or {}
    return Federation(
        meta=meta_of(body),
        default=bool(spec.get("default", False)),
        keycloak=KeycloakAccess(
            url=url,
            realm=realm,
            issuer_url=keycloak.get("issuerUrl") or f"{url}/realms/{realm}",
            ca_bundle=keycloak.get("caBundle"),
            secret_name=_text(credentials, "keycloak.auth.clientCredentials", "secretName"),
        ),
        vault=VaultAccess(
            url=_text(vault, "vault", "url").rstrip("/"),
            mount=vault.get("mount") or "secret",
            kv_version=int(vault.get("kvVersion") or 2),
            path_prefix=vault.get("pathPrefix") or "fedid",
            ca_bundle=vault.get("caBundle"),
            jwt_mount=jwt.get("mount") or "jwt",
            jwt_role=_text(jwt, "vault.auth.jwt", "role"),
        ),
        token_lifetime=duration(defaults.get("tokenLifetime") or "10m", "spec.defaults.tokenLifetime"),
        resync_period=duration(defaults.get("resyncPeriod") or "10m", "spec.defaults.resyncPeriod"),
    )


def parse_bot_client(body: Body) -> BotClient:
    """Return the BotClient.

    Raises:
        InvalidSpecError: A field means nothing; the message names it.
    """
    spec, meta = _spec(body), meta_of(body)
    default_id = default_client_id(meta.key.namespace, meta.key.name)
    client_id = spec.get("clientId") or default_id
    return BotClient(
        meta=meta,
        federation=_federation_name(spec),
        client_id=client_id,
        default_named=client_id == default_id,
        description=spec.get("description") or "",
        realm_roles=_names(spec, "realmRoles"),
        client_roles={c: frozenset(roles) for c, roles in (spec.get("clientRoles") or {}).items() if roles},
        audiences=_names(spec, "audiences"),
        tokens=tuple(
            TokenSpec(
                name=token["name"],
                lifetime=duration(token["lifetime"], f"spec.tokens[{i}].lifetime") if token.get("lifetime") else None,
            )
            for i, token in enumerate(spec.get("tokens") or ())
        ),
    )


def parse_federation_user(body: Body) -> FederationUser:
    """Return the FederationUser.

    Raises:
        InvalidSpecError: A field is missing; the message names it.
    """
    spec = _spec(body)
    return FederationUser(
        meta=meta_of(body),
        federation=_federation_name(spec),
        username=_text(spec, "", "username"),
        email=spec.get("email") or None,
        first_name=spec.get("firstName") or None,
        last_name=spec.get("lastName") or None,
        enabled=bool(spec.get("enabled", True)),
        groups=_names(spec, "groups"),
        realm_roles=_names(spec, "realmRoles"),
    )


def parse_pod_identity(body: Body) -> PodIdentity:
    """Return the PodIdentity.

    Raises:
        InvalidSpecError: A field is missing; the message names it.
    """
    spec, meta = _spec(body), meta_of(body)
    generic = _section(spec, "platform").get("generic")
    if generic is None:
        message = "spec.platform needs generic: {files: {<key>: <template>}}"
        raise InvalidSpecError(message)
    return PodIdentity(
        meta=meta,
        bot_name=_text(_section(spec, "botClientRef"), "botClientRef", "name"),
        secret_name=spec.get("secretName") or meta.key.name,
        files=dict(generic.get("files") or {}),
    )


def _spec(body: Body) -> Body:
    return _section(body, "spec")


def _section(parent: Body, name: str) -> Body:
    section = parent.get(name)
    if not isinstance(section, Mapping):
        message = f"spec.{name} is missing" if name != "spec" else "spec is missing"
        raise InvalidSpecError(message)
    return section


def _text(parent: Body, path: str, name: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not value:
        message = f"spec.{path + '.' if path else ''}{name} is missing"
        raise InvalidSpecError(message)
    return value


def _names(spec: Body, field: str) -> frozenset[str]:
    value: Sequence[str] = spec.get(field) or ()
    return frozenset(value)


def _federation_name(spec: Body) -> str | None:
    return (spec.get("federationRef") or {}).get("name") or None
