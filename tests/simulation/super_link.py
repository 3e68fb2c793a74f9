"""A SuperLink, and the SuperNodes that come to it with the key that their Secret holds."""

from __future__ import annotations

from random import Random

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedid.adapters.node_keys import readable_node_key
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeKey, NodeStatus
from tests.fakes.node_registry import FakeNodeRegistry


def node_key(drawn: Random) -> NodeKey:
    """Return a key pair that is drawn like all that is random."""
    key = ec.derive_private_key(drawn.getrandbits(380) + 1, ec.SECP384R1())
    text = Sensitive(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode())
    found = readable_node_key(text)
    assert found is not None
    return found


def owner_in(node_name: str) -> str:
    """Return the owner mark that the name of a node holds."""
    return node_name.rpartition(" fedid:")[2]


class SuperLink(FakeNodeRegistry):
    """A `NodeRegistry` that remembers every key, and lets SuperNodes in."""

    def __init__(self) -> None:
        """Start with an empty database."""
        super().__init__()
        self.keys_of: dict[str, set[bytes]] = {}
        """Public keys that were ever registered under a name."""
        self.leaked: dict[tuple[str, str], set[bytes]] = {}
        """Public keys that somebody asked to be ended, by owner mark and what was asked."""
        self._public: dict[str, bytes] = {}
        self._came: dict[str, bytes] = {}

    async def register(self, public_key: bytes, name: str, account: Sensitive | None = None) -> int | None:
        """Register a key, and remember it."""
        self.keys_of.setdefault(name, set()).add(public_key)
        return await super().register(public_key, name, account)

    def leak(self, mark: str, asked: str) -> None:
        """Remember every key that was registered for an identity up to now."""
        self.leaked[mark, asked] = {
            key for name, keys in self.keys_of.items() if owner_in(name) == mark for key in keys
        }

    def lets_in(self, private_key: str) -> bool:
        """Tell whether a SuperNode with this key (OpenSSH's PEM) is let in."""
        return self._of(private_key) in self.good_keys()

    def came_with(self, node: str, private_key: str) -> bool:
        """Tell whether the SuperNode of a pod goes on with this key."""
        return self._came.get(node) == self._of(private_key)

    def come(self, node: str, private_key: str) -> None:
        """Have the SuperNode of a pod start with this key, in the place of the one that it had."""
        came = self._of(private_key) if private_key else b""
        former = self._came.pop(node, b"")
        for record in list(self.records.values()):
            if not record.ended and record.public_key in {former, came}:
                online = record.public_key == came
                self.set_status(record.node_id, NodeStatus.ONLINE if online else NodeStatus.OFFLINE)
        self._came[node] = came

    def _of(self, private_key: str) -> bytes:
        if private_key not in self._public:
            found = readable_node_key(Sensitive(private_key))
            self._public[private_key] = found.public_key if found is not None else b""
        return self._public[private_key]
