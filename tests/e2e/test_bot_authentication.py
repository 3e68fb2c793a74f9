"""Bots that sign with a key, and bots that have no secret at all: with real grants, from the first to the last."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import jwt
import pytest

from tests.e2e.authority import ASSERTION_TYPE, REALM, Authority, claims_of
from tests.e2e.hands import Hands
from tests.e2e.operating import Proxies, federation, grant, own_federation
from tests.e2e.running import Operator
from tests.e2e.tenancy import MERGE, Body, Tenant, bot, pod_identity
from tests.e2e.waiting import eventually
from tests.testbed.cluster import OPERATOR_NAMESPACE, OPERATOR_SUBJECT
from tests.testbed.keycloak_realm import CLUSTER_PROVIDER
from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

SIGNED = {"key.pem": "{privateKey}", "kid": "{keyId}", "id": "{clientId}", "token": "{token}", "iss": "{issuerUrl}"}


@pytest.fixture(scope="module")
def local(stack: Stack, proxies: Proxies, the_operator: Operator) -> Iterator[str]:
    """A Federation that names the identity provider of the cluster."""
    del the_operator
    keycloak = {**federation(stack, proxies)["spec"]["keycloak"], "assertionProvider": CLUSTER_PROVIDER}
    rules = [grant(), grant(namespaces={"names": [OPERATOR_NAMESPACE]})]
    with own_federation(stack, proxies, "keys", keycloak=keycloak, grants=rules) as name:
        yield name


def request_token(stack: Stack, assertion: str) -> Answer:
    """Present an assertion, and nothing else, as a pod does (RFC 7523 section 2.2)."""
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    path = f"/realms/{REALM}/protocol/openid-connect/token"
    return stack.api("keycloak").answer("POST", path, form=form, headers={"Authorization": ""})


@dataclass(frozen=True)
class Signer:
    """What a pod signs with."""

    client_id: str
    private_key: str
    key_id: str
    issuer: str

    @classmethod
    def mounted(cls, tenant: Tenant) -> Signer:
        """Return what the Secret of the pod holds."""
        text = (tenant.secret("trainer") or {})["text"]
        return cls(text["id"], text["key.pem"], text["kid"], text["iss"])

    @classmethod
    def in_vault(cls, tenant: Tenant, authority: Authority) -> Signer:
        """Return what one read of Vault tells."""
        held = authority.vault(f"fedid/{tenant.namespace}/bots/trainer/keys/client") or {}
        return cls(held["client_id"], held["private_key"], held["key_id"], held["issuer"])

    def answer(self, stack: Stack) -> Answer:
        """Request a token."""
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": self.issuer, "jti": str(uuid.uuid4())}
        headers = {"kid": self.key_id}
        claims_now = {**claims, "exp": int(time.time()) + 60}
        return request_token(stack, jwt.encode(claims_now, self.private_key, "ES256", headers=headers))

    def accepted(self, stack: Stack) -> bool:
        """Tell whether it gets one; refused, it is for the key's sake."""
        answer = self.answer(stack)
        assert answer.status == 200 or answer.body["error"] == "invalid_client", answer.text
        return answer.status == 200


def test_a_bot_that_signs(tenant: Tenant, authority: Authority, local: str, stack: Stack) -> None:
    """Made, used by a pod, replaced with two keys that are good, and refused at the end; there never is a secret."""
    wanted = bot(
        "trainer",
        federationRef={"name": local},
        authentication={"privateKeyJwt": {}},
        secretRotation={"overlap": "10s"},
    )
    tenant.apply(wanted, pod_identity("trainer", files=SIGNED))
    tenant.ready("BotClient", "trainer")
    tenant.ready("PodIdentity", "trainer")
    old = Signer.mounted(tenant)
    assert old == Signer.in_vault(tenant, authority)
    answer = old.answer(stack)
    assert answer.status == 200, answer.text
    minted = answer.body["access_token"]
    assert claims_of(minted)["azp"] == f"{tenant.namespace}.trainer"
    published = tenant.mounted("trainer", "token")
    assert authority.admin_api_status(published) == 403
    client = authority.client(old.client_id) or {}
    assert client["clientAuthenticatorType"] == "client-jwt"
    assert authority.request_token(old.client_id, client["secret"]).status == 400
    assert authority.vault(f"fedid/{tenant.namespace}/bots/trainer/client") is None
    assert "BEGIN" not in str(tenant.get("BotClient", "trainer"))

    note = {"metadata": {"annotations": {"fedid.io/rotate": "secret"}}}
    stack.kube("PATCH", tenant.path("BotClient", "trainer"), note, headers=MERGE)
    tenant.mounted("trainer", "kid", lambda kid: kid != old.key_id)
    new = Signer.mounted(tenant)
    assert new.private_key != old.private_key
    assert new.accepted(stack)
    assert old.accepted(stack)
    eventually(lambda: not old.accepted(stack), "the former key ends")
    assert new.accepted(stack)
    path = f"fedid/{tenant.namespace}/bots/trainer/keys/client"
    eventually(lambda: "previous_private_key" not in (authority.vault(path) or {}), "Vault forgets the former key")
    assert Signer.in_vault(tenant, authority) == new
    tenant.ready("BotClient", "trainer")

    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    assert not new.accepted(stack)
    assert authority.admin_api_status(minted) == 401
    assert authority.admin_api_status(published) == 401
    assert authority.vault_metadata(path) is None
    told = tenant.event("trainer", "RevocationProven")["message"]
    assert "the private key is refused (invalid_client)" in told


def test_tampering_with_keys(tenant: Tenant, authority: Authority, local: str, stack: Stack) -> None:
    """A list, an entry and an authenticator that a hand changed: what others know ends, what pods have is good."""
    wanted = bot("trainer", federationRef={"name": local}, authentication={"privateKeyJwt": {}}, adopt=False)
    tenant.apply(wanted, pod_identity("trainer", files=SIGNED))
    tenant.ready("PodIdentity", "trainer")
    first, hands = Signer.mounted(tenant), Hands(stack)
    uuid_of = (authority.client(first.client_id) or {})["id"]
    hands.change_client(uuid_of, clientAuthenticatorType="client-secret")
    tenant.touch("BotClient", "trainer")
    eventually(lambda: first.accepted(stack), "the authenticator is put back")
    hands.change_client(uuid_of, attributes={"jwks.string": '{"keys":[]}'})
    tenant.touch("BotClient", "trainer")
    tenant.mounted("trainer", "kid", lambda kid: kid != first.key_id)
    second = Signer.mounted(tenant)
    assert second.accepted(stack)
    assert not first.accepted(stack)
    hands.delete_entry(f"fedid/{tenant.namespace}/bots/trainer/keys/client")
    tenant.touch("BotClient", "trainer")
    tenant.mounted("trainer", "kid", lambda kid: kid not in {"", second.key_id})
    third = Signer.mounted(tenant)
    assert third.accepted(stack)
    assert not second.accepted(stack)


def token_of(stack: Stack, namespace: str, name: str) -> str:
    """Return a projected token as kubelet asks for it, for the realm."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    spec = {"audiences": [f"{stack.keycloak_url}/realms/{REALM}"], "expirationSeconds": 600}
    return str(stack.kube("POST", path, {"spec": spec})["status"]["token"])


def with_account(name: str, local: str, account: str) -> Body:
    """Return a bot that authenticates by a ServiceAccount."""
    return bot(name, federationRef={"name": local}, authentication={"serviceAccount": {"name": account}}, tokens=[])


def test_a_bot_without_any_secret(tenant: Tenant, authority: Authority, local: str, stack: Stack) -> None:
    """Its pod's own token gets one; nobody else's; a second bot waits for the first to go; deleted, it is refused."""
    namespace = tenant.namespace
    stack.kube("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "trainer"}})
    files = {"id": "{clientId}", "iss": "{issuerUrl}", "url": "{tokenUrl}", "sub": "{subject}"}
    tenant.apply(with_account("trainer", local, "trainer"), pod_identity("trainer", files=files))
    said = tenant.ready("BotClient", "trainer")["status"]
    assertion = token_of(stack, namespace, "trainer")
    answer = request_token(stack, assertion)
    assert answer.status == 200, answer.text
    minted = answer.body["access_token"]
    assert claims_of(minted)["azp"] == f"{namespace}.trainer"
    assert claims_of(minted)["sub"] == said["serviceAccountSubject"] == tenant.mounted("trainer", "sub")
    assert "fl-client" in claims_of(minted)["realm_access"]["roles"]
    assert authority.admin_api_status(minted) == 403
    held = authority.vault(f"fedid/{namespace}/bots/trainer/client") or {}
    assert held.keys() == {"client_id", "issuer", "token_url"}
    client = authority.client(f"{namespace}.trainer") or {}
    assert authority.request_token(client["clientId"], client.get("secret") or "x").status == 401

    tenant.apply(with_account("second", local, "trainer"))
    assert "one ServiceAccount serves one client" in tenant.reason("BotClient", "second", "Conflict")["message"]
    assert authority.client(f"{namespace}.second") is None
    assert request_token(stack, assertion).status == 200
    tenant.apply(pod_identity("asks", "trainer", files={"x": "{token}"}))
    assert "mount a projected token" in tenant.reason("PodIdentity", "asks", "InvalidSpec")["message"]

    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    assert authority.admin_api_status(minted) == 401
    assert "no token was seen" in tenant.event("trainer", "RevocationProven")["message"]
    tenant.ready("BotClient", "second")
    again = request_token(stack, assertion)
    assert claims_of(again.body["access_token"])["azp"] == f"{namespace}.second"
    tenant.delete("BotClient", "second")
    tenant.gone("BotClient", "second")
    refused = request_token(stack, assertion)
    assert (refused.status, refused.body["error"]) == (401, "invalid_client")


def test_the_operators_own_is_refused(tenant: Tenant, authority: Authority, local: str, stack: Stack) -> None:
    """Its ServiceAccount can be no bot's, and serves the operator as before."""
    del tenant
    there = Tenant(stack, OPERATOR_NAMESPACE)
    there.apply(with_account("thief", local, OPERATOR_SUBJECT.rpartition(":")[2]))
    try:
        assert "operator's own" in there.reason("BotClient", "thief", "Conflict")["message"]
        assert authority.client(f"{OPERATOR_NAMESPACE}.thief") is None
        assert authority.request_token_as_operator().status == 200
    finally:
        there.delete("BotClient", "thief")
        there.gone("BotClient", "thief")
