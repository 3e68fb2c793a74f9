"""What the chart renders is what a real API server takes."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from tests.chart.crds_of_prometheus import prometheus_crds
from tests.chart.render import Manifest, of_kind, rendered
from tests.testbed.chart import CHART, run_tool
from tests.testbed.errors import StackError
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

MATRIX: list[tuple[str, Mapping[str, Any]]] = [
    ("as it comes", {}),
    ("without a pod", {"replicaCount": 0}),
    ("for listed namespaces", {"watchNamespaces": ["default", "kube-system"]}),
    ("with a ServiceMonitor", {"metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}}),
    ("with alerts and a dashboard", {"metrics": {"rules": {"enabled": True}, "dashboard": {"enabled": True}}}),
    ("with network policies as they come", {"networkPolicy": {"enabled": True}}),
    ("with network policies for named peers", {
        "networkPolicy": {
            "enabled": True,
            "ingressFrom": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
                {"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["prometheus"]}]}},
            ],
            "egress": [
                {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 443}]},
                {"to": [{"namespaceSelector": {}}], "ports": [{"port": 8000, "endPort": 8999, "protocol": "TCP"}]},
            ],
        },
    }),
    ("with network policies that let out DNS alone", {"networkPolicy": {"enabled": True, "egress": []}}),
    ("without admission", {"admission": {"enabled": False}}),
    ("without a policy for grants", {"grantsPolicy": {"enabled": False}}),
    ("with a policy for grants of tenants", {
        "grantsPolicy": {"namespaceSelector": {"matchLabels": {"fedid.io/tenant": "true"}}},
    }),
    ("with injection", {"injection": {"enabled": True}}),
    ("with injection for tenants", {
        "injection": {"enabled": True, "namespaceSelector": {"matchLabels": {"fedid.io/tenant": "true"}}},
    }),
    ("without a check before uninstalling", {"uninstallCheck": {"enabled": False}}),
    ("with a patient check before uninstalling", {"uninstallCheck": {"timeoutSeconds": 3600}}),
    ("on the node's network", {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}),
    ("with an API server of its own", {"apiServer": {"host": "fd00::1", "port": 6443}}),
    ("with an account that exists", {"serviceAccount": {"create": False, "name": "existing"}}),
    ("without roles", {"rbac": {"create": False}}),
    ("with the longest name", {"fullnameOverride": "a" * 63, "nameOverride": "b" * 63, "watchNamespaces": ["default"]}),
    ("by digest, with room to stop", {
        "image": {"digest": f"sha256:{'a' * 64}"}, "terminationGracePeriodSeconds": 600, "resources": {"limits": {}},
    }),
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
    """A namespace in which Pod Security admits restricted pods only, and warns of others."""
    with _namespace(kube, "restricted") as name:
        yield name


@pytest.fixture(scope="module")
def open_namespace(kube: Rest) -> Iterator[str]:
    """A namespace that admits every pod."""
    with _namespace(kube, "privileged") as name:
        yield name


@pytest.fixture(scope="module")
def prometheus_operator(stack: Stack) -> Iterator[None]:
    """The CRDs of the Prometheus operator, as far as the chart uses them."""
    text = yaml.safe_dump_all(prometheus_crds())
    run_tool(stack, ["kubectl", "apply", "--server-side", "-f", "-"], stdin=text)
    run_tool(stack, ["kubectl", "wait", "--for=condition=Established", "--timeout=30s", "-f", "-"], stdin=text)
    yield
    run_tool(stack, ["kubectl", "delete", "--wait=false", "-f", "-"], stdin=text)


@contextmanager
def _namespace(kube: Rest, level: str) -> Iterator[str]:
    name = f"chart-test-{secrets.token_hex(4)}"
    labels = {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "warn")}
    kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    yield name
    kube.call("DELETE", f"/api/v1/namespaces/{name}", accept=(404,))


def _make_account(stack: Stack, namespace: str, name: str) -> None:
    """Make a ServiceAccount: a pod is only admitted where its own exists."""
    stack.kube("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}}, accept=(409,))


@pytest.mark.usefixtures("prometheus_operator")
@pytest.mark.parametrize("values", [pytest.param(values, id=sentence) for sentence, values in MATRIX])
def test_api_server_takes_what_is_rendered(
    stack: Stack, namespace: str, open_namespace: str, values: Mapping[str, Any]
) -> None:
    """A server-side dry run of every manifest, hooks too, succeeds with strict validation and without a warning."""
    chosen = open_namespace if values.get("hostNetwork") else namespace
    manifests = rendered(stack, values, chosen)
    for pod in of_kind(manifests, "Pod"):
        _make_account(stack, chosen, pod["spec"]["serviceAccountName"])

    answered = run_tool(
        stack,
        [
            "kubectl", "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict",
            "--warnings-as-errors", "-f", "-",
        ],
        stdin=yaml.safe_dump_all(manifests),
    )  # fmt: skip

    assert len(answered.splitlines()) == len(manifests)


def test_the_dry_run_can_fail(stack: Stack, namespace: str) -> None:
    """A field that does not exist, or that Pod Security warns of, is an error."""
    (deployment,) = of_kind(rendered(stack, {}, namespace), "Deployment")
    unknown = yaml.safe_load(yaml.safe_dump(deployment))
    unknown["spec"]["template"]["spec"]["hostNetwrok"] = True
    warned = yaml.safe_load(yaml.safe_dump(deployment))
    warned["spec"]["template"]["spec"]["hostNetwork"] = True
    command = ["kubectl", "apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors"]

    for manifest, words in ((unknown, "hostNetwrok"), (warned, "would violate PodSecurity")):
        with pytest.raises(StackError, match=words):
            run_tool(stack, [*command, "-f", "-"], stdin=yaml.safe_dump(manifest))


def test_pods_are_admitted_where_only_restricted_pods_are(stack: Stack, kube: Rest, namespace: str) -> None:
    """Pod Security `restricted` admits every pod as shipped, those of hooks too."""
    manifests = rendered(stack, {"serviceAccount": {"name": "operator"}}, namespace)
    for account in of_kind(manifests, "ServiceAccount"):
        _make_account(stack, namespace, account["metadata"]["name"])
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"

    for pod in _pods(manifests):
        admitted = kube.answer("POST", path, pod)
        pod["spec"]["securityContext"]["runAsNonRoot"] = False
        refused = kube.answer("POST", path, pod)

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
    values = [
        "--set",
        "replicaCount=0",
        "--set",
        "watchNamespaces={site-a,site-b}",
        "--set",
        "crds.install=false,admission.enabled=false",
    ]

    said = run_tool(
        stack,
        ["helm", "install", "notes", str(CHART), "--namespace", namespace, "--dry-run=client", *values],
    ).partition("NOTES:")[2]

    assert "It serves the namespaces site-a, site-b." in said
    assert f"system:serviceaccount:{namespace}:notes-fedid" in said
    assert f"kubectl -n {namespace} create secret generic fedid-keycloak" in said
    assert "crds.install is false" in said
    assert f"helm test notes --namespace {namespace}" in said
    assert "admission.enabled is false" in said
    assert "kubectl apply -f federation.yaml" in said


def _pods(manifests: list[Manifest]) -> list[Manifest]:
    (deployment,), (job,), (pod,) = (of_kind(manifests, kind) for kind in ("Deployment", "Job", "Pod"))
    templates = [deployment["spec"]["template"], job["spec"]["template"], {"spec": pod["spec"]}]
    pods = [{"metadata": {"name": f"pod-{n}"}, "spec": template["spec"]} for n, template in enumerate(templates)]
    copied: list[Manifest] = yaml.safe_load(yaml.safe_dump(pods))
    return copied


def _probes(container: Manifest) -> list[Manifest]:
    return [probe for name, probe in container.items() if name.endswith("Probe")]
