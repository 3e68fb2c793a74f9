"""Pods as far as they mount what fedid writes, and what kubelet is told with.

kubelet looks at a Secret volume again when its pod changes; without that up to 78 seconds pass (`syncFrequency` and
its cache). So an annotation of the pod is changed: a nudge. Its two watches race, of Pods and of Secrets, and a second
nudge about two seconds later covers a race that the first one lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedid.domain.fields import Body
from fedid.domain.reload_report import PORT_NAME
from fedid.domain.workloads import HASH_ANNOTATION, Owner, hashes_in, owner_of, secrets_in

__all__ = ["NUDGE_ANNOTATION", "Nudge", "Pod", "pod_of"]

NUDGE_ANNOTATION = "fedid.io/credential-nudge"
_FINISHED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Nudge:
    """One of the two nudges for one version of a Secret."""

    version: str
    """resourceVersion of the Secret; says nothing about what is in it."""
    ordinal: int
    """1: at once; 2: about two seconds later."""

    def __str__(self) -> str:
        """Return the value of the annotation."""
        return f"{self.version}-{self.ordinal}"

    def is_said_by(self, annotation: str | None) -> bool:
        """Tell whether a pod with this annotation has had this nudge, or a later one of the same version."""
        version, _, ordinal = (annotation or "").rpartition("-")
        return version == self.version and ordinal.isdecimal() and int(ordinal) >= self.ordinal


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a tenant."""

    namespace: str
    name: str
    uid: str
    finished: bool
    """Whether it runs no more or is on its way out: nothing that it mounts will be read again."""
    mounts: frozenset[str]
    """Names of the Secrets that its volumes hold; what it reads through its environment cannot change under it."""
    nudge: str | None
    """What it was last nudged with."""
    scheduled: bool = False
    """Whether a node has it; before that it has mounted nothing."""
    running: bool = False
    ready: bool = False
    ip: str | None = None
    reload_port: int | None = None
    """Where its sidecar answers; None: it has none."""
    owner: Owner | None = None
    """What controls it."""
    started_for: Mapping[str, str] = field(default_factory=dict)
    """Name of a Secret to the fingerprint of the content that its workload was last restarted for."""


def pod_of(body: Body) -> Pod:
    """Return the pod as the API server sends it."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        finished=status.get("phase") in _FINISHED or "deletionTimestamp" in metadata,
        mounts=secrets_in(spec),
        nudge=annotations.get(NUDGE_ANNOTATION),
        scheduled=bool(spec.get("nodeName")),
        running=status.get("phase") == "Running",
        ready=any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ()),
        ip=status.get("podIP") or None,
        reload_port=next(_reload_ports(spec), None),
        owner=owner_of(metadata),
        started_for=hashes_in(annotations.get(HASH_ANNOTATION)),
    )


def _reload_ports(spec: Mapping[str, Any]) -> Iterator[int]:
    """Yield the ports that sidecars declare: those that start before the other containers, and those beside them."""
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for port in container.get("ports") or ():
            if port.get("name") == PORT_NAME:
                yield int(port["containerPort"])
