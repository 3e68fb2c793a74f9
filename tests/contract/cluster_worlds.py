"""A `Cluster` with hands: what people and controllers do, in the fake and in a real API server."""

from __future__ import annotations

import base64
import copy
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pytest

from fedid.adapters.clock import SystemClock
from fedid.adapters.kubernetes import KubernetesCluster, load_cluster_access
from fedid.adapters.kubernetes.cluster import CHUNK
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import GROUP_VERSION, PLURALS
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret
from fedid.ports import Cluster
from tests.fakes.cluster import OPERATOR_NAMESPACE, FakeCluster
from tests.testbed.stack import Stack

Body = Mapping[str, Any]

POD_IDENTITY_SPEC = {
    "role": "client",
    "botClientRef": {"name": "trainer"},
    "platform": {"generic": {"files": {"token": "{token}"}}},
}
FEDERATION_SPEC = {
    "keycloak": {
        "url": "https://keycloak.example",
        "realm": "fl",
        "auth": {"clientCredentials": {"secretName": "none"}},
    },
    "vault": {"url": "https://vault.example", "auth": {"jwt": {"role": "fedid"}}},
}
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


@dataclass(frozen=True)
class SeenEvent:
    """An Event as `kubectl describe` shows it."""

    uid: str
    reason: str
    message: str
    warning: bool
    action: str


class ClusterWorld(Protocol):
    """One cluster, as the port sees it and as its administrator does."""

    cluster: Cluster
    namespace: str
    """A namespace that only this test uses."""

    def apply(self, kind: str, name: str, spec: Body, *, scoped: bool = True) -> Body:
        """Create one of our objects or replace its spec."""

    def delete(self, kind: str, name: str) -> None:
        """Delete one of our objects in the namespace; one with finalizers stays for the moment."""

    def body(self, kind: str, name: str) -> Body | None:
        """Return one of our objects in the namespace as it is."""

    def put_secret(self, name: str, data: Mapping[str, str], *, namespace: str | None = None) -> str:
        """Create a Secret that no PodIdentity owns, and return its uid."""

    def secret_data(self, name: str) -> Mapping[str, str] | None:
        """Return a Secret's data in the clear."""

    def put_pod(self, manifest: Body, *, phase: str = "") -> Body:
        """Create a pod that no node runs, as far as a phase if one is given."""

    def pod(self, name: str) -> Body | None:
        """Return a pod in the namespace as it is."""

    def delete_pod(self, name: str) -> None:
        """Delete a pod; one with finalizers stays for the moment."""

    def put_workload(self, manifest: Body) -> Body:
        """Create a workload or a ReplicaSet."""

    def workload(self, kind: str, name: str) -> Body:
        """Return one as it is."""

    def delete_workload(self, kind: str, name: str) -> None:
        """Delete one, and leave what it controls."""

    def label_namespace(self, labels: Mapping[str, str]) -> None:
        """Set labels of the namespace."""

    def end_namespace(self) -> None:
        """Begin to delete the namespace, with something in it that holds it back."""

    def events(self, uid: str, *, scoped: bool = True) -> list[SeenEvent]:
        """Return the Events about an object."""

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until what a controller does has happened."""


@dataclass
class FakeClusterWorld:
    """The cluster in memory."""

    namespace: str = "contract"

    def __post_init__(self) -> None:
        """Make it, with the namespace."""
        self.fake = FakeCluster()
        self.cluster: Cluster = self.fake
        self.fake.add_namespace(self.namespace)

    def apply(self, kind: str, name: str, spec: Body, *, scoped: bool = True) -> Body:
        """Create or replace."""
        return self.fake.apply(kind, self.namespace if scoped else None, name, spec)

    def delete(self, kind: str, name: str) -> None:
        """Delete."""
        self.fake.delete(kind, self.namespace, name)

    def body(self, kind: str, name: str) -> Body | None:
        """Return an object."""
        return self.fake.bodies.get(ObjectKey(kind, self.namespace, name))

    def put_secret(self, name: str, data: Mapping[str, str], *, namespace: str | None = None) -> str:
        """Create a Secret."""
        content = {key: Sensitive(value) for key, value in data.items()}
        secret = MountedSecret(namespace or self.namespace, name, "Opaque", content)
        return str(self.fake.put_secret_by_hand(secret).uid)

    def secret_data(self, name: str) -> Mapping[str, str] | None:
        """Return a Secret's data."""
        secret = self.fake.secrets.get((self.namespace, name))
        return None if secret is None else {key: value.reveal() for key, value in secret.data.items()}

    def put_pod(self, manifest: Body, *, phase: str = "") -> Body:
        """Create a pod."""
        return self.fake.put_pod(manifest, phase=phase or "Pending")

    def pod(self, name: str) -> Body | None:
        """Return a pod."""
        return self.body("Pod", name)

    def delete_pod(self, name: str) -> None:
        """Delete a pod."""
        self.fake.delete("Pod", self.namespace, name)

    def put_workload(self, manifest: Body) -> Body:
        """Create a workload."""
        return self.fake.put_workload(manifest)

    def workload(self, kind: str, name: str) -> Body:
        """Return a workload."""
        return copy.deepcopy(self.fake.bodies[ObjectKey(kind, self.namespace, name)])

    def delete_workload(self, kind: str, name: str) -> None:
        """Delete a workload."""
        self.fake.delete(kind, self.namespace, name)

    def label_namespace(self, labels: Mapping[str, str]) -> None:
        """Set labels."""
        self.fake.add_namespace(self.namespace, labels)

    def end_namespace(self) -> None:
        """Begin to delete the namespace."""
        self.fake.delete("Namespace", None, self.namespace)

    def events(self, uid: str, *, scoped: bool = True) -> list[SeenEvent]:  # noqa: ARG002 - the fake has one list
        """Return the Events."""
        found = (event for event in self.fake.events if event.uid == uid)
        return [SeenEvent(e.uid, e.reason, e.message, e.warning, e.action) for e in found]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Do what the controllers would."""
        self.fake.collect_garbage()
        assert condition()


@dataclass
class RealClusterWorld:
    """The stack's API server; the hands are the administrator's."""

    stack: Stack
    cluster: Cluster
    namespace: str = field(default_factory=lambda: f"contract-{uuid.uuid4().hex[:10]}")
    made: list[str] = field(default_factory=list)
    """Paths outside the namespace, to be removed."""

    def __post_init__(self) -> None:
        """Make the namespace."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        self.stack.kube("POST", "/api/v1/namespaces", body)

    def path(self, kind: str, name: str, *, scoped: bool = True) -> str:
        """Return where an object lies."""
        infix = f"namespaces/{self.namespace}/" if scoped else ""
        return f"/apis/{GROUP_VERSION}/{infix}{PLURALS[kind]}/{name}"

    def apply(self, kind: str, name: str, spec: Body, *, scoped: bool = True) -> Body:
        """Create or replace."""
        path = self.path(kind, name, scoped=scoped)
        found = self.stack.kube("GET", path, accept=(404,))
        if found["kind"] == kind:
            applied: Body = self.stack.kube("PUT", path, {**found, "spec": dict(spec)})
            return applied
        if not scoped:
            self.made.append(path)
        body = {"apiVersion": GROUP_VERSION, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
        created: Body = self.stack.kube("POST", path.rpartition("/")[0], body)
        return created

    def delete(self, kind: str, name: str) -> None:
        """Delete."""
        self.stack.kube("DELETE", self.path(kind, name))

    def body(self, kind: str, name: str) -> Body | None:
        """Return an object."""
        found: Body = self.stack.kube("GET", self.path(kind, name), accept=(404,))
        return found if found["kind"] == kind else None

    def put_secret(self, name: str, data: Mapping[str, str], *, namespace: str | None = None) -> str:
        """Create a Secret."""
        folder = f"/api/v1/namespaces/{namespace or self.namespace}/secrets"
        if namespace is not None:
            self.made.append(f"{folder}/{name}")
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        return str(self.stack.kube("POST", folder, {"metadata": {"name": name}, "data": encoded})["metadata"]["uid"])

    def secret_data(self, name: str) -> Mapping[str, str] | None:
        """Return a Secret's data."""
        found = self.stack.kube("GET", f"/api/v1/namespaces/{self.namespace}/secrets/{name}", accept=(404,))
        if found["kind"] != "Secret":
            return None
        return {key: base64.b64decode(value).decode() for key, value in found.get("data", {}).items()}

    def put_pod(self, manifest: Body, *, phase: str = "") -> Body:
        """Create a pod."""
        created: Body = self.stack.kube("POST", f"/api/v1/namespaces/{self.namespace}/pods", manifest)
        if phase:
            path = f"/api/v1/namespaces/{self.namespace}/pods/{created['metadata']['name']}/status"
            created = self.stack.kube("PATCH", path, {"status": {"phase": phase}}, headers=MERGE_PATCH)
        return created

    def pod(self, name: str) -> Body | None:
        """Return a pod."""
        found: Body = self.stack.kube("GET", f"/api/v1/namespaces/{self.namespace}/pods/{name}", accept=(404,))
        return found if found["kind"] == "Pod" else None

    def delete_pod(self, name: str) -> None:
        """Delete a pod."""
        self.stack.kube("DELETE", f"/api/v1/namespaces/{self.namespace}/pods/{name}")

    def _workloads(self, kind: str) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/{kind.lower()}s"

    def put_workload(self, manifest: Body) -> Body:
        """Create a workload."""
        created: Body = self.stack.kube("POST", self._workloads(manifest["kind"]), dict(manifest))
        return created

    def workload(self, kind: str, name: str) -> Body:
        """Return a workload."""
        found: Body = self.stack.kube("GET", f"{self._workloads(kind)}/{name}")
        return found

    def delete_workload(self, kind: str, name: str) -> None:
        """Delete a workload."""
        path = f"{self._workloads(kind)}/{name}"
        self.stack.kube("DELETE", path, {"propagationPolicy": "Orphan"})
        self.wait_for(lambda: self.stack.kube("GET", path, accept=(404,))["kind"] == "Status")

    def label_namespace(self, labels: Mapping[str, str]) -> None:
        """Set labels."""
        patch = {"metadata": {"labels": dict(labels)}}
        self.stack.kube("PATCH", f"/api/v1/namespaces/{self.namespace}", patch, headers=MERGE_PATCH)

    def end_namespace(self) -> None:
        """Begin to delete the namespace, which a ConfigMap's finalizer then holds back."""
        folder = f"/api/v1/namespaces/{self.namespace}/configmaps"
        self.stack.kube("POST", folder, {"metadata": {"name": "holds", "finalizers": ["fedid.io/test"]}})
        self.stack.kube("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def events(self, uid: str, *, scoped: bool = True) -> list[SeenEvent]:
        """Return the Events."""
        namespace = self.namespace if scoped else "default"
        query = f"fieldSelector=involvedObject.uid%3D{uid}"
        found = self.stack.kube("GET", f"/api/v1/namespaces/{namespace}/events?{query}")["items"]
        return [SeenEvent(uid, e["reason"], e["message"], e["type"] == "Warning", e["action"]) for e in found]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait for the controllers (at most 30 s)."""
        for _ in range(150):
            if condition():
                return
            time.sleep(0.2)
        assert condition()

    def remove_all(self) -> None:
        """Delete what the test left behind."""
        release: Body = {"metadata": {"finalizers": []}}
        for kind in PLURALS.keys() - {"Federation", "IdentityApproval", "RevocationReceipt"}:
            for item in self.stack.kube("GET", self.path(kind, "").rstrip("/"), accept=(404,)).get("items", ()):
                if item["metadata"].get("finalizers"):
                    path = self.path(kind, item["metadata"]["name"])
                    self.stack.kube("PATCH", path, release, headers=MERGE_PATCH, accept=(404,))
        for pod in self.stack.kube("GET", f"/api/v1/namespaces/{self.namespace}/pods")["items"]:
            if pod["metadata"].get("finalizers"):
                path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"
                self.stack.kube("PATCH", path, release, headers=MERGE_PATCH, accept=(404,))
        holding = f"/api/v1/namespaces/{self.namespace}/configmaps/holds"
        self.stack.kube("PATCH", holding, release, headers=MERGE_PATCH, accept=(404,))
        for path in (*self.made, f"/api/v1/namespaces/{self.namespace}"):
            self.stack.kube("DELETE", path, accept=(404, 409))


def owned_secret(owner: Body, name: str = "mounted", **changes: Any) -> MountedSecret:
    """Return a Secret as a PodIdentity's reconciler would ask for it."""
    metadata = owner["metadata"]
    secret = MountedSecret(
        namespace=metadata["namespace"],
        name=name,
        type="Opaque",
        data={"token": Sensitive("t-1"), "client.env": Sensitive("A=ü\n")},
        labels={"fedid.io/part-of": "trainer"},
        annotations={"fedid.io/hash": "abc"},
        owner_uid=metadata["uid"],
        owner_name=metadata["name"],
    )
    return replace(secret, **changes)


__all__ = [
    "FEDERATION_SPEC",
    "OPERATOR_NAMESPACE",
    "POD_IDENTITY_SPEC",
    "ClusterWorld",
    "FakeClusterWorld",
    "RealClusterWorld",
    "SeenEvent",
    "owned_secret",
]


CLUSTERS = ("fake", "apiserver")


@asynccontextmanager
async def cluster_world(request: pytest.FixtureRequest, chunk: int = CHUNK) -> AsyncIterator[ClusterWorld]:
    """Yield the cluster that the fixture's parameter names, with no object left behind."""
    if request.param == "fake":
        yield FakeClusterWorld()
        return
    stack: Stack = request.getfixturevalue("stack")
    access = await load_cluster_access(kubeconfig=str(stack.paths.operator_kubeconfig), namespace=OPERATOR_NAMESPACE)
    cluster = KubernetesCluster(access, SystemClock(), chunk=chunk)
    real = RealClusterWorld(stack, cluster)
    yield real
    await cluster.aclose()
    await access.aclose()
    real.remove_all()
