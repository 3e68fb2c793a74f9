"""What controls pods and is restarted where a program reads its credential at its start only.

A restart is what `kubectl rollout restart` does: an annotation of the pod template changes, and the controller replaces
the pods as its strategy says. Ours beside it says for which content that was, so that nothing is restarted twice for
one change and nothing at all without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "HASH_ANNOTATION",
    "IDENTITY_ANNOTATION",
    "RESTARTED_ANNOTATION",
    "SECRET_ANNOTATION",
    "Owner",
    "Workload",
    "hashes_in",
    "hashes_text",
    "owner_of",
    "secrets_in",
    "workload_from",
]

HASH_ANNOTATION: Final = "fedid.io/credential-hash"
"""Of a pod template: `<Secret>=<fingerprint>`, separated by commas, of each Secret that it was restarted for."""
RESTARTED_ANNOTATION: Final = "kubectl.kubernetes.io/restartedAt"
IDENTITY_ANNOTATION: Final = "fedid.io/identity"
"""Of a pod: the PodIdentity whose Secret admission mounts into it."""
SECRET_ANNOTATION: Final = "fedid.io/secret"
"""Of such a pod: the name of the Secret, where it is not that of the PodIdentity."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller of an object."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet."""

    namespace: str
    kind: str
    name: str
    uid: str
    resource_version: str
    mounts: frozenset[str]
    """Secrets of its template as it is now; its older pods may mount others."""
    started_for: Mapping[str, str]
    """Name of a Secret to the fingerprint of the content that it was last restarted for."""
    rolled_out: bool
    """Whether every pod of it is of its newest template, and available."""

    def __str__(self) -> str:
        """Return `<kind> <name>`, for a message."""
        return f"{self.kind} {self.name}"


def owner_of(metadata: Mapping[str, Any]) -> Owner | None:
    """Return the controller of an object, None if it has none."""
    found = (one for one in metadata.get("ownerReferences") or () if one.get("controller"))
    return next((Owner(one["kind"], one["name"], one["uid"]) for one in found), None)


def hashes_in(annotation: str | None) -> dict[str, str]:
    """Return what the annotation says; what a hand made of it that means nothing is left out."""
    pairs = (part.partition("=") for part in (annotation or "").split(","))
    return {name.strip(): digest.strip() for name, equals, digest in pairs if equals}


def hashes_text(hashes: Mapping[str, str]) -> str:
    """Return the value of the annotation."""
    return ",".join(f"{name}={digest}" for name, digest in sorted(hashes.items()))


def secrets_in(pod_spec: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the Secrets in `secret` volumes and in sources of `projected` ones."""
    return frozenset(_volume_secrets(pod_spec.get("volumes") or ()))


def _volume_secrets(volumes: tuple[Mapping[str, Any], ...] | list[Mapping[str, Any]]) -> Iterator[str]:
    for volume in volumes:
        if (name := (volume.get("secret") or {}).get("secretName")) is not None:
            yield name
        for source in (volume.get("projected") or {}).get("sources") or ():
            if (name := (source.get("secret") or {}).get("name")) is not None:
                yield name


def workload_from(kind: str, body: Mapping[str, Any]) -> Workload:
    """Return the workload as the API server sends it."""
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    template = spec["template"]
    annotations: Mapping[str, str] = (template.get("metadata") or {}).get("annotations") or {}
    injected = annotations.get(SECRET_ANNOTATION) or annotations.get(IDENTITY_ANNOTATION)
    return Workload(
        namespace=metadata["namespace"],
        kind=kind,
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        mounts=secrets_in(template.get("spec") or {}) | ({injected} if injected else set()),
        started_for=hashes_in(annotations.get(HASH_ANNOTATION)),
        rolled_out=_rolled_out(kind, metadata, spec, status),
    )


def _rolled_out(kind: str, metadata: Mapping[str, Any], spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Tell what `kubectl rollout status` waits for.

    Source: k8s.io/kubectl, pkg/polymorphichelpers/rollout_status.go.
    """
    if status.get("observedGeneration", 0) < metadata["generation"]:
        return False
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        counts = {status.get(name, 0) for name in ("updatedNumberScheduled", "numberAvailable")}
    else:
        wanted = spec.get("replicas", 1)
        counts = {status.get(name, 0) for name in ("updatedReplicas", "availableReplicas", "replicas")}
    return counts == {wanted}
