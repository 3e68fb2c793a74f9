"""Values do what their comments say, and a typo in them is an error."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from fedid import __version__
from tests.chart.render import CRD_KIND, HOOK, container, environment, hooks, of_kind, refusal, rendered
from tests.testbed.chart import CHART, CRDS, run_tool
from tests.testbed.stack import Stack

REFUSED: list[tuple[str, Mapping[str, Any], str]] = [
    ("a value is misspelt", {"replicacount": 1}, "additional properties 'replicacount' not allowed"),
    ("a value of the image is misspelt", {"image": {"tga": "1"}}, "additional properties 'tga' not allowed"),
    ("a value of the log is misspelt", {"log": {"levle": "info"}}, "additional properties 'levle' not allowed"),
    ("more operators than anybody needs", {"replicaCount": 6}, "/replicaCount"),
    ("a lease that ends at once", {"leaseSeconds": 1}, "/leaseSeconds"),
    ("receipts that go at once", {"receipts": {"keep": 1}}, "/receipts/keep"),
    ("a number as text", {"replicaCount": "1"}, "/replicaCount"),
    ("a log level that does not exist", {"log": {"level": "trace"}}, "/log/level"),
    ("a namespace with a wildcard", {"watchNamespaces": ["site-*"]}, "/watchNamespaces/0"),
    ("a namespace twice", {"watchNamespaces": ["site-a", "site-a"]}, "/watchNamespaces"),
    ("namespaces as text", {"watchNamespaces": "site-a,site-b"}, "/watchNamespaces"),
    ("a digest without its algorithm", {"image": {"digest": "0" * 64}}, "/image/digest"),
    ("a privileged port", {"health": {"port": 80}}, "/health/port"),
    ("root", {"securityContext": {"runAsUser": 0}}, "/securityContext/runAsUser"),
    ("a Vault token shorter than Kubernetes makes one", {"vaultToken": {"expirationSeconds": 60}}, "/vaultToken"),
    ("a Vault token for nobody", {"vaultToken": {"audience": ""}}, "/vaultToken/audience"),
    ("a Keycloak token that is for no realm", {"keycloakToken": {"audience": "https://k"}}, "/keycloakToken/audience"),
    ("a Keycloak token that lives too short", {"keycloakToken": {"expirationSeconds": 60}}, "/keycloakToken"),
    (
        "a token for Vault that is for Keycloak too",
        {"keycloakToken": {"audience": "https://k/realms/fl"}, "vaultToken": {"audience": "https://k/realms/fl"}},
        "keycloakToken.audience and vaultToken.audience are the same",
    ),
    ("an annotation that is no text", {"podAnnotations": {"a": 1}}, "/podAnnotations/a"),
    ("a label that Kubernetes refuses", {"podLabels": {"a": "b c"}}, "/podLabels/a"),
    ("metrics without a level", {"metrics": {"enabled": True}}, "additional properties 'enabled' not allowed"),
    ("a ServiceMonitor misspelt", {"metrics": {"servicemonitor": {}}}, "'servicemonitor' not allowed"),
    ("an interval without a unit", {"metrics": {"serviceMonitor": {"interval": "30"}}}, "/metrics/serviceMonitor/"),
    ("a dashboard as text", {"metrics": {"dashboard": {"enabled": "true"}}}, "/metrics/dashboard/enabled"),
    ("names in metrics, by a word", {"metrics": {"identities": "all"}}, "/metrics/identities"),
    ("rules as text", {"metrics": {"rules": {"enabled": "true"}}}, "/metrics/rules/enabled"),
    ("a peer that is none", {"networkPolicy": {"ingressFrom": [{"podselector": {}}]}}, "'podselector' not allowed"),
    ("a peer without anything", {"networkPolicy": {"ingressFrom": [{}]}}, "/networkPolicy/ingressFrom/0"),
    (
        "an address without its mask",
        {"networkPolicy": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1"}}]}]}},
        "cidr",
    ),
    ("an egress rule that lets all out", {"networkPolicy": {"egress": [{}]}}, "/networkPolicy/egress/0"),
    ("a port that is none", {"networkPolicy": {"egress": [{"ports": [{"port": 70000}]}]}}, "/ports/0/port"),
    ("the policy misspelt", {"admission": {"enable": False}}, "additional properties 'enable' not allowed"),
    ("a check without time", {"uninstallCheck": {"timeoutSeconds": 0}}, "/uninstallCheck/timeoutSeconds"),
    (
        "an operator at a path",
        {"installationCheck": {"operatorUrl": "http://a/readyz"}},
        "/installationCheck/operatorUrl",
    ),
    ("an API server as URL", {"apiServer": {"host": "https://a"}}, "/apiServer/host"),
    ("a DNS policy that does not exist", {"dnsPolicy": "clusterFirst"}, "/dnsPolicy"),
    ("the node's network as text", {"hostNetwork": "false"}, "/hostNetwork"),
]


@pytest.mark.parametrize(("values", "words"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_wrong_value_is_refused(stack: Stack, values: Mapping[str, Any], words: str) -> None:
    """Helm refuses it before anything reaches the cluster, and says where it stands."""
    assert words in refusal(stack, values)


def test_chart_passes_its_lint(stack: Stack) -> None:
    """`helm lint --strict` finds nothing."""
    run_tool(stack, ["helm", "lint", "--strict", str(CHART)])


def test_every_value_is_in_the_schema_and_explained() -> None:
    """values.yaml and values.schema.json name the same values, and each has a comment or a telling name."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())

    assert _paths(values) == _schema_paths(schema) - {"global"}


def test_every_object_of_the_schema_is_closed() -> None:
    """Only what Kubernetes itself checks, or nobody reads, is left open."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())

    assert set(_open_objects(schema, "")) == {
        "/global",
        "/affinity/nodeAffinity",
        "/affinity/podAffinity",
        "/affinity/podAntiAffinity",
    }


def test_crds_are_those_of_the_repository() -> None:
    """The chart's copies are byte-equal to crds/ (mend: `cp crds/*.yaml charts/fedid/files/crds/`)."""
    copies = {path.name: path.read_bytes() for path in (CHART / "files" / "crds").iterdir()}

    assert copies == {path.name: path.read_bytes() for path in CRDS.iterdir()}


def test_crds_are_installed_upgraded_and_kept(stack: Stack) -> None:
    """As templates they are upgraded with the chart; as they say themselves, they outlive it."""
    crds = of_kind(rendered(stack), CRD_KIND)

    assert {crd["metadata"]["name"] for crd in crds} == {
        yaml.safe_load(path.read_text())["metadata"]["name"] for path in CRDS.iterdir()
    }
    assert {crd["metadata"]["annotations"]["helm.sh/resource-policy"] for crd in crds} == {"keep"}
    assert not (CHART / "crds").exists(), "Helm never upgrades what lies there"
    assert of_kind(rendered(stack, {"crds": {"install": False}}), CRD_KIND) == []


def test_rendered_crds_mean_what_the_files_say(stack: Stack) -> None:
    """Helm takes the braces in descriptions and rules for text, not for templates of its own."""
    files = [yaml.safe_load(path.read_text()) for path in CRDS.iterdir()]

    assert sorted(of_kind(rendered(stack), CRD_KIND), key=_name) == sorted(files, key=_name)


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        pytest.param({}, "localhost/fedid:0.1.0", id="without a tag, that of the chart's appVersion"),
        pytest.param({"tag": "1.2"}, "localhost/fedid:1.2", id="with a tag, that"),
        pytest.param(
            {"repository": "registry.example.org:5000/ml/fedid", "tag": "1.2", "digest": f"sha256:{'0' * 64}"},
            f"registry.example.org:5000/ml/fedid@sha256:{'0' * 64}",
            id="with a digest, that alone",
        ),
    ],
)
def test_image_is_named_by_tag_or_digest(stack: Stack, image: Mapping[str, str], reference: str) -> None:
    """A digest wins over a tag."""
    assert container(rendered(stack, {"image": image}))["image"] == reference


def test_operator_is_told_where_it_lives_and_what_to_serve(stack: Stack) -> None:
    """The variables are those that the operator's settings read."""
    plain = rendered(stack)
    chosen = rendered(
        stack,
        {
            "watchNamespaces": ["site-a", "site-b"],
            "log": {"level": "debug", "format": "text"},
            "health": {"port": 9000},
            "leaseSeconds": 30,
            "receipts": {"keep": 200, "maxAgeHours": 48},
            "metrics": {"identities": True},
            "grantsPolicy": {"enabled": False},
            "terminationGracePeriodSeconds": 60,
        },
    )

    assert {"name": "FEDID_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}} in container(
        plain
    )["env"]
    assert environment(plain) == {
        "FEDID_WATCH_NAMESPACES": "",
        "FEDID_VAULT_TOKEN_PATH": "/var/run/secrets/fedid/vault/token",
        "FEDID_HEALTH_PORT": "8080",
        "FEDID_REPLICA": "$(POD_NAME)/$(POD_UID)",
        "FEDID_LEASE_SECONDS": "15",
        "FEDID_FORCE_RELEASE": "true",
        "FEDID_RECEIPTS_KEEP": "5000",
        "FEDID_RECEIPTS_MAX_AGE_HOURS": "8760",
        "FEDID_STOP_GRACE_SECONDS": "20",
        "FEDID_IDENTITY_METRICS": "false",
        "FEDID_LOG_LEVEL": "info",
        "FEDID_LOG_FORMAT": "json",
    }
    assert environment(chosen) == {
        "FEDID_WATCH_NAMESPACES": "site-a,site-b",
        "FEDID_VAULT_TOKEN_PATH": "/var/run/secrets/fedid/vault/token",
        "FEDID_HEALTH_PORT": "9000",
        "FEDID_REPLICA": "$(POD_NAME)/$(POD_UID)",
        "FEDID_LEASE_SECONDS": "30",
        "FEDID_FORCE_RELEASE": "false",
        "FEDID_RECEIPTS_KEEP": "200",
        "FEDID_RECEIPTS_MAX_AGE_HOURS": "48",
        "FEDID_STOP_GRACE_SECONDS": "50",
        "FEDID_IDENTITY_METRICS": "true",
        "FEDID_LOG_LEVEL": "debug",
        "FEDID_LOG_FORMAT": "text",
    }


def test_vault_token_is_where_the_operator_looks(stack: Stack) -> None:
    """A projected token with an audience of its own, mounted read-only."""
    manifests = rendered(stack, {"vaultToken": {"audience": "vault.example.org", "expirationSeconds": 600}})
    (deployment,) = of_kind(manifests, "Deployment")
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}

    assert volumes["vault-token"]["projected"]["sources"] == [
        {"serviceAccountToken": {"audience": "vault.example.org", "expirationSeconds": 600, "path": "token"}}
    ]
    assert {"name": "vault-token", "mountPath": "/var/run/secrets/fedid/vault", "readOnly": True} in container(
        manifests
    )["volumeMounts"]


def test_keycloak_token_is_where_the_operator_looks(stack: Stack) -> None:
    """Another token, for Keycloak alone; without an audience the pod has none."""
    issuer = "https://keycloak.example.org/auth/realms/fl"
    manifests = rendered(stack, {"keycloakToken": {"audience": issuer, "expirationSeconds": 600}})
    (deployment,) = of_kind(manifests, "Deployment")
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes["keycloak-token"]["projected"]["sources"] == [
        {"serviceAccountToken": {"audience": issuer, "expirationSeconds": 600, "path": "token"}}
    ]
    folder = "/var/run/secrets/fedid/keycloak"
    mounts = container(manifests)["volumeMounts"]
    assert {"name": "keycloak-token", "mountPath": folder, "readOnly": True} in mounts
    assert environment(manifests)["FEDID_KEYCLOAK_TOKEN_PATH"] == f"{folder}/token"
    assert "keycloak" not in str(of_kind(rendered(stack, {}), "Deployment"))


def test_chart_and_operator_have_one_version() -> None:
    """The image that is pulled by default knows the commands and settings of this chart."""
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__


def test_api_server_can_be_named(stack: Stack) -> None:
    """Where no kube-proxy makes the usual address work, every pod of the chart is told another."""
    manifests = rendered(stack, {"apiServer": {"host": "api.example.org", "port": 6443}})
    told = [
        {"name": "KUBERNETES_SERVICE_HOST", "value": "api.example.org"},
        {"name": "KUBERNETES_SERVICE_PORT", "value": "6443"},
    ]

    for pod in pods(manifests):
        assert [one for one in pod["containers"][0]["env"] if one["name"].startswith("KUBERNETES")] == told
    assert not any(name.startswith("KUBERNETES") for name in environment(rendered(stack)))


def test_every_pod_goes_where_the_operator_goes(stack: Stack) -> None:
    """Nodes, networks, images and users are the same for the pods of hooks."""
    values = {
        "hostNetwork": True,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "image": {"repository": "registry.example.org/fedid", "tag": "1", "pullSecrets": [{"name": "registry"}]},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "priorityClassName": "high",
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
    }
    operator, *others = pods(rendered(stack, values))
    shared = (
        "hostNetwork", "dnsPolicy", "imagePullSecrets", "nodeSelector", "tolerations", "priorityClassName",
        "securityContext",
    )  # fmt: skip

    assert len(others) == 2
    for other in others:
        assert {name: other[name] for name in shared} == {name: operator[name] for name in shared}
        for name in ("image", "imagePullPolicy", "securityContext", "resources"):
            assert other["containers"][0][name] == operator["containers"][0][name]


@pytest.mark.parametrize("values", [{}, {"nameOverride": "a" * 63}])
def test_pods_of_hooks_are_not_taken_for_the_operator(stack: Stack, values: Mapping[str, Any]) -> None:
    """Deployment, Service and policies select by labels that only the operator's pod has."""
    manifests = rendered(stack, {**values, "networkPolicy": {"enabled": True}})
    (service,) = of_kind(manifests, "Service")
    (deployment,) = of_kind(manifests, "Deployment")
    policies = {
        p["metadata"]["name"]: p["spec"]["podSelector"]["matchLabels"] for p in of_kind(manifests, "NetworkPolicy")
    }
    operator = deployment["spec"]["template"]["metadata"]["labels"].items()
    (job,) = of_kind(manifests, "Job")
    (pod,) = of_kind(manifests, "Pod")
    selector = service["spec"]["selector"].items()

    assert selector == deployment["spec"]["selector"]["matchLabels"].items()
    assert selector <= operator
    for labels in (job["spec"]["template"]["metadata"]["labels"], pod["metadata"]["labels"]):
        assert not selector <= labels.items()
        assert [name for name, chosen in policies.items() if chosen.items() <= labels.items()] == [
            f"{service['metadata']['name']}-check"
        ]


def test_helm_shows_what_hooks_say_and_cleans_up(stack: Stack) -> None:
    """Whatever comes out, Helm prints it; what succeeded goes, what failed stays to be looked at."""
    manifests = rendered(stack)
    (job,) = of_kind(hooks(manifests, "pre-delete"), "Job")
    (pod,) = hooks(manifests, "test")

    for hook in (job, pod):
        assert hook["metadata"]["annotations"] == {
            HOOK: hook["metadata"]["annotations"][HOOK],
            "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
            "helm.sh/hook-output-log-policy": "hook-succeeded,hook-failed",
        }
    assert job["spec"]["backoffLimit"] == 0, "an answer does not change by asking again"
    assert job["spec"]["activeDeadlineSeconds"] < 300, "Helm itself waits five minutes"
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["check-uninstall", "--release", "fedid"]
    assert hooks(rendered(stack, {"uninstallCheck": {"enabled": False}}), "pre-delete") == []


@pytest.mark.parametrize(
    ("values", "url"),
    [
        pytest.param({}, ["--operator-url=http://fedid.fedid-system.svc:8080"], id="at its Service"),
        pytest.param(
            {"health": {"port": 9000}}, ["--operator-url=http://fedid.fedid-system.svc:9000"], id="other port"
        ),
        pytest.param({"replicaCount": 0}, [], id="nowhere, if none runs here"),
        pytest.param(
            {"replicaCount": 0, "installationCheck": {"operatorUrl": "http://10.0.0.1:8080"}},
            ["--operator-url=http://10.0.0.1:8080"],
            id="where it is told to",
        ),
    ],
)
def test_helm_test_asks_the_operator(stack: Stack, values: Mapping[str, Any], url: list[str]) -> None:
    """By the name of its Service, unless told otherwise."""
    (pod,) = hooks(rendered(stack, values), "test")

    assert pod["spec"]["containers"][0]["args"] == ["check-installation", *url]


@pytest.mark.parametrize(("host_network", "surge", "missing"), [(False, 1, 0), (True, 0, 1)])
def test_an_upgrade_warms_the_next_pod_first(stack: Stack, *, host_network: bool, surge: int, missing: int) -> None:
    """Unless both would listen on one port of the node."""
    (deployment,) = of_kind(rendered(stack, {"hostNetwork": host_network}), "Deployment")

    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": missing}


def test_replicas_are_spread_and_not_evicted_together(stack: Stack) -> None:
    """One alone needs neither: a budget would hold up the drain of its node."""
    manifests = rendered(stack, {"replicaCount": 3})
    (deployment,), (budget,) = of_kind(manifests, "Deployment"), of_kind(manifests, "PodDisruptionBudget")
    labels = deployment["spec"]["selector"]["matchLabels"]

    assert budget["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    constraints = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in constraints] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert all(one["labelSelector"] == {"matchLabels": labels} for one in constraints)
    alone = rendered(stack)
    assert not of_kind(alone, "PodDisruptionBudget")
    assert "topologySpreadConstraints" not in of_kind(alone, "Deployment")[0]["spec"]["template"]["spec"]


def pods(manifests: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the specs of all pods of the chart, the operator's first."""
    (deployment,), (job,), (pod,) = (of_kind(manifests, kind) for kind in ("Deployment", "Job", "Pod"))
    return [deployment["spec"]["template"]["spec"], job["spec"]["template"]["spec"], pod["spec"]]


def _name(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"]["name"])


def _paths(values: Mapping[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in values.items():
        # An empty map stands for whatever the user puts there; requests and limits hold such maps.
        deeper = isinstance(value, Mapping) and value and prefix != "resources."
        found |= _paths(value, f"{prefix}{name}.") if deeper else {prefix + name}
    return found


def _schema_paths(schema: Mapping[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, child in schema["properties"].items():
        deeper = child.get("properties") and name != "affinity"
        found |= _schema_paths(child, f"{prefix}{name}.") if deeper else {prefix + name}
    return found


def _open_objects(schema: Mapping[str, Any], path: str) -> list[str]:
    found = [path] if schema.get("type") == "object" and "additionalProperties" not in schema else []
    for name, child in schema.get("properties", {}).items():
        found += _open_objects(child, f"{path}/{name}")
    if "items" in schema:
        found += _open_objects(schema["items"], f"{path}/items")
    for name, child in schema.get("$defs", {}).items():
        found += _open_objects(child, f"{path}/$defs/{name}")
    return found
