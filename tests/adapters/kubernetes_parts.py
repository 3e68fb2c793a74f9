"""What the tests of the Kubernetes adapter share: accounts with rights of their own, and ways in."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedid.adapters.clock import SystemClock
from fedid.adapters.kubernetes import ClusterAccess, KubernetesCluster, load_cluster_access
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret
from tests.testbed.control_plane import kubeconfig
from tests.testbed.stack import Stack

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


def secret_in(namespace: str, name: str = "mounted", **data: str) -> MountedSecret:
    """Return a Secret without an owner."""
    return MountedSecret(namespace, name, "Opaque", {key: Sensitive(value) for key, value in data.items()})


@contextmanager
def namespace_of_its_own(stack: Stack) -> Iterator[str]:
    """Yield a new namespace."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    stack.kube("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": {"fedid.io/test": name}}})
    try:
        yield name
    finally:
        stack.kube("DELETE", f"/api/v1/namespaces/{name}", accept=(404, 409))


@dataclass(frozen=True)
class Account:
    """A ServiceAccount."""

    stack: Stack
    namespace: str
    name: str

    def token(self, **spec: Any) -> str:
        """Return a new token for the API server; `spec` goes into the TokenRequest."""
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{self.name}/token"
        made = self.stack.kube("POST", path, {"spec": {"expirationSeconds": 3600, **spec}})
        return str(made["status"]["token"])


def account_with(stack: Stack, namespace: str, rules: Sequence[Mapping[str, Any]]) -> Account:
    """Make a ServiceAccount that may do in its namespace what the rules say, and see Namespaces everywhere.

    The cluster-wide part is bound under the namespace's name; `forget_account` removes it.
    """
    account = Account(stack, namespace, "tester")
    subject = {"kind": "ServiceAccount", "name": account.name, "namespace": namespace}
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    stack.kube("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": account.name}})
    for kind, folder, allowed in (
        ("Role", f"{rbac}/namespaces/{namespace}", rules),
        ("ClusterRole", rbac, [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}]),
    ):
        plural = f"{kind.lower()}s"
        metadata = {"name": namespace}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": namespace}
        stack.kube("POST", f"{folder}/{plural}", {"metadata": metadata, "rules": list(allowed)})
        binding = {"metadata": metadata, "roleRef": reference, "subjects": [subject]}
        stack.kube("POST", f"{folder}/{kind.lower()}bindings", binding)
    return account


def forget_account(account: Account) -> None:
    """Remove what the account may do in the whole cluster."""
    for plural in ("clusterroles", "clusterrolebindings"):
        account.stack.kube("DELETE", f"/apis/rbac.authorization.k8s.io/v1/{plural}/{account.namespace}", accept=(404,))


def write_kubeconfig(stack: Stack, path: Path, user: Mapping[str, Any], *, url: str | None = None) -> str:
    """Write a kubeconfig and return its path.

    Args:
        stack: Whose CA it names.
        path: Where to.
        user: Its only user.
        url: A proxy in front of the API server; None: the server itself.
    """
    path.write_text(kubeconfig(url or stack.apiserver_url, str(stack.paths.ca_certificate), user))
    return str(path)


def administrator(stack: Stack) -> Mapping[str, str]:
    """Return the kubeconfig user that may do everything."""
    return {"token": stack.credentials.kubernetes_admin_token}


@asynccontextmanager
async def cluster_as(
    stack: Stack,
    folder: Path,
    user: Mapping[str, Any],
    *,
    url: str | None = None,
    namespace: str = "default",
    **options: Any,
) -> AsyncIterator[KubernetesCluster]:
    """Yield the adapter, in as some user; `options` go to its constructor."""
    path = write_kubeconfig(stack, folder / f"{uuid.uuid4().hex}.kubeconfig", user, url=url)
    async with opened(path, namespace=namespace) as access:
        cluster = KubernetesCluster(access, SystemClock(), **options)
        try:
            yield cluster
        finally:
            await cluster.aclose()


@asynccontextmanager
async def opened(kubeconfig_path: str, **options: Any) -> AsyncIterator[ClusterAccess]:
    """Yield the way in that a kubeconfig describes."""
    access = await load_cluster_access(kubeconfig=kubeconfig_path, **options)
    try:
        yield access
    finally:
        await access.aclose()
