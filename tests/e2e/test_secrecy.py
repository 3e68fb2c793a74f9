"""No credential where people look, and no right that the work does not need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.authority import Authority, claims_of
from tests.e2e.eavesdropping import Ledger
from tests.e2e.hands import Hands
from tests.e2e.operating import Proxies
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.cluster import OPERATOR_NAMESPACE, SERVICE_ACCOUNT
from tests.testbed.faults import Status, requests_to
from tests.testbed.keycloak_realm import OPERATOR_ROLES, WATCHING_ROLE
from tests.testbed.proxy import Proxy
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack
from tests.testbed.vault_setup import AUDIENCE, ROLE

# What a backend, or a proxy before it, could repeat in an answer.
PLANTED_SECRET = "fbs_PlantedByTheTest0123456789abcdefghijklmnopq"
PLANTED_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkLWJ5LXRoZS10ZXN0In0.UGxhbnRlZFNpZ25hdHVyZQ"
PLANTED_LEASE = "hvs.CAESIPlantedByTheTest0123456789abcdefghijkl"
PLANTED = f"client_secret={PLANTED_SECRET} Bearer {PLANTED_TOKEN} X-Vault-Token {PLANTED_LEASE}"


def test_no_credential_of_a_life_is_told_anywhere(
    tenant: Tenant, authority: Authority, ledger: Ledger, operator: Operator
) -> None:
    """Made, mounted, renewed, rotated by hand, withdrawn and deleted: invariant 1 for all that this ever was."""
    hands, person = Hands(authority.stack), unique("ana")
    tokens = [{"name": "default", "lifetime": "10s"}]
    tenant.apply(bot("trainer", tokens=tokens), bot("other"), pod_identity("trainer"), user(person))
    uuid = tenant.ready("BotClient", "trainer")["status"]["clientUuid"]
    tenant.ready("PodIdentity", "trainer")
    tenant.ready("FederationUser", person)
    first, path = tenant.mounted("trainer", "token"), f"fedid/{tenant.namespace}/bots/trainer/client"
    secret = (authority.vault(path) or {})["client_secret"]
    second = tenant.mounted("trainer", "token", lambda text: text != first)
    ledger.add(hands.regenerate_secret(uuid))  # the next renewal is refused and finds it
    eventually(lambda: (authority.vault(path) or {}).get("client_secret") not in {None, secret}, "a fresh secret")
    tenant.ready("BotClient", "trainer")
    third = tenant.mounted("trainer", "token", lambda text: text not in {first, second})
    fresh = (authority.vault(path) or {})["client_secret"]
    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    for made in (first, second, third, secret, fresh):
        assert made in ledger, "the ledger missed a credential, so this test would prove nothing"
    ledger.assert_none_in(ledger.texts(operator))


@dataclass(frozen=True, slots=True)
class Provocation:
    """An answer with credentials in it, in the place of the true one."""

    backend: str
    path: str
    method: str
    answer: Status


PROVOCATIONS = {
    "keycloak-400": Provocation("keycloak", ".*/clients", "POST", Status(400, json.dumps({"errorMessage": PLANTED}))),
    "keycloak-401": Provocation("keycloak", ".*/clients", "POST", Status(401, json.dumps({"error": PLANTED}))),
    "keycloak-403": Provocation("keycloak", ".*/clients", "POST", Status(403, json.dumps({"error": PLANTED}))),
    "keycloak-500": Provocation("keycloak", ".*/clients", "POST", Status(500, PLANTED)),
    "keycloak-page": Provocation("keycloak", ".*/clients", "POST", Status(404, f"<html>{PLANTED}</html>")),
    "keycloak-roles": Provocation(
        "keycloak", ".*/role-mappings/realm", "POST", Status(400, json.dumps({"errors": [{"errorMessage": PLANTED}]}))
    ),
    "mint-refused": Provocation(
        "keycloak",
        ".*/openid-connect/token",
        "POST",
        Status(400, json.dumps({"error": "invalid_request", "error_description": PLANTED})),
    ),
    "mint-of-nonsense": Provocation(
        "keycloak",
        ".*/openid-connect/token",
        "POST",
        Status(200, json.dumps({"access_token": PLANTED_TOKEN, "expires_in": 60, "token_type": "Bearer"})),
    ),
    "mint-of-a-page": Provocation("keycloak", ".*/openid-connect/token", "POST", Status(200, f"<html>{PLANTED}")),
    "vault-400": Provocation("vault", "/v1/secret/data/.*", "PUT|POST", Status(400, json.dumps({"errors": [PLANTED]}))),
    "vault-403": Provocation("vault", "/v1/secret/data/.*", "PUT|POST", Status(403, json.dumps({"errors": [PLANTED]}))),
    "vault-500": Provocation("vault", "/v1/secret/data/.*", "PUT|POST", Status(500, json.dumps({"errors": [PLANTED]}))),
    "vault-page": Provocation("vault", "/v1/secret/data/.*", "PUT|POST", Status(502, f"<html>{PLANTED}</html>")),
    "secret-422": Provocation(
        "kubernetes",
        "/api/v1/namespaces/tenant-[^/]+/secrets",
        "POST",
        Status(422, json.dumps({"kind": "Status", "code": 422, "reason": "Invalid", "message": PLANTED})),
    ),
    "secret-403": Provocation(
        "kubernetes",
        "/api/v1/namespaces/tenant-[^/]+/secrets",
        "POST",
        Status(
            403,
            json.dumps(
                {"kind": "Status", "code": 403, "message": f'admission webhook "w" denied the request: {PLANTED}'}
            ),
        ),
    ),
}


def test_what_a_backend_repeats_of_a_credential_is_not_passed_on(
    tenant: Tenant, proxies: Proxies, ledger: Ledger, operator: Operator
) -> None:
    """Refusals, pages and nonsense with credentials in them: none gets into a log, an Event, a status or a metric."""
    planted = (PLANTED_SECRET, PLANTED_TOKEN, PLANTED_LEASE)
    ledger.add(*planted)
    for name, provoked in PROVOCATIONS.items():
        proxy: Proxy = getattr(proxies, provoked.backend)
        rule = proxy.inject(provoked.answer, requests_to(provoked.path, provoked.method))
        tenant.apply(bot(name), pod_identity(name, files={"token": "{token}", "missing": "{token:nobody}"}))
        if provoked.backend == "kubernetes":
            tenant.apply(pod_identity(name))
        eventually(lambda rule=rule: rule.hits, f"{name} met its answer")
        eventually(lambda name=name: tenant.condition("BotClient", name), f"{name} says something")
        rule.lift()
    for name in PROVOCATIONS:
        tenant.ready("BotClient", name, seconds=120)
    tenant.reason("PodIdentity", "keycloak-400", "TokenMissing")
    texts = ledger.texts(operator)
    assert "pass waits" in texts["what the operator printed"]
    ledger.assert_none_in(texts)


@pytest.fixture(scope="module")
def account(stack: Stack) -> Rest:
    """The API server as the operator sees it."""
    token = stack.token_request(OPERATOR_NAMESPACE, SERVICE_ACCOUNT)
    return Rest(stack.apiserver_url, lambda: {"Authorization": f"Bearer {token}"}, stack.api("kube").tls)


OUR_KINDS = ("federations", "botclients", "federationusers", "podidentities")
EVERYWHERE = {
    *((verb, "fedid.io", kind) for kind in OUR_KINDS for verb in ("get", "list", "watch", "patch")),
    *(("patch", "fedid.io", f"{kind}/status") for kind in OUR_KINDS),
    *((verb, "fedid.io", "identityapprovals") for verb in ("get", "list", "watch")),
    *((verb, "fedid.io", "revocationreceipts") for verb in ("create", "list", "delete")),
    *((verb, "", "namespaces") for verb in ("get", "list", "watch")),
    # Secrets of the whole cluster: the price of serving every namespace; with watchNamespaces only of those.
    *((verb, "", "secrets") for verb in ("get", "list", "watch", "create", "update", "delete")),
    # To tell pods of a change; a policy leaves the patch with one annotation.
    *((verb, "", "pods") for verb in ("list", "patch")),
    ("create", "", "events"),
    # For reload: Restart; a policy leaves the patch with the template's annotations.
    *((verb, "apps", kind) for kind in ("deployments", "statefulsets", "daemonsets") for verb in ("get", "patch")),
    ("get", "apps", "replicasets"),
}
AT_HOME = EVERYWHERE | {
    ("create", "", "configmaps"),
    *((verb, "", "configmaps[fedid-installation]") for verb in ("get", "patch")),
    ("create", "coordination.k8s.io", "leases"),
    *((verb, "coordination.k8s.io", "leases[fedid-operator]") for verb in ("get", "patch")),
}


@pytest.mark.parametrize(
    ("namespace", "rights"),
    [("site-a", EVERYWHERE), ("kube-system", EVERYWHERE), ("default", EVERYWHERE), (OPERATOR_NAMESPACE, AT_HOME)],
)
def test_the_account_of_the_operator_may_do_exactly_this(
    account: Rest, namespace: str, rights: set[tuple[str, str, str]]
) -> None:
    """What the API server itself says that the process may do, namespace by namespace."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    found = account.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)["status"]
    assert not found["incomplete"]
    held = {
        (verb, group, resource + (f"[{','.join(rule['resourceNames'])}]" if rule.get("resourceNames") else ""))
        for rule in found["resourceRules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    # Every authenticated account may ask who it is and what it may do.
    assert {right for right in held if right[1] not in {"authorization.k8s.io", "authentication.k8s.io"}} == rights


FORBIDDEN = {
    "run a pod": ("POST", "/api/v1/namespaces/site-a/pods"),
    "read one pod": ("GET", "/api/v1/namespaces/site-a/pods/any"),
    "make a token of another account": ("POST", "/api/v1/namespaces/kube-system/serviceaccounts/default/token"),
    "make a token of its own": ("POST", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts/fedid/token"),
    "bind a role": ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"),
    "widen its role": ("PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterroles/fedid"),
    "change a kind": ("PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/botclients.fedid.io"),
    "make a bot": ("POST", "/apis/fedid.io/v1alpha1/namespaces/site-a/botclients"),
    "make a Federation": ("POST", "/apis/fedid.io/v1alpha1/federations"),
    "delete a bot": ("DELETE", "/apis/fedid.io/v1alpha1/namespaces/site-a/botclients/nobody"),
    "label a namespace": ("PATCH", "/api/v1/namespaces/site-a"),
    "delete Secrets in bulk": ("DELETE", "/api/v1/namespaces/site-a/secrets"),
    "read ConfigMaps": ("GET", "/api/v1/namespaces/kube-system/configmaps"),
    "read Events": ("GET", "/api/v1/events"),
    "look at nodes": ("GET", "/api/v1/nodes"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_account_of_the_operator_is_refused(account: Rest, what: str) -> None:
    """What would let a stolen token of the operator do more than the operator's work."""
    method, path = FORBIDDEN[what]
    assert account.answer(method, path, None if method == "GET" else {}).status == 403


def test_the_account_of_the_operator_impersonates_nobody(account: Rest) -> None:
    """Neither a user nor a group."""
    headers = {"Impersonate-User": "admin", "Impersonate-Group": "system:masters"}
    assert account.answer("GET", "/api/v1/nodes", headers=headers).status == 403


@pytest.fixture
def vault_token(stack: Stack) -> Iterator[dict[str, str]]:
    """Headers with a Vault token as the operator gets one."""
    login = {"role": ROLE, "jwt": stack.token_request(OPERATOR_NAMESPACE, SERVICE_ACCOUNT, AUDIENCE)}
    granted = Rest(stack.vault_url).call("POST", "/v1/auth/jwt/login", login)["auth"]
    assert set(granted["token_policies"]) == {"default", "fedid"}
    headers = {"X-Vault-Token": granted["client_token"]}
    yield headers
    Rest(stack.vault_url).call("POST", "/v1/auth/token/revoke-self", {}, headers=headers)


def test_the_vault_token_of_the_operator_ends_at_its_prefix(stack: Stack, vault_token: dict[str, str]) -> None:
    """Nothing outside `fedid/` is read, listed, written or deleted, and no policy, mount, login or token touched."""
    for path in ("other/secret", "fedidx/secret", "fedid"):
        stack.vault("POST", f"/v1/secret/data/{path}", {"data": {"x": "y"}})
        stack.vault("POST", f"/v1/secrets/{path}", {"x": "y"})
    vault = Rest(stack.vault_url, lambda: vault_token)
    tried: list[tuple[str, str, Any]] = [
        (method, f"/v1/{mount}/{path}", body)
        for path in ("other/secret", "fedidx/secret", "fedid", "fedid/../other/secret")
        for mount in ("secret/data", "secret/metadata", "secrets")
        for method, body in (("GET", None), ("POST", {"data": {"x": "z"}}), ("DELETE", None))
    ]
    tried += [("LIST", f"/v1/{path}", None) for path in ("secret/metadata", "secrets", "secret/metadata/other")]
    tried += [("GET", f"/v1/sys/{path}", None) for path in ("mounts", "policies/acl/fedid", "auth", "audit")]
    tried += [("PUT", "/v1/sys/policies/acl/fedid", {"policy": 'path "*" {capabilities = ["sudo"]}'})]
    tried += [("POST", "/v1/auth/token/create", {"policies": ["root"]}), ("POST", "/v1/auth/jwt/role/fedid", {})]
    tried += [("PUT", "/v1/secret/destroy/fedid/x", {"versions": [1]}), ("PUT", "/v1/sys/seal", None)]
    allowed = [(method, path) for method, path, body in tried if vault.answer(method, path, body).status < 300]
    assert allowed == []
    without = {"role": ROLE, "jwt": stack.token_request(OPERATOR_NAMESPACE, SERVICE_ACCOUNT)}
    assert Rest(stack.vault_url).answer("POST", "/v1/auth/jwt/login", without).status >= 400, "no audience of its own"


def test_the_keycloak_client_of_the_operator_is_no_administrator(stack: Stack, authority: Authority) -> None:
    """It uses and watches; the realm's settings, keys, administrators and the record of events are out of its reach."""
    answer = authority.request_token_as_operator()
    token = answer.body["access_token"]
    assert set(claims_of(token)["resource_access"]["realm-management"]["roles"]) == {*OPERATOR_ROLES, WATCHING_ROLE}
    keycloak = Rest(stack.keycloak_url, lambda: {"Authorization": f"Bearer {token}"})
    person = Hands(stack).make_user(unique("ana"))
    management = stack.keycloak("GET", "/admin/realms/fl/clients?clientId=realm-management")[0]["id"]
    admin = stack.keycloak("GET", f"/admin/realms/fl/clients/{management}/roles/realm-admin")
    tried: list[tuple[str, str, Any]] = [
        ("PUT", "/admin/realms/fl", {"realm": "fl", "accessTokenLifespan": 1}),
        ("DELETE", "/admin/realms/fl", None),
        ("POST", "/admin/realms/fl/roles", {"name": "made-by-the-operator"}),
        ("DELETE", "/admin/realms/fl/roles/fl-client", None),
        ("GET", "/admin/realms/fl/identity-provider/instances", None),
        ("POST", "/admin/realms/fl/components", {"name": "key"}),
        ("PUT", "/admin/realms/fl/events/config", {"adminEventsEnabled": False}),
        ("DELETE", "/admin/realms/fl/events", None),
        ("DELETE", "/admin/realms/fl/admin-events", None),
        ("POST", f"/admin/realms/fl/users/{person}/impersonation", {}),
        ("POST", f"/admin/realms/fl/users/{person}/role-mappings/clients/{management}", [admin]),
        ("POST", "/admin/realms", {"realm": "another"}),
        ("GET", "/admin/realms/master", None),
        ("GET", "/admin/realms/master/users", None),
    ]
    allowed = [(method, path) for method, path, body in tried if keycloak.answer(method, path, body).status != 403]
    assert allowed == []
    Hands(stack).delete_user(person)
