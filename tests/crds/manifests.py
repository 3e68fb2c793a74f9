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
PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"

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
APPROVAL: Manifest = {
    "apiVersion": "fedid.io/v1alpha1",
    "kind": "IdentityApproval",
    "metadata": {"name": "site-a-trainer"},
    "spec": {
        "identity": {
            "kind": "BotClient",
            "namespace": "site-a",
            "name": "trainer",
            "uid": "6f0d8f4e-5a0c-4a4b-9d0e-0c2d7a5e1b42",
        },
        "askHash": "0123456789abcdef" * 4,
        "reason": "FL-17: a pilot until summer",
        "approvedBy": "admin",
    },
}
RECEIPT: Manifest = {
    "apiVersion": "fedid.io/v1alpha1",
    "kind": "RevocationReceipt",
    "metadata": {"name": "site-a.trainer.0123456789"},
    "spec": {
        "object": {
            "kind": "BotClient",
            "namespace": "site-a",
            "name": "trainer",
            "uid": "6f0d8f4e-5a0c-4a4b-9d0e-0c2d7a5e1b42",
        },
        "cause": "Deleted",
        "provenAt": "2026-01-01T12:00:00Z",
        "evidence": [
            {
                "credential": "bot secret of client site-a.trainer",
                "presentedTo": "token endpoint of https://keycloak.example.org/realms/fl",
                "answer": "refused (invalid_client)",
                "at": "2026-01-01T12:00:00Z",
            }
        ],
        "remains": {"latestExpiry": "2026-01-01T12:10:00Z", "notes": ["nothing was seen alive"]},
    },
}
CLUSTER_SCOPED = {"Federation", "IdentityApproval", "RevocationReceipt"}
PLURALS = {
    "RevocationReceipt": "revocationreceipts",
    "IdentityApproval": "identityapprovals",
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
    if manifest["kind"] in CLUSTER_SCOPED:
        return f"{API}/{plural}"
    return f"{API}/namespaces/{manifest['metadata'].get('namespace', namespace)}/{plural}"


def documents(path: Path) -> list[Manifest]:
    """Return the manifests of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]
