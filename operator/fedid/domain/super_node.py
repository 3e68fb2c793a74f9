"""SuperNodes of a Flower federation: their keys as they lie in Vault, and what a SuperLink lists of them.

A SuperNode is known to its SuperLink by its public key alone. Once unregistered, a key can never be registered again in
that database, so rotation and repair both mean another key.

Source: flwr 1.41 `proto/control.proto`, `proto/node.proto`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fedid.domain.conditions import instant_in, rfc3339
from fedid.domain.naming import ObjectKey
from fedid.domain.sensitive import Sensitive

__all__ = [
    "HeldNodeKeys",
    "NodeKey",
    "NodeKeyReader",
    "NodeRecord",
    "NodeStatus",
    "SuperLinkAccess",
    "good_node",
    "held_node_keys",
    "node_entry",
    "node_key_id",
    "node_name",
]


class NodeStatus(StrEnum):
    """What a SuperLink says of a node."""

    REGISTERED = "registered"
    """Never seen yet."""
    ONLINE = "online"
    OFFLINE = "offline"
    UNREGISTERED = "unregistered"
    """Refused for ever, and its key with it."""


_GOOD = frozenset({NodeStatus.REGISTERED, NodeStatus.ONLINE, NodeStatus.OFFLINE})


@dataclass(frozen=True, slots=True)
class SuperLinkAccess:
    """Where a SuperLink is."""

    url: str
    """`https://host:port`; it authenticates SuperNodes over TLS alone."""
    ca_bundle: str | None
    """PEM of the only CAs to trust; None: the system's."""


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A key pair of a SuperNode."""

    private_key: Sensitive
    """Unencrypted, in OpenSSH's PEM, which is the one form that `flower-supernode` reads."""
    public_key: bytes
    """SubjectPublicKeyInfo in PEM, the final newline included: a SuperLink compares bytes."""
    authorized_key: str
    """The public key as OpenSSH writes it on one line, which is what `flwr supernode register` reads."""

    @property
    def key_id(self) -> str:
        """Fingerprint of the public key."""
        return node_key_id(self.public_key)


NodeKeyReader = Callable[[Sensitive], NodeKey | None]
"""Returns the whole pair of a private key (OpenSSH's PEM), None if the text is no key of ours."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node as a SuperLink lists it."""

    node_id: int
    """64 bits, so a number in JSON would lose some."""
    public_key: bytes
    status: str
    """A `NodeStatus`, or what a later Flower has added."""
    name: str = ""
    """Empty: it was given none, or the SuperLink (before 1.39) keeps none."""
    owner: str = ""
    """The account that registered it."""

    @property
    def key_id(self) -> str:
        """Fingerprint of its key."""
        return node_key_id(self.public_key)

    @property
    def good(self) -> bool:
        """Whether it is known to mean that a SuperNode with this key is let in."""
        return self.status in _GOOD

    @property
    def ended(self) -> bool:
        """Whether a SuperNode with this key is refused for ever; what is not understood is taken for alive."""
        return self.status == NodeStatus.UNREGISTERED

    @property
    def online(self) -> bool:
        """Whether a SuperNode with this key is connected."""
        return self.status == NodeStatus.ONLINE


@dataclass(frozen=True, slots=True)
class HeldNodeKeys:
    """What Vault holds and is well-formed."""

    current: NodeKey | None = None
    pending: NodeKey | None = None
    """Made, and not in use yet."""
    previous_key_id: str | None = None
    """Of the key before, while its node may still be registered."""
    issued_at: datetime | None = None
    """When the current one came into use (aware UTC)."""

    @property
    def key_ids(self) -> frozenset[str]:
        """Fingerprints of all of them."""
        held = {key.key_id for key in (self.current, self.pending) if key is not None}
        return frozenset(held | ({self.previous_key_id} if self.previous_key_id else set()))


def node_key_id(public_key: bytes) -> str:
    """Return the fingerprint of a public key: SHA-256 of the registered bytes, base64url without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(public_key).digest()).decode().rstrip("=")


def good_node(nodes: Iterable[NodeRecord], key: NodeKey) -> NodeRecord | None:
    """Return the node of a key that is let in, None if there is none."""
    return next((node for node in nodes if node.good and node.public_key == key.public_key), None)


def node_name(identity: ObjectKey, owner: str) -> str:
    """Return the name under which a node is registered: whose it is, for people, and the owner mark, for us."""
    return f"{identity.namespace}/{identity.name} fedid:{owner}"


def held_node_keys(data: Mapping[str, Sensitive], read: NodeKeyReader) -> HeldNodeKeys:
    """Return the keys of an entry; what is no key of ours is left out."""

    def key(field: str) -> NodeKey | None:
        text = data.get(field)
        return read(text) if text else None

    previous, issued_at = data.get("previous_key_id"), data.get("issued_at")
    return HeldNodeKeys(
        current=key("private_key"),
        pending=key("pending_private_key"),
        previous_key_id=previous.reveal() if previous else None,
        issued_at=instant_in(issued_at.reveal()) if issued_at else None,
    )


def node_entry(super_link_url: str, held: HeldNodeKeys) -> dict[str, Sensitive]:
    """Return what lies in Vault at `…/pods/<name>/keys/supernode`."""
    entry = {"superlink_url": Sensitive(super_link_url)}
    for prefix, key in (("", held.current), ("pending_", held.pending)):
        if key is not None:
            entry[f"{prefix}private_key"] = key.private_key
            entry[f"{prefix}public_key"] = Sensitive(key.authorized_key)
            entry[f"{prefix}key_id"] = Sensitive(key.key_id)
    if held.previous_key_id is not None:
        entry["previous_key_id"] = Sensitive(held.previous_key_id)
    if held.issued_at is not None:
        entry["issued_at"] = Sensitive(rfc3339(held.issued_at))
    return entry
