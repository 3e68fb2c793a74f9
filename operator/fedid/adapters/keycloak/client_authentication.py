"""How a client authenticates at the token endpoint: with its secret in the form, or with an assertion.

Source: RFC 6749 section 2.3.1 (secret in the form); RFC 7523 sections 2.2 and 3 (assertions); OpenID Connect Core 1.0
section 9 (`private_key_jwt`); https://www.keycloak.org/securing-apps/authentication-methods.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fedid.adapters.keycloak.refusals import BACKEND
from fedid.adapters.projected_token import projected_token
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import AssertionFile, ClientAuthentication, ClientCredentials, PrivateKey
from fedid.errors import BackendDeniedError

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS: Final = 60
"""Life of an assertion, and so by how much our clock may be behind Keycloak's."""

_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

PRIVATE_KEY_REFUSALS: Final = frozenset(
    {
        "Unable to load public key",
        "Client authentication with signed JWT failed: Signature on JWT token failed validation",
    }
)
"""With these words of 400 `invalid_client` Keycloak says that the key is none of the client's (26.7.3): the first for
an unknown `kid`, the second for another key under a known one. All its other words of that kind (time, audience, reuse,
algorithm) are about the assertion and tell nothing about the key."""


async def authentication_form(client: ClientAuthentication, audience: str) -> dict[str, str]:
    """Return the fields of the form that say who asks.

    Args:
        client: Who asks.
        audience: The realm's issuer, which an assertion must be for.

    Raises:
        BackendDeniedError: The key cannot sign, or there is no token in the file.
    """
    match client:
        case ClientCredentials():
            return {"client_id": client.client_id, "client_secret": client.secret.reveal()}
        case PrivateKey():
            # Elsewhere: to check a long RSA key takes longer than the loop may stand still.
            assertion = await asyncio.to_thread(signed_assertion, client, audience)
        case AssertionFile():
            assertion = own_token(client)
    form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion.reveal()}
    return form | ({"client_id": client.client_id} if client.client_id else {})


def signed_assertion(client: PrivateKey, audience: str) -> Sensitive:
    """Return a fresh assertion. Without `iat`, which would be refused if our clock were ahead of Keycloak's.

    Raises:
        BackendDeniedError: The key is none, or of a kind that Keycloak does not take.
    """
    claims = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": audience,
        "jti": str(uuid.uuid4()),
        "exp": int(time.time()) + ASSERTION_SECONDS,
    }
    key = _private_key(client)
    headers = {"kid": client.key_id} if client.key_id else None
    return Sensitive(jwt.encode(claims, key, _algorithm(key, client), headers=headers))


def own_token(client: AssertionFile) -> Sensitive:
    """Return the operator's ServiceAccount token for Keycloak as it is now.

    Raises:
        BackendDeniedError: There is none in the file.
    """
    return projected_token(
        client.path,
        backend=BACKEND,
        of_whom="Keycloak",
        value="keycloakToken",
        variable="FEDID_KEYCLOAK_TOKEN_PATH",
    )


def client_refused(client: ClientAuthentication) -> BackendDeniedError:
    """Return the error for the operator's own client being refused, with what to check."""
    match client:
        case ClientCredentials():
            check = "has service accounts, and the keys client-id and client-secret of the Secret in keycloak.auth"
        case PrivateKey():
            check = (
                "has service accounts and the authenticator Signed JWT (client-jwt), that its key set holds the public "
                "key, and the keys client-id, private-key and key-id of the Secret in keycloak.auth"
            )
        case AssertionFile():
            return _token_refused(client)
    message = f"Keycloak refuses the operator's client {client.client_id} (invalid_client): check that it exists, is "
    return BackendDeniedError(f"{message}enabled, {check}", backend=BACKEND)


def _token_refused(client: AssertionFile) -> BackendDeniedError:
    """Return the error, with the issuer and the subject of the token, which are no secrets and must be in Keycloak."""
    try:
        claims = jwt.decode(own_token(client).reveal(), options={"verify_signature": False})
    except (jwt.PyJWTError, BackendDeniedError):
        claims = {}
    message = (
        f"Keycloak refuses the operator's ServiceAccount token (invalid_client): check that the realm has an identity "
        f"provider with issuer {claims.get('iss', 'of this cluster')}, its keys and supportsClientAssertions, and that "
        f"{f'the client {client.client_id}' if client.client_id else 'a client'} is enabled and has the authenticator "
        "federated-jwt, jwt.credential.issuer (the provider's alias) and jwt.credential.sub "
        f"{claims.get('sub', '(the ServiceAccount)')}"
    )
    return BackendDeniedError(message, backend=BACKEND)


def _private_key(client: PrivateKey) -> ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(client.key.reveal().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not chained: what a parser says may quote what it read.
        message = f"the private key of client {client.client_id} is no PEM key without a password: write one, such as "
        message += "`openssl ecparam -name prime256v1 -genkey -noout` prints"
        raise BackendDeniedError(message, backend=BACKEND) from None
    if isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        return key
    raise _unknown_kind(client)


def _algorithm(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, client: PrivateKey
) -> str:
    match key:
        case rsa.RSAPrivateKey():
            return "RS256"
        case ed25519.Ed25519PrivateKey():
            return "EdDSA"
        case _ if key.curve.name in _CURVES:
            return _CURVES[key.curve.name]
        case _:
            raise _unknown_kind(client)


def _unknown_kind(client: PrivateKey) -> BackendDeniedError:
    message = f"the private key of client {client.client_id} is of a kind that Keycloak does not take: make one of "
    return BackendDeniedError(f"{message}P-256, P-384, P-521, Ed25519 or RSA", backend=BACKEND)
