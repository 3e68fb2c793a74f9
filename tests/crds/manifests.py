"""A good manifest of each kind, and changed copies of it."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
CRDS = REPOSITORY / "crds"
API = "/apis/fedid.io/v1alpha1"

Manifest = dict[str, Any]
Row = tuple[str, Mapping[str, Any], str, str]
"""Sentence that names the mistake, the change that makes it, the field told, words of the advice."""

GONE: Any = object()
"""As a value in `changed`: take the field out."""

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

FEDERATION: Manifest = {
    "apiVersion": "fedid.io/v1alpha1",
    "kind": "Federation",
    "metadata": {"name": "crd-test"},
    "spec": {
        "keycloak": {
            "url": "https://keycloak.example.org",
            "realm": "fl",
            "auth": {"clientCredentials": {"secretName": "fedid-keycloak"}},
        },
        "vault": {"url": "https://vault.example.org", "auth": {"jwt": {"role": "fedid"}}},
        "grants": [{"namespaces": {"names": ["site-a"]}, "realmRoles": ["fl-*"]}],
    },
}
BOT: Manifest = {
    "apiVersion": "fedid.io/v1alpha1",
    "kind": "BotClient",
    "metadata": {"name": "trainer"},
    "spec": {"realmRoles": ["fl-client"], "tokens": [{"name": "default", "lifetime": "10m"}]},
}
USER: Manifest = {
    "apiVersion": "fedid.io/v1alpha1",
    "kind": "FederationUser",
    "metadata": {"name": "ana"},
    "spec": {"username": "ana", "email": "ana@site-a.example", "groups": ["/sites/a"]},
}
POD: Manifest = {
    "apiVersion": "fedid.io/v1alpha1",
    "kind": "PodIdentity",
    "metadata": {"name": "trainer"},
    "spec": {
        "role": "client",
        "botClientRef": {"name": "trainer"},
        "platform": {"generic": {"files": {"token": "{token}"}}},
    },
}
PLURALS = {
    "Federation": "federations",
    "BotClient": "botclients",
    "FederationUser": "federationusers",
    "PodIdentity": "podidentities",
}


def changed(manifest: Manifest, changes: Mapping[str, Any]) -> Manifest:
    """Return a copy with other values.

    Args:
        manifest: Stays as it is.
        changes: Dotted path to new value; a number is a position in a list. Folders that are
            missing are made; `GONE` takes the field out.
    """
    result = copy.deepcopy(manifest)
    for path, value in changes.items():
        *folders, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        place: Any = result
        for folder in folders:
            place = place[folder] if isinstance(folder, int) else place.setdefault(folder, {})
        if value is GONE:
            del place[last]
        else:
            place[last] = value
    return result


def collection(manifest: Manifest, namespace: str) -> str:
    """Return the path that an object of this kind is posted to."""
    if manifest["kind"] == "Deployment":
        return f"/apis/apps/v1/namespaces/{namespace}/deployments"
    plural = PLURALS[manifest["kind"]]
    if manifest["kind"] == "Federation":
        return f"{API}/{plural}"
    return f"{API}/namespaces/{manifest['metadata'].get('namespace', namespace)}/{plural}"


def documents(path: Path) -> list[Manifest]:
    """Return the manifests of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]
