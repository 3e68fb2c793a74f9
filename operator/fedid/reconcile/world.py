"""What every reconciler works with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from weakref import WeakValueDictionary

from fedid.domain.bot_authentication import SigningKey
from fedid.domain.bot_keys import KeyReader
from fedid.domain.grants import Grant
from fedid.domain.initial_password import PasswordMaker
from fedid.domain.naming import ObjectKey, owner_mark
from fedid.domain.openfga import OpenFgaAccess
from fedid.domain.realm import SecretPolicy
from fedid.domain.resources import Federation
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeKey, NodeKeyReader, SuperLinkAccess
from fedid.engine import Priority
from fedid.errors import Error
from fedid.ports import (
    BackendFactory,
    Clock,
    Cluster,
    IdentityProvider,
    Meter,
    NodeRegistry,
    SecretStore,
    Sidecars,
    TupleStore,
)
from fedid.reconcile.audit import Audit
from fedid.reconcile.departed import Departed
from fedid.reconcile.directory import Directory
from fedid.reconcile.freshness import Freshness, SecretSightings
from fedid.reconcile.rotation_lag import RotationLag

__all__ = ["Backends", "OpenFga", "Wake", "World"]

_REMEMBERED_DELETIONS = 10_000
_ONE_DELETION = timedelta(minutes=1)
"""What was noted longer ago was about an earlier client of the same id."""


class Wake(Protocol):
    """Asks for a pass over a key, now or at an instant."""

    def __call__(
        self, key: ObjectKey, priority: Priority = Priority.CHANGE, *, look: bool = True, at: float | None = None
    ) -> None:
        """Enqueue the key.

        Args:
            key: Whose pass.
            priority: How urgent.
            look: The pass observes everything, not only what is due.
            at: Monotonic seconds; None: now.
        """


@dataclass(slots=True)
class Backends:
    """The adapters of one Federation, with what was parsed of it."""

    federation: Federation
    grants: tuple[Grant, ...]
    identity_provider: IdentityProvider
    secret_store: SecretStore
    access_digest: str
    """Of everything that the adapters were built from; another one means new adapters."""
    keycloak_ready: bool | None = None
    vault_ready: bool | None = None
    """None: not looked at yet."""
    secret_policy: SecretPolicy | None = None
    """The realm's policy for two secrets, as bots that miss one were last told."""
    keycloak_refusal: str = ""
    """Why nothing new may be begun in Keycloak, until a person mends something; empty if it is only away."""
    vault_refusal: str = ""
    """Likewise in Vault."""
    may_write: bool | None = None
    """Whether this copy of the installation holds the newest epoch; None: not looked at yet."""
    may_not_write: str = ""
    """Why nothing may be written to either backend, deletions included."""
    admin_events: bool = False
    """Whether the realm records admin events, we may read them, and the spec does not say otherwise."""

    _vault_there_since: float | None = None

    def saw_vault(self, now: float, *, ready: bool) -> None:
        """Take note of whether Vault is ready, at an instant (monotonic seconds)."""
        self.vault_ready = ready
        if not ready:
            self._vault_there_since = None
        elif self._vault_there_since is None:
            self._vault_there_since = now

    def vault_there_for(self, now: float) -> timedelta:
        """Return for how long Vault has been seen ready without a break; zero if it is not, or was not looked at."""
        since = self._vault_there_since
        return timedelta(seconds=now - since) if since is not None else timedelta()

    @property
    def readiness(self) -> tuple[bool | None, bool | None, bool | None]:
        """What is known of Keycloak, of Vault, and of the epoch."""
        return self.keycloak_ready, self.vault_ready, self.may_write

    @property
    def looked_at(self) -> bool:
        """Whether it is known what the backends say."""
        return None not in self.readiness


@dataclass(frozen=True, slots=True)
class OpenFga:
    """The OpenFGA of one Federation."""

    access: OpenFgaAccess
    store: TupleStore
    key: Sensitive | None = None
    """What the adapter was made with."""


@dataclass(slots=True)
class World:
    """The one bundle of collaborators; made by the composition root."""

    cluster: Cluster
    clock: Clock
    factory: BackendFactory
    directory: Directory
    wake: Wake
    installation_id: str
    fresh_secret: Callable[[], Sensitive]
    """Makes a bot secret of at least 256 random bits."""
    fresh_token: Callable[[], Sensitive]
    """Makes an opaque token: 256 random bits as 64 hexadecimal digits."""
    fresh_password: PasswordMaker
    """Makes the initial password of a user."""
    fresh_key: Callable[[], SigningKey]
    """Makes a key pair."""
    read_key: KeyReader
    """Reads one that `fresh_key` made."""
    fresh_node_key: Callable[[], NodeKey]
    """Makes a key pair of a SuperNode."""
    read_node_key: NodeKeyReader
    """Reads one that `fresh_node_key` made."""
    own_subject: Callable[[], str]
    """Returns the `sub` of the operator's own ServiceAccount; empty if it runs without one."""
    audit: Audit
    meter: Meter
    sidecars: Sidecars
    force_release: bool = False
    """Whether the annotation `fedid.io/force-release` is obeyed: only where it is checked who sets it."""
    backends: dict[str, Backends] = field(default_factory=dict)
    """By Federation name; absent until the Federation was first looked at in this process."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Federation name to why there are no adapters for it: its spec or its access Secret is wrong."""
    super_links: dict[SuperLinkAccess, NodeRegistry] = field(default_factory=dict)
    """Adapters of the SuperLinks that were asked last."""
    status_locks: WeakValueDictionary[ObjectKey, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """Held while a status is written."""
    openfgas: dict[str, OpenFga | Error] = field(default_factory=dict)
    """By Federation name, or why there is no adapter; absent until it was looked at, or if the Federation has none."""
    freshness: Freshness = field(default_factory=Freshness)
    sightings: SecretSightings = field(default_factory=SecretSightings)
    departed: Departed = field(default_factory=Departed)
    rotation_lag: RotationLag = field(init=False)
    last_deletions: dict[str, datetime] = field(default_factory=dict)
    """Client id to the last second (Keycloak's clock) in which a token of its deleted client may have been issued."""

    def __post_init__(self) -> None:
        """Begin to measure."""
        self.rotation_lag = RotationLag(self.meter)

    def note_deletion(self, client_id: str, provider: IdentityProvider) -> datetime:
        """Remember that the client of this id was deleted at the latest now; return that second (Keycloak's clock).

        A client that takes the id must have a later `notBefore`, or tokens of the former would be good again.
        """
        self.last_deletions.pop(client_id, None)
        self.last_deletions[client_id] = provider.server_now_at_most()
        while len(self.last_deletions) > _REMEMBERED_DELETIONS:
            del self.last_deletions[next(iter(self.last_deletions))]
        return self.last_deletions[client_id]

    def note_absence(self, client_id: str, provider: IdentityProvider) -> datetime:
        """Do so for a client that somebody else deleted, when its absence is first seen."""
        last = self.last_deletions.get(client_id)
        if last is None or provider.server_now() - last > _ONE_DELETION:
            return self.note_deletion(client_id, provider)
        return last

    def owner(self, uid: str) -> str:
        """Return the owner mark of an object."""
        return owner_mark(self.installation_id, uid)
