"""Hooks of the chart without a node: Helm makes the pod, and the test runs in its place what a kubelet would.

The container's arguments and environment run as a process under a token of the pod's ServiceAccount, and its exit code
becomes the pod's phase. `NOWHERE` among the values keeps a node that there may be from running the pod as well.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.tenancy import MERGE
from tests.e2e.waiting import eventually
from tests.testbed.chart import tool_environment
from tests.testbed.control_plane import kubeconfig
from tests.testbed.operator_process import SOURCE
from tests.testbed.paths import write_private
from tests.testbed.server import plain_environment
from tests.testbed.stack import Stack

NOWHERE = {"nodeSelector": {"example.org/no-such-node": "true"}}
"""Chart values that no node fits."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended."""

    code: int
    output: str


@dataclass(frozen=True, slots=True)
class HookRun:
    """What Helm said, and what the hook's container printed."""

    helm: Ran
    hook: Ran


def run_hook(stack: Stack, namespace: str, command: list[str], path: str) -> HookRun:
    """Run Helm, and the one hook that it waits for.

    Args:
        stack: With a release whose values hold `NOWHERE`.
        namespace: Of the release.
        command: Helm's arguments.
        path: Of the Job or Pod in the API that Helm makes.
    """
    before = (stack.api("kube").answer("GET", path).body or {}).get("metadata", {}).get("uid")
    helm = subprocess.Popen(
        [str(stack.binaries.programs["helm"]), *command, "--namespace", namespace, "--timeout", "60s"],
        env=tool_environment(stack),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        made = eventually(lambda: _new(stack, path, before), f"Helm makes {path}")
        pod = made if made["kind"] == "Pod" else eventually(lambda: _pod_of(stack, made), "the Job's pod")
        hook = run_container(stack, namespace, pod["spec"])
        own = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"
        phase = "Failed" if hook.code else "Succeeded"
        stack.kube("PATCH", f"{own}/status", {"status": {"phase": phase}}, headers=MERGE)
        output, _ = helm.communicate(timeout=90)
    finally:
        helm.kill()
        helm.wait()
    return HookRun(Ran(helm.returncode, output), hook)


def run_container(stack: Stack, namespace: str, pod: Mapping[str, Any]) -> Ran:
    """Run the only container of a pod as a process, under the pod's ServiceAccount."""
    (container,) = pod["containers"]
    fields = {"metadata.namespace": namespace}
    environment = {
        one["name"]: one.get("value") or fields.get(one.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath"), "")
        for one in container["env"]
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        user = {"token": stack.token_request(namespace, pod["serviceAccountName"])}
        write_private(path, kubeconfig(stack.apiserver_url, str(stack.paths.ca_certificate), user))
        ran = subprocess.run(
            [sys.executable, "-m", "fedid", *container["args"]],
            env={**plain_environment(), "PYTHONPATH": str(SOURCE), "KUBECONFIG": str(path), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    return Ran(ran.returncode, ran.stdout + ran.stderr)


def _new(stack: Stack, path: str, before: str | None) -> dict[str, Any] | None:
    answer = stack.api("kube").answer("GET", path)
    return answer.body if answer.status == 200 and answer.body["metadata"]["uid"] != before else None


def _pod_of(stack: Stack, job: Mapping[str, Any]) -> dict[str, Any] | None:
    metadata = job["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods?labelSelector=controller-uid%3D{metadata['uid']}"
    return next(iter(stack.kube("GET", path)["items"]), None)
