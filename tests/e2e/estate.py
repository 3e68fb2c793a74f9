"""What stands outside the cluster, and in Secrets, because of one namespace: to see that nothing else does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.e2e.authority import REALM
from tests.testbed.stack import Stack

MOUNT = "secret"
PREFIX = "fedid"


@dataclass(frozen=True, slots=True)
class Estate:
    """Names, as sorted tuples: what is there twice shows."""

    clients: tuple[str, ...]
    """Client ids whose object is in the namespace."""
    users: tuple[str, ...]
    """User names, likewise."""
    vault: tuple[str, ...]
    """Paths below `fedid/<namespace>/` that have metadata, whether or not they have data."""
    secrets: tuple[str, ...]
    """Secrets that a PodIdentity owns."""


def expected_estate(namespace: str, *, bots: Iterable[str], users: Iterable[str], pods: Iterable[str]) -> Estate:
    """Return what must be there for these manifests, each bot with one token named `default`."""
    names = sorted(bots)
    return Estate(
        clients=tuple(f"{namespace}.{name}" for name in names),
        users=tuple(sorted(users)),
        vault=tuple(sorted(f"bots/{name}/{leaf}" for name in names for leaf in ("client", "tokens/default"))),
        secrets=tuple(sorted(pods)),
    )


def estate_of(stack: Stack, namespace: str) -> Estate:
    """Return what is there, as the administrators of Keycloak, Vault and the cluster see it."""
    clients = stack.keycloak("GET", f"/admin/realms/{REALM}/clients?max=10000")
    users = stack.keycloak("GET", f"/admin/realms/{REALM}/users?max=10000&briefRepresentation=false")
    secrets = stack.kube("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
    return Estate(
        clients=tuple(sorted(c["clientId"] for c in clients if _belongs(c, namespace))),
        users=tuple(sorted(u["username"] for u in users if _belongs(u, namespace))),
        vault=tuple(sorted(_paths(stack, f"{PREFIX}/{namespace}/"))),
        secrets=tuple(sorted(s["metadata"]["name"] for s in secrets if s["metadata"].get("ownerReferences"))),
    )


def _belongs(body: dict[str, Any], namespace: str) -> bool:
    """Tell whether the object mark names the namespace; Keycloak keeps a user's attributes as lists."""
    mark = (body.get("attributes") or {}).get("fedid.object") or ""
    text = mark[0] if isinstance(mark, list) else mark
    # A client that lost its mark, or never got one, still shows by its name.
    return f"/{namespace}/" in text or str(body.get("clientId", "")).startswith(f"{namespace}.")


def _paths(stack: Stack, folder: str, below: str = "") -> list[str]:
    answer = stack.api("vault").answer("GET", f"/v1/{MOUNT}/metadata/{folder}{below}?list=true")
    if answer.status == 404:
        return []
    found = []
    for name in answer.body["data"]["keys"]:
        path = below + name
        found += _paths(stack, folder, path) if name.endswith("/") else [path]
    return found
