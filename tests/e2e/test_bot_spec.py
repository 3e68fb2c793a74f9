"""What a bot may have beyond roles: claims, client scopes, a client of before, a client that stays: on real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.authority import REALM, Authority, claims_of
from tests.e2e.hands import OWNER, Hands
from tests.e2e.operating import Proxies, grant, own_federation
from tests.e2e.running import Operator
from tests.e2e.tenancy import Body, Tenant, bot, pod_identity, unique
from tests.e2e.test_suspension import Taken
from tests.e2e.waiting import eventually
from tests.testbed.stack import Stack


@pytest.fixture
def hands(stack: Stack) -> Hands:
    """An administrator of everything."""
    return Hands(stack)


@pytest.fixture(scope="module")
def scope(stack: Stack) -> Iterator[str]:
    """A client scope that puts a claim into tokens."""
    name, admin = unique("fl-scope"), f"/admin/realms/{REALM}/client-scopes"
    config = {"claim.name": "from_scope", "claim.value": "x", "access.token.claim": "true"}
    mapper = {"name": "m", "protocol": "openid-connect", "protocolMapper": "oidc-hardcoded-claim-mapper"}
    attributes = {"include.in.token.scope": "true"}
    body = {"name": name, "protocol": "openid-connect", "attributes": attributes}
    stack.keycloak("POST", admin, {**body, "protocolMappers": [{**mapper, "config": config}]})
    (made,) = [one["id"] for one in stack.keycloak("GET", admin) if one["name"] == name]
    yield name
    stack.keycloak("DELETE", f"{admin}/{made}")


@pytest.fixture(scope="module")
def wide(stack: Stack, proxies: Proxies, the_operator: Operator) -> Iterator[str]:
    """A Federation that grants all of it, and looks at everything every 5 s."""
    del the_operator
    rules = [grant(claims=["fl_*"], scopes=["fl-*"], clientIds=["legacy-*"], adopt=True, retain=True)]
    with own_federation(stack, proxies, "wide", defaults={"resyncPeriod": "5s"}, grants=rules) as name:
        yield name


def of(federation: str, **spec: object) -> Body:
    """Return the bot of that Federation."""
    return bot("trainer", federationRef={"name": federation}, **spec)


def published(tenant: Tenant, authority: Authority) -> str:
    """Return the token in Vault."""
    return str((authority.vault(f"fedid/{tenant.namespace}/bots/trainer/tokens/default") or {})["token"])


def test_claims_and_scopes_are_in_the_token_as_declared(
    tenant: Tenant, authority: Authority, hands: Hands, wide: str, scope: str
) -> None:
    """Told to a verifier too; what changes or goes ends the token; what a hand changes is put back."""
    tenant.apply(of(wide, claims={"fl_site": "a", "fl_tier": "2"}, defaultScopes=[scope]))
    tenant.ready("BotClient", "trainer")
    first = published(tenant, authority)
    said = claims_of(first)
    assert (said["fl_site"], said["fl_tier"], said["from_scope"]) == ("a", "2", "x")
    assert scope in said["scope"].split()
    assert authority.introspect(first)["fl_site"] == "a"
    assert said["sub"] == tenant.ready("BotClient", "trainer")["status"]["serviceAccountSubject"]

    tenant.apply(of(wide, claims={"fl_site": "b"}, optionalScopes=[scope]))
    tenant.ready("BotClient", "trainer")
    second = published(tenant, authority)
    assert claims_of(second)["fl_site"] == "b"
    assert not {"fl_tier", "from_scope"} & claims_of(second).keys()
    assert authority.admin_api_status(first) == 401
    assert authority.admin_api_status(second) == 403

    client = authority.client(f"{tenant.namespace}.trainer") or {}
    assert scope in client["optionalClientScopes"]
    assert {"basic", "roles", "service_account"} <= set(client["defaultClientScopes"])
    for how, name in (("default", "roles"), ("optional", scope)):
        path = f"{how}-client-scopes/{_scope_id(hands.stack, name)}"
        hands.stack.keycloak("DELETE", f"/admin/realms/{REALM}/clients/{client['id']}/{path}")
    tenant.touch("BotClient", "trainer")
    eventually(lambda: _scopes(authority, client["clientId"]) == _scopes_of(client), "the scopes are put back")

    tenant.apply(of(wide, claims={"other": "x"}))
    assert "claims: other" in tenant.reason("BotClient", "trainer", "NotGranted")["message"]
    tenant.apply(of(wide, defaultScopes=["fl-missing"]))
    assert "client scope fl-missing does not exist" in tenant.reason("BotClient", "trainer", "ScopeMissing")["message"]


def test_a_client_that_stays_is_useless_and_can_be_taken_up_again(
    tenant: Tenant, authority: Authority, wide: str
) -> None:
    """Nobody knows its secret, nothing of before is accepted, no mark is on it; another bot may adopt it."""
    tenant.apply(of(wide, deletionPolicy="Retain"), pod_identity("trainer"))
    taken = Taken.of(tenant, authority)
    before = authority.client(taken.client_id) or {}
    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    after = authority.client(taken.client_id) or {}
    assert after["id"] == before["id"]
    assert not {"fedid.owner", "fedid.object"} & after["attributes"].keys()
    assert after["secret"] not in {before["secret"], taken.secret}
    assert taken.answers() == {"mounted": 401, "minted": 401, "secret": 401}
    assert authority.service_account_roles(after["id"]) == {"fl-client"}
    for path in ("client", "tokens/default"):
        assert authority.vault_metadata(f"fedid/{tenant.namespace}/bots/trainer/{path}") is None
    assert "the client stays" in tenant.event("trainer", "RevocationProven")["message"]

    tenant.apply(of(wide))
    assert "spec.adopt" in tenant.reason("BotClient", "trainer", "Conflict")["message"]
    tenant.apply(of(wide, adopt=True))
    fresh = Taken.of(tenant, authority)
    assert fresh.answers() == {"mounted": 403, "minted": 403, "secret": 200}
    assert taken.answers() == {"mounted": 401, "minted": 401, "secret": 401}
    assert (tenant.get("BotClient", "trainer") or {})["status"]["clientUuid"] == before["id"]
    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    assert authority.client(taken.client_id) is None


def test_a_client_is_taken_over_wholly_or_not_at_all(
    tenant: Tenant, authority: Authority, hands: Hands, wide: str
) -> None:
    """One that nobody owns ends for whoever used it; one with another mark is left as it stands."""
    names = [unique("legacy-a"), unique("legacy-b")]
    secret = "known-to-somebody"
    fields = {"secret": secret, "serviceAccountsEnabled": True, "redirectUris": ["https://x.example/*"]}
    uuids = [
        hands.make_client(names[0], **fields),
        hands.make_client(names[1], **fields, attributes={OWNER: "elsewhere/uid"}),
    ]
    account = hands.service_account(uuids[0])
    hands.map_role(account, "fl-member")
    hands.put_in_group(account, "/sites/a")
    hands.add_mapper(uuids[0], "by hand", "by_hand", "x")
    old = authority.request_token(names[0], secret).body["access_token"]
    before = hands.client_as_it_stands(uuids[1])
    tenant.apply(of(wide, clientId=names[0], adopt=True), _owned(wide, names[1]))
    body = tenant.ready("BotClient", "trainer")
    assert body["status"]["clientUuid"] == uuids[0]
    assert authority.request_token(names[0], secret).status == 401
    assert authority.admin_api_status(old) == 401
    assert authority.service_account_roles(uuids[0]) == {"fl-client"}
    assert authority.groups(account) == set()
    client = authority.client(names[0]) or {}
    assert (client["redirectUris"], client["standardFlowEnabled"]) == ([], False)
    assert set(hands.mappers(uuids[0])) == {"audience superlink"}
    fresh = published(tenant, authority)
    assert authority.admin_api_status(fresh) == 403
    assert "by_hand" not in claims_of(fresh)
    tenant.event("trainer", "ClientAdopted")

    assert "elsewhere/uid" in tenant.reason("BotClient", "owned", "Conflict")["message"]
    assert hands.client_as_it_stands(uuids[1]) == before
    for name in ("owned", "trainer"):
        tenant.delete("BotClient", name)
        tenant.gone("BotClient", name)
    assert authority.client(names[0]) is None
    assert hands.client_as_it_stands(uuids[1]) == before
    hands.delete_client(uuids[1])


def _owned(federation: str, client_id: str) -> Body:
    return bot("owned", federationRef={"name": federation}, clientId=client_id, adopt=True)


def _scopes_of(client: Body) -> tuple[set[str], set[str]]:
    return set(client["defaultClientScopes"]), set(client["optionalClientScopes"])


def _scopes(authority: Authority, client_id: str) -> tuple[set[str], set[str]]:
    return _scopes_of(authority.client(client_id) or {})


def _scope_id(stack: Stack, name: str) -> str:
    found = stack.keycloak("GET", f"/admin/realms/{REALM}/client-scopes")
    return str(next(one["id"] for one in found if one["name"] == name))
