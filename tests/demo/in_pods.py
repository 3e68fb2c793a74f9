"""The part of the story that runs in pods: one presents the mounted token, another judges it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.demo.narrator import Narrator
from tests.testbed.node.node import Node
from tests.testbed.ports import free_port
from tests.testbed.stack import Stack

PROGRAMS = Path(__file__).parent / "programs"
NAMESPACE = "site-a"


@dataclass(frozen=True, slots=True)
class Pods:
    """A consumer and a verifier in the tenant's namespace."""

    narrator: Narrator
    stack: Stack
    node: Node

    def run(self, secret: str) -> None:
        """Start both, and wait until they run."""
        files = [f"--from-file={path}" for path in sorted(PROGRAMS.glob("*.py"))]
        self.narrator.kubectl("create", "configmap", "programs", "-n", NAMESPACE, *files, quiet=True)
        introspection = f"{self.stack.keycloak_url}/realms/fl/protocol/openid-connect/token/introspect"
        port = free_port()
        client_secret = {"client-secret": self.stack.credentials.superlink_client_secret}
        items = [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "superlink"}, "stringData": client_secret},
            self._pod(
                "verifier",
                ["/programs/verifier.py", str(port)],
                {"superlink": "/verifier"},
                [{"name": "INTROSPECTION_URL", "value": introspection}],
            ),
            self._pod("consumer", ["/programs/consumer.py", f"http://127.0.0.1:{port}/"], {secret: "/run/fedid"}, []),
        ]
        path = Path(self.narrator.kubeconfig).with_name("pods.json")
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        self.narrator.kubectl("apply", "-n", NAMESPACE, "-f", str(path), quiet=True)
        wait = ("wait", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s", "pod/verifier", "pod/consumer")
        self.narrator.kubectl(*wait, quiet=True)
        path.unlink()

    def _pod(
        self, name: str, command: list[str], mounts: dict[str, str], environment: list[dict[str, str]]
    ) -> dict[str, Any]:
        volumes: list[dict[str, Any]] = [{"name": one, "secret": {"secretName": one}} for one in mounts]
        folders = [{"name": one, "mountPath": path, "readOnly": True} for one, path in mounts.items()]
        container = {
            "name": name,
            "image": self.node.images.base.reference,
            "imagePullPolicy": "Never",
            "command": ["python3", "-u", *command],
            "env": environment,
            "volumeMounts": [*folders, {"name": "programs", "mountPath": "/programs"}],
        }
        spec = {
            "hostNetwork": True,  # there the verifier reaches Keycloak on 127.0.0.1
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [*volumes, {"name": "programs", "configMap": {"name": "programs"}}],
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}

    def said(self) -> list[dict[str, Any]]:
        """Return what the consumer printed: instant, token id, and the verifier's answer."""
        text = self.narrator.kubectl("logs", "-n", NAMESPACE, "consumer", quiet=True)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def accepted(self, token_id: str) -> float:
        """Wait until the verifier let the consumer in with that token; return when that was (Unix seconds)."""
        return float(self._line(lambda one: one["token"] == token_id and one["status"] == 200)["at"])

    def refused(self, since: float) -> dict[str, Any]:
        """Wait until the verifier refuses the consumer after that instant (Unix seconds), and return its line."""
        return self._line(lambda one: one["status"] == 401 and one["at"] >= since)

    def _line(self, fits: Any) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            return next((one for one in self.said() if fits(one)), None)

        return self.narrator.wait(look, "the consumer says so")


def clock(instant: float) -> str:
    """Return a Unix instant as a clock shows it."""
    return datetime.fromtimestamp(instant).strftime("%H:%M:%S.%f")[:-3]  # noqa: DTZ006 - the reader's own clock


def now() -> float:
    """Return the instant (Unix seconds)."""
    return time.time()
