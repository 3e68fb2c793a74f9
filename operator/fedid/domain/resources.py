"""The custom resources as frozen values, parsed from what the API server holds.

The CRD schema has checked the shape; parsing checks meaning and fills defaults, so that an object admitted by an older
schema gets a condition and never a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from fedid.domain.durations import duration, duration_text
from fedid.domain.fields import (
    Body,
    flag,
    instant_or_none,
    items,
    section,
    section_or_empty,
    text,
    text_by_name,
    text_or_none,
    texts,
    texts_by_name,
)
from fedid.domain.label_selector import OPERATORS, LabelSelector, parse_selector
from fedid.domain.naming import ObjectKey, default_client_id
from fedid.errors import InvalidSpecError

__all__ = [
    "FINALIZER",
    "Body",
    "BotClient",
    "DriftSettings",
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
_TEN_MINUTES = timedelta(minutes=10)
_SHORTEST = timedelta(seconds=1)
LARGEST_PAGE = 500
_T = TypeVar("_T")


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
class DriftSettings:
    """How changes made by hand in Keycloak are looked for."""

    admin_events: bool = True
    """Whether the realm's admin events are read, where it records them."""
    events_interval: timedelta = timedelta(seconds=10)
    sweep_period: timedelta | None = None
    """None: by whether admin events are read."""
    page_size: int = 100


@dataclass(frozen=True, slots=True)
class Federation:
    """A realm, a Vault mount, and (in `grants`, parsed elsewhere) who may ask for what."""

    meta: Meta
    default: bool
    keycloak: KeycloakAccess
    vault: VaultAccess
    token_lifetime: timedelta
    resync_period: timedelta
    """How often an untouched identity is compared with Vault, and with Keycloak where no admin events are read."""
    drift: DriftSettings = DriftSettings()


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
    suspend: bool = False
    """Whether nothing of it may exist outside the cluster until further notice."""
    expires_at: datetime | None = None
    """From when on nothing of it may (aware UTC, the operator's clock); None: never."""


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
    pods: LabelSelector | None = None
    """Which pods of the namespace are told of a change; None: nobody."""


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
    spec = section(body, "spec")
    defaults = section_or_empty(spec, "spec.defaults")
    return Federation(
        meta=meta_of(body),
        default=flag(spec, "spec.default", default=False),
        keycloak=_keycloak_access(section(spec, "spec.keycloak")),
        vault=_vault_access(section(spec, "spec.vault")),
        token_lifetime=_duration(defaults, "spec.defaults.tokenLifetime", _TEN_MINUTES),
        resync_period=_duration(defaults, "spec.defaults.resyncPeriod", _TEN_MINUTES),
        drift=_drift_settings(section_or_empty(spec, "spec.drift")),
    )


def parse_bot_client(body: Body) -> BotClient:
    """Return the BotClient.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    spec, meta = section(body, "spec"), meta_of(body)
    default_id = default_client_id(meta.key.namespace, meta.key.name)
    client_id = text_or_none(spec, "spec.clientId") or default_id
    return BotClient(
        meta=meta,
        federation=_federation_name(spec),
        client_id=client_id,
        default_named=client_id == default_id,
        description=text_or_none(spec, "spec.description") or "",
        realm_roles=frozenset(texts(spec, "spec.realmRoles")),
        client_roles={c: frozenset(roles) for c, roles in texts_by_name(spec, "spec.clientRoles").items() if roles},
        audiences=frozenset(texts(spec, "spec.audiences")),
        tokens=tuple(
            TokenSpec(name=text(token, f"{path}.name"), lifetime=_duration(token, f"{path}.lifetime", None))
            for path, token in items(spec, "spec.tokens")
        ),
        suspend=flag(spec, "spec.suspend", default=False),
        expires_at=instant_or_none(spec, "spec.expiresAt"),
    )


def parse_federation_user(body: Body) -> FederationUser:
    """Return the FederationUser.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    spec = section(body, "spec")
    return FederationUser(
        meta=meta_of(body),
        federation=_federation_name(spec),
        username=text(spec, "spec.username"),
        email=text_or_none(spec, "spec.email"),
        first_name=text_or_none(spec, "spec.firstName"),
        last_name=text_or_none(spec, "spec.lastName"),
        enabled=flag(spec, "spec.enabled", default=True),
        groups=frozenset(texts(spec, "spec.groups")),
        realm_roles=frozenset(texts(spec, "spec.realmRoles")),
    )


def parse_pod_identity(body: Body) -> PodIdentity:
    """Return the PodIdentity.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    spec, meta = section(body, "spec"), meta_of(body)
    platform = section(spec, "spec.platform")
    if platform.get("generic") is None:
        message = "spec.platform needs generic: {files: {<key>: <template>}}"
        raise InvalidSpecError(message)
    generic = section(platform, "spec.platform.generic")
    return PodIdentity(
        meta=meta,
        bot_name=text(section(spec, "spec.botClientRef"), "spec.botClientRef.name"),
        secret_name=text_or_none(spec, "spec.secretName") or meta.key.name,
        files=text_by_name(generic, "spec.platform.generic.files"),
        pods=_pod_selector(spec),
    )


def _pod_selector(spec: Body) -> LabelSelector | None:
    if spec.get("pods") is None:
        return None
    path = "spec.pods.selector"
    selector = parse_selector(section(spec, "spec.pods"), path)
    if not (selector.match_labels or selector.match_expressions):
        message = f"{path} is empty and would select every pod of the namespace; write matchLabels: {{app: <name>}}"
        raise InvalidSpecError(message)
    for number, (_, operator, _) in enumerate(selector.match_expressions):
        if operator not in OPERATORS:
            known = ", ".join(OPERATORS)
            message = f"{path}.matchExpressions[{number}].operator is {operator!r}; write one of {known}"
            raise InvalidSpecError(message)
    return selector


def _keycloak_access(keycloak: Body) -> KeycloakAccess:
    auth = section_or_empty(keycloak, "spec.keycloak.auth")
    if auth.get("clientCredentials") is None:
        message = "spec.keycloak.auth needs clientCredentials: {secretName: <Secret in the operator's namespace>}"
        raise InvalidSpecError(message)
    credentials = section(auth, "spec.keycloak.auth.clientCredentials")
    url, realm = text(keycloak, "spec.keycloak.url").rstrip("/"), text(keycloak, "spec.keycloak.realm")
    return KeycloakAccess(
        url=url,
        realm=realm,
        issuer_url=text_or_none(keycloak, "spec.keycloak.issuerUrl") or f"{url}/realms/{realm}",
        ca_bundle=text_or_none(keycloak, "spec.keycloak.caBundle"),
        secret_name=text(credentials, "spec.keycloak.auth.clientCredentials.secretName"),
    )


def _drift_settings(drift: Body) -> DriftSettings:
    usual, mode, size = DriftSettings(), text_or_none(drift, "spec.drift.adminEvents") or "Auto", drift.get("pageSize")
    if mode not in ("Auto", "Never"):
        message = f"spec.drift.adminEvents is {mode!r}; write Auto or Never"
        raise InvalidSpecError(message)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LARGEST_PAGE):
        message = f"spec.drift.pageSize is {size!r}; write a number from 1 to {LARGEST_PAGE}"
        raise InvalidSpecError(message)
    interval = _duration(drift, "spec.drift.eventsInterval", usual.events_interval)
    period = _duration(drift, "spec.drift.sweepPeriod", None)
    for name, value in (("eventsInterval", interval), ("sweepPeriod", period)):
        if value is not None and value < _SHORTEST:
            message = f"spec.drift.{name} is {duration_text(value)}; write at least {duration_text(_SHORTEST)}"
            raise InvalidSpecError(message)
    return DriftSettings(mode == "Auto", interval, period, size or usual.page_size)


def _vault_access(vault: Body) -> VaultAccess:
    auth = section_or_empty(vault, "spec.vault.auth")
    if auth.get("jwt") is None:
        message = "spec.vault.auth needs jwt: {mount: <auth mount>, role: <role bound to the operator>}"
        raise InvalidSpecError(message)
    jwt, kv_version = section(auth, "spec.vault.auth.jwt"), vault.get("kvVersion")
    if kv_version is not None and (isinstance(kv_version, bool) or kv_version not in (1, 2)):
        message = f"spec.vault.kvVersion is {kv_version!r}; set 1 or 2"
        raise InvalidSpecError(message)
    return VaultAccess(
        url=text(vault, "spec.vault.url").rstrip("/"),
        mount=text_or_none(vault, "spec.vault.mount") or "secret",
        kv_version=int(kv_version or 2),
        path_prefix=text_or_none(vault, "spec.vault.pathPrefix") or "fedid",
        ca_bundle=text_or_none(vault, "spec.vault.caBundle"),
        jwt_mount=text_or_none(jwt, "spec.vault.auth.jwt.mount") or "jwt",
        jwt_role=text(jwt, "spec.vault.auth.jwt.role"),
    )


def _duration(parent: Body, path: str, default: _T) -> timedelta | _T:
    written = text_or_none(parent, path)
    return duration(written, path) if written is not None else default


def _federation_name(spec: Body) -> str | None:
    return text_or_none(section_or_empty(spec, "spec.federationRef"), "spec.federationRef.name")
