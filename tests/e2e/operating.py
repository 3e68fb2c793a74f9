"""The operator under test: a process under the chart's ServiceAccount, with a proxy before each backend."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.tenancy import unique
from tests.e2e.waiting import eventually
from tests.testbed.cluster import TENANT_LABEL
from tests.testbed.operator_process import federation_manifest
from tests.testbed.proxy import Proxy, proxy_for
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

_runs = itertools.count(1)


@dataclass(slots=True)
class Proxies:
    """One proxy before each backend: it counts, and it breaks things."""

    keycloak: Proxy
    vault: Proxy
    kubernetes: Proxy

    @classmethod
    def start(cls, stack: Stack) -> Proxies:
        """Start all three."""
        return cls(*(proxy_for(stack, name).start() for name in ("keycloak", "vault", "kube")))

    def all(self) -> tuple[Proxy, Proxy, Proxy]:
        """Return all three."""
        return self.keycloak, self.vault, self.kubernetes

    def heal(self) -> None:
        """Undo every fault."""
        for proxy in self.all():
            proxy.heal()
            proxy.accept()

    def clear(self) -> None:
        """Forget what was recorded."""
        for proxy in self.all():
            proxy.clear()

    def stop(self) -> None:
        """Stop all three."""
        for proxy in self.all():
            proxy.stop()


@dataclass(slots=True)
class OperatorProcess:
    """`python -m fedid`, started, killed and started again; all its output is kept."""

    stack: Stack
    proxies: Proxies
    logs: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _health: Rest | None = None

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it says that it is ready."""
        environment = {
            **self.stack.operator_env(apiserver_url=self.proxies.kubernetes.url),
            "FEDID_HEALTH_HOST": "127.0.0.1",
            "FEDID_LOG_LEVEL": "DEBUG",
            **self.extra,
        }
        self._health = Rest(f"http://127.0.0.1:{environment['FEDID_HEALTH_PORT']}", timeout_seconds=2)
        log = self.logs / f"operator-{next(_runs)}.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fedid"], env=environment, stdout=output, stderr=output, start_new_session=True
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it says that it is ready."""
        eventually(self._answers_ready, "the operator is ready")

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

    def metrics(self) -> str:
        """Return its metrics."""
        assert self._health is not None
        return self._health.answer("GET", "/metrics").text

    def passes(self, kind: str, result: str = "ok") -> int:
        """Return how many passes over objects of a kind had a result: `ok`, or the reason of a failure."""
        labels = f'fedid_passes_total{{kind="{kind}",result="{result}"}} '
        counted = (line.removeprefix(labels) for line in self.metrics().splitlines() if line.startswith(labels))
        return int(float(next(counted, "0")))

    def output(self) -> str:
        """Return everything that any run of it has printed."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.logs.glob("operator-*.log")))

    def _answers_ready(self) -> bool:
        assert self._health is not None
        assert self.running, f"the operator ended: {self.output()[-2000:]}"
        with suppress(OSError):
            return self._health.answer("GET", "/readyz").status == 200
        return False


def federation(stack: Stack, proxies: Proxies, name: str = "local", **changes: Any) -> dict[str, Any]:
    """Return the Federation of the stack with both backends behind the proxies.

    Args:
        stack: Whose.
        proxies: What the operator connects to; tokens still carry the real issuer.
        name: Its name.
        changes: Replace whole sections of the spec.
    """
    manifest = federation_manifest(stack)
    spec = manifest["spec"]
    spec["keycloak"] |= {"url": proxies.keycloak.url, "issuerUrl": f"{stack.keycloak_url}/realms/fl"}
    spec["vault"] |= {"url": proxies.vault.url}
    manifest["metadata"]["name"] = name
    manifest["spec"] = {**spec, **changes}
    return manifest


def grant(**changes: Any) -> dict[str, Any]:
    """Return the rule of the Federation `local`, with fields replaced."""
    wide = {
        "namespaces": {"selector": {"matchLabels": TENANT_LABEL}},
        "realmRoles": ["fl-*"],
        "groups": ["/sites/*"],
        "audiences": ["superlink"],
        "maxTokenLifetime": "1h",
    }
    return {**wide, **changes}


def apply_federation(stack: Stack, manifest: Mapping[str, Any]) -> None:
    """Apply a Federation."""
    stack.kube(
        "PATCH",
        f"/apis/fedid.io/v1alpha1/federations/{manifest['metadata']['name']}?fieldManager=test&force=true",
        manifest,
        headers={"Content-Type": "application/apply-patch+yaml"},
    )


@contextmanager
def own_federation(stack: Stack, proxies: Proxies, stem: str, **changes: Any) -> Iterator[str]:
    """Make a Federation of a test's own, never the default, and give its name; it goes after its identities."""
    name = unique(stem)
    apply_federation(stack, federation(stack, proxies, name, default=False, **changes))
    path = f"/apis/fedid.io/v1alpha1/federations/{name}"
    try:
        federation_ready(stack, name)
        yield name
    finally:
        stack.kube("DELETE", path, accept=(404,))
        eventually(lambda: stack.api("kube").answer("GET", path).status == 404, f"Federation {name} gone")


def federation_condition(stack: Stack, name: str, about: str = "Ready") -> dict[str, Any] | None:
    """Return a condition of a Federation."""
    answer = stack.api("kube").answer("GET", f"/apis/fedid.io/v1alpha1/federations/{name}")
    conditions = (answer.body.get("status") or {}).get("conditions") or [] if answer.status == 200 else []
    return next((c for c in conditions if c["type"] == about), None)


def federation_ready(stack: Stack, name: str) -> None:
    """Wait until a Federation is Ready."""
    eventually(lambda: (federation_condition(stack, name) or {}).get("status") == "True", f"Federation {name} Ready")
