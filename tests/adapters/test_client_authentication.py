"""What a client sends along to say who it is: a secret, an assertion that its key signs, or a token from a file."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from fedid.adapters.keycloak.client_authentication import ASSERTION_SECONDS, ASSERTION_TYPE, authentication_form
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import AssertionFile, ClientCredentials, PrivateKey
from fedid.errors import BackendDeniedError

ISSUER = "https://keycloak.test/realms/fl"


def pem(key: PrivateKeyTypes, password: bytes | None = None) -> str:
    """Return a private key as people keep it."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


async def test_secret() -> None:
    """A secret goes into the form with the client's id."""
    form = await authentication_form(ClientCredentials("bot", Sensitive("s")), ISSUER)
    assert form == {"client_id": "bot", "client_secret": "s"}


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        (rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_signed_assertion(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, algorithm: str
) -> None:
    """The key decides about the algorithm; the claims are those of RFC 7523 section 3, for a minute and once."""
    client = PrivateKey("bot", Sensitive(pem(key)), "k1")
    forms = [await authentication_form(client, ISSUER) for _ in range(2)]
    read = [
        jwt.decode(form["client_assertion"], key.public_key(), [algorithm], audience=ISSUER, issuer="bot")
        for form in forms
    ]
    assert jwt.get_unverified_header(forms[0]["client_assertion"]) == {"alg": algorithm, "kid": "k1", "typ": "JWT"}
    assert {form["client_id"] for form in forms} == {"bot"}
    assert {form["client_assertion_type"] for form in forms} == {ASSERTION_TYPE}
    assert set(read[0]) == {"iss", "sub", "aud", "jti", "exp"}
    assert read[0]["sub"] == "bot"
    assert read[0]["jti"] != read[1]["jti"]
    assert 0 < read[0]["exp"] - time.time() <= ASSERTION_SECONDS
    assert not any("client_secret" in form for form in forms)


async def test_key_without_id() -> None:
    """Without a key id the assertion has no `kid`, and Keycloak takes the client's only key."""
    client = PrivateKey("bot", Sensitive(pem(ec.generate_private_key(ec.SECP256R1()))))
    form = await authentication_form(client, ISSUER)
    assert "kid" not in jwt.get_unverified_header(form["client_assertion"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no PEM key"),
        ("a-secret-that-is-no-key", "no PEM key"),
        (pem(ec.generate_private_key(ec.SECP256R1()), b"password"), "without a password"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "P-256, P-384, P-521, Ed25519 or RSA"),
        (pem(dsa.generate_private_key(2048)), "P-256, P-384, P-521, Ed25519 or RSA"),
    ],
    ids=["empty", "no key", "password", "curve", "kind"],
)
async def test_key_that_cannot_sign(text: str, told: str) -> None:
    """The message names the client and what to write, and nothing of the key is in any traceback."""
    with pytest.raises(BackendDeniedError, match=told) as caught:
        await authentication_form(PrivateKey("bot", Sensitive(text)), ISSUER)
    shown = "".join(traceback.format_exception(caught.value))
    assert "client bot" in shown
    assert not any(line in shown for line in text.splitlines() if line and "-----" not in line)


async def test_file_is_read_afresh(tmp_path: Path) -> None:
    """Kubelet replaces the token: each request carries what the file holds then, and the id only if it is known."""
    path = tmp_path / "token"
    path.write_text("one\n")
    assert await authentication_form(AssertionFile(path), ISSUER) == {
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": "one",
    }
    path.write_text("two")
    form = await authentication_form(AssertionFile(path, "fedid-operator"), ISSUER)
    assert (form["client_assertion"], form["client_id"]) == ("two", "fedid-operator")


@pytest.mark.parametrize("content", [None, "", "\n", "\u00e4"])
async def test_file_without_a_token(tmp_path: Path, content: str | None) -> None:
    """The message names the file, the chart's value and the variable."""
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BackendDeniedError, match=r"chart value keycloakToken\).*FEDID_KEYCLOAK_TOKEN_PATH") as caught:
        await authentication_form(AssertionFile(path), ISSUER)
    assert str(path) in caught.value.message
