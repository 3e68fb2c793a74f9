"""Where objects lie in the API, and what RBAC calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fedid.adapters.transport import segment
from fedid.domain.resources import GROUP_VERSION, PLURALS

if TYPE_CHECKING:
    from collections.abc import Mapping

CORE: Final = "/api/v1"
APPS: Final = "/apis/apps/v1"
WORKLOADS: Final = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
REPLICA_SET: Final = "ReplicaSet"
OURS: Final = f"/apis/{GROUP_VERSION}"


@dataclass(frozen=True, slots=True)
class Address:
    """One object, or without a name all of a resource."""

    root: str
    """`/api/v1` or `/apis/<group>/<version>`."""
    resource: str
    """Plural, in small letters."""
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None

    @property
    def path(self) -> str:
        """The path below the API server's URL."""
        parts = [f"namespaces/{segment(self.namespace)}"] if self.namespace else []
        parts += [self.resource, *(segment(part) for part in (self.name, self.subresource) if part)]
        return f"{self.root}/{'/'.join(parts)}"

    def __str__(self) -> str:
        """Return `<resource> <name> in namespace <namespace>`, for a message."""
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        name = f" {self.name}" if self.name else ""
        return f"{resource}{name}{f' in namespace {self.namespace}' if self.namespace else ''}"


def resource_address(kind: str, namespace: str | None = None, name: str | None = None) -> Address:
    """Return the address of one of our kinds, or of `Namespace`."""
    if kind == "Namespace":
        return Address(CORE, "namespaces", None, name)
    return Address(OURS, PLURALS[kind], namespace, name)


def address_of(body: Mapping[str, Any], subresource: str | None = None) -> Address:
    """Return the address of one of our objects as the API server sent it."""
    metadata = body["metadata"]
    return Address(OURS, PLURALS[body["kind"]], metadata.get("namespace"), metadata["name"], subresource)


def secret_address(namespace: str, name: str | None = None) -> Address:
    """Return the address of a Secret, or without a name where to create one."""
    return Address(CORE, "secrets", namespace, name)


def pod_address(namespace: str, name: str | None = None) -> Address:
    """Return the address of a pod, or without a name that of all pods of the namespace."""
    return Address(CORE, "pods", namespace, name)


def workload_address(kind: str, namespace: str, name: str) -> Address:
    """Return the address of a workload, or of a ReplicaSet."""
    return Address(APPS, "replicasets" if kind == REPLICA_SET else WORKLOADS[kind], namespace, name)
