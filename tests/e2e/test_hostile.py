"""What a hostile manifest asks for reaches neither Keycloak nor Vault, with the admission policies and without them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.authority import Authority
from tests.e2e.hostile import ATTACKS, COMPOSITE, GROUP, RULE, Attack, By
from tests.e2e.operating import Proxies, own_federation
from tests.e2e.running import Operator
from tests.e2e.tenancy import MERGE, PLURALS, Body, Tenant, unique
from tests.e2e.waiting import eventually
from tests.testbed.cluster import JUDGED_LABEL
from tests.testbed.faults import Exchange
from tests.testbed.keycloak_realm import REALM
from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

MALLORY = "mallory-of-the-hostile-test"
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete"]
HARMLESS = ("/protocol/openid-connect/token", "/token/introspect", "/login")
"""Ends of paths to which something is sent that changes nothing: signing in, asking."""
REFUSED = {By.SCHEMA: 422, By.GRANTS: 403, By.GUARD: 403}


@dataclass(frozen=True, slots=True)
class Scene:
    """A tenant with one good bot, a neighbour of the same Federation, and what goes to the backends."""

    tenant: Tenant
    neighbour: Tenant
    federation: str
    judged: bool
    """Whether grants are judged at admission here."""
    neighbours_uuid: str
    proxies: Proxies

    def send(self, attack: Attack) -> tuple[Answer, str]:
        """Send the manifest as somebody with every usual right; return the answer and the object's name."""
        kube, headers = self.tenant.stack.api("kube"), {"Impersonate-User": MALLORY}
        metadata, spec = self._real(attack.metadata), self._real(attack.spec)
        if attack.patches:
            name, _, part = attack.patches.partition("/")
            body = {"metadata": metadata, part or "spec": spec}
            path = self.tenant.path(attack.kind, attack.patches)
            return kube.answer("PATCH", path, body, headers={**headers, **MERGE}), name
        if attack.kind != "PodIdentity" or spec["role"] == "server":
            spec = {"federationRef": {"name": self.federation}, **spec}
        named = metadata if "generateName" in metadata else {"name": unique("mallory"), **metadata}
        body = {"apiVersion": "fedid.io/v1alpha1", "kind": attack.kind, "metadata": named, "spec": spec}
        answer = kube.answer("POST", self.tenant.path(attack.kind), body, headers=headers)
        return answer, answer.body["metadata"].get("name", "")

    def _real(self, value: Body) -> Body:
        good = (self.tenant.get("BotClient", "good") or {})["metadata"]["uid"]
        text = json.dumps(value).replace("NEIGHBOURS-UUID", self.neighbours_uuid).replace("GOODS-UID", good)
        found: Body = json.loads(text.replace("NEIGHBOUR", self.neighbour.namespace))
        return found

    def writes(self) -> list[str]:
        """Return what went to Keycloak and Vault to change something there."""
        sent: list[Exchange] = [*self.proxies.keycloak.exchanges(), *self.proxies.vault.exchanges()]
        return [
            f"{one.method} {one.path}"
            for one in sent
            if one.method not in {"GET", "LIST", "HEAD"} and not one.path.endswith(HARMLESS)
        ]


@pytest.fixture(scope="module", params=[True, False], ids=["with the policies", "without them"])
def scene(request: pytest.FixtureRequest, stack: Stack, proxies: Proxies, the_operator: Operator) -> Iterator[Scene]:
    """Two namespaces with a good bot each, and somebody with every usual right in the first."""
    assert the_operator.running
    with _composite(stack), own_federation(stack, proxies, "hostile", grants=[RULE]) as federation:
        tenant, neighbour = Tenant.create(stack), Tenant.create(stack)
        spec = {"federationRef": {"name": federation}, "realmRoles": ["fl-client"], "audiences": ["superlink"]}
        uuids = []
        for one in (tenant, neighbour):
            one.apply({"kind": "BotClient", "metadata": {"name": "good"}, "spec": {**spec, "tokens": [{"name": "t"}]}})
            uuids.append(one.ready("BotClient", "good")["status"]["clientUuid"])
        folder = f"/api/v1/namespaces/{tenant.namespace}"
        stack.kube("POST", f"{folder}/secrets", {"metadata": {"name": "strangers"}, "stringData": {"a": "b"}})
        _let(stack, tenant.namespace)
        if request.param:
            stack.kube("PATCH", folder, {"metadata": {"labels": JUDGED_LABEL}}, headers=MERGE)
        found = Scene(tenant, neighbour, federation, request.param, uuids[1], proxies)
        if request.param:
            eventually(lambda: _is_judged(found), "grants are judged")
        yield found
        tenant.clean()
        neighbour.clean()


@contextmanager
def _composite(stack: Stack) -> Iterator[None]:
    """Have a role of a granted name, and a granted group with it, that bring along what is not granted."""
    admin = f"/admin/realms/{REALM}"
    stack.keycloak("POST", f"{admin}/roles", {"name": COMPOSITE})
    brought = stack.keycloak("GET", f"{admin}/roles/offline_access")
    stack.keycloak("POST", f"{admin}/roles/{COMPOSITE}/composites", [brought])
    parent, _, name = GROUP.rpartition("/")
    above = stack.keycloak("GET", f"{admin}/group-by-path{parent}")["id"]
    stack.keycloak("POST", f"{admin}/groups/{above}/children", {"name": name})
    group = stack.keycloak("GET", f"{admin}/group-by-path{GROUP}")["id"]
    role = stack.keycloak("GET", f"{admin}/roles/{COMPOSITE}")
    stack.keycloak("POST", f"{admin}/groups/{group}/role-mappings/realm", [role])
    yield
    stack.keycloak("DELETE", f"{admin}/groups/{group}")
    stack.keycloak("DELETE", f"{admin}/roles/{COMPOSITE}")


def _let(stack: Stack, namespace: str) -> None:
    kinds = [plural for kind, plural in PLURALS.items() if kind != "Federation"]
    rules = [{"apiGroups": ["fedid.io"], "resources": [*kinds, *(f"{one}/status" for one in kinds)], "verbs": VERBS}]
    folder = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "usual"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": MALLORY}]
    stack.kube("POST", f"{folder}/roles", {"metadata": {"name": "usual"}, "rules": rules})
    binding = {"metadata": {"name": "usual"}, "roleRef": reference, "subjects": subjects}
    stack.kube("POST", f"{folder}/rolebindings", binding)
    path, user = f"/apis/fedid.io/v1alpha1/namespaces/{namespace}/botclients", {"Impersonate-User": MALLORY}
    eventually(lambda: stack.api("kube").answer("GET", path, headers=user).status == 200, "rights")


def _is_judged(scene: Scene) -> bool:
    spec = {"federationRef": {"name": scene.federation}, "realmRoles": ["x"]}
    body = {"apiVersion": "fedid.io/v1alpha1", "kind": "BotClient", "metadata": {"name": "probe"}, "spec": spec}
    path = f"{scene.tenant.path('BotClient')}?dryRun=All"
    return scene.tenant.stack.api("kube").answer("POST", path, body).status == 403


@pytest.mark.parametrize("attack", [pytest.param(attack, id=attack.title) for attack in ATTACKS])
def test_nothing_of_it_reaches_the_backends(scene: Scene, authority: Authority, attack: Attack) -> None:
    """The answer names what is refused and by which rule; neither Keycloak nor Vault is told to change anything."""
    before = _state(scene, authority)
    scene.proxies.clear()
    answer, name = scene.send(attack)
    at_once = attack.by in {By.SCHEMA, By.GUARD} or (attack.by is By.GRANTS and scene.judged)
    try:
        if at_once:
            _assert_refused(answer, attack)
        else:
            assert answer.status in {200, 201}, answer.text
            _assert_told(scene, attack, name)
        assert scene.writes() == []
        assert _state(scene, authority) == before
    finally:
        _undo(scene, attack, name, answer)


def _assert_refused(answer: Answer, attack: Attack) -> None:
    assert answer.status == REFUSED[attack.by], answer.text
    assert attack.words in answer.body["message"], answer.text
    if attack.by is By.GRANTS:
        assert "Rules that match the namespace: grants[0]" in answer.body["message"]


def _assert_told(scene: Scene, attack: Attack, name: str) -> None:
    told = scene.tenant.reason(attack.kind, name, attack.reason)["message"]
    assert (attack.told or attack.words) in told, told
    if attack.reason == "NotGranted" and not attack.told and "botClientRef" not in attack.spec:
        assert "grants[0]" in told, told


def _state(scene: Scene, authority: Authority) -> dict[str, Any]:
    """Return what the backends hold of the tenant and of who might be meant."""
    namespace = scene.tenant.namespace
    good = authority.client(f"{namespace}.good") or {}
    return {
        "the good bot": (good.get("id"), good.get("attributes", {}).get("fedid.owner"), good.get("redirectUris")),
        "its roles": authority.service_account_roles(good["id"]),
        "mallory": authority.user("mallory"),
        "the stranger's Secret": (scene.tenant.secret("strangers") or {}).get("text"),
        "the neighbour": (authority.client(f"{scene.neighbour.namespace}.good") or {}).get("id"),
    }


def _undo(scene: Scene, attack: Attack, name: str, answer: Answer) -> None:
    if answer.status not in {200, 201}:
        return
    if attack.patches:
        patch = {"spec": {"realmRoles": ["fl-client"]}}
        scene.tenant.stack.kube("PATCH", scene.tenant.path(attack.kind, name), patch, headers=MERGE)
        scene.tenant.ready(attack.kind, name)
        return
    scene.tenant.delete(attack.kind, name)
    scene.tenant.gone(attack.kind, name)


def test_there_are_enough_of_them() -> None:
    """Each attack is another one, and every line of defence has its own."""
    assert len({attack.title for attack in ATTACKS}) == len(ATTACKS) >= 40
    assert {attack.by for attack in ATTACKS} == set(By)


def test_what_would_be_written_is_seen(scene: Scene) -> None:
    """A bot that is granted is written to both backends, so that the silence of the others says something."""
    name = f"seen-{secrets.token_hex(3)}"
    scene.proxies.clear()
    scene.tenant.apply({
        "kind": "BotClient", "metadata": {"name": name},
        "spec": {"federationRef": {"name": scene.federation}, "tokens": [{"name": "t"}]},
    })  # fmt: skip
    scene.tenant.ready("BotClient", name)
    written = scene.writes()
    assert any("/clients" in one for one in written)
    assert any("/v1/secret/" in one for one in written)
