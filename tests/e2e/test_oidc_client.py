"""A server that signs users in, on real servers: from its manifest to the login, through a rotation, to its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.contract.signing_in import Browser, RelyingParty, SignInError
from tests.e2e.authority import REALM, Authority
from tests.e2e.hands import Hands
from tests.e2e.operating import Proxies, grant, own_federation
from tests.e2e.rotating import annotate
from tests.e2e.running import Operator
from tests.e2e.tenancy import Body, Tenant, unique
from tests.e2e.waiting import eventually
from tests.testbed.stack import Stack

PASSWORD = "correct horse battery"


@pytest.fixture
def hands(stack: Stack) -> Hands:
    """An administrator of everything."""
    return Hands(stack)


@pytest.fixture(scope="module")
def signing(stack: Stack, proxies: Proxies, the_operator: Operator) -> Iterator[str]:
    """A Federation that lets servers sign users in below an address of their namespace."""
    del the_operator
    rule = grant(
        oidcFlows=["authorizationCode", "introspection"],
        redirectUriPrefixes=["https://{namespace}.apps.example:12345"],
    )
    with own_federation(stack, proxies, "signing", grants=[rule]) as name:
        yield name


def dai(tenant: Tenant, federation: str, *, host: str | None = None, rotate: str | None = None) -> Body:
    """Return Driverless AI with everything that needs Keycloak."""
    return {
        "apiVersion": "fedid.io/v1alpha1",
        "kind": "PodIdentity",
        "metadata": {"name": "dai", "annotations": {"fedid.io/rotate": rotate} if rotate else {}},
        "spec": {
            "role": "server",
            "federationRef": {"name": federation},
            "oidcClient": {
                "baseUrl": f"https://{host or f'{tenant.namespace}.apps.example'}:12345",
                "secretRotation": {"overlap": "1h"},
            },
            "platform": {
                "driverlessAi": {
                    "gate": {"claim": "groups", "objectPath": "'/sites/a' in $.groups"},
                    "pythonClient": {},
                }
            },
        },
    }


def server(tenant: Tenant) -> RelyingParty:
    """Return the server by what its pods would find in their environment."""
    found = {
        name: tenant.mounted("dai", f"DRIVERLESS_AI_{name}")
        for name in ("AUTH_OIDC_ISSUER_URL", "AUTH_OPENID_CLIENT_ID", "AUTH_OPENID_REDIRECT_URI", "AUTH_OPENID_SCOPE")
    }
    secret = tenant.mounted("dai", "DRIVERLESS_AI_AUTH_OPENID_CLIENT_SECRET")
    issuer, client_id, redirect_uri, scope = found.values()
    return RelyingParty(issuer, client_id, redirect_uri, secret, scope)


@pytest.fixture
def ana(hands: Hands) -> Iterator[str]:
    """A user in a group."""
    username = unique("ana")
    names = {"firstName": "Ana", "lastName": "Novak", "email": f"{username}@site-a.example"}
    password = {"type": "password", "value": PASSWORD, "temporary": False}
    user_id = hands.make_user(username, **names, credentials=[password])
    hands.put_in_group(user_id, "/sites/a")
    yield username
    hands.delete_user(user_id)


def test_users_sign_in_until_the_server_goes(
    tenant: Tenant, authority: Authority, hands: Hands, signing: str, ana: str
) -> None:
    """Login and gate work with what is mounted; a rotation is not noticed; after the end nothing is accepted."""
    tenant.apply(dai(tenant, signing))
    status = tenant.ready("PodIdentity", "dai")["status"]
    party = server(tenant)
    assert party.client_id == f"{tenant.namespace}.dai.server" == status["oidcClient"]["clientId"]
    code, _ = party.code(Browser(), ana, PASSWORD)
    tokens = party.tokens(code)
    assert party.userinfo(tokens["access_token"])["groups"] == ["/sites/a"]

    uuid = status["oidcClient"]["clientUuid"]
    hands.change_client(uuid, redirectUris=["https://evil.example/*"], fullScopeAllowed=True)

    def mended() -> bool:
        client = authority.client(party.client_id) or {}
        return client["redirectUris"] == [party.redirect_uri] and not client["fullScopeAllowed"]

    eventually(mended, "the client is put back")
    assert "redirectUris" in tenant.event("dai", "DriftRepaired")["message"]
    with pytest.raises(SignInError, match="redirect_uri"):
        replace(party, redirect_uri="https://evil.example/x").code(Browser(), ana, PASSWORD)

    tenant.apply(dai(tenant, signing, rotate="secret-1"))
    eventually(lambda: server(tenant).client_secret != party.client_secret, "another secret is mounted")
    for one in (party, server(tenant)):
        code, _ = one.code(Browser(), ana, PASSWORD)
        assert "access_token" in one.tokens(code), "both secrets are good"

    tenant.delete("PodIdentity", "dai")
    tenant.gone("PodIdentity", "dai")
    proof = tenant.event("dai", "RevocationProven")["message"]
    assert "its secret was accepted at" in proof
    assert "all 2 of its secrets are refused (invalid_client)" in proof
    assert authority.client(party.client_id) is None
    assert authority.client(f"{party.client_id}.public") is None
    assert authority.vault_metadata(status["oidcClient"]["vaultPath"]) is None
    refreshed = party.ask("token", {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]})
    assert refreshed["error"] == "invalid_client"
    assert "sub" not in party.userinfo(tokens["access_token"])
    eventually(lambda: tenant.secret("dai") is None, "the Secret goes with its owner")


def test_what_leaked_is_ended_at_once(tenant: Tenant, signing: str, ana: str) -> None:
    """Secret, session and tokens of before are dead, also with the client of the same id; then users sign in anew."""
    tenant.apply(dai(tenant, signing))
    tenant.ready("PodIdentity", "dai")
    party = server(tenant)
    code, _ = party.code(Browser(), ana, PASSWORD)
    tokens = party.tokens(code)
    assert "sub" in party.userinfo(tokens["access_token"])

    annotate(tenant, "dai", kind="PodIdentity", revoke_now="in-a-log")
    eventually(lambda: server(tenant).client_secret != party.client_secret, "another secret is mounted")
    status = tenant.ready("PodIdentity", "dai")["status"]
    assert status["revokedNow"] == "in-a-log"
    proof = tenant.event("dai", "RevocationProven")["message"]
    assert "its secret was accepted at" in proof
    assert "its secret is refused (invalid_client)" in proof
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert party.ask("token", refresh)["error"] == "unauthorized_client", "the former secret"
    assert server(tenant).ask("token", refresh)["error"] == "invalid_grant", "nor has the new one the session"
    assert "sub" not in party.userinfo(tokens["access_token"])
    code, _ = server(tenant).code(Browser(), ana, PASSWORD)
    assert "sub" in party.userinfo(server(tenant).tokens(code)["access_token"])


def test_an_address_of_somebody_else_is_not_granted(
    stack: Stack, tenant: Tenant, authority: Authority, signing: str
) -> None:
    """Nothing reaches Keycloak for the host of another namespace, or for one that only begins like it."""
    for number, host in enumerate(("site-b.apps.example", f"{tenant.namespace}.apps.example.evil")):
        before = len(stack.keycloak("GET", f"/admin/realms/{REALM}/clients?max=1000"))
        manifest = dai(tenant, signing, host=host)
        manifest["metadata"]["name"] = name = f"dai-{number}"
        tenant.apply(manifest)
        told = tenant.reason("PodIdentity", name, "NotGranted")
        assert f"redirectUriPrefixes: https://{host}:12345/oidc/callback" in told["message"]
        assert authority.client(f"{tenant.namespace}.{name}.server") is None
        assert len(stack.keycloak("GET", f"/admin/realms/{REALM}/clients?max=1000")) == before
        assert tenant.secret(name) is None
