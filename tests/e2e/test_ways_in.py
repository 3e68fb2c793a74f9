"""Each way in which the operator signs in to Keycloak and Vault: it works, and when it does not, it says what to do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.e2e.foundations import OwnRealm, OwnSecret
from tests.e2e.operating import Proxies, apply_federation, federation_ready
from tests.e2e.tenancy import Tenant, bot, unique
from tests.e2e.test_reasons import KEYCLOAK, VAULT, strange, strange_federation, told
from tests.testbed.cluster import OPERATOR_SUBJECT
from tests.testbed.keycloak_realm import OPERATOR_ROLES
from tests.testbed.stack import Stack
from tests.testbed.vault_setup import POLICY


def key_pair() -> tuple[str, dict[str, Any]]:
    """Return a private key (PEM) and the fields of a client that knows its public part."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k1", "use": "sig"}
    attributes = {"use.jwks.string": "true", "jwks.string": json.dumps({"keys": [public]})}
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return text, {"clientAuthenticatorType": "client-jwt", "attributes": attributes}


@pytest.fixture
def secret(stack: Stack) -> Iterator[OwnSecret]:
    """Give a test a Secret of the operator's namespace."""
    made = OwnSecret(stack, unique("ways"))
    yield made
    made.remove()


@pytest.fixture
def operator_client(stack: Stack) -> Iterator[tuple[str, str]]:
    """Give a test a client of the realm `fl` with the operator's rights: clientId and internal id."""
    realm, client_id, client_uuid = OwnRealm(stack, "fl"), unique("operator"), str(uuid.uuid4())
    body = {"id": client_uuid, "clientId": client_id, "serviceAccountsEnabled": True, "publicClient": False}
    stack.keycloak("POST", "/admin/realms/fl/clients", body)
    realm.assign(client_id, *OPERATOR_ROLES)
    yield client_id, client_uuid
    stack.keycloak("DELETE", f"/admin/realms/fl/clients/{client_uuid}")


def works(tenant: Tenant, federation: str) -> None:
    """See a bot of that Federation come and go."""
    tenant.apply(bot("trainer", federationRef={"name": federation}))
    tenant.ready("BotClient", "trainer")
    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")


def test_a_key_of_the_operator(
    stack: Stack, proxies: Proxies, tenant: Tenant, secret: OwnSecret, operator_client: tuple[str, str]
) -> None:
    """From a Secret that is missing to the key that Keycloak knows: each step is told, and noticed when it is done."""
    client_id, client_uuid = operator_client
    (old, _), (new, knows_new) = key_pair(), key_pair()
    auth = {"privateKeyJwt": {"secretName": secret.name}}
    with strange_federation(stack, strange(stack, proxies, unique("key"), keycloak={"auth": auth})) as name:
        told(stack, name, "Ready", "CredentialsMissing", secret.name, "does not exist", "client-id and private-key")
        secret.hold(client_id=client_id, private_key="no key")
        told(stack, name, KEYCLOAK, "BackendDenied", f"client {client_id} is no PEM key", "openssl ecparam")
        secret.hold(client_id=client_id, private_key=old, key_id="k1")
        stack.keycloak("PUT", f"/admin/realms/fl/clients/{client_uuid}", knows_new)
        told(stack, name, KEYCLOAK, "BackendDenied", f"{client_id} (invalid_client)", "key set", "private-key")
        secret.hold(client_id=client_id, private_key=new, key_id="k1")
        federation_ready(stack, name)
        works(tenant, name)


def test_the_token_of_the_operator(stack: Stack, proxies: Proxies, tenant: Tenant) -> None:
    """No secret at all: a realm that does not know the cluster says so, and what it must know; then it works."""
    realm = OwnRealm(stack, unique("realm"))
    issuer = f"{stack.keycloak_url}/realms/{realm.name}"
    auth = {"auth": {"serviceAccountToken": {}}, "realm": realm.name, "issuerUrl": issuer}
    realm.create()
    try:
        with strange_federation(stack, strange(stack, proxies, unique("token"), keycloak=auth)) as name:
            words = ("issuer https://kubernetes.default.svc.cluster.local", f"jwt.credential.sub {OPERATOR_SUBJECT}")
            told(stack, name, KEYCLOAK, "BackendDenied", "invalid_client", "federated-jwt", *words)
    finally:
        realm.remove()
    named = strange(stack, proxies, unique("token"), keycloak={"auth": {"serviceAccountToken": {"clientId": "nobody"}}})
    with strange_federation(stack, named) as name:
        told(stack, name, KEYCLOAK, "BackendDenied", "the client nobody is enabled", "federated-jwt")
        named["spec"]["keycloak"]["auth"]["serviceAccountToken"] = {"clientId": "fedid-operator"}
        apply_federation(stack, named)
        federation_ready(stack, name)
        works(tenant, name)


def test_an_app_role(stack: Stack, proxies: Proxies, tenant: Tenant, secret: OwnSecret) -> None:
    """A wrong secret id is told with the Secret's keys; a right one works."""
    mount = unique("approle")
    stack.vault("POST", f"/v1/sys/auth/{mount}", {"type": "approle"})
    try:
        role = f"/v1/auth/{mount}/role/fedid"
        stack.vault("POST", role, {"token_policies": [POLICY], "token_ttl": 600})
        role_id = stack.vault("GET", f"{role}/role-id")["data"]["role_id"]
        secret_id = stack.vault("POST", f"{role}/secret-id", {})["data"]["secret_id"]
        auth = {"approle": {"mount": mount, "secretName": secret.name}}
        with strange_federation(stack, strange(stack, proxies, unique("approle"), vault={"auth": auth})) as name:
            told(stack, name, "Ready", "CredentialsMissing", secret.name, "role-id and secret-id")
            secret.hold(role_id=role_id, secret_id=str(uuid.uuid4()))
            told(stack, name, VAULT, "BackendDenied", f"auth/{mount}", "role-id and secret-id", "make another")
            secret.hold(role_id=role_id, secret_id=secret_id)
            federation_ready(stack, name)
            works(tenant, name)
    finally:
        stack.vault("DELETE", f"/v1/sys/auth/{mount}")


def test_a_vault_token(stack: Stack, proxies: Proxies, tenant: Tenant, secret: OwnSecret) -> None:
    """A token that Vault does not know, then one without rights, then a good one, which outlives the Federation."""
    made = [
        stack.vault("POST", "/v1/auth/token/create-orphan", {"policies": [policy], "ttl": "10m"})["auth"][
            "client_token"
        ]
        for policy in ("default", POLICY)
    ]
    auth = {"token": {"secretName": secret.name}}
    with strange_federation(stack, strange(stack, proxies, unique("static"), vault={"auth": auth})) as name:
        told(stack, name, "Ready", "CredentialsMissing", secret.name, "create it with the key token")
        secret.hold(token=f"hvs.{uuid.uuid4().hex}{uuid.uuid4().hex}")
        told(
            stack, name, VAULT, "BackendDenied", "does not know the operator's token", "vault token create", "key token"
        )
        secret.hold(token=made[0])
        told(stack, name, VAULT, "PermissionMissing", f"The Vault token in the Secret {secret.name} lacks", "a policy")
        secret.hold(token=made[1])
        federation_ready(stack, name)
        works(tenant, name)
    for token in made:
        assert stack.api("vault").answer("POST", "/v1/auth/token/lookup", {"token": token}).status == 200
        stack.vault("POST", "/v1/auth/token/revoke", {"token": token})
