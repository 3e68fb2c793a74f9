"""The backends of the operator under test, each behind a proxy, and the Federations that name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.tenancy import unique
from tests.e2e.waiting import eventually
from tests.testbed.cluster import TENANT_LABEL
from tests.testbed.faults import Exchange, requests_to
from tests.testbed.operator_process import federation_manifest
from tests.testbed.proxy import Proxy, proxy_for
from tests.testbed.stack import Stack

_PASSING = requests_to(
    # What is asked by POST or PUT and changes nothing that anybody keeps (logins, token requests, Events), the Lease,
    # a Federation's count of its identities, which follows within a minute, and the epoch of a leadership, which the
    # installation's ConfigMap and a record in Vault keep.
    ".*(/openid-connect/(token|userinfo)|/auth/[^/]+/login|/auth/token/(renew|revoke)-self|/sys/capabilities-self|/events"
    "|/selfsubject[a-z]+|/leases(/[^/]+)?|/federations/[^/]+/status"
    r"|/configmaps/fedid-installation|/\.fedid/.+)"
)


def is_side_effect(method: str, path: str) -> bool:
    """Tell whether a request of the operator changes what somebody keeps."""
    return method not in {"GET", "LIST", "HEAD"} and not _PASSING(method, path)


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

    def side_effects(self) -> list[Exchange]:
        """Return every side effect that passed since the last `clear`."""
        return [exchange for proxy in self.all() for exchange in proxy.exchanges(is_side_effect)]

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
        "scopes": ["fl-*"],
        "vaultPaths": ["secrets/users/{subject}/*"],
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
