"""What the chart renders is what a real API server takes."""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.chart.render import Manifest, of_kind, rendered
from tests.testbed.chart import CHART, run_tool
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

MATRIX: list[tuple[str, Mapping[str, Any]]] = [
    ("as it comes", {}),
    ("without a pod", {"replicaCount": 0}),
    ("for listed namespaces", {"watchNamespaces": ["default", "kube-system"]}),
    ("without CRDs, roles and ServiceAccount", {
        "crds": {"install": False}, "rbac": {"create": False}, "serviceAccount": {"create": False},
    }),
    ("with everything set", {
        "image": {
            "repository": "registry.example.org/fedid", "digest": f"sha256:{'0' * 64}", "pullPolicy": "Always",
            "pullSecrets": [{"name": "registry"}],
        },
        "watchNamespaces": ["kube-system"],
        "rbac": {"federationSecrets": ["fedid-keycloak"]},
        "serviceAccount": {"name": "operator", "annotations": {"example.org/a": "b"}},
        "vaultToken": {"audience": "https://vault.example.org", "expirationSeconds": 600},
        "log": {"level": "debug", "format": "text"},
        "health": {"port": 9000},
        "resources": {"requests": {"cpu": 1, "memory": "256Mi"}, "limits": {"cpu": 2}},
        "podAnnotations": {"example.org/a": "true"},
        "podLabels": {"example.org/b": "c"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "priorityClassName": "system-cluster-critical",
        "fullnameOverride": "identities-of-the-federation-and-a-very-long-name-indeed",
        "global": {"anything": True},
    }),
]  # fmt: skip


@pytest.fixture(scope="module")
def kube(stack: Stack) -> Rest:
    """The API server."""
    return stack.api("kube")


@pytest.fixture(scope="module")
def namespace(kube: Rest) -> Iterator[str]:
    """A namespace in which Pod Security admits restricted pods only."""
    name = f"chart-test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.call(
        "POST",
        "/api/v1/namespaces",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
    )
    yield name
    kube.call("DELETE", f"/api/v1/namespaces/{name}", accept=(404,))


@pytest.mark.parametrize("values", [pytest.param(values, id=sentence) for sentence, values in MATRIX])
def test_api_server_takes_what_is_rendered(stack: Stack, namespace: str, values: Mapping[str, Any]) -> None:
    """A server-side dry run of every manifest succeeds, with strict validation and without a warning."""
    manifests = rendered(stack, values, namespace)

    answered = run_tool(
        stack,
        ["kubectl", "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"],
        stdin=yaml.safe_dump_all(manifests),
    )

    assert len(answered.splitlines()) == len(manifests)


def test_pod_is_admitted_where_only_restricted_pods_are(stack: Stack, kube: Rest, namespace: str) -> None:
    """Pod Security `restricted` admits the pod as shipped."""
    manifests = rendered(stack, {"serviceAccount": {"name": "operator"}}, namespace)
    (account,) = of_kind(manifests, "ServiceAccount")
    kube.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    pod = _pod(manifests)
    root = _pod(manifests)
    root["spec"]["securityContext"]["runAsNonRoot"] = False

    admitted = kube.answer("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
    refused = kube.answer("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", root)

    assert admitted.status == 201, admitted.text
    assert refused.status == 403, "the namespace does not enforce anything"


def test_container_can_change_nothing_on_its_disk(stack: Stack) -> None:
    """Read-only root, no capability, no way up; what is writable lies in memory."""
    (deployment,) = of_kind(rendered(stack), "Deployment")
    pod = deployment["spec"]["template"]["spec"]

    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert [v["emptyDir"]["medium"] for v in pod["volumes"] if "emptyDir" in v] == ["Memory"]
    assert {probe["httpGet"]["path"] for probe in _probes(pod["containers"][0])} == {"/healthz", "/readyz"}
    assert {probe["httpGet"]["port"] for probe in _probes(pod["containers"][0])} == {"health"}


def test_notes_tell_the_next_command(stack: Stack, namespace: str) -> None:
    """After the installation a person reads what to do, for the values that were chosen."""
    values = ["--set", "replicaCount=0", "--set", "watchNamespaces={site-a,site-b}", "--set", "crds.install=false"]

    said = run_tool(
        stack,
        ["helm", "install", "notes", str(CHART), "--namespace", namespace, "--dry-run=client", *values],
    ).partition("NOTES:")[2]

    assert "It serves the namespaces site-a, site-b." in said
    assert f"system:serviceaccount:{namespace}:notes-fedid" in said
    assert f"kubectl -n {namespace} create secret generic fedid-keycloak" in said
    assert "crds.install is false" in said
    assert "kubectl apply -f federation.yaml" in said


def _pod(manifests: list[Manifest]) -> Manifest:
    (deployment,) = of_kind(manifests, "Deployment")
    template = yaml.safe_load(yaml.safe_dump(deployment["spec"]["template"]))
    return {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "operator"}}


def _probes(container: Manifest) -> list[Manifest]:
    return [probe for name, probe in container.items() if name.endswith("Probe")]
