"""A server with a sidecar in a pod of the stack's node, and a client that never stops asking it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.pods import SECONDS, node_of
from tests.e2e.tenancy import Body, Tenant
from tests.e2e.waiting import eventually
from tests.testbed.node.servers import NodePlaces
from tests.testbed.ports import free_port
from tests.testbed.rest import Rest

PROGRAM = Path(__file__).parent / "programs" / "token_server.py"
LATE_SECONDS = 4.0
"""How long the server takes to be up: many looks of its sidecar."""


@dataclass(slots=True)
class Server:
    """A pod with the verifier and its sidecar, both without any privilege."""

    tenant: Tenant
    name: str
    port: int = field(default_factory=free_port)
    reload_port: int = field(default_factory=free_port)

    @property
    def path(self) -> str:
        """Its API path."""
        return f"/api/v1/namespaces/{self.tenant.namespace}/pods/{self.name}"

    def run(self) -> None:
        """Create the pod, whose Secret need not be there yet."""
        folder = f"/api/v1/namespaces/{self.tenant.namespace}"
        script = {"metadata": {"name": f"{self.name}-program"}, "data": {"token_server.py": PROGRAM.read_text()}}
        self.tenant.stack.kube("POST", f"{folder}/configmaps", script)
        self.tenant.stack.kube("POST", f"{folder}/pods", self.manifest())

    def manifest(self) -> Body:
        """Return the pod as the guide has it, on the node's network."""
        images = node_of(self.tenant.stack).images
        locked = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mount = {"name": "credential", "mountPath": "/run/fedid", "readOnly": True}
        program = ["python3", "/program/token_server.py"]
        options = ["/run/fedid/tokens", "127.0.0.1", str(self.port), str(LATE_SECONDS)]
        reload = ["python3", "-m", "fedid.reloader", "--mount=/run/fedid", f"--process=^{' '.join(program)}"]
        sidecar = {
            "name": "reload",
            "image": images.operator.reference,
            "imagePullPolicy": "Never",
            "restartPolicy": "Always",
            "command": [*reload, f"--port={self.reload_port}"],
            "ports": [{"name": "fedid-reload", "containerPort": self.reload_port}],
            "resources": {"limits": {"memory": "32Mi"}},
            "securityContext": locked,
            "volumeMounts": [mount],
        }
        server = {
            "name": "server",
            "image": images.base.reference,
            "imagePullPolicy": "Never",
            "command": [*program, *options],
            "securityContext": locked,
            "volumeMounts": [mount, {"name": "program", "mountPath": "/program"}],
        }
        spec = {
            "hostNetwork": True,
            "shareProcessNamespace": True,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
            "initContainers": [sidecar],
            "containers": [server],
            "volumes": [
                {"name": "credential", "secret": {"secretName": self.name, "defaultMode": 0o440}},
                {"name": "program", "configMap": {"name": f"{self.name}-program"}},
            ],
        }
        return {"metadata": {"name": self.name, "labels": {"app": self.name}}, "spec": spec}

    def restarts(self) -> dict[str, int]:
        """Return how often each container was started anew."""
        status: Body = self.tenant.stack.kube("GET", self.path)["status"]
        all_of_it = [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]
        return {one["name"]: one["restartCount"] for one in all_of_it}

    def log(self, container: str) -> str:
        """Return what a container printed."""
        return self.tenant.stack.api("kube").answer("GET", f"{self.path}/log?container={container}").text

    def pid(self, container: str) -> int:
        """Return the process of a container, as this machine counts."""

        def look() -> int | None:
            status: Body = self.tenant.stack.kube("GET", self.path)["status"]
            all_of_it = [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]
            identifier = next((one.get("containerID", "") for one in all_of_it if one["name"] == container), "")
            label = NodePlaces(self.tenant.stack.paths).label
            groups = Path("/sys/fs/cgroup").glob(
                f"**/{label}/**/{identifier.removeprefix('containerd://')}/cgroup.procs"
            )
            return min((int(line) for group in groups for line in group.read_text().split()), default=None)

        return eventually(look, f"container {container} runs", seconds=SECONDS)

    def says(self) -> dict[str, Any]:
        """Return what its sidecar says."""
        with suppress(OSError):
            found: dict[str, Any] = json.loads(
                Rest(f"http://127.0.0.1:{self.reload_port}").answer("GET", "/loaded").text
            )
            return found
        return {}

    def admits(self, token: str) -> bool:
        """Tell whether it lets a token in."""
        rest = Rest(f"http://127.0.0.1:{self.port}", timeout_seconds=5)
        return rest.answer("GET", "/", headers={"x-authorization": f"Bearer {token}"}).status == 200

    def pods_status(self) -> dict[str, Any]:
        """Return `status.pods` of its PodIdentity."""
        found: dict[str, Any] = ((self.tenant.get("PodIdentity", self.name) or {}).get("status") or {}).get(
            "pods"
        ) or {}
        return found

    def reloaded(self, *, seconds: float = SECONDS) -> dict[str, Any]:
        """Wait until the status says that every pod uses what the Secret holds, and return it."""

        def look() -> dict[str, Any] | None:
            status = (self.tenant.get("PodIdentity", self.name) or {}).get("status") or {}
            pods: dict[str, Any] = status.get("pods") or {}
            generation = (self.tenant.get("PodIdentity", self.name) or {})["metadata"]["generation"]
            fresh = status.get("observedGeneration") == generation
            return pods if fresh and pods.get("reloadedHash", "-") == status.get("secretHash") else None

        return eventually(look, f"{self.name} reloaded: {self.pods_status()}", seconds=seconds)


class Client:
    """Presents whatever token it was last given, again and again."""

    def __init__(self, server: Server, token: str) -> None:
        """Begin with a token."""
        self.token, self.asked, self.refused = token, 0, list[str]()
        self._server, self._ended = server, threading.Event()

    @contextmanager
    def asking(self) -> Iterator[Client]:
        """Ask while the context lasts."""
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _ask(self) -> None:
        while not self._ended.wait(0.01):
            token = self.token
            if not self._server.admits(token):
                self.refused.append(token)
            self.asked += 1


def resident_kib(pid: int) -> int:
    """Return how much memory a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def cpu_seconds(pid: int) -> float:
    """Return how long a process has run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
