"""A pod that asks for its credential by an annotation alone, on a real node."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.injecting import injection
from tests.e2e.authority import Authority
from tests.e2e.pods import SECONDS, node_of
from tests.e2e.tenancy import Tenant, bot, pod_identity
from tests.e2e.waiting import eventually, steadily
from tests.testbed.stack import Stack


@pytest.fixture(autouse=True)
def _node(stack: Stack) -> None:
    node_of(stack)


def asking(tenant: Tenant, name: str, identity: str) -> str:
    """Start a pod that prints the token that it finds where it is told to look; return its API path."""
    container: dict[str, Any] = {
        "name": "main",
        "image": node_of(tenant.stack).images.base.reference,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", 'cat "$FEDID_CREDENTIAL_DIR/token"; echo; exec sleep infinity'],
        "securityContext": {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "hostNetwork": True,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
        "containers": [container],
    }
    body = {"metadata": {"name": name, "annotations": {"fedid.io/identity": identity}}, "spec": spec}
    folder = f"/api/v1/namespaces/{tenant.namespace}/pods"
    tenant.stack.kube("POST", folder, body)
    return f"{folder}/{name}"


def _printed(stack: Stack, path: str) -> str:
    return stack.api("kube").answer("GET", f"{path}/log").text.strip()


def test_a_pod_has_its_token_by_an_annotation(tenant: Tenant, authority: Authority) -> None:
    """It waits for the first one, and reads it in the folder that its environment names."""
    stack = tenant.stack
    with injection(stack, tenant.namespace):
        path = asking(tenant, "trainer", "trainer")
        steadily(lambda: stack.kube("GET", path)["status"]["phase"] == "Pending", "it waits", seconds=2)
        tenant.apply(bot("trainer"), pod_identity("trainer"))
        eventually(lambda: stack.kube("GET", path)["status"]["phase"] == "Running", "it runs", seconds=SECONDS)
        token = eventually(lambda: _printed(stack, path), "it has read the token")
        assert authority.introspect(token)["active"] is True


def test_a_name_that_there_is_not_is_told_by_kubelet(tenant: Tenant) -> None:
    """The pod does not start without its credential, and an Event names what is missing."""
    with injection(tenant.stack, tenant.namespace):
        asking(tenant, "lonely", "nobody")
        told = eventually(
            lambda: next((one for one in tenant.events("lonely") if one["reason"] == "FailedMount"), None),
            "kubelet says so",
            seconds=SECONDS,
        )
    assert 'secret "nobody" not found' in told["message"]
