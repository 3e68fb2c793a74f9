"""Pods as far as they mount what fedid writes, and what kubelet is told with.

kubelet looks at a Secret volume again when its pod changes; without that up to 78 seconds pass (`syncFrequency` and
its cache). So an annotation of the pod is changed: a nudge. Its two watches race, of Pods and of Secrets, and a second
nudge about two seconds later covers a race that the first one lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fedid.domain.fields import Body

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


def pod_of(body: Body) -> Pod:
    """Return the pod as the API server sends it."""
    metadata = body["metadata"]
    phase = (body.get("status") or {}).get("phase")
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        finished=phase in _FINISHED or "deletionTimestamp" in metadata,
        mounts=frozenset(_secrets_of((body.get("spec") or {}).get("volumes") or ())),
        nudge=(metadata.get("annotations") or {}).get(NUDGE_ANNOTATION),
    )


def _secrets_of(volumes: tuple[Mapping[str, Any], ...] | list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the names of the Secrets in `secret` volumes and in sources of `projected` ones."""
    for volume in volumes:
        if (name := (volume.get("secret") or {}).get("secretName")) is not None:
            yield name
        for source in (volume.get("projected") or {}).get("sources") or ():
            if (name := (source.get("secret") or {}).get("name")) is not None:
                yield name
