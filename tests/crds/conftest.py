"""The CRDs of the clone on the real API server, and a namespace that no grant covers."""

import secrets
from collections.abc import Iterator

import pytest

from tests.crds.manifests import APPROVAL, BOT, FEDERATION, POD, USER, Manifest, changed, collection
from tests.crds.refused_servers import DAI_SERVER
from tests.crds.refused_super_nodes import SUPER_NODE
from tests.testbed.chart import install_crds, wait_for_crds
from tests.testbed.progress import Progress
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

EXISTING = f"crd-test-{secrets.token_hex(4)}"
"""Name of the namespace and of all that these tests really make."""


@pytest.fixture(scope="package")
def kube(stack: Stack) -> Rest:
    """The API server, with the CRDs of the clone."""
    install_crds(stack)
    wait_for_crds(stack, Progress(lambda _line: None))
    return stack.api("kube")


@pytest.fixture(scope="package")
def namespace(kube: Rest) -> Iterator[str]:
    """A namespace without the tenants' label: an operator that runs here makes nothing of it."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": EXISTING}}
    kube.call("POST", "/api/v1/namespaces", body)
    yield EXISTING
    kube.call("DELETE", f"/api/v1/namespaces/{EXISTING}", accept=(404,))


@pytest.fixture(scope="package")
def existing(kube: Rest, namespace: str) -> Iterator[dict[str, str]]:
    """One object of each kind that really exists, twice: as bare as can be, and with all that is fixed.

    Yields:
        The path of each object, by kind, and by kind and `named`.
    """
    backends = {"spec.keycloak.url": "http://127.0.0.1:9", "spec.vault.url": "http://127.0.0.1:9"}
    ref = {"spec.federationRef": {"name": "local"}}
    manifests = {
        "Federation": changed(FEDERATION, {"metadata.name": EXISTING, **backends}),
        "BotClient": BOT,
        "BotClient named": changed(BOT, {"metadata.name": "named", "spec.clientId": "partner-bot", **ref}),
        "FederationUser": USER,
        "FederationUser named": changed(USER, {"metadata.name": "named", **ref}),
        "PodIdentity": POD,
        "PodIdentity of a server": changed(DAI_SERVER, {"spec.platform.driverlessAi.pythonClient": {}}),
        "IdentityApproval": changed(APPROVAL, {"metadata.name": EXISTING}),
        "PodIdentity of Flower": changed(SUPER_NODE, {"metadata.name": "flower"}),
    }
    paths = {}
    for key, manifest in manifests.items():
        kube.call("POST", collection(manifest, namespace), manifest)
        paths[key] = _path(manifest, namespace)
    yield paths
    for path in reversed(paths.values()):
        kube.call("DELETE", path, accept=(404,))
        # Nothing of it exists outside, so an operator that marked it has nothing to revoke.
        body = {"metadata": {"finalizers": None}}
        headers = {"Content-Type": "application/merge-patch+json"}
        kube.call("PATCH", path, body, headers=headers, accept=(404,))


def _path(manifest: Manifest, namespace: str) -> str:
    return f"{collection(manifest, namespace)}/{manifest['metadata']['name']}"
