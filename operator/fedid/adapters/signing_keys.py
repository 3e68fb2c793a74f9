"""Key pairs of bots that sign their assertions: ES256, which Keycloak and every JOSE library take.

Making one takes some 20 microseconds, so the loop need not leave it to a thread.

Source: RFC 7518 sections 3.4 and 6.2 (ES256, P-256).
"""

from __future__ import annotations

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from fedid.domain.bot_authentication import SigningKey, thumbprint
from fedid.domain.sensitive import Sensitive


class UnreadableKeyError(Exception):
    """The text is no P-256 key that we made; the message tells nothing of it."""


def new_signing_key() -> SigningKey:
    """Return a key pair that nobody has seen."""
    return _signing_key(ec.generate_private_key(ec.SECP256R1()))


def readable_key(private_key: Sensitive) -> SigningKey | None:
    """Return the whole pair of a private key that was kept, None if the text is none that we made."""
    try:
        return signing_key(private_key)
    except UnreadableKeyError:
        return None


def signing_key(private_key: Sensitive) -> SigningKey:
    """Return the whole pair of a private key that was kept.

    Args:
        private_key: PEM, as `new_signing_key` made it.

    Raises:
        UnreadableKeyError: It is something else.
    """
    try:
        key = load_pem_private_key(private_key.reveal().encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        # Not chained: what a parser says may quote what it read.
        message = "it is no private key of the curve P-256 in PEM"
        raise UnreadableKeyError(message) from None
    return _signing_key(key)


def _signing_key(key: ec.EllipticCurvePrivateKey) -> SigningKey:
    public = {
        name: str(value) for name, value in jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True).items()
    }
    key_id = thumbprint(public)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return SigningKey(key_id, Sensitive(text), {**public, "kid": key_id, "use": "sig", "alg": "ES256"})
