"""Key pairs of SuperNodes: the forms that Flower reads, and nothing that is not ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
    load_ssh_public_key,
)

from fedid.adapters.node_keys import new_node_key, readable_node_key
from fedid.domain.sensitive import Sensitive


def test_the_forms() -> None:
    """The private key is OpenSSH's PEM; both public forms are of the curve P-384 and the same key."""
    key = new_node_key()
    assert key.private_key.reveal().startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert key.public_key.startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert key.public_key.endswith(b"-----END PUBLIC KEY-----\n")
    assert key.authorized_key.startswith("ecdsa-sha2-nistp384 AAAA")
    public = load_pem_public_key(key.public_key)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert isinstance(public.curve, ec.SECP384R1)
    assert public == load_ssh_public_key(key.authorized_key.encode())


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_openssh_reads_it(tmp_path: Path) -> None:
    """The program whose form it is finds the same public key, and asks for no passphrase."""
    key, path = new_node_key(), tmp_path / "key"
    path.write_text(key.private_key.reveal())
    path.chmod(0o600)
    told = subprocess.run(["ssh-keygen", "-y", "-P", "", "-f", str(path)], check=True, capture_output=True, text=True)
    assert told.stdout.split()[:2] == key.authorized_key.split()[:2]


def test_no_two_are_alike() -> None:
    """Every call makes another key, with another fingerprint."""
    assert len({new_node_key().key_id for _ in range(20)}) == 20


def test_read_back() -> None:
    """A kept private key gives the whole pair again, byte for byte."""
    key = new_node_key()
    assert readable_node_key(key.private_key) == key


def _openssh(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


STRANGERS = {
    "empty": "",
    "text": "a stranger's",
    "another curve": _openssh(ec.generate_private_key(ec.SECP256R1())),
    "another kind": _openssh(ed25519.Ed25519PrivateKey.generate()),
    "another form": ec.generate_private_key(ec.SECP384R1())
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode(),
    "cut off": new_node_key().private_key.reveal()[:200],
    "lone surrogate": "\ud800",
}


@pytest.mark.parametrize("text", STRANGERS.values(), ids=STRANGERS.keys())
def test_what_is_none_of_ours(text: str) -> None:
    """Nothing else passes for one, and nothing is raised over it."""
    assert readable_node_key(Sensitive(text)) is None
