"""What controls pods, in memory; and manifests of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fedid.domain.conditions import rfc3339
from fedid.domain.naming import ObjectKey
from fedid.domain.pods import Pod
from fedid.domain.workloads import (
    HASH_ANNOTATION,
    RESTARTED_ANNOTATION,
    Owner,
    Workload,
    hashes_text,
    owner_of,
    workload_from,
)

Body = dict[str, Any]

_ROLLED_OUT = ("Deployment", "StatefulSet", "DaemonSet")


def controller_of(bodies: Mapping[ObjectKey, Body], pod: Pod) -> Workload | Owner | None:
    """Return what controls a pod, through its ReplicaSet if need be."""
    owner = pod.owner
    if owner is not None and owner.kind == "ReplicaSet":
        replica_set = _found(bodies, pod.namespace, owner)
        if replica_set is None:
            return None
        owner = owner_of(replica_set["metadata"]) or owner
    if owner is None or owner.kind not in _ROLLED_OUT:
        return owner
    body = _found(bodies, pod.namespace, owner)
    return None if body is None else workload_from(owner.kind, body)


def _found(bodies: Mapping[ObjectKey, Body], namespace: str, owner: Owner) -> Body | None:
    body = bodies.get(ObjectKey(owner.kind, namespace, owner.name))
    return body if body is not None and body["metadata"]["uid"] == owner.uid else None


def annotate_template(body: Body, started_for: Mapping[str, str], at: datetime) -> None:
    """Do what a restart does."""
    metadata = body["spec"]["template"].setdefault("metadata", {})
    metadata.setdefault("annotations", {}).update(
        {RESTARTED_ANNOTATION: rfc3339(at), HASH_ANNOTATION: hashes_text(started_for)}
    )
    body["metadata"]["generation"] += 1


def workload_manifest(kind: str, namespace: str, name: str, pod: Mapping[str, Any], *, replicas: int = 1) -> Body:
    """Return a workload of pods like this one.

    Args:
        kind: Of the three that roll out, or ReplicaSet.
        namespace: Where.
        name: Its name.
        pod: Manifest of a pod; its labels are the selector.
        replicas: How many, unless it is a DaemonSet.
    """
    labels = pod["metadata"]["labels"]
    template = {"metadata": {"labels": labels}, "spec": {k: v for k, v in pod["spec"].items() if k != "restartPolicy"}}
    spec: Body = {"selector": {"matchLabels": labels}, "template": template}
    if kind != "DaemonSet":
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec["serviceName"] = name
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}


def controlled(pod: Mapping[str, Any], by: Mapping[str, Any]) -> Body:
    """Return the manifest of an object with a controller."""
    metadata = by["metadata"]
    reference = {"apiVersion": "apps/v1", "kind": by["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return {**pod, "metadata": {**pod["metadata"], "ownerReferences": [{**reference, "controller": True}]}}
