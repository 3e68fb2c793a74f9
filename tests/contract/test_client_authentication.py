"""How clients authenticate, before a real Keycloak: what is let in, what is refused, and what proves nothing."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedid.adapters.keycloak import KeycloakRealm
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import AssertionFile, ClientAuthentication, MintedToken, PrivateKey
from fedid.errors import BackendDeniedError, BackendRejectedError
from tests.contract.conftest import KeycloakSubject, operator_with_secret
from tests.contract.test_keycloak_realm import grant
from tests.testbed.keycloak_realm import CLUSTER_PROVIDER, OPERATOR, OPERATOR_ROLES

SERVICE_ACCOUNT = ("site-a", "default")
SUBJECT = "system:serviceaccount:site-a:default"


class Key:
    """A key pair of a test."""

    def __init__(self, key_id: str) -> None:
        """Make it."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.key_id = key_id

    def of(self, client_id: str) -> PrivateKey:
        """Return what that client authenticates with."""
        text = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return PrivateKey(client_id, Sensitive(text), self.key_id)

    def public(self) -> dict[str, Any]:
        """Return the public key (JWK)."""
        found: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {**found, "kid": self.key_id, "use": "sig", "alg": "ES256"}


def with_keys(*keys: Key) -> dict[str, Any]:
    """Return what makes a client one that authenticates with any of these keys."""
    key_set = json.dumps({"keys": [key.public() for key in keys]})
    attributes = {"use.jwks.string": "true", "use.jwks.url": "false", "jwks.string": key_set}
    return {"clientAuthenticatorType": "client-jwt", "attributes": attributes}


def with_service_account(subject: str = SUBJECT) -> dict[str, Any]:
    """Return what makes a client one that authenticates with tokens of a ServiceAccount."""
    attributes = {"jwt.credential.issuer": CLUSTER_PROVIDER, "jwt.credential.sub": subject}
    return {"clientAuthenticatorType": "federated-jwt", "attributes": attributes}


def client(keycloak: KeycloakSubject, **fields: Any) -> tuple[str, str]:
    """Make a client with a service account; return its clientId and its internal id."""
    client_id, client_uuid = f"{keycloak.prefix}-{uuid.uuid4().hex[:6]}", str(uuid.uuid4())
    body = {"id": client_uuid, "clientId": client_id, "serviceAccountsEnabled": True, "publicClient": False}
    keycloak.hands.call("POST", "/clients", {**body, **fields})
    return client_id, client_uuid


def token_file(keycloak: KeycloakSubject, path: Path, audience: str | None, account: tuple[str, str]) -> Path:
    """Write a fresh token of a ServiceAccount, as kubelet would."""
    path.write_text(keycloak.stack.token_request(*account, audience=audience, seconds=600))
    return path


async def refused(provider: KeycloakRealm, credentials: ClientAuthentication) -> bool:
    """Tell whether all that ask with these credentials agree that they are refused."""
    found = {await provider.credentials_refused(credentials), await provider.mint(credentials) is None}
    assert len(found) == 1
    return found.pop()


class TestPrivateKey:
    """Clients that sign."""

    async def test_rotation(self, keycloak: KeycloakSubject) -> None:
        """Two keys are good at once while both are in the set; the one that was taken out is refused at once."""
        provider, old, new = keycloak.provider(), Key("old"), Key("new")
        client_id, client_uuid = client(keycloak, **with_keys(old))
        assert not await refused(provider, old.of(client_id))
        assert await refused(provider, new.of(client_id))
        keycloak.hands.call("PUT", f"/clients/{client_uuid}", with_keys(old, new))
        assert not await refused(provider, old.of(client_id))
        assert not await refused(provider, new.of(client_id))
        keycloak.hands.call("PUT", f"/clients/{client_uuid}", with_keys(new))
        assert await refused(provider, old.of(client_id))
        assert not await refused(provider, new.of(client_id))

    async def test_refused(self, keycloak: KeycloakSubject) -> None:
        """Another key under a known id, an unknown client, a disabled and a deleted one are refused."""
        provider, key = keycloak.provider(), Key("k")
        client_id, client_uuid = client(keycloak, **with_keys(key))
        assert await refused(provider, Key("k").of(client_id))
        assert await refused(provider, key.of(f"{client_id}-unknown"))
        keycloak.hands.change_client(client_uuid, enabled=False)
        assert await refused(provider, key.of(client_id))
        keycloak.hands.change_client(client_uuid, enabled=True)
        assert not await refused(provider, key.of(client_id))
        await provider.delete_client(client_uuid)
        assert await refused(provider, key.of(client_id))

    async def test_no_proof(self, keycloak: KeycloakSubject, monkeypatch: pytest.MonkeyPatch) -> None:
        """An assertion that is too old is refused for its time, which proves nothing about the key, and says so."""
        provider, key = keycloak.provider(), Key("k")
        client_id, _ = client(keycloak, **with_keys(key))
        monkeypatch.setattr("fedid.adapters.keycloak.client_authentication.ASSERTION_SECONDS", -3600)
        with pytest.raises(BackendRejectedError, match="Token is not active; it has expired: compare the clocks"):
            await provider.credentials_refused(key.of(client_id))

    async def test_service_account_switched_off(self, keycloak: KeycloakSubject) -> None:
        """A client without a service account gets no token, though its key is right: no proof either."""
        provider, key = keycloak.provider(), Key("k")
        client_id, client_uuid = client(keycloak, **with_keys(key))
        keycloak.hands.drop_service_account(client_uuid)
        with pytest.raises(BackendRejectedError, match="not enabled to retrieve service account"):
            await provider.credentials_refused(key.of(client_id))

    async def test_revoke(self, keycloak: KeycloakSubject) -> None:
        """A token is revoked as its client by any of its keys, and by no other key."""
        provider, key = keycloak.provider(), Key("k")
        client_id, _ = client(keycloak, **with_keys(key))
        minted = await provider.mint(key.of(client_id))
        assert minted is not None
        with pytest.raises(BackendRejectedError, match=f"token of {client_id}"):
            await provider.revoke(minted.token, Key("k").of(client_id))
        assert await provider.token_accepted(minted.token)
        await provider.revoke(minted.token, key.of(client_id))
        assert not await provider.token_accepted(minted.token)


class TestServiceAccountToken:
    """Clients without any secret."""

    async def test_accepted(self, keycloak: KeycloakSubject, tmp_path: Path) -> None:
        """The token of the ServiceAccount gets one of the client, as often as it likes; deleted, it gets none."""
        provider, issuer = keycloak.provider(), keycloak.stack.issuer_url
        client_id, client_uuid = client(keycloak, **with_service_account())
        path = token_file(keycloak, tmp_path / "token", issuer, SERVICE_ACCOUNT)
        for credentials in (AssertionFile(path), AssertionFile(path), AssertionFile(path, client_id)):
            minted = await provider.mint(credentials)
            assert isinstance(minted, MintedToken)
            assert minted.claims.authorized_party == client_id
        await provider.revoke(minted.token, AssertionFile(path))
        assert not await provider.token_accepted(minted.token)
        await provider.delete_client(client_uuid)
        assert await refused(provider, AssertionFile(path))

    async def test_refused(self, keycloak: KeycloakSubject, tmp_path: Path) -> None:
        """Another ServiceAccount, another client, a forged token and a disabled client are refused."""
        provider, issuer = keycloak.provider(), keycloak.stack.issuer_url
        client_id, client_uuid = client(keycloak, **with_service_account())
        path = token_file(keycloak, tmp_path / "token", issuer, SERVICE_ACCOUNT)
        other = token_file(keycloak, tmp_path / "other", issuer, ("site-b", "default"))
        assert await refused(provider, AssertionFile(other))
        assert await refused(provider, AssertionFile(other, client_id))
        assert await refused(provider, AssertionFile(path, "superlink"))
        claims = jwt.decode(path.read_text(), options={"verify_signature": False})
        header = jwt.get_unverified_header(path.read_text())
        forged = jwt.encode(claims, Key("k")._key, "ES256", headers={"kid": header["kid"]})  # noqa: SLF001
        other.write_text(forged)
        assert await refused(provider, AssertionFile(other))
        keycloak.hands.change_client(client_uuid, enabled=False)
        assert await refused(provider, AssertionFile(path))

    async def test_no_proof(self, keycloak: KeycloakSubject, tmp_path: Path) -> None:
        """A token for another audience, or an old one, is told with what to do and proves nothing."""
        provider, stack = keycloak.provider(), keycloak.stack
        client(keycloak, **with_service_account())
        path = token_file(keycloak, tmp_path / "token", "vault", SERVICE_ACCOUNT)
        with pytest.raises(BackendRejectedError, match=f"audience; it must be for {stack.issuer_url}: set keycloakT"):
            await provider.credentials_refused(AssertionFile(path))
        claims = jwt.decode(path.read_text(), options={"verify_signature": False})
        past = {"aud": [stack.issuer_url], "iat": int(time.time()) - 900, "nbf": 0, "exp": int(time.time()) - 300}
        kid = jwt.get_unverified_header(path.read_text())["kid"]
        signing = stack.paths.service_account_key.read_text()
        path.write_text(jwt.encode({**claims, **past}, signing, "RS256", headers={"kid": kid}))
        with pytest.raises(BackendRejectedError, match=r"not active; it has expired.*kubelet renews"):
            await provider.credentials_refused(AssertionFile(path))


class TestOperator:
    """The operator's own access in each way: it may do its work, or is told what is wrong."""

    async def test_secret(self, keycloak: KeycloakSubject) -> None:
        """With client id and secret."""
        provider = keycloak.provider(credentials=operator_with_secret(keycloak.stack))
        assert (await provider.probe()).missing_permissions == ()

    async def test_private_key(self, keycloak: KeycloakSubject) -> None:
        """With a key; another key is refused with what to check."""
        key = Key("k")
        client_id, _ = client(keycloak, **with_keys(key))
        grant(keycloak, client_id, *OPERATOR_ROLES)
        assert (await keycloak.provider(credentials=key.of(client_id)).probe()).missing_permissions == ()
        with pytest.raises(BackendDeniedError, match=rf"{client_id} \(invalid_client\).*client-jwt.*private-key"):
            await keycloak.provider(credentials=Key("k").of(client_id)).probe()

    @pytest.mark.parametrize("client_id", ["", OPERATOR])
    async def test_service_account(self, keycloak: KeycloakSubject, client_id: str) -> None:
        """With its ServiceAccount token and nothing else, as the testbed's operator."""
        credentials = AssertionFile(keycloak.stack.paths.operator_keycloak_token, client_id)
        provider = keycloak.provider(credentials=credentials)
        assert (await provider.probe()).missing_permissions == ()
        assert await provider.find_client(OPERATOR) is not None

    async def test_other_service_account(self, keycloak: KeycloakSubject, tmp_path: Path) -> None:
        """A ServiceAccount that no client is for is told with issuer and subject as Keycloak must know them."""
        path = token_file(keycloak, tmp_path / "token", keycloak.stack.issuer_url, ("site-b", "default"))
        with pytest.raises(BackendDeniedError) as caught:
            await keycloak.provider(credentials=AssertionFile(path)).probe()
        assert "issuer https://kubernetes.default.svc.cluster.local," in caught.value.message
        assert "jwt.credential.sub system:serviceaccount:site-b:default" in caught.value.message
        assert not any(part in caught.value.message for part in path.read_text().split("."))

    async def test_without_rights(self, keycloak: KeycloakSubject, tmp_path: Path) -> None:
        """A client that may do nothing is told so also where its id is not known."""
        client(keycloak, **with_service_account())
        path = token_file(keycloak, tmp_path / "token", keycloak.stack.issuer_url, SERVICE_ACCOUNT)
        with pytest.raises(BackendDeniedError, match=r"client \(whose jwt\.credential\.sub is.*has no right in realm"):
            await keycloak.provider(credentials=AssertionFile(path)).probe()
