"""Which tokens are the realm's, and which are not."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedid.adapters.tokens import TokenVerifier, UntrustedTokenError
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendUnavailableError

ISSUER = "https://keycloak.test/realms/fl"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
HMAC_KEY = b"k" * 32
NOW = int(time.time())
PAYLOAD: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "user-1",
    "azp": "site-a.trainer",
    "jti": "token-1",
    "typ": "Bearer",
    "iat": NOW,
    "exp": NOW + 600,
    "aud": ["superlink", "account"],
    "realm_access": {"roles": ["fl-client"]},
    "resource_access": {"account": {"roles": ["view-profile"]}},
}


def published(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, key_id: str, **more: str) -> dict[str, Any]:
    """Return a key as a realm publishes it."""
    algorithm: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    found: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    kind = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return {**found, "kid": key_id, "use": "sig", "alg": kind, **more}


class Realm:
    """Its keys, how often they were asked for, and a clock to move."""

    def __init__(self, *keys: Mapping[str, Any]) -> None:
        """Publish these keys."""
        self.keys: list[Mapping[str, Any]] = list(keys)
        self.asked = 0
        self.away = False
        self.seconds = 1000.0
        self.verifier = TokenVerifier(ISSUER, self.fetch, monotonic=lambda: self.seconds)

    async def fetch(self) -> object:
        """Answer with the keys."""
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            message = "no answer"
            raise BackendUnavailableError(message, backend="keycloak")
        return {"keys": self.keys}


@pytest.fixture
def realm() -> Realm:
    """Give a test a realm with an RSA key, an EC key, and some that are not for us: for encryption, or symmetric."""
    return Realm(
        published(RSA_KEY, "rsa"),
        published(EC_KEY, "ec"),
        published(OTHER_KEY, "enc", use="enc"),
        {"kid": "hmac", "kty": "oct", "use": "sig", "alg": "HS256", "k": jwt.utils.base64url_encode(HMAC_KEY).decode()},
    )


def signed(key: Any = RSA_KEY, key_id: str = "rsa", algorithm: str = "RS256", **changes: Any) -> Sensitive:
    """Return a token; a change to None leaves the claim out."""
    payload = {name: value for name, value in {**PAYLOAD, **changes}.items() if value is not None}
    return Sensitive(jwt.encode(payload, key, algorithm, headers={"kid": key_id}))


async def test_claims(realm: Realm) -> None:
    """A token says what Keycloak put in it, with instants in UTC."""
    claims = await realm.verifier.claims(signed())
    assert claims.issuer == ISSUER
    assert (claims.subject, claims.authorized_party, claims.token_id) == ("user-1", "site-a.trainer", "token-1")
    assert claims.issued_at == datetime.fromtimestamp(NOW, UTC)
    assert claims.expires_at == datetime.fromtimestamp(NOW + 600, UTC)
    assert claims.audiences == {"superlink", "account"}
    assert claims.realm_roles == {"fl-client"}
    assert claims.client_roles == {"account": {"view-profile"}}


async def test_further_claims(realm: Realm) -> None:
    """Those that are texts and nobody's own are told too."""
    said = {"site": "a", "tier": 2, "scope": "email", "clientHost": "h", "email": "e", "preferred_username": "p"}
    assert (await realm.verifier.claims(signed(**said))).extra == {"site": "a"}


async def test_few_claims(realm: Realm) -> None:
    """A token without subject, roles and audience has none; one audience may be a plain text."""
    bare: dict[str, Any] = {"sub": None, "azp": None, "jti": None, "realm_access": None, "resource_access": None}
    claims = await realm.verifier.claims(signed(**bare, aud="superlink"))
    assert (claims.subject, claims.realm_roles, claims.client_roles) == ("", frozenset(), {})
    assert claims.audiences == {"superlink"}
    assert (await realm.verifier.claims(signed(aud=None))).audiences == frozenset()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": NOW - 600}, "expired"),
        ({"iat": NOW + 600, "exp": NOW + 1200}, "issued by a clock that is ahead of ours"),
        ({"nbf": NOW + 600}, "not valid yet by our clock"),
    ],
)
async def test_our_clock_does_not_matter(realm: Realm, changes: dict[str, Any], why: str) -> None:
    """Expiry and the like are for whoever asks: by Keycloak's clock, not by ours."""
    assert await realm.verifier.claims(signed(**changes)), why


async def test_elliptic_curve(realm: Realm) -> None:
    """A realm may sign with another asymmetric algorithm."""
    assert (await realm.verifier.claims(signed(EC_KEY, "ec", "ES256"))).subject == "user-1"


def confused() -> Sensitive:
    """Return a token signed with HMAC, the public key as the secret."""
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = jwt.encode(PAYLOAD, "x" * 32, "HS256", headers={"kid": "rsa"}).rpartition(".")[0]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head.encode(), pem)
    return Sensitive(f"{head}.{jwt.utils.base64url_encode(signature).decode()}")


@pytest.mark.parametrize(
    ("token", "told"),
    [
        (Sensitive(""), "no JWT"),
        (Sensitive("opaque"), "no JWT"),
        (Sensitive("a.b.c"), "no JWT"),
        (signed(key_id="unknown"), "key is not one of the realm's"),
        (signed(OTHER_KEY), "signature"),
        (signed(OTHER_KEY, "enc"), "key is not one of the realm's"),
        (signed(HMAC_KEY, "hmac", "HS256"), "key is not one of the realm's"),
        (signed(EC_KEY, "rsa", "ES256"), "signature"),
        (signed(algorithm="RS512"), "signature"),
        (confused(), "signature"),
        (Sensitive(jwt.encode(PAYLOAD, "", "none", headers={"kid": "rsa"})), "signature"),
        (Sensitive(jwt.encode(PAYLOAD, RSA_KEY, "RS256")), "key is not one of the realm's"),
        (signed(iss="https://keycloak.test/realms/other"), "iss is not"),
        (signed(iss=None), "has no iss"),
        (signed(exp=None), "has no exp"),
        (signed(iat=None), "has no iat"),
        (signed(typ="Refresh"), "no access token"),
        (signed(typ=None), "no access token"),
    ],
)
async def test_untrusted(realm: Realm, token: Sensitive, told: str) -> None:
    """What this realm did not sign as an access token is not believed, and why is told without the token."""
    with pytest.raises(UntrustedTokenError, match=told) as caught:
        await realm.verifier.claims(token)
    if token:
        assert token.reveal() not in "".join(traceback.format_exception(caught.value))


async def test_keys_are_kept(realm: Realm) -> None:
    """Keys are fetched once for many tokens, also when they come at the same time."""
    await asyncio.gather(*(realm.verifier.claims(signed()) for _ in range(50)))
    realm.seconds += 500
    await realm.verifier.claims(signed(EC_KEY, "ec", "ES256"))
    assert realm.asked == 1


async def test_new_key(realm: Realm) -> None:
    """A token with a new key makes the keys be fetched again, but at most every 30 s."""
    await realm.verifier.claims(signed())
    realm.keys.append(published(OTHER_KEY, "new"))
    with pytest.raises(UntrustedTokenError):
        await realm.verifier.claims(signed(OTHER_KEY, "new"))
    realm.seconds += 31
    await realm.verifier.claims(signed(OTHER_KEY, "new"))
    for _ in range(5):
        with pytest.raises(UntrustedTokenError):
            await realm.verifier.claims(signed(OTHER_KEY, "unknown"))
    assert realm.asked == 2


async def test_new_key_for_our_own_token(realm: Realm) -> None:
    """A token that was asked for just now and has a new key does not have to wait, nor fetch twice for many."""
    await realm.verifier.claims(signed())
    realm.keys.append(published(OTHER_KEY, "new"))
    realm.seconds += 1
    requested_at = realm.seconds
    realm.seconds += 1
    tokens = [realm.verifier.claims(signed(OTHER_KEY, "new"), requested_at=requested_at) for _ in range(10)]
    assert all(await asyncio.gather(*tokens))
    with pytest.raises(UntrustedTokenError):
        await realm.verifier.claims(signed(OTHER_KEY, "unknown"), requested_at=requested_at)
    assert realm.asked == 2


async def test_withdrawn_key(realm: Realm) -> None:
    """A key that the realm withdraws is trusted for ten minutes more at most."""
    await realm.verifier.claims(signed())
    del realm.keys[0]
    realm.seconds += 599
    await realm.verifier.claims(signed())
    realm.seconds += 2
    with pytest.raises(UntrustedTokenError):
        await realm.verifier.claims(signed())


async def test_away(realm: Realm) -> None:
    """While the realm is away known keys stay good, and unknown ones are no verdict about the token."""
    realm.away = True
    with pytest.raises(BackendUnavailableError):
        await realm.verifier.claims(signed())
    realm.away = False
    await realm.verifier.claims(signed())
    realm.away = True
    realm.seconds += 3600
    assert await realm.verifier.claims(signed())
    with pytest.raises(BackendUnavailableError):
        await realm.verifier.claims(signed(key_id="unknown"))


async def test_odd_keys() -> None:
    """A key that we cannot use does not cost us the others, and an odd key set none at all is no crash."""
    realm = Realm({"kid": "odd", "kty": "RSA", "alg": "RS256", "use": "sig"}, published(RSA_KEY, "rsa"))
    assert await realm.verifier.claims(signed())
    empty = Realm()
    empty.keys = {}  # type: ignore[assignment]
    with pytest.raises(UntrustedTokenError):
        await empty.verifier.claims(signed())
