"""The chart as Helm renders it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from tests.testbed.chart import CHART, run_tool
from tests.testbed.errors import StackError
from tests.testbed.stack import Stack

RELEASE = "fedid"
NAMESPACE = "fedid-system"

Manifest = dict[str, Any]

CRD_KIND = "CustomResourceDefinition"
HOOK = "helm.sh/hook"


def rendered(stack: Stack, values: Mapping[str, Any] | None = None, namespace: str = NAMESPACE) -> list[Manifest]:
    """Return the manifests that the chart makes of these values.

    Raises:
        StackError: Helm refused the values.
    """
    text = run_tool(
        stack,
        ["helm", "template", RELEASE, str(CHART), "--namespace", namespace, "--values", "-"],
        stdin=json.dumps(values or {}),
    )
    return [document for document in yaml.safe_load_all(text) if document]


def refusal(stack: Stack, values: Mapping[str, Any]) -> str:
    """Return what Helm says to values that it refuses, empty if it takes them."""
    try:
        rendered(stack, values)
    except StackError as error:
        return str(error)
    return ""


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    """Return the manifests of these kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def installed(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return the manifests that belong to the release, hooks left out."""
    return [manifest for manifest in manifests if HOOK not in manifest["metadata"].get("annotations", {})]


def hooks(manifests: Iterable[Manifest], event: str) -> list[Manifest]:
    """Return the hooks of an event."""
    return [m for m in manifests if m["metadata"].get("annotations", {}).get(HOOK) == event]


def container(manifests: Iterable[Manifest]) -> Manifest:
    """Return the operator's container."""
    (deployment,) = of_kind(manifests, "Deployment")
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    found: Manifest = only
    return found


def environment(manifests: Iterable[Manifest]) -> dict[str, str]:
    """Return the operator's variables that have a plain value."""
    return {entry["name"]: entry["value"] for entry in container(manifests)["env"] if "value" in entry}
