"""Tests of key pairs: one key has one id, and what signs is what the public key checks."""

from __future__ import annotations

import traceback

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.utils import base64url_encode

from fedid.adapters.keycloak.client_authentication import signed_assertion
from fedid.adapters.signing_keys import UnreadableKeyError, new_signing_key, readable_key, signing_key
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import PrivateKey


def test_new_key() -> None:
    """What is signed with it verifies with its public part; no two are alike; its repr shows nothing."""
    made = new_signing_key()
    assertion = signed_assertion(PrivateKey("bot", made.private_key, made.key_id), "issuer")
    known = jwt.PyJWK(dict(made.public_key))
    assert jwt.decode(assertion.reveal(), known, ["ES256"], audience="issuer")["iss"] == "bot"
    assert jwt.get_unverified_header(assertion.reveal())["kid"] == made.key_id == made.public_key["kid"]
    assert "d" not in made.public_key
    assert new_signing_key().key_id != made.key_id
    assert "PRIVATE" not in repr(made)


def test_key_that_was_kept() -> None:
    """From the private key alone the same pair comes back, id included."""
    made = new_signing_key()
    assert signing_key(made.private_key) == made


def test_other_texts() -> None:
    """A text that is no such key is refused without a word of it."""
    other = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for text in ("", "no-key-at-all", other.decode(), base64url_encode(b"x").decode()):
        with pytest.raises(UnreadableKeyError) as caught:
            signing_key(Sensitive(text))
        assert readable_key(Sensitive(text)) is None
        assert not text or text not in "".join(traceback.format_exception(caught.value))
