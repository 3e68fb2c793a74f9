"""A PodIdentity whose pods are reloaded: their sidecars and what controls them do as a test says."""

from __future__ import annotations

from typing import Any

from fedid.domain.naming import ObjectKey
from fedid.domain.pod_reload import why_not_held
from fedid.domain.reload_report import Loaded, ProcessState
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from fedid.reconcile.pod_secret import digest
from tests.fakes.pods import pod_manifest
from tests.fakes.workloads import controlled
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

SELECTOR = {"matchLabels": {"app": "server"}}


class Site:
    """A PodIdentity, its pods, and what controls them."""

    def __init__(self, reload: str) -> None:
        """Start with a bot that is published."""
        self.operator, self.reload = SmallOperator(), reload
        self.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "server", {})

    def identity(self, text: str = "one", **wanted: Any) -> None:
        """Apply the PodIdentity; what it mounts changes with the text alone."""
        platform = {"generic": {"files": {"token": text}}}
        spec = {"role": "client", "botClientRef": {"name": "server"}, "platform": platform, "reload": self.reload}
        spec |= {"pods": {"selector": SELECTOR}, **wanted}
        self.operator.cluster.apply(POD_IDENTITY, NAMESPACE, "server", spec)

    def pod(self, name: str, by: dict[str, Any] | None = None, *, ready: bool = True, **how: Any) -> None:
        """Start a pod, or put another state of it in its place; it has a sidecar, unless `port` is None."""
        annotations = how.pop("annotations", {})
        node, port = how.pop("node", "node"), how.pop("port", 8484)
        manifest = pod_manifest(NAMESPACE, name, {"app": "server"}, **(how or {"mounts": ["server"]}))
        manifest["spec"]["nodeName"] = node
        manifest["metadata"]["annotations"] = annotations
        if port is not None:
            sidecar = {"name": "reload", "ports": [{"name": "fedid-reload", "containerPort": port}]}
            manifest["spec"]["initContainers"] = [sidecar]
        if by is not None:
            manifest = controlled(manifest, by)
        self.operator.cluster.put_pod(manifest)
        conditions = [{"type": "Ready", "status": str(ready)}]
        status = {"phase": "Running" if ready else "Pending", "podIP": "10.0.0.1", "conditions": conditions}
        self.operator.cluster.bodies[ObjectKey("Pod", NAMESPACE, name)]["status"] = status

    @property
    def digest(self) -> str:
        """Of what the Secret holds."""
        return digest(self.operator.cluster.secrets[NAMESPACE, "server"].data)

    def says(self, name: str, state: ProcessState = ProcessState.LOADED, *, had: str | None = None) -> None:
        """Have a sidecar say that its program has read what is in the Secret now, or something else."""
        self.operator.sidecars.answers[name] = Loaded(had or self.digest, self.digest, state)

    def told(self) -> dict[str, Any]:
        """Return `status.pods`."""
        found: dict[str, Any] = self.operator.status(POD_IDENTITY, "server").get("pods") or {}
        return found

    def lagging(self) -> dict[str, str]:
        """Return who lags, and why."""
        return {one["pod"]: one["message"] for one in self.told().get("lagging", ())}

    def not_held(self) -> str | None:
        """Return why not every pod uses what the Secret holds."""
        return why_not_held(self.operator.cluster.bodies[ObjectKey(POD_IDENTITY, NAMESPACE, "server")], self.digest)

    def writes(self) -> list[str]:
        """Return the writes to the PodIdentity."""
        return [call.operation for call in self.operator.cluster.writes if call.target.startswith("PodIdentity/")]
