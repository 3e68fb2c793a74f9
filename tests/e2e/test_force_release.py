"""A backend that never comes back: who may give up on the proof does, and learns what a person has to end now."""

from __future__ import annotations

from tests.chart.judging import OURS
from tests.e2e.authority import Authority
from tests.e2e.operating import Proxies
from tests.e2e.outage import away, federation_behind
from tests.e2e.rotating import annotate
from tests.e2e.running import Operator
from tests.e2e.tenancy import MERGE, PLURALS, Tenant, bot
from tests.testbed.keycloak_realm import REALM
from tests.testbed.stack import Stack

EDITOR = "editor-of-identities"


def test_a_bot_is_given_up_by_who_may(
    stack: Stack, operator: Operator, proxies: Proxies, tenant: Tenant, authority: Authority
) -> None:
    """Not by its tenant; then it goes, with an Event that names the client, which is there indeed."""
    del operator
    with federation_behind(stack, proxies, "keycloak") as (federation, proxy):
        tenant.apply(bot("lost", federationRef={"name": federation}))
        client = tenant.ready("BotClient", "lost")["status"]["clientUuid"]
        with away(proxy, "refuses connections"):
            tenant.delete("BotClient", "lost")
            tenant.reason("BotClient", "lost", "BackendUnavailable", "Revoked", seconds=120)
            refused = _annotated_by_the_tenant(tenant)
            assert "is for whoever has the verb force-release" in refused
            assert tenant.get("BotClient", "lost") is not None
            annotate(tenant, "lost", force_release="FL-31: gone for good")
            tenant.gone("BotClient", "lost")
        told = tenant.event("lost", "ForceReleased")["message"]
        assert "FL-31: gone for good" in told
        assert client in told
        assert authority.client(f"{tenant.namespace}.lost") is not None
        stack.api("keycloak").call("DELETE", f"/admin/realms/{REALM}/clients/{client}")


def _annotated_by_the_tenant(tenant: Tenant) -> str:
    """Try to do so as somebody with every usual right in the namespace, and return the answer."""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{tenant.namespace}"
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
    rule = {"apiGroups": ["fedid.io"], "resources": ["*"], "verbs": verbs}
    tenant.stack.kube("POST", f"{rbac}/roles", {"metadata": {"name": EDITOR}, "rules": [rule]})
    binding = {
        "metadata": {"name": EDITOR},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": EDITOR},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": EDITOR}],
    }
    tenant.stack.kube("POST", f"{rbac}/rolebindings", binding)
    path = f"{OURS}/namespaces/{tenant.namespace}/{PLURALS['BotClient']}/lost"
    patch = {"metadata": {"annotations": {"fedid.io/force-release": "mine"}}}
    answer = tenant.stack.api("kube").answer("PATCH", path, patch, headers={**MERGE, "Impersonate-User": EDITOR})
    assert answer.status == 403, answer.text
    return answer.text
