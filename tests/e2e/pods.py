"""Pods on the stack's node, and what they see: their files as the kubelet mounts them, their processes as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.tenancy import Tenant
from tests.e2e.waiting import eventually
from tests.testbed.node.node import Node
from tests.testbed.node.servers import NodePlaces
from tests.testbed.stack import Stack

SECONDS = 90.0
"""To start a pod on a busy machine."""


def node_of(stack: Stack) -> Node:
    """Return the node; a test that needs one is skipped where there is none."""
    if stack.node is None:
        pytest.skip("the stack has no node")
    return stack.node


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a tenant that mounts Secrets, each in a folder of its own below /credentials."""

    tenant: Tenant
    name: str
    secrets: Sequence[str]
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def run(
        cls,
        tenant: Tenant,
        name: str,
        *secrets: str,
        command: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
    ) -> Pod:
        """Create a pod and wait until it runs.

        Args:
            tenant: Its namespace.
            name: Its name.
            secrets: Names of Secrets of that namespace.
            command: What it runs; by default it waits.
            labels: Its labels.
        """
        pod = cls(tenant, name, secrets, labels or {"app": name})
        image = node_of(tenant.stack).images.base.reference
        container = {
            "name": "main",
            "image": image,
            "imagePullPolicy": "Never",
            "command": list(command) or ["sleep", "infinity"],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": one, "mountPath": f"/credentials/{one}", "readOnly": True} for one in secrets],
        }
        spec = {
            "hostNetwork": True,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
            "containers": [container],
            "volumes": [{"name": one, "secret": {"secretName": one, "defaultMode": 0o440}} for one in secrets],
        }
        body = {"metadata": {"name": name, "labels": dict(pod.labels)}, "spec": spec}
        tenant.stack.kube("POST", f"/api/v1/namespaces/{tenant.namespace}/pods", body)
        eventually(lambda: pod.status().get("phase") == "Running", f"pod {name} runs: {pod.status()}", seconds=SECONDS)
        return pod

    @property
    def path(self) -> str:
        """Its API path."""
        return f"/api/v1/namespaces/{self.tenant.namespace}/pods/{self.name}"

    def body(self) -> dict[str, Any]:
        """Return it as the API server has it."""
        found: dict[str, Any] = self.tenant.stack.kube("GET", self.path)
        return found

    def status(self) -> dict[str, Any]:
        """Return its status."""
        return dict(self.body().get("status") or {})

    def file(self, secret: str, key: str) -> Path:
        """Return where the kubelet mounts a key, on this machine: the very file that the container sees."""
        volumes = NodePlaces(self.tenant.stack.paths).kubelet / "pods" / self.body()["metadata"]["uid"] / "volumes"
        return volumes / "kubernetes.io~secret" / secret / key

    def log(self) -> str:
        """Return what it printed."""
        answer = self.tenant.stack.api("kube").answer("GET", f"{self.path}/log")
        assert answer.status == 200, answer.text
        return answer.text

    def lines(self) -> list[dict[str, Any]]:
        """Return what it printed, one JSON object in each line."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def remove(self) -> None:
        """Delete it at once."""
        self.tenant.stack.kube("DELETE", self.path, {"gracePeriodSeconds": 0}, accept=(404,))
