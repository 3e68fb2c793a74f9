"""A cluster in memory: a `Cluster` for our kinds, Secrets, Namespaces and Events.

tests/contract/test_cluster.py holds it against a real API server. What a person or a controller does to the cluster has
methods of its own (`apply`, `delete`, `collect_garbage`, …) and is not counted as a write of the operator.
"""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from fedid.domain.conditions import rfc3339
from fedid.domain.epoch import RememberedEpoch
from fedid.domain.label_selector import LabelSelector
from fedid.domain.naming import ObjectKey
from fedid.domain.pods import NUDGE_ANNOTATION, Nudge, Pod, pod_of
from fedid.domain.resources import GROUP_VERSION, REVOCATION_RECEIPT
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret
from fedid.domain.workloads import Owner, Workload
from fedid.errors import BackendDeniedError, BackendRejectedError, Error, StaleObjectError
from tests.fakes.failures import Failures
from tests.fakes.workloads import annotate_template, controller_of

OPERATOR_NAMESPACE = "fedid-system"

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ClusterCall:
    """One call of the port."""

    operation: str
    target: str
    """`<kind>/<namespace>/<name>`."""


@dataclass(frozen=True, slots=True)
class FakeEvent:
    """One Event that was told."""

    about: ObjectKey
    uid: str
    reason: str
    message: str
    warning: bool
    action: str


def merge_patched(target: object, patch: object) -> object:
    """Return the target with a merge patch applied (RFC 7396)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patched(merged.get(key), value)
    return merged


def key_of(body: Mapping[str, Any]) -> ObjectKey:
    """Return which object a body is of."""
    metadata = body["metadata"]
    return ObjectKey(body["kind"], metadata.get("namespace") or "", metadata["name"])


class FakeCluster:
    """A `Cluster`; `bodies` and `secrets` are what it holds."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Start empty, with the namespaces `default` and the operator's own.

        Args:
            now: The API server's clock (aware UTC).
        """
        self.bodies: dict[ObjectKey, Body] = {}
        """Our custom resources and the Namespaces, as the API server would send them; copy before you keep one."""
        self.secrets: dict[tuple[str, str], MountedSecret] = {}
        """By namespace and name."""
        self.events: list[FakeEvent] = []
        self.calls: list[ClusterCall] = []
        """Every call of the port, in order."""
        self.writes: list[ClusterCall] = []
        """The writes of the operator: finalizers, statuses, Secrets; not Events, as in the budgets."""
        self.nudges: list[tuple[str, str]] = []
        """Pod and annotation of every nudge, in order; not counted as writes."""
        self.restarts: list[str] = []
        """Every workload that was restarted, in order."""
        self.failures = Failures()
        self.on_change: Callable[[Body, bool], None] | None = None
        """Told each changed body and whether it is deleted, as a watch would."""
        self.installation = str(uuid.uuid4())
        self.epochs: dict[str, RememberedEpoch] = {}
        """What is remembered, by Federation; written like the Lease, and not counted as writes either."""
        self._now = now
        self.version = 0
        """The newest resourceVersion."""
        for name in ("default", OPERATOR_NAMESPACE):
            self.add_namespace(name)

    # --- the port

    async def listing(self, kind: str) -> tuple[Mapping[str, object], ...]:
        """Return all objects of a kind."""
        await self._begin("listing", kind)
        return tuple(copy.deepcopy(body) for key, body in sorted(self.bodies.items()) if key.kind == kind)

    async def read(self, kind: str, namespace: str | None, name: str) -> Mapping[str, object] | None:
        """Return one object."""
        key = ObjectKey(kind, namespace or "", name)
        await self._begin("read", str(key))
        return copy.deepcopy(self.bodies.get(key))

    async def set_finalizers(
        self, body: Mapping[str, object], finalizers: tuple[str, ...]
    ) -> Mapping[str, object] | None:
        """Replace the finalizers if nothing changed since."""
        key = key_of(body)
        await self._begin("set_finalizers", str(key))
        current, seen = self.bodies.get(key), _metadata(body)
        if current is None:
            return None
        if (seen["uid"], seen["resourceVersion"]) != (
            current["metadata"]["uid"],
            current["metadata"]["resourceVersion"],
        ):
            message = f"{key} changed"
            raise StaleObjectError(message)
        added = set(finalizers) - set(current["metadata"].get("finalizers", ()))
        if added and "deletionTimestamp" in current["metadata"]:
            message = f"{key} is being deleted and takes no new finalizer"
            raise BackendRejectedError(message, backend="kubernetes")
        self._write("set_finalizers", str(key))
        current["metadata"]["finalizers"] = list(finalizers)
        self._touch(current)
        self.failures.strike("set_finalizers", str(key), "after")
        return copy.deepcopy(self.bodies.get(key))

    async def patch_status(
        self, body: Mapping[str, object], patch: Mapping[str, object]
    ) -> Mapping[str, object] | None:
        """Merge-patch the status of the object with that uid."""
        key = key_of(body)
        await self._begin("patch_status", str(key))
        current = self.bodies.get(key)
        if current is None or current["metadata"]["uid"] != _metadata(body)["uid"]:
            return None
        self._write("patch_status", str(key))
        merged = merge_patched(current.get("status", {}), patch)
        if merged != current.get("status", {}):
            current["status"] = merged
            self._touch(current)
        self.failures.strike("patch_status", str(key), "after")
        return copy.deepcopy(current)

    async def read_secret(self, namespace: str, name: str) -> MountedSecret | None:
        """Return a Secret, its data only if somebody's controller owns it."""
        await self._begin("read_secret", f"Secret/{namespace}/{name}")
        secret = self.secrets.get((namespace, name))
        return secret if secret is None or secret.owner_uid is not None else replace(secret, data={})

    async def create_secret(self, secret: MountedSecret) -> MountedSecret | None:
        """Create a Secret; None if the name is taken."""
        target = f"Secret/{secret.namespace}/{secret.name}"
        await self._begin("create_secret", target)
        if self._is_ending(secret.namespace):
            message = f"namespace {secret.namespace} is being deleted"
            raise BackendDeniedError(message, backend="kubernetes", reason="NamespaceTerminating")
        if (secret.namespace, secret.name) in self.secrets:
            return None
        created = self.put_secret_by_hand(replace(secret, uid=None))
        self._write("create_secret", target)
        self.failures.strike("create_secret", target, "after")
        return created

    async def replace_secret(self, secret: MountedSecret) -> MountedSecret:
        """Replace that very Secret."""
        target = f"Secret/{secret.namespace}/{secret.name}"
        await self._begin("replace_secret", target)
        if secret.uid is None or secret.resource_version is None:
            message = "replace_secret needs the uid and the resourceVersion that were read"
            raise ValueError(message)
        current = self.secrets.get((secret.namespace, secret.name))
        if current is None or (current.uid, current.resource_version) != (secret.uid, secret.resource_version):
            message = f"{target} changed"
            raise StaleObjectError(message)
        if current.immutable or current.type != secret.type:
            message = f"the API server refuses to change {'data' if current.immutable else 'type'} of {target}"
            raise BackendRejectedError(message, backend="kubernetes")
        written = self.put_secret_by_hand(secret)
        self._write("replace_secret", target)
        self.failures.strike("replace_secret", target, "after")
        return written

    async def delete_secret(self, namespace: str, name: str, uid: str) -> None:
        """Delete that very Secret."""
        target = f"Secret/{namespace}/{name}"
        await self._begin("delete_secret", target)
        current = self.secrets.get((namespace, name))
        if current is not None and current.uid == uid:
            del self.secrets[namespace, name]
            self._write("delete_secret", target)
        self.failures.strike("delete_secret", target, "after")

    async def pods(self, namespace: str, selector: LabelSelector) -> tuple[Pod, ...]:
        """Return the unfinished pods that the selector picks."""
        await self._begin("pods", namespace)
        if self._is_ending(namespace):
            return ()
        bodies = [body for key, body in sorted(self.bodies.items()) if (key.kind, key.namespace) == ("Pod", namespace)]
        picked = [pod_of(body) for body in bodies if selector.matches(body["metadata"].get("labels") or {})]
        return tuple(pod for pod in picked if not pod.finished)

    async def nudge_pod(self, pod: Pod, nudge: Nudge) -> bool:
        """Annotate that very pod."""
        target = f"Pod/{pod.namespace}/{pod.name}"
        await self._begin("nudge_pod", target)
        body = self.bodies.get(ObjectKey("Pod", pod.namespace, pod.name))
        if body is None or body["metadata"]["uid"] != pod.uid:
            return False
        body["metadata"].setdefault("annotations", {})[NUDGE_ANNOTATION] = str(nudge)
        self._touch(body)
        self.nudges.append((pod.name, str(nudge)))
        self.failures.strike("nudge_pod", target, "after")
        return True

    async def workload_of(self, pod: Pod) -> Workload | Owner | None:
        """Return what controls the pod."""
        await self._begin("workload_of", f"Pod/{pod.namespace}/{pod.name}")
        return controller_of(self.bodies, pod)

    async def restart_workload(self, workload: Workload, started_for: Mapping[str, str], at: datetime) -> bool:
        """Annotate that very workload's template."""
        key = ObjectKey(workload.kind, workload.namespace, workload.name)
        await self._begin("restart_workload", str(key))
        body = self.bodies.get(key)
        if body is None:
            return False
        seen = (workload.uid, workload.resource_version)
        if seen != (body["metadata"]["uid"], body["metadata"]["resourceVersion"]):
            message = f"{key} changed"
            raise StaleObjectError(message)
        annotate_template(body, started_for, at)
        self.restarts.append(f"{workload}")
        self._touch(body)
        self.failures.strike("restart_workload", str(key), "after")
        return True

    async def create_receipt(self, receipt: Mapping[str, object]) -> bool:
        """Create a receipt; False if the name is taken."""
        made = copy.deepcopy(dict(receipt))
        key = key_of(made)
        await self._begin("create_receipt", str(key))
        if key in self.bodies:
            return False
        made["metadata"] = {**self._new_metadata(key.name), **_metadata(receipt)}
        self.bodies[key] = made
        self._write("create_receipt", str(key))
        self._touch(made)
        self.failures.strike("create_receipt", str(key), "after")
        return True

    async def delete_receipt(self, name: str, uid: str) -> None:
        """Delete that very receipt."""
        key = ObjectKey(REVOCATION_RECEIPT, "", name)
        await self._begin("delete_receipt", str(key))
        if key in self.bodies and self.bodies[key]["metadata"]["uid"] == uid:
            self._write("delete_receipt", str(key))
            self.delete(REVOCATION_RECEIPT, None, name)
        self.failures.strike("delete_receipt", str(key), "after")

    async def read_own_secret(self, name: str) -> Mapping[str, Sensitive] | None:
        """Return a Secret of the operator's own namespace."""
        await self._begin("read_own_secret", f"Secret/{OPERATOR_NAMESPACE}/{name}")
        secret = self.secrets.get((OPERATOR_NAMESPACE, name))
        return None if secret is None else secret.data

    async def installation_id(self) -> str:
        """Return the id."""
        await self._begin("installation_id", "")
        return self.installation

    async def remembered_epoch(self, federation: str) -> RememberedEpoch:
        """Return what is remembered of a Federation."""
        await self._begin("remembered_epoch", federation)
        return self.epochs.get(federation, RememberedEpoch(version="0"))

    async def remember_epoch(self, federation: str, remembered: RememberedEpoch) -> RememberedEpoch:
        """Replace that if nobody did so since."""
        await self._begin("remember_epoch", federation)
        if self.epochs.get(federation, RememberedEpoch(version="0")).version != remembered.version:
            message = "the ConfigMap changed"
            raise StaleObjectError(message)
        self.version += 1
        self.epochs[federation] = replace(remembered, version=str(self.version))
        self.failures.strike("remember_epoch", federation, "after")
        return self.epochs[federation]

    async def emit(self, body: Mapping[str, object], *, reason: str, message: str, warning: bool, action: str) -> None:
        """Keep the Event; one that is made to fail is lost."""
        key = key_of(body)
        try:
            await self._begin("emit", str(key))
        except Error:
            return
        self.events.append(FakeEvent(key, str(_metadata(body)["uid"]), reason, message, warning, action))

    # --- what others do

    def add_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> Body:
        """Create a Namespace, or replace its labels."""
        key = ObjectKey("Namespace", "", name)
        old = self.bodies.get(key)
        body = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {**(old["metadata"] if old else self._new_metadata(name)), "labels": dict(labels or {})},
        }
        self.bodies[key] = body
        self._touch(body)
        return copy.deepcopy(body)

    def apply(  # noqa: PLR0913 - all that a manifest can say
        self,
        kind: str,
        namespace: str | None,
        name: str,
        spec: Mapping[str, Any],
        *,
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Body:
        """Create one of our objects, or replace its spec (annotations, labels, if given) as `kubectl apply` would."""
        key = ObjectKey(kind, namespace or "", name)
        body = self.bodies.get(key)
        if body is None:
            metadata = {**self._new_metadata(name), "generation": 1}
            if namespace:
                metadata["namespace"] = namespace
            body = self.bodies[key] = {"apiVersion": GROUP_VERSION, "kind": kind, "metadata": metadata, "spec": {}}
        elif body["spec"] != dict(spec):
            body["metadata"]["generation"] += 1
        body["spec"] = copy.deepcopy(dict(spec))
        if annotations is not None:
            body["metadata"]["annotations"] = dict(annotations)
        if labels is not None:
            body["metadata"]["labels"] = dict(labels)
        self._touch(body)
        return copy.deepcopy(body)

    def delete(self, kind: str, namespace: str | None, name: str) -> None:
        """Delete an object: at once, or with finalizers from when the last of them goes."""
        body = self.bodies.get(ObjectKey(kind, namespace or "", name))
        if body is None:
            return
        if "deletionTimestamp" not in body["metadata"]:
            body["metadata"]["deletionTimestamp"] = rfc3339(self._now())
            if "generation" in body["metadata"]:
                body["metadata"]["generation"] += 1
        if kind == "Namespace":
            # Stays as terminating; its content goes when a test says so.
            body["metadata"]["finalizers"] = ["kubernetes"]
        self._touch(body)

    def collect_garbage(self) -> None:
        """Delete the Secrets whose owner is gone, as kube-controller-manager would."""
        alive = {body["metadata"]["uid"] for body in self.bodies.values()}
        for key, secret in list(self.secrets.items()):
            if secret.owner_uid is not None and secret.owner_uid not in alive:
                del self.secrets[key]

    def put_pod(self, manifest: Mapping[str, Any], *, phase: str = "Running") -> Body:
        """Create a pod, or put another in its place."""
        metadata = {**self._new_metadata(manifest["metadata"]["name"]), **manifest["metadata"]}
        body = {**copy.deepcopy(dict(manifest)), "metadata": metadata, "status": {"phase": phase}}
        self.bodies[key_of(body)] = body
        self._touch(body)
        return copy.deepcopy(body)

    def put_workload(self, manifest: Mapping[str, Any]) -> Body:
        """Create a workload or a ReplicaSet, or put another state of it in its place."""
        key = key_of({**manifest, "metadata": {"namespace": "", **manifest["metadata"]}})
        known = self.bodies.get(key)
        metadata = known["metadata"] if known else {**self._new_metadata(key.name), "generation": 1}
        body = {**copy.deepcopy(dict(manifest)), "metadata": {**metadata, **manifest["metadata"]}}
        self.bodies[key] = body
        self._touch(body)
        return copy.deepcopy(body)

    def put_secret_by_hand(self, secret: MountedSecret) -> MountedSecret:
        """Store a Secret as it is, with a new resourceVersion (and uid, if it has none)."""
        self.version += 1
        stored = replace(secret, uid=secret.uid or str(uuid.uuid4()), resource_version=str(self.version))
        self.secrets[secret.namespace, secret.name] = stored
        return stored

    # --- inside

    def _new_metadata(self, name: str) -> Body:
        return {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": rfc3339(self._now())}

    def _touch(self, body: Body) -> None:
        """Give the body a new resourceVersion, and let it go if nothing holds it any more."""
        self.version += 1
        metadata = body["metadata"]
        metadata["resourceVersion"] = str(self.version)
        gone = "deletionTimestamp" in metadata and not metadata.get("finalizers")
        if gone:
            self.bodies.pop(key_of(body), None)
        if self.on_change is not None:
            self.on_change(copy.deepcopy(body), gone)

    def _is_ending(self, name: str) -> bool:
        namespace = self.bodies.get(ObjectKey("Namespace", "", name))
        return namespace is None or "deletionTimestamp" in namespace["metadata"]

    async def _begin(self, operation: str, target: str) -> None:
        # A turn of the loop, so that calls at the same time interleave as they would with a server.
        await asyncio.sleep(0)
        self.calls.append(ClusterCall(operation, target))
        self.failures.strike(operation, target, "before")

    def _write(self, operation: str, target: str) -> None:
        self.writes.append(ClusterCall(operation, target))


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata: Mapping[str, Any] = body["metadata"]
    return metadata
