"""Key pairs of SuperNodes: P-384, as Flower makes them itself.

Making one takes under a millisecond, so the loop need not leave it to a thread.

Source: flwr 1.41 `supercore/primitives/asymmetric.py`, `supernode/cli/flower_supernode.py`.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeKey

__all__ = ["new_node_key", "readable_node_key"]


def new_node_key() -> NodeKey:
    """Return a key pair that nobody has seen."""
    key = ec.generate_private_key(ec.SECP384R1())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return _pair(Sensitive(text), key.public_key())


def readable_node_key(private_key: Sensitive) -> NodeKey | None:
    """Return the whole pair of a private key that was kept, None if the text is none that we made."""
    try:
        key = load_ssh_private_key(private_key.reveal().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        return None
    return _pair(private_key, key.public_key())


def _pair(private_key: Sensitive, public_key: ec.EllipticCurvePublicKey) -> NodeKey:
    return NodeKey(
        private_key,
        public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public_key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
    )
