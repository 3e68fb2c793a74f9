"""What a platform team sets up in the cluster: namespaces and tokens."""

import json
from collections.abc import Mapping
from typing import Any

from tests.testbed.rest import Rest

OPERATOR_NAMESPACE = "fedid-system"
SERVICE_ACCOUNT = "fedid"
"""The operator's ServiceAccount; it comes with the chart."""

OPERATOR_SUBJECT = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"
"""`sub` of its tokens."""

TENANT_LABEL = {"fedid.io/tenant": "true"}
"""What the Federation `local` grants by."""

JUDGED_LABEL = {"fedid.io/judged-at-admission": "true"}
"""Namespaces in which the chart's policies judge grants; in others the operator alone does, and tests see it do so."""

TENANTS = ("site-a", "site-b")
FIELD_MANAGER = "testbed"


def apply(kube: Rest, path: str, manifest: Mapping[str, Any]) -> Any:
    """Apply one object (server-side) and return it as the API server has it.

    Args:
        kube: As the cluster's administrator.
        path: The object's own path, `/api/v1/namespaces/<name>`.
        manifest: The fields that become ours.

    Raises:
        AnswerError: It was refused.
    """
    return kube.call(
        "PATCH",
        f"{path}?fieldManager={FIELD_MANAGER}&force=true",
        manifest,
        headers={"Content-Type": "application/apply-patch+yaml"},
    )


def provision_cluster(kube: Rest) -> None:
    """Make the namespaces; the operator needs no Secret."""
    for name in (OPERATOR_NAMESPACE, *TENANTS):
        apply(
            kube,
            f"/api/v1/namespaces/{name}",
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": TENANT_LABEL if name in TENANTS else {}},
            },
        )


def token_request(kube: Rest, namespace: str, service_account: str, audience: str | None, seconds: int) -> str:
    """Return a new token of a ServiceAccount (TokenRequest).

    Args:
        kube: As the cluster's administrator.
        namespace: Of the ServiceAccount.
        service_account: Its name.
        audience: None for the API server's own.
        seconds: Life of the token, at least 600.

    Raises:
        AnswerError: There is no such ServiceAccount (404), or the life is out of bounds (422).
    """
    spec: dict[str, Any] = {"expirationSeconds": seconds}
    if audience is not None:
        spec["audiences"] = [audience]
    made = kube.call(
        "POST",
        f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
    )
    return str(made["status"]["token"])


def condition(resource: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return the condition of that type from an object's status, empty if it has none."""
    conditions = resource.get("status", {}).get("conditions", [])
    return next((found for found in conditions if found["type"] == kind), {})


def is_ready(resource: Mapping[str, Any]) -> bool:
    """Tell whether an object is Ready as of its latest spec."""
    generation = resource.get("metadata", {}).get("generation")
    observed = resource.get("status", {}).get("observedGeneration", generation)
    return condition(resource, "Ready").get("status") == "True" and observed == generation


def told(resource: Mapping[str, Any]) -> str:
    """Return an object's conditions as text, for a message."""
    conditions = resource.get("status", {}).get("conditions")
    return json.dumps(conditions, indent=1) if conditions else "it has no conditions yet"
