"""Install, upgrade, roll back and uninstall, with identities alive and a token that rotates all the time.

The operator runs as a process beside the cluster, as in all tests without a node; it stops and starts where its
Deployment would be replaced. `previous/fedid-0.1.0.tgz` is what `helm package` made of the chart of that version.
"""

from __future__ import annotations

import json
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.authority import Authority
from tests.e2e.tenancy import MERGE, Tenant, bot, pod_identity, user
from tests.e2e.waiting import eventually
from tests.testbed import cluster
from tests.testbed.chart import CHART, CRD_PATH, CRDS, RELEASE, install_chart, run_tool, wait_for_crds
from tests.testbed.cluster import OPERATOR_NAMESPACE, SERVICE_ACCOUNT, is_ready
from tests.testbed.keycloak_realm import ensure_operator_with_secret
from tests.testbed.operator_process import FEDERATION_PATH, federation_manifest, mint_operator_tokens
from tests.testbed.progress import Progress
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

ACCESS = "fedid-keycloak"
PREVIOUS = Path(__file__).parent / "previous" / "fedid-0.1.0.tgz"
SETTLED, ROTATING = "settled", "rotating"
BOTS = f"/apis/fedid.io/v1alpha1/namespaces/{{}}/botclients/{SETTLED}"


@dataclass(slots=True)
class Release:
    """The release of the stack, in the hands of a platform team."""

    stack: Stack

    def helm(self, *arguments: str, values: dict[str, Any] | None = None) -> str:
        """Run Helm on the release."""
        stdin = json.dumps({"replicaCount": 0, "serviceAccount": {"name": SERVICE_ACCOUNT}, **(values or {})})
        options = ["--values", "-"] if arguments[0] in {"install", "upgrade"} else []
        return run_tool(
            self.stack,
            ["helm", *arguments, "--namespace", OPERATOR_NAMESPACE, *options],
            stdin=stdin if options else "",
        )

    def chart(self) -> str:
        """Return name and version of the chart that is deployed."""
        (found,) = json.loads(self.helm("list", "--filter", f"^{RELEASE}$", "--output", "json"))
        assert found["status"] == "deployed"
        return str(found["chart"])

    def start_operator(self) -> None:
        """Start the operator as the ServiceAccount that the release made."""
        mint_operator_tokens(self.stack)
        self.stack.start("operator")

    def replaced_by(self, *arguments: str) -> None:
        """Upgrade or roll back one after the other: the old operator stops before the new one starts."""
        self.stack.stop("operator")
        self.helm(*arguments)
        self.stack.start("operator")


@dataclass(slots=True)
class Consumer:
    """A pod's view: reads the mounted token of the rotating bot, and asks a verifier about it, all the time."""

    stack: Stack
    tenant: Tenant
    seen: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until told to stop."""
        authority = Authority(self.stack)
        while not self._stop.wait(0.3):
            token = ((self.tenant.secret(ROTATING) or {}).get("text") or {}).get("token", "")
            self.seen.add(token)
            if not token or not authority.introspect(token)["active"]:
                self.refused.append(token[-8:])

    def rotates(self) -> None:
        """Wait until another token is mounted than ever before."""
        known = set(self.seen)
        eventually(lambda: self.seen - known, "the token rotates")

    def stop(self) -> None:
        """Let `run` end."""
        self._stop.set()


def _federation_of_that_time(stack: Stack) -> None:
    """Apply the Federation `local` as the previous chart knew it: with a secret, and without what came later."""
    client_id, secret = "fedid-previous", secrets.token_urlsafe(24)
    ensure_operator_with_secret(stack.api("keycloak"), client_id, secret)
    namespace = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets"
    stack.kube("DELETE", f"{namespace}/{ACCESS}", accept=(404,))
    access = {"client-id": client_id, "client-secret": secret}
    stack.kube("POST", namespace, {"metadata": {"name": ACCESS}, "stringData": access})
    manifest = federation_manifest(stack)
    manifest["spec"]["keycloak"]["auth"] = {"clientCredentials": {"secretName": ACCESS}}
    for later in ("scopes", "vaultPaths"):
        manifest["spec"]["grants"][0].pop(later)
    cluster.apply(stack.api("kube"), FEDERATION_PATH, manifest)
    eventually(lambda: cluster.is_ready(stack.kube("GET", FEDERATION_PATH)), "the Federation is Ready", seconds=90)


@contextmanager
def _needs_of_today(stack: Stack) -> Iterator[None]:
    """Let the operator of today work under the previous chart: that knew no Lease, epochs, approvals or receipts."""
    rbac, namespaced = "/apis/rbac.authorization.k8s.io/v1", f"namespaces/{OPERATOR_NAMESPACE}/"
    kinds = ("identityapprovals", "revocationreceipts")
    needs = {
        ("Role", namespaced): {"coordination.k8s.io": ("leases",), "": ("configmaps",)},
        ("ClusterRole", ""): {"fedid.io": kinds},
    }
    verbs = ["get", "list", "watch", "create", "patch", "delete"]
    account = {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": OPERATOR_NAMESPACE}
    for plural in kinds:
        _kind_of(RELEASE, plural, stack)
    for (kind, folder), groups in needs.items():
        rules = [{"apiGroups": [group], "resources": names, "verbs": verbs} for group, names in groups.items()]
        role = {"metadata": {"name": "today"}, "rules": rules}
        stack.kube("POST", f"{rbac}/{folder}{kind.lower()}s", role)
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "today"}
        binding = {"metadata": {"name": "today"}, "roleRef": reference, "subjects": [account]}
        stack.kube("POST", f"{rbac}/{folder}{kind.lower()}bindings", binding)
    try:
        yield
    finally:
        for kind, folder in needs:
            for resource in ("bindings", "s"):
                stack.kube("DELETE", f"{rbac}/{folder}{kind.lower()}{resource}/today", accept=(404,))


def _kind_of(release: str, plural: str, stack: Stack) -> None:
    """Install a kind that the previous chart did not have, so that an upgrade takes it for its own."""
    crd = yaml.safe_load((CRDS / f"fedid.io_{plural}.yaml").read_text())
    marks = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": OPERATOR_NAMESPACE}
    crd["metadata"].setdefault("annotations", {}).update(marks)
    crd["metadata"].setdefault("labels", {})["app.kubernetes.io/managed-by"] = "Helm"
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    stack.kube("POST", path, crd, accept=(409,))
    name = f"{path}/{crd['metadata']['name']}"
    stack.kube(
        "PATCH", name, {"metadata": {key: crd["metadata"][key] for key in ("annotations", "labels")}}, headers=MERGE
    )


@pytest.fixture
def release(stack: Stack) -> Iterator[Release]:
    """The previous chart with an operator that works; afterwards, the chart of the clone as other tests expect it."""
    stack.paths.chart_key.unlink(missing_ok=True)  # what it stands for goes; `install_chart` must not trust it
    found = Release(stack)
    try:
        found.helm("uninstall", RELEASE, "--no-hooks", "--ignore-not-found")
        found.helm("install", RELEASE, str(PREVIOUS))
        wait_for_crds(stack, Progress(lambda _line: None))
        with _needs_of_today(stack):
            found.start_operator()
            _federation_of_that_time(stack)
            yield found
    finally:
        install_chart(stack)
        mint_operator_tokens(stack)
        if stack.process("operator").running():
            stack.kube("DELETE", FEDERATION_PATH, accept=(404,))
            eventually(lambda: stack.api("kube").answer("GET", FEDERATION_PATH).status == 404, "the Federation goes")
            stack.stop("operator")


@pytest.fixture
def tenant(stack: Stack, release: Release) -> Iterator[Tenant]:
    """A namespace with two bots, a user and their mounted credentials, all Ready."""
    made = Tenant.create(stack)
    made.apply(
        bot(SETTLED, tokens=[{"name": "default", "lifetime": "1h"}]),
        bot(ROTATING, tokens=[{"name": "default", "lifetime": "40s"}]),
        user(made.namespace),
        pod_identity(SETTLED),
        pod_identity(ROTATING),
    )
    for kind, name in made_in(made):
        made.ready(kind, name)
    yield made
    if not stack.process("operator").running():
        install_chart(stack)
        release.start_operator()
    made.clean()


def made_in(tenant: Tenant) -> list[tuple[str, str]]:
    """Return every object of the tenant."""
    return [
        ("BotClient", SETTLED),
        ("BotClient", ROTATING),
        ("FederationUser", tenant.namespace),
        ("PodIdentity", SETTLED),
        ("PodIdentity", ROTATING),
    ]


@pytest.fixture
def consumer(stack: Stack, tenant: Tenant) -> Iterator[Consumer]:
    """A consumer of the rotating token; at the end, no token that it read was refused."""
    made = Consumer(stack, tenant)
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join()
    assert made.refused == [], f"{len(made.refused)} requests with a mounted token were refused"


def evidence(stack: Stack, tenant: Tenant) -> dict[str, Any]:
    """Return all that stands about the settled bot and the user: specs, statuses, secrets and their versions."""
    authority = Authority(stack)
    client = authority.client(f"{tenant.namespace}.{SETTLED}")
    assert client is not None
    path = f"fedid/{tenant.namespace}/bots/{SETTLED}"
    kinds = [(kind, name) for kind, name in made_in(tenant) if name != ROTATING]
    objects = {kind: tenant.get(kind, name) for kind, name in kinds}
    return {
        "client": {name: client[name] for name in ("id", "secret", "attributes")},
        "user": (authority.user(tenant.namespace) or {}).get("id"),
        "vault": {
            name: (authority.vault(f"{path}/{name}"), (authority.vault_metadata(f"{path}/{name}") or {})["versions"])
            for name in ("client", "tokens/default")
        },
        "mounted": (tenant.secret(SETTLED) or {})["metadata"]["resourceVersion"],
        "objects": {kind: _without_managers(found) for kind, found in objects.items()},
    }


def credentials(found: dict[str, Any]) -> dict[str, Any]:
    """Return the evidence without the objects: what clients and pods go by."""
    return {name: value for name, value in found.items() if name != "objects"}


def _without_managers(found: dict[str, Any] | None) -> dict[str, Any]:
    assert found is not None
    return {**found, "metadata": {key: value for key, value in found["metadata"].items() if key != "managedFields"}}


def later_chart(folder: Path) -> Path:
    """Return a copy of the chart of the clone, as a later version whose CRD has one optional field more."""
    copy = folder / "fedid"
    shutil.copytree(CHART, copy)
    chart = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump({**chart, "version": "99.0.0"}))
    file = copy / "files" / "crds" / "fedid.io_botclients.yaml"
    crd = yaml.safe_load(file.read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["note"] = {"type": "string", "maxLength": 64, "description": "A note of a later version."}
    file.write_text(yaml.safe_dump(crd))
    return copy


def knows_note(stack: Stack, tenant: Tenant) -> bool:
    """Tell whether the API server takes the field of the later version, without any effect."""
    path = f"{BOTS.format(tenant.namespace)}?dryRun=All&fieldValidation=Strict"
    return stack.api("kube").answer("PATCH", path, {"spec": {"note": "a"}}, headers=MERGE).status == 200


def test_identities_outlive_every_change_of_the_release(
    stack: Stack, release: Release, tenant: Tenant, consumer: Consumer, tmp_path: Path
) -> None:
    """Upgrade, upgrade with a changed CRD, roll back to the first: no credential changes, nothing is refused.

    The first upgrade adds fields to statuses, once, since the former CRD knew less of them; the next writes nothing.
    """
    before = evidence(stack, tenant)
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    assert release.chart() == "fedid-0.1.0"
    metrics = Rest(stack.operator_url).answer("GET", "/metrics").text
    assert 'fedid_objects{kind="BotClient",ready="True",reason="Ready"} 2.0' in metrics
    consumer.rotates()

    release.replaced_by("upgrade", RELEASE, str(CHART))

    assert release.chart() == f"fedid-{version}" != "fedid-0.1.0"
    consumer.rotates()
    eventually(lambda: "nextRotationAt" in (tenant.get("BotClient", SETTLED) or {})["status"], "the status says more")
    settled = evidence(stack, tenant)
    assert credentials(settled) == credentials(before)
    assert not knows_note(stack, tenant)

    release.replaced_by("upgrade", RELEASE, str(later_chart(tmp_path)))

    assert release.chart() == "fedid-99.0.0"
    eventually(lambda: knows_note(stack, tenant), "the CRD is upgraded with the chart")
    consumer.rotates()
    assert evidence(stack, tenant) == settled

    release.replaced_by("rollback", RELEASE, "1")

    assert release.chart() == "fedid-0.1.0"
    eventually(lambda: not knows_note(stack, tenant), "the CRD is rolled back with the chart")
    consumer.rotates()
    assert credentials(evidence(stack, tenant)) == credentials(before)


def test_uninstalling_keeps_identities_and_installing_again_continues(
    stack: Stack, release: Release, tenant: Tenant
) -> None:
    """As the check before uninstalling says: nothing is revoked, and nothing can be deleted until fedid runs again."""
    release.replaced_by("upgrade", RELEASE, str(CHART))
    eventually(lambda: "nextRotationAt" in (tenant.get("BotClient", SETTLED) or {})["status"], "the status says more")
    before = evidence(stack, tenant)
    installation = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/configmaps/fedid-installation"
    identity = stack.kube("GET", installation)["data"]

    stack.stop("operator")
    release.helm("uninstall", RELEASE, "--no-hooks", "--wait")

    account = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts/{SERVICE_ACCOUNT}"
    assert stack.api("kube").answer("GET", account).status == 404
    kept = {crd["spec"]["names"]["kind"] for crd in stack.kube("GET", CRD_PATH)["items"]}
    assert kept >= {"Federation", "BotClient", "FederationUser", "PodIdentity"}
    assert evidence(stack, tenant) == before
    client = before["client"]
    assert Authority(stack).request_token(f"{tenant.namespace}.{SETTLED}", client["secret"]).status == 200
    assert stack.kube("GET", installation)["data"] == identity

    tenant.delete("BotClient", SETTLED)
    going = tenant.get("BotClient", SETTLED)
    assert going is not None, "the object went without a revocation"
    assert going["metadata"]["finalizers"] == ["fedid.io/revoke"]
    assert Authority(stack).request_token(f"{tenant.namespace}.{SETTLED}", client["secret"]).status == 200

    release.helm("install", RELEASE, str(CHART))
    release.start_operator()

    tenant.gone("BotClient", SETTLED)
    assert Authority(stack).request_token(f"{tenant.namespace}.{SETTLED}", client["secret"]).status == 401
    assert Authority(stack).client(f"{tenant.namespace}.{SETTLED}") is None
    assert is_ready(tenant.ready("BotClient", ROTATING))
    assert _without_managers(tenant.get("FederationUser", tenant.namespace)) == before["objects"]["FederationUser"]
