"""The custom resources as frozen values, parsed from what the API server holds.

The CRD schema has checked the shape; parsing checks meaning and fills defaults, so that an object admitted by an older
schema gets a condition and never a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from fedid.domain.access import KeycloakAccess, VaultAccess, parse_keycloak_access, parse_vault_access
from fedid.domain.bot_authentication import BotAuthentication, ClientSecret, parse_authentication
from fedid.domain.drift_settings import DriftSettings, parse_drift_settings
from fedid.domain.durations import duration
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
from fedid.domain.naming import ObjectKey, default_client_id
from fedid.domain.orphans import OrphanSettings, parse_orphan_settings
from fedid.domain.token_entries import JWT, OPAQUE
from fedid.errors import InvalidSpecError

__all__ = [
    "FINALIZER",
    "TUPLES_FINALIZER",
    "Body",
    "BotClient",
    "Federation",
    "Meta",
    "SecretRotation",
    "TokenSpec",
    "federation_ref",
    "meta_of",
    "parse_bot_client",
    "retains",
]

GROUP_VERSION = "fedid.io/v1alpha1"
FINALIZER = "fedid.io/revoke"
"""Ours alone; kopf strips its own finalizer from objects that no kopf handler needs it for."""
TUPLES_FINALIZER = "fedid.io/openfga"
"""Of a server whose tuples are in OpenFGA; its own, so that neither they nor its client wait for the other's end."""

FEDERATION, BOT_CLIENT, FEDERATION_USER, POD_IDENTITY = "Federation", "BotClient", "FederationUser", "PodIdentity"
IDENTITY_APPROVAL = "IdentityApproval"
REVOCATION_RECEIPT = "RevocationReceipt"
"""What the operator writes about an end and never reads to decide anything."""
KINDS = (FEDERATION, BOT_CLIENT, FEDERATION_USER, POD_IDENTITY)
"""What is reconciled: it has a status and may carry our finalizer."""
WATCHED = (IDENTITY_APPROVAL, *KINDS)
"""What is read: approvals first, since what they allow would be withdrawn before they are known."""
PLURALS = {
    FEDERATION: "federations",
    BOT_CLIENT: "botclients",
    FEDERATION_USER: "federationusers",
    POD_IDENTITY: "podidentities",
    IDENTITY_APPROVAL: "identityapprovals",
    REVOCATION_RECEIPT: "revocationreceipts",
}
_TEN_MINUTES, _ONE_HOUR = timedelta(minutes=10), timedelta(hours=1)
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

    @property
    def is_held(self) -> bool:
        """Whether any finalizer of ours keeps it."""
        return bool({FINALIZER, TUPLES_FINALIZER} & {*self.finalizers})


@dataclass(frozen=True, slots=True)
class Federation:
    """A realm, a Vault mount, and (in `grants`, parsed elsewhere) who may ask for what."""

    meta: Meta
    default: bool
    keycloak: KeycloakAccess
    vault: VaultAccess
    token_lifetime: timedelta
    rotation_period: timedelta | None
    """How often the secret of a bot that says nothing about it is replaced; None: never."""
    overlap: timedelta
    """How long the former of two credentials stays good where a bot says nothing about it."""
    resync_period: timedelta
    """How often an untouched identity is compared with Vault, and with Keycloak where no admin events are read."""
    drift: DriftSettings = field(default_factory=DriftSettings)
    orphans: OrphanSettings = field(default_factory=OrphanSettings)


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """One bearer token of a bot."""

    name: str
    lifetime: timedelta | None
    """None: the default of its type."""
    type: str = JWT
    renew_before: timedelta | None = None
    """How long before its end it is replaced at the latest; None: a third of its life."""
    overlap: timedelta | None = None
    """Of an opaque token: how long the former one stays good; None: the Federation's default."""
    scopes: frozenset[str] = frozenset()
    """Of a jwt: client scopes that are asked for with it."""
    vault_path: str | None = None
    """Template of the place in Vault where a copy goes; None: there is none."""
    vault_mount: str | None = None
    """None: the Federation's."""
    vault_key: str = "token"


@dataclass(frozen=True, slots=True)
class SecretRotation:
    """How often the secret of a bot changes."""

    every: timedelta | None
    """None: only when it is asked for."""
    overlap: timedelta | None
    """How long the former one stays good; None: the Federation's default."""
    allow_interruption: bool
    """Whether it may change where the realm cannot keep two: then clients are refused until they read the new one."""


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
    secret_rotation: SecretRotation | None = None
    default_scopes: frozenset[str] = frozenset()
    optional_scopes: frozenset[str] = frozenset()
    """Client scopes beside those that the realm gives to every client."""
    claims: Mapping[str, str] = field(default_factory=dict)
    """Hard-coded claims of its tokens, name to value."""
    adopt: bool = False
    """Whether it takes over a client of its clientId that nobody owns."""
    retain: bool = False
    """Whether its client outlives it, as nobody's and with a secret that nobody knows."""
    suspend: bool = False
    """Whether nothing of it may exist outside the cluster until further notice."""
    authentication: BotAuthentication = field(default_factory=ClientSecret)
    expires_at: datetime | None = None
    """From when on nothing of it may (aware UTC, the operator's clock); None: never."""


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
        keycloak=parse_keycloak_access(section(spec, "spec.keycloak")),
        vault=parse_vault_access(section(spec, "spec.vault")),
        token_lifetime=_duration(defaults, "spec.defaults.tokenLifetime", _TEN_MINUTES),
        rotation_period=_duration(defaults, "spec.defaults.rotationPeriod", None),
        overlap=_duration(defaults, "spec.defaults.overlap", _ONE_HOUR),
        resync_period=_duration(defaults, "spec.defaults.resyncPeriod", _TEN_MINUTES),
        drift=parse_drift_settings(section_or_empty(spec, "spec.drift")),
        orphans=parse_orphan_settings(section_or_empty(spec, "spec.orphans")),
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
        federation=federation_ref(spec),
        client_id=client_id,
        default_named=client_id == default_id,
        description=text_or_none(spec, "spec.description") or "",
        realm_roles=frozenset(texts(spec, "spec.realmRoles")),
        client_roles={c: frozenset(roles) for c, roles in texts_by_name(spec, "spec.clientRoles").items() if roles},
        audiences=frozenset(texts(spec, "spec.audiences")),
        tokens=tuple(_token(token, path) for path, token in items(spec, "spec.tokens")),
        secret_rotation=_secret_rotation(spec),
        authentication=parse_authentication(spec, meta.key.namespace),
        default_scopes=frozenset(texts(spec, "spec.defaultScopes")),
        optional_scopes=frozenset(texts(spec, "spec.optionalScopes")),
        claims=text_by_name(spec, "spec.claims"),
        adopt=flag(spec, "spec.adopt", default=False),
        retain=retains(spec),
        suspend=flag(spec, "spec.suspend", default=False),
        expires_at=instant_or_none(spec, "spec.expiresAt"),
    )


def _token(token: Body, path: str) -> TokenSpec:
    kind = text_or_none(token, f"{path}.type") or JWT
    if kind not in {JWT, OPAQUE}:
        message = f"{path}.type is {kind!r}; write {JWT} or {OPAQUE}"
        raise InvalidSpecError(message)
    return TokenSpec(
        name=text(token, f"{path}.name"),
        type=kind,
        lifetime=_duration(token, f"{path}.lifetime", None),
        renew_before=_duration(token, f"{path}.renewBefore", None),
        overlap=_duration(token, f"{path}.overlap", None),
        scopes=frozenset(texts(token, f"{path}.scopes")),
        vault_path=text_or_none(token, f"{path}.vaultPath"),
        vault_mount=text_or_none(token, f"{path}.vaultMount"),
        vault_key=text_or_none(token, f"{path}.vaultKey") or "token",
    )


def _secret_rotation(spec: Body) -> SecretRotation | None:
    if spec.get("secretRotation") is None:
        return None
    path = "spec.secretRotation"
    rotation = section(spec, path)
    return SecretRotation(
        every=_duration(rotation, f"{path}.every", None),
        overlap=_duration(rotation, f"{path}.overlap", None),
        allow_interruption=flag(rotation, f"{path}.allowInterruption", default=False),
    )


def retains(spec: Body) -> bool:
    """Tell whether the `deletionPolicy` of an identity is `Retain`.

    Raises:
        InvalidSpecError: It is neither of the two.
    """
    policy = text_or_none(spec, "spec.deletionPolicy") or "Delete"
    if policy not in {"Delete", "Retain"}:
        message = f"spec.deletionPolicy is {policy!r}; write Delete or Retain"
        raise InvalidSpecError(message)
    return policy == "Retain"


def _duration(parent: Body, path: str, default: _T) -> timedelta | _T:
    written = text_or_none(parent, path)
    return duration(written, path) if written is not None else default


def federation_ref(spec: Body) -> str | None:
    """Return the name of the Federation that a spec refers to, None if it leaves that out.

    Raises:
        InvalidSpecError: It is no text.
    """
    return text_or_none(section_or_empty(spec, "spec.federationRef"), "spec.federationRef.name")
