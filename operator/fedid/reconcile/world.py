"""What every reconciler works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from fedid.domain.bot_authentication import SigningKey
from fedid.domain.bot_keys import KeyReader
from fedid.domain.grants import Grant
from fedid.domain.naming import ObjectKey, owner_mark
from fedid.domain.realm import SecretPolicy
from fedid.domain.resources import Federation
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeKey, NodeKeyReader, SuperLinkAccess
from fedid.engine import Priority
from fedid.ports import (
    BackendFactory,
    Clock,
    Cluster,
    DriftMeter,
    IdentityProvider,
    NodeRegistry,
    SecretStore,
    Sidecars,
)
from fedid.reconcile.directory import Directory
from fedid.reconcile.freshness import Freshness, SecretSightings

__all__ = ["Backends", "Wake", "World"]

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

    admin_events: bool = False
    """Whether the realm records admin events, we may read them, and the spec does not say otherwise."""

    @property
    def looked_at(self) -> bool:
        """Whether it is known what the backends say."""
        return self.keycloak_ready is not None and self.vault_ready is not None


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
    audit: Callable[..., None]
    """Logs one privileged side effect as fields; credentials never among them."""
    meter: DriftMeter
    sidecars: Sidecars
    backends: dict[str, Backends] = field(default_factory=dict)
    """By Federation name; absent until the Federation was first looked at in this process."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Federation name to why there are no adapters for it: its spec or its access Secret is wrong."""
    super_links: dict[SuperLinkAccess, NodeRegistry] = field(default_factory=dict)
    """Adapters of the SuperLinks that were asked last."""
    freshness: Freshness = field(default_factory=Freshness)
    sightings: SecretSightings = field(default_factory=SecretSightings)
    last_deletions: dict[str, datetime] = field(default_factory=dict)
    """Client id to the last second (Keycloak's clock) in which a token of its deleted client may have been issued."""

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
