"""A cluster that comes back from an older backup, on real servers: it waits for a word, and brings nothing back."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from tests.e2e.authority import Authority
from tests.e2e.operating import Proxies, federation_condition, federation_ready
from tests.e2e.rotating import annotate
from tests.e2e.running import Operator
from tests.e2e.tenancy import MERGE, Tenant, bot, pod_identity
from tests.e2e.waiting import eventually
from tests.testbed.cluster import OPERATOR_NAMESPACE
from tests.testbed.faults import Exchange
from tests.testbed.keycloak_realm import REALM
from tests.testbed.stack import Stack

LOCAL = "/apis/fedid.io/v1alpha1/federations/local"
INSTALLATION = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/configmaps/fedid-installation"
FILES = {"token": "{token}", "secret": "{clientSecret}"}
LONG_AGO = "2020-01-01T00:00:00Z"


@dataclass(frozen=True)
class Backup:
    """What etcd held of one tenant and of the installation."""

    tenant: Tenant
    objects: dict[tuple[str, str], dict[str, Any]]
    secrets: dict[str, dict[str, Any]]
    epochs: str

    @classmethod
    def of(cls, tenant: Tenant, *objects: tuple[str, str], secrets: tuple[str, ...] = ()) -> Backup:
        """Make one."""
        held = {key: copy.deepcopy(tenant.get(*key) or {}) for key in objects}
        data = {name: copy.deepcopy(tenant.secret(name) or {}) for name in secrets}
        return cls(tenant, held, data, tenant.stack.kube("GET", INSTALLATION)["data"]["epochs"])

    def restore(self) -> None:
        """Put statuses, annotations, Secrets and the installation's memory back, while no operator runs."""
        kube = self.tenant.stack.kube
        for (kind, name), body in self.objects.items():
            path = self.tenant.path(kind, name)
            newest = kube("GET", path)
            kube("PUT", f"{path}/status", {**newest, "status": body["status"]})
            annotations = body["metadata"].get("annotations")
            kube("PATCH", path, {"metadata": {"annotations": annotations}}, headers=MERGE)
        for name, secret in self.secrets.items():
            folder = f"/api/v1/namespaces/{self.tenant.namespace}/secrets"
            kube("PATCH", f"{folder}/{name}", {"data": secret["data"]}, headers=MERGE)
        kube("PATCH", INSTALLATION, {"data": {"epochs": self.epochs}}, headers=MERGE)


def outside(proxies: Proxies) -> list[Exchange]:
    """Return the side effects on Keycloak and Vault."""
    return [one for one in proxies.side_effects() if one not in proxies.kubernetes.exchanges()]


def number_asked_for(stack: Stack) -> str:
    """Wait until the Federation asks for a word, and return the number that it names."""

    def look() -> str | None:
        told = federation_condition(stack, "local", "Exclusive") or {}
        asked = told.get("reason") == "TakeOverRequired"
        return str(told["message"]).rpartition("fedid.io/take-over=")[2] if asked else None

    return eventually(look, "the Federation asks for a word")


def orphans(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return what is told of each orphan, by its id."""
    found = (stack.kube("GET", LOCAL).get("status") or {}).get("orphans") or {}
    return {one["id"]: one for one in found.get("first") or ()}


def test_an_older_backup_waits_and_brings_nothing_back(
    stack: Stack, operator: Operator, proxies: Proxies, tenant: Tenant, authority: Authority
) -> None:
    """No side effect before the word; then the newest credentials stay, and a revoked token stays revoked."""
    tenant.apply(bot("trainer"), pod_identity("trainer", files=FILES))
    tenant.ready("PodIdentity", "trainer")
    old = {name: tenant.mounted("trainer", name) for name in FILES}
    backup = Backup.of(tenant, ("BotClient", "trainer"), ("PodIdentity", "trainer"), secrets=("trainer",))

    operator.stop()
    operator.start()
    annotate(tenant, "trainer", revoke_now="leaked")
    new = {name: tenant.mounted("trainer", name, lambda value, name=name: value != old[name]) for name in FILES}
    tenant.ready("PodIdentity", "trainer")
    assert authority.admin_api_status(old["token"]) == 401

    operator.stop()
    backup.restore()
    proxies.clear()
    operator.start()
    number = number_asked_for(stack)
    tenant.reason("BotClient", "trainer", "FederationNotReady")
    assert outside(proxies) == []
    assert authority.request_token(f"{tenant.namespace}.trainer", new["secret"]).status == 200

    stack.kube("PATCH", LOCAL, {"metadata": {"annotations": {"fedid.io/take-over": number}}}, headers=MERGE)
    federation_ready(stack, "local")
    brought = tenant.mounted("trainer", "secret", lambda value: value == new["secret"])
    tenant.ready("BotClient", "trainer")
    tenant.ready("PodIdentity", "trainer")
    assert authority.request_token(f"{tenant.namespace}.trainer", brought).status == 200
    assert authority.request_token(f"{tenant.namespace}.trainer", old["secret"]).status == 401
    token = tenant.mounted("trainer", "token", lambda value: value != old["token"])
    assert authority.admin_api_status(token) == 403
    assert authority.admin_api_status(old["token"]) == 401
    client = authority.client(f"{tenant.namespace}.trainer")
    entry = authority.vault(f"fedid/{tenant.namespace}/bots/trainer/client")
    assert client is not None
    assert entry is not None
    assert entry["client_secret"] == new["secret"]


def test_a_finalizer_taken_off_by_hand(stack: Stack, operator: Operator, tenant: Tenant, authority: Authority) -> None:
    """Client and entries are told once no object has their uid, and go after they were announced for long enough."""
    tenant.apply(bot("stray"))
    uuid = tenant.ready("BotClient", "stray")["status"]["clientUuid"]
    folder = f"fedid/{tenant.namespace}/bots/stray"
    left = {uuid, f"{folder}/client", f"{folder}/tokens/default"}
    operator.stop()
    path = tenant.path("BotClient", "stray")
    stack.kube("PATCH", path, {"metadata": {"finalizers": None}}, headers=MERGE)
    stack.kube("DELETE", path, accept=(404,))

    operator.start()
    eventually(lambda: left <= set(orphans(stack)), "the orphans are told")
    assert orphans(stack)[uuid]["object"] == f"BotClient/{tenant.namespace}/stray"
    assert authority.client(f"{tenant.namespace}.stray") is not None

    stack.kube("PATCH", LOCAL, {"spec": {"orphans": {"remove": True, "after": "1h"}}}, headers=MERGE)
    try:
        operator.stop()
        told = stack.kube("GET", LOCAL)
        for one in told["status"]["orphans"]["first"]:
            if one["id"] in left:
                one.update(since=LONG_AGO, removeAt=LONG_AGO)
        stack.kube("PUT", f"{LOCAL}/status", told)
        operator.start()
        eventually(lambda: left.isdisjoint(orphans(stack)), "the orphans are gone")
    finally:
        stack.kube("PATCH", LOCAL, {"spec": {"orphans": None}}, headers=MERGE)
    assert stack.api("keycloak").answer("GET", f"/admin/realms/{REALM}/clients/{uuid}").status == 404
    assert authority.vault_metadata(f"{folder}/client") is None
    assert authority.vault_metadata(f"{folder}/tokens/default") is None
