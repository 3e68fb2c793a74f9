"""The operator under test, started, stopped, killed and started again: a pod on the stack's node, else a process.

Either way it runs under the ServiceAccount of the chart and reaches the API server through a proxy.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.operating import Proxies
from tests.e2e.tenancy import unique
from tests.e2e.waiting import eventually
from tests.testbed import chart, operator_pod
from tests.testbed.cluster import OPERATOR_NAMESPACE
from tests.testbed.node.servers import NodePlaces
from tests.testbed.operator_process import REPLICA
from tests.testbed.ports import free_port
from tests.testbed.process import process_state
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

_runs = itertools.count(1)


def operator_for(stack: Stack, proxies: Proxies, logs: Path) -> Operator:
    """Return the operator of the tests, not yet started.

    Args:
        stack: With a node, it is a pod there.
        proxies: What it reaches the API server through.
        logs: Where a process writes what it prints.
    """
    if stack.node is not None:
        return OperatorPod(stack, proxies)
    return OperatorProcess(stack, proxies, logs)


@dataclass(slots=True)
class Operator(ABC):
    """What tests do with it."""

    stack: Stack
    proxies: Proxies
    _health: Rest | None = field(default=None, init=False)

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it says that it is ready."""
        port = free_port()
        self._health = Rest(f"http://127.0.0.1:{port}", timeout_seconds=2)
        self._begin(port)
        if wait:
            self.wait_ready()

    @abstractmethod
    def _begin(self, health_port: int) -> None: ...

    @abstractmethod
    def stop(self) -> int:
        """Ask it to stop (SIGTERM) and return its exit code."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once (SIGKILL)."""

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether it runs."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """Its process id, as this machine counts."""

    @abstractmethod
    def output(self) -> str:
        """Return everything that any run of it has printed."""

    def wait_ready(self) -> None:
        """Wait until it says that it is ready."""
        eventually(self._answers_ready, "the operator is ready")

    def metrics(self, accept: str = "text/plain") -> str:
        """Return its metrics in one of the formats that it has."""
        assert self._health is not None
        return self._health.answer("GET", "/metrics", headers={"Accept": accept}).text

    def passes(self, kind: str, result: str = "ok") -> int:
        """Return how many passes over objects of a kind had a result: `ok`, or the reason of a failure."""
        labels = f'fedid_passes_total{{kind="{kind}",result="{result}"}} '
        counted = (line.removeprefix(labels) for line in self.metrics().splitlines() if line.startswith(labels))
        return int(float(next(counted, "0")))

    def _answers_ready(self) -> bool:
        assert self._health is not None
        assert self.running, f"the operator ended: {self.output()[-2000:]}"
        with suppress(OSError):
            return self._health.answer("GET", "/readyz").status == 200
        return False


@dataclass(slots=True)
class OperatorProcess(Operator):
    """`python -m fedid` from the clone."""

    logs: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    """Variables of the environment beside those of every operator; `PYTHONPATH` goes before the usual one."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def _begin(self, health_port: int) -> None:
        environment = {
            **self.stack.operator_env(apiserver_url=self.proxies.kubernetes.url, health_port=health_port),
            "FEDID_HEALTH_HOST": "127.0.0.1",
            "FEDID_LOG_LEVEL": "DEBUG",
        }
        paths = [self.extra.get("PYTHONPATH", ""), environment["PYTHONPATH"]]
        environment |= {**self.extra, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
        log = self.logs / f"operator-{next(_runs)}.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fedid"], env=environment, stdout=output, stderr=output, start_new_session=True
            )

    def stop(self) -> int:
        """Ask it to stop (SIGTERM) and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=60)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def output(self) -> str:
        """Return everything that any run of it has printed."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.logs.glob("operator-*.log")))


@dataclass(slots=True)
class OperatorPod(Operator):
    """The pod of the chart's Deployment, made one by one so that a test decides when there is one.

    Its restarts are those of the test, and its way to the API server leads through the proxy. All else is as
    Helm renders it.
    """

    _name: str = field(default="", init=False)
    _pid: int = field(default=0, init=False)
    _started_ticks: int = field(default=0, init=False)
    _kept: list[str] = field(default_factory=list, init=False)
    """What pods printed that are gone: the kubelet removes their logs with them."""

    def _begin(self, health_port: int) -> None:
        self._name = unique("fedid-under-test")
        self._pid = 0
        template = _pod_template(self.stack, health_port)
        (container,) = template["spec"]["containers"]
        host, port = self.proxies.kubernetes.url.removeprefix("https://").split(":")
        container["env"] += [
            {"name": "KUBERNETES_SERVICE_HOST", "value": host},
            {"name": "KUBERNETES_SERVICE_PORT", "value": port},
            {"name": "FEDID_REPLICA", "value": REPLICA},
        ]
        template["spec"] |= {"restartPolicy": "Never", "nodeName": operator_pod.NODE_NAME}
        metadata = {"name": self._name, "labels": template["metadata"]["labels"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        self.stack.kube("POST", operator_pod.PODS_PATH, pod)

    def stop(self) -> int:
        """Ask it to stop (SIGTERM) and return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        ended = eventually(self._terminated, "the operator's container ended", seconds=60)
        self._remove()
        return int(ended["exitCode"])

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        os.kill(self.pid, signal.SIGKILL)
        eventually(lambda: not self.running, "the operator's process is gone")
        self._remove()

    def _remove(self) -> None:
        self._kept.append(self._printed())
        self.stack.kube("DELETE", f"{operator_pod.PODS_PATH}/{self._name}", {"gracePeriodSeconds": 0}, accept=(404,))
        self._name = ""

    @property
    def running(self) -> bool:
        """Whether its process runs; true also while the kubelet is about to start it."""
        if not self._name:
            return False
        if self._pid:
            state = process_state(self._pid)
            return state is not None and state.alive and state.started_ticks == self._started_ticks
        return self._terminated() is None

    @property
    def pid(self) -> int:
        """Its process id, as this machine counts."""
        if not self._pid:
            self._pid = eventually(self._look_for_pid, "the operator's container runs")
            state = process_state(self._pid)
            assert state is not None
            self._started_ticks = state.started_ticks
        return self._pid

    def output(self) -> str:
        """Return everything that any run of it has printed."""
        return "\n".join([*self._kept, self._printed()] if self._name else self._kept)

    def _printed(self) -> str:
        logs = NodePlaces(self.stack.paths).logs.glob(f"{OPERATOR_NAMESPACE}_{self._name}_*/operator/*.log")
        # Each line begins with an instant, the stream, and F or P for a whole or a partial line.
        lines = (
            line
            for path in sorted(logs, key=lambda one: one.stat().st_ctime)
            for line in path.read_text(errors="replace").splitlines()
        )
        return "\n".join(re.sub(r"^\S+ std(?:out|err) [FP] ", "", line) for line in lines)

    def _look_for_pid(self) -> int | None:
        status = self._container_status()
        identifier = status.get("containerID", "").removeprefix("containerd://")
        if "running" not in status.get("state", {}) or not identifier:
            assert "terminated" not in status.get("state", {}), f"the operator ended: {self.output()[-2000:]}"
            return None
        groups = Path("/sys/fs/cgroup").glob(f"**/{NodePlaces(self.stack.paths).label}/**/{identifier}/cgroup.procs")
        found = [int(line) for group in groups for line in group.read_text().split()]
        return min(found, default=None)

    def _container_status(self) -> dict[str, Any]:
        pod = self.stack.kube("GET", f"{operator_pod.PODS_PATH}/{self._name}", accept=(404,))
        statuses = pod.get("status", {}).get("containerStatuses") if isinstance(pod.get("status"), dict) else None
        return dict(statuses[0]) if statuses else {}

    def _terminated(self) -> dict[str, Any] | None:
        found = self._container_status().get("state", {}).get("terminated")
        return dict(found) if found else None


def _pod_template(stack: Stack, health_port: int) -> dict[str, Any]:
    values: Mapping[str, Any] = {
        **operator_pod.chart_values(stack, with_operator=True),
        "serviceAccount": {"name": "fedid"},
        "health": {"port": health_port},
        "log": {"level": "debug"},
    }
    command = ["helm", "template", "fedid", str(chart.CHART), "--namespace", OPERATOR_NAMESPACE, "--values", "-"]
    manifests = yaml.safe_load_all(chart.run_tool(stack, command, stdin=json.dumps(values)))
    (deployment,) = (one for one in manifests if one and one["kind"] == "Deployment")
    template: dict[str, Any] = deployment["spec"]["template"]
    return template
