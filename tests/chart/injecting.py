"""The chart's injection, in force for one namespace and under a name of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.chart.render import of_kind, rendered
from tests.e2e.waiting import eventually
from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
KINDS = {
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}


@contextmanager
def injection(stack: Stack, namespace: str) -> Iterator[None]:
    """Have the policies in force while the context lasts."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    values: dict[str, Any] = {"fullnameOverride": namespace, "admission": {"enabled": False}}
    values["injection"] = {"enabled": True, "namespaceSelector": selector}
    policies = of_kind(rendered(stack, values), *KINDS)
    chosen = [one for one in policies if one["metadata"]["name"].endswith(("-injection", "-injected"))]
    made = [(f"{ADMISSION}/{KINDS[one['kind']]}", one) for one in chosen]
    assert [one["kind"] for _, one in made] == list(KINDS)
    for path, manifest in made:
        stack.kube("POST", path, manifest)
    try:
        eventually(lambda: (dry_run(stack, namespace, "a").body.get("spec") or {}).get("volumes"), "pods are injected")
        eventually(lambda: dry_run(stack, namespace, "No").status == 422, "what cannot be is refused")
        yield
    finally:
        for path, manifest in made:
            stack.kube("DELETE", f"{path}/{manifest['metadata']['name']}", accept=(404,))


def dry_run(stack: Stack, namespace: str, identity: str) -> Answer:
    """Ask for a pod with that annotation, without any effect."""
    metadata = {"name": "probe", "annotations": {"fedid.io/identity": identity}}
    spec = {"automountServiceAccountToken": False, "containers": [{"name": "main", "image": "a:1"}]}
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    return stack.api("kube").answer("POST", path, {"metadata": metadata, "spec": spec})
