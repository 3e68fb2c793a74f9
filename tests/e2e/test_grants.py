"""What no grant covers never reaches Keycloak, Vault or a Secret; what is not covered any more is withdrawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.authority import Authority, claims_of
from tests.e2e.hands import Hands
from tests.e2e.operating import Proxies, apply_federation, federation, grant, own_federation
from tests.e2e.running import Operator
from tests.e2e.tenancy import Body, Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.faults import Status, requests_to
from tests.testbed.stack import Stack

FINALIZER = "fedid.io/revoke"
WOKEN_SECONDS = 25
"""Less than the half minute after which whatever waits is looked at anyway: it was woken."""


@pytest.fixture
def changeable(stack: Stack, proxies: Proxies, operator: Operator) -> Iterator[Changeable]:
    """A Federation whose grants a test changes."""
    del operator
    with own_federation(stack, proxies, "changeable", grants=[grant()]) as name:
        yield Changeable(stack, proxies, name)


class Changeable:
    """A Federation with its grants in the test's hand."""

    def __init__(self, stack: Stack, proxies: Proxies, name: str) -> None:
        """Remember which."""
        self._stack, self._proxies, self.name = stack, proxies, name

    @property
    def reference(self) -> dict[str, Any]:
        """What a spec says to belong to it."""
        return {"federationRef": {"name": self.name}}

    def grant(self, *rules: dict[str, Any]) -> None:
        """Replace all rules."""
        apply_federation(
            self._stack, federation(self._stack, self._proxies, self.name, default=False, grants=list(rules))
        )


def test_a_namespace_that_no_grant_covers_gets_nothing_until_it_is_labelled(
    stranger: Tenant, authority: Authority
) -> None:
    """Nothing anywhere, not even a finalizer; the answer names the rules; with the label all is Ready by itself."""
    person = unique("ana")
    stranger.apply(bot("trainer"), user(person), pod_identity("trainer"))
    for kind, name in (("BotClient", "trainer"), ("FederationUser", person)):
        told = stranger.reason(kind, name, "NotGranted")["message"]
        assert f"about namespace {stranger.namespace}" in told, told
        assert "grants[0] for [fedid.io/tenant=true] (realmRoles: fl-*; groups: /sites/*" in told, told
        assert stranger.condition(kind, name, "Granted")["status"] == "False"
        assert FINALIZER not in (stranger.get(kind, name) or {})["metadata"].get("finalizers", [])
    assert "not granted" in stranger.reason("PodIdentity", "trainer", "NotGranted")["message"]
    _assert_nothing_of(stranger, authority, "trainer", person)
    stranger.label(tenant="true")
    for kind, name in (("BotClient", "trainer"), ("FederationUser", person), ("PodIdentity", "trainer")):
        stranger.ready(kind, name, seconds=WOKEN_SECONDS)
    assert authority.introspect(stranger.mounted("trainer", "token"))["active"] is True


def _assert_nothing_of(tenant: Tenant, authority: Authority, bot_name: str, person: str) -> None:
    assert authority.client(f"{tenant.namespace}.{bot_name}") is None
    assert authority.user(person) is None
    for path in ("client", "tokens/default"):
        assert authority.vault_metadata(f"fedid/{tenant.namespace}/bots/{bot_name}/{path}") is None
    assert tenant.secret(bot_name) is None


def test_a_label_that_goes_takes_everything_with_it_and_brings_only_new_things_back(
    tenant: Tenant, authority: Authority
) -> None:
    """Without the label all is withdrawn with proof and the objects stay; with it again nothing old comes to life."""
    person = unique("ana")
    tenant.apply(bot("trainer"), user(person), pod_identity("trainer"))
    tenant.ready("PodIdentity", "trainer")
    user_id = tenant.ready("FederationUser", person)["status"]["userId"]
    old_token, base = tenant.mounted("trainer", "token"), f"fedid/{tenant.namespace}/bots/trainer"
    old = authority.vault(f"{base}/client") or {}
    minted = authority.request_token(old["client_id"], old["client_secret"]).body["access_token"]
    tenant.label(tenant=None)
    for kind, name in (("BotClient", "trainer"), ("FederationUser", person), ("PodIdentity", "trainer")):
        tenant.reason(kind, name, "NotGranted")
    eventually(lambda: authority.client(old["client_id"]) is None, "the client is gone")
    tenant.emptied("trainer")
    for kind, name in (("BotClient", "trainer"), ("FederationUser", person)):
        eventually(
            lambda kind=kind, name=name: FINALIZER not in tenant.get(kind, name)["metadata"].get("finalizers", []),
            f"{kind}/{name} let go",
        )
    for dead in (old_token, minted):
        assert authority.admin_api_status(dead) == 401
    assert authority.request_token(old["client_id"], old["client_secret"]).status == 401
    assert authority.user(person) is None
    for path in ("client", "tokens/default"):
        assert authority.vault_metadata(f"{base}/{path}") is None
    assert claims_of(old_token)["jti"] in tenant.event("trainer", "RevocationProven")["message"]
    assert user_id in tenant.event(person, "RevocationProven")["message"]
    tenant.label(tenant="true")
    tenant.ready("BotClient", "trainer")
    tenant.ready("FederationUser", person)
    tenant.ready("PodIdentity", "trainer")
    assert authority.introspect(tenant.mounted("trainer", "token"))["active"] is True
    assert (authority.vault(f"{base}/client") or {})["client_secret"] != old["client_secret"]
    for dead in (old_token, minted):
        assert authority.admin_api_status(dead) == 401
    assert authority.request_token(old["client_id"], old["client_secret"]).status == 401


def test_a_withdrawal_that_is_called_off_halfway_ends_with_new_credentials(
    tenant: Tenant, authority: Authority, proxies: Proxies
) -> None:
    """The label comes back when the token is revoked and the client still there: secret and token are replaced."""
    tenant.apply(bot("trainer"), pod_identity("trainer"))
    tenant.ready("PodIdentity", "trainer")
    base = f"fedid/{tenant.namespace}/bots/trainer"
    old_secret = (authority.vault(f"{base}/client") or {})["client_secret"]
    old_token = tenant.mounted("trainer", "token")
    rule = proxies.keycloak.inject(Status(503), requests_to(".*/clients/[^/]+", "DELETE"))
    tenant.label(tenant=None)
    eventually(lambda: rule.hits, "the client should have been deleted")
    tenant.emptied("trainer")
    assert authority.admin_api_status(old_token) == 401
    assert authority.client(f"{tenant.namespace}.trainer") is not None
    tenant.label(tenant="true")
    rule.lift()
    tenant.ready("BotClient", "trainer")
    tenant.ready("PodIdentity", "trainer")
    assert authority.introspect(tenant.mounted("trainer", "token"))["active"] is True
    assert (authority.vault(f"{base}/client") or {})["client_secret"] != old_secret
    assert authority.request_token(f"{tenant.namespace}.trainer", old_secret).status == 401
    assert authority.admin_api_status(old_token) == 401


TOO_MUCH: dict[str, tuple[Callable[[], Body], str]] = {
    "a realm role": (lambda: bot("role", realmRoles=["fl-client", "offline_access"]), "realmRoles: offline_access"),
    "an audience": (lambda: bot("audience", audiences=["superlink", "account"]), "audiences: account"),
    "a clientId of its own": (lambda: bot("name", clientId=unique("free")), "clientIds: free-"),
    "a role of a client": (lambda: bot("client-role", clientRoles={"account": ["view-profile"]}), "account/view-prof"),
    "an administrator's role": (
        lambda: bot("admin", clientRoles={"realm-management": ["manage-users"]}),
        "clientRoles: realm-management/manage-users",
    ),
    "a longer life of tokens": (lambda: bot("life", tokens=[{"name": "default", "lifetime": "2h"}]), "lifetime of 2h"),
    "a group": (lambda: user(unique("group"), groups=["/sites/a", "/staff"]), "groups: /staff"),
    "a realm role for a person": (lambda: user(unique("role"), realmRoles=["uma_authorization"]), "uma_authorization"),
}


def test_an_ask_that_is_not_covered_makes_nothing_at_all(tenant: Tenant, authority: Authority) -> None:
    """One role, audience, group, clientId or lifetime too much at creation: NotGranted names it, nothing is made."""
    manifests = {why: make() for why, (make, _) in TOO_MUCH.items()}
    tenant.apply(*manifests.values())
    for why, manifest in manifests.items():
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        told = tenant.reason(kind, name, "NotGranted")["message"]
        assert TOO_MUCH[why][1] in told, (why, told)
        if why != "a longer life of tokens":
            assert "grants[0]" in told, (why, told)
        body = tenant.get(kind, name) or {}
        assert FINALIZER not in body["metadata"].get("finalizers", []), why
        if kind == "BotClient":
            assert authority.client(manifest["spec"].get("clientId", f"{tenant.namespace}.{name}")) is None, why
            assert authority.vault_metadata(f"fedid/{tenant.namespace}/bots/{name}/client") is None, why
        else:
            assert authority.user(manifest["spec"]["username"]) is None, why


def test_one_that_asks_for_too_much_later_keeps_what_is_covered(tenant: Tenant, authority: Authority) -> None:
    """Ready is False for NotGranted, but the granted roles, the groups and living tokens stay, renewals included."""
    person, short = unique("ana"), [{"name": "default", "lifetime": "15s"}]
    tenant.apply(bot("trainer", tokens=short), pod_identity("trainer"), user(person))
    uuid = tenant.ready("BotClient", "trainer")["status"]["clientUuid"]
    tenant.ready("PodIdentity", "trainer")
    user_id = tenant.ready("FederationUser", person)["status"]["userId"]
    tenant.apply(
        bot("trainer", tokens=short, realmRoles=["fl-member", "offline_access"]),
        user(person, groups=["/sites/b", "/staff"], realmRoles=["fl-admin", "offline_access"]),
    )
    assert "realmRoles: offline_access" in tenant.reason("BotClient", "trainer", "NotGranted")["message"]
    assert "groups: /staff" in tenant.reason("FederationUser", person, "NotGranted")["message"]
    assert authority.service_account_roles(uuid) == {"fl-member"}
    assert authority.realm_roles(user_id) == {"fl-admin"}
    assert authority.groups(user_id) == {"/sites/b"}
    first = tenant.mounted("trainer", "token", lambda text: "fl-member" in claims_of(text)["realm_access"]["roles"])

    def renewed() -> bool:
        mounted = tenant.mounted("trainer", "token")
        assert authority.introspect(mounted)["active"] is True, "a mounted token was dead"
        return claims_of(mounted)["iat"] > claims_of(first)["exp"]

    eventually(renewed, "a token that was minted after the first one ended")
    tenant.apply(bot("trainer", tokens=short, realmRoles=["fl-member"]), user(person, groups=[], realmRoles=[]))
    tenant.ready("BotClient", "trainer")
    tenant.ready("FederationUser", person)
    assert authority.groups(user_id) == set()


def test_a_grant_that_narrows_takes_back_what_it_covered(
    changeable: Changeable, tenant: Tenant, authority: Authority
) -> None:
    """Roles, groups and audience go in Keycloak, the token that says them is ended and replaced; that is no drift."""
    person, roles = unique("ana"), {"realmRoles": ["fl-client", "fl-admin"], **changeable.reference}
    changeable.grant(grant(audiences=["superlink", "account"]))
    tenant.apply(
        bot("trainer", audiences=["superlink", "account"], **roles),
        pod_identity("trainer"),
        bot("silent", tokens=[], **roles),
        user(person, realmRoles=["fl-member", "fl-admin"], groups=["/sites/a", "/sites/b"], **changeable.reference),
    )
    uuid = tenant.ready("BotClient", "trainer")["status"]["clientUuid"]
    silent = tenant.ready("BotClient", "silent")["status"]["clientUuid"]
    user_id = tenant.ready("FederationUser", person)["status"]["userId"]
    tenant.ready("PodIdentity", "trainer")
    wide = tenant.mounted("trainer", "token")
    changeable.grant(grant(realmRoles=["fl-client", "fl-member"], groups=["/sites/a"]))
    told = tenant.reason("BotClient", "trainer", "NotGranted")["message"]
    assert "audiences: account, realmRoles: fl-admin" in told, told
    told = tenant.reason("FederationUser", person, "NotGranted")["message"]
    assert "groups: /sites/b, realmRoles: fl-admin" in told, told
    tenant.reason("BotClient", "silent", "NotGranted")
    assert authority.service_account_roles(uuid) == authority.service_account_roles(silent) == {"fl-client"}
    assert authority.realm_roles(user_id) == {"fl-member"}
    assert authority.groups(user_id) == {"/sites/a"}
    narrow = tenant.mounted("trainer", "token", lambda text: text != wide)
    assert "fl-admin" not in claims_of(narrow)["realm_access"]["roles"]
    assert authority.introspect(narrow)["active"] is True
    assert authority.admin_api_status(wide) == 401
    for name in ("trainer", "silent", person):
        assert "DriftRepaired" not in {event["reason"] for event in tenant.events(name)}, name


def test_a_narrower_limit_shortens_the_life_of_client_and_token(
    changeable: Changeable, tenant: Tenant, authority: Authority
) -> None:
    """Below what a bot has: the client's lifespan follows, the long token is ended, and a short one made."""
    tenant.apply(bot("trainer", tokens=[{"name": "default", "lifetime": "30m"}], **changeable.reference))
    tenant.ready("BotClient", "trainer")
    path, client_id = f"fedid/{tenant.namespace}/bots/trainer/tokens/default", f"{tenant.namespace}.trainer"
    long = (authority.vault(path) or {})["token"]
    changeable.grant(grant(maxTokenLifetime="5m"))
    assert "lifetime of 30m" in tenant.reason("BotClient", "trainer", "NotGranted")["message"]
    assert (authority.client(client_id) or {})["attributes"]["access.token.lifespan"] == "300"
    short = claims_of((authority.vault(path) or {})["token"])
    assert short["exp"] - short["iat"] == 300
    assert authority.admin_api_status(long) == 401
    changeable.grant(grant(maxTokenLifetime="1h"))
    tenant.ready("BotClient", "trainer")
    assert (authority.client(client_id) or {})["attributes"]["access.token.lifespan"] == "1800"


def test_deletion_is_never_refused_by_a_grant(changeable: Changeable, tenant: Tenant, authority: Authority) -> None:
    """With every rule gone, or with asks that are not covered, objects are deleted and their tokens proven dead."""
    person, reference = unique("ana"), changeable.reference
    tenant.apply(bot("over", **reference), bot("without", **reference), user(person, **reference))
    tenant.ready("BotClient", "over")
    tenant.ready("BotClient", "without")
    tenant.ready("FederationUser", person)
    tokens = [
        (authority.vault(f"fedid/{tenant.namespace}/bots/{name}/tokens/default") or {})["token"]
        for name in ("over", "without")
    ]
    tenant.apply(bot("over", realmRoles=["fl-client", "offline_access"], **reference))
    tenant.reason("BotClient", "over", "NotGranted")
    tenant.delete("BotClient", "over")
    tenant.gone("BotClient", "over")
    changeable.grant()
    for kind, name in (("BotClient", "without"), ("FederationUser", person)):
        tenant.delete(kind, name)
    for kind, name in (("BotClient", "without"), ("FederationUser", person)):
        tenant.gone(kind, name)
    for token in tokens:
        assert authority.admin_api_status(token) == 401
    assert authority.user(person) is None


def test_rules_match_by_name_by_expression_and_by_prefix(
    changeable: Changeable, stack: Stack, stranger: Tenant, tenant: Tenant, authority: Authority
) -> None:
    """Names and matchExpressions pick namespaces, a trailing `*` covers what begins so, different rules add up."""
    hands, taken = Hands(stack), unique("shared")
    service = hands.make_client(unique("service"))
    client_id = stack.keycloak("GET", f"/admin/realms/fl/clients/{service}")["clientId"]
    for role in ("read-a", "read-b", "write", "un-read-a"):
        stack.keycloak("POST", f"/admin/realms/fl/clients/{service}/roles", {"name": role})
    expression = {"key": "fedid.io/site", "operator": "In", "values": ["a", "b"]}
    changeable.grant(
        {"namespaces": {"names": [stranger.namespace]}, "realmRoles": ["fl-cl*"], "clientIds": ["shared-*"]},
        {"namespaces": {"selector": {"matchExpressions": [expression]}}, "audiences": ["super*"]},
        {
            "namespaces": {"selector": {"matchLabels": {"fedid.io/tenant": "true"}}},
            "clientRoles": {client_id: ["read-*"], "realm-management": ["view-clients"]},
        },
    )
    wanted = bot("trainer", clientId=taken, **changeable.reference)
    stranger.apply(wanted)
    assert "audiences: superlink" in stranger.reason("BotClient", "trainer", "NotGranted")["message"]
    stranger.label(site="b")
    stranger.ready("BotClient", "trainer")
    assert authority.client(taken) is not None
    plain = {"realmRoles": [], "audiences": [], **changeable.reference}
    tenant.apply(
        bot("reader", clientRoles={client_id: ["read-a", "read-b"]}, **plain),
        bot("writer", clientRoles={client_id: ["write"]}, **plain),
        bot("middle", clientRoles={client_id: ["un-read-a"]}, **plain),
        bot("other-name", clientId=unique("shared"), **plain),
        bot("manager", clientRoles={"realm-management": ["view-users"]}, **plain),
    )
    reader = tenant.ready("BotClient", "reader")["status"]["serviceAccountSubject"]
    mapped = stack.keycloak("GET", f"/admin/realms/fl/users/{reader}/role-mappings")["clientMappings"]
    assert {role["name"] for role in mapped[client_id]["mappings"]} == {"read-a", "read-b"}
    asks = {"writer": "/write", "middle": "/un-read-a", "other-name": "clientIds", "manager": "/view-users"}
    for name, ask in asks.items():
        assert ask in tenant.reason("BotClient", name, "NotGranted")["message"]
        assert authority.client(f"{tenant.namespace}.{name}") is None
    hands.delete_client(service)
    changeable.grant(
        {"namespaces": {"names": [stranger.namespace]}, "realmRoles": ["fl-*"], "audiences": ["superlink"]}
    )
    assert "clientIds: shared-" in stranger.reason("BotClient", "trainer", "NotGranted")["message"]
    eventually(lambda: authority.client(taken) is None, "a clientId that is not granted any more is given back")
