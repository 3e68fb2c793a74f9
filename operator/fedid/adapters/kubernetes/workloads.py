"""From a pod to what controls it, and what a restart of that is on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedid.adapters.kubernetes.addresses import REPLICA_SET, WORKLOADS, workload_address
from fedid.domain.conditions import rfc3339
from fedid.domain.workloads import (
    HASH_ANNOTATION,
    RESTARTED_ANNOTATION,
    Owner,
    Workload,
    hashes_text,
    owner_of,
    workload_from,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fedid.adapters.kubernetes.api import Api
    from fedid.domain.pods import Pod


async def workload_of(api: Api, pod: Pod) -> Workload | Owner | None:
    """Return what controls a pod, if it is still there."""
    owner = pod.owner
    if owner is not None and owner.kind == REPLICA_SET:
        replica_set = await _read(api, pod.namespace, owner)
        if replica_set is None:
            return None
        # One that no Deployment controls is rolled out by nobody.
        owner = owner_of(replica_set["metadata"]) or owner
    if owner is None or owner.kind not in WORKLOADS:
        return owner
    found = await _read(api, pod.namespace, owner)
    return None if found is None else workload_from(owner.kind, found)


async def _read(api: Api, namespace: str, owner: Owner) -> Mapping[str, Any] | None:
    reply = await api.send("get", workload_address(owner.kind, namespace, owner.name))
    if reply.absent:
        return None
    found = reply.result()
    return found if found["metadata"]["uid"] == owner.uid else None


def restart_body(workload: Workload, started_for: Mapping[str, str], at: datetime) -> dict[str, Any]:
    """Return the merge patch; uid and resourceVersion are preconditions."""
    annotations = {RESTARTED_ANNOTATION: rfc3339(at), HASH_ANNOTATION: hashes_text(started_for)}
    return {
        "metadata": {"uid": workload.uid, "resourceVersion": workload.resource_version},
        "spec": {"template": {"metadata": {"annotations": annotations}}},
    }
