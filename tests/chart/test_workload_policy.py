"""The operator's right to patch workloads is a right to restart them, on a real API server."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from fedid.domain.workloads import HASH_ANNOTATION, RESTARTED_ANNOTATION
from tests.e2e.tenancy import MERGE
from tests.e2e.waiting import eventually
from tests.testbed.cluster import OPERATOR_NAMESPACE, SERVICE_ACCOUNT
from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"
KINDS = ("deployments", "statefulsets", "daemonsets")
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "server"}, "annotations": {"example.org/a": "1"}},
    "spec": {"containers": [{"name": "main", "image": "registry.example.org/server:1"}]},
}
SPECS: dict[str, dict[str, Any]] = {
    "deployments": {"replicas": 0},
    "statefulsets": {"replicas": 0, "serviceName": "server"},
    "daemonsets": {},
}


def in_template(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a patch of the pod template's metadata."""
    return {"spec": {"template": {"metadata": metadata}}}


RESTART = in_template({"annotations": {RESTARTED_ANNOTATION: "2026-01-01T12:00:00Z", HASH_ANNOTATION: "a=1"}})
ANOTHER_IMAGE = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "evil:1"}]}}}}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("another image", ANOTHER_IMAGE, "what a workload runs"),
    (
        "another image beside a restart",
        {"spec": {"template": {**RESTART["spec"]["template"], **ANOTHER_IMAGE["spec"]["template"]}}},
        "what a workload runs",
    ),
    ("a label of its pods", in_template({"labels": {"a": "b"}}), "labels of a workload's pods"),
    ("another annotation of its pods", in_template({"annotations": {"example.org/b": "2"}}), "no annotation"),
    ("an annotation of its pods taken off", in_template({"annotations": {"example.org/a": None}}), "no annotation"),
    ("an annotation of its own", {"metadata": {"annotations": {"example.org/b": "2"}}}, "annotations, finalizers"),
    ("a label of its own", {"metadata": {"labels": {"a": "b"}}}, "labels, annotations"),
    ("a finalizer", {"metadata": {"finalizers": ["example.org/keep"]}}, "finalizers or owners"),
    ("more time to settle", {"spec": {"minReadySeconds": 7}}, "how a workload is run"),
    ("fewer former revisions", {"spec": {"revisionHistoryLimit": 1}}, "how a workload is run"),
]


@pytest.fixture(scope="module")
def namespace(stack: Stack) -> Iterator[str]:
    """A namespace with one workload of each kind."""
    name = f"workloads-{secrets.token_hex(4)}"
    stack.kube("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    for kind in KINDS:
        spec = {"selector": {"matchLabels": {"app": "server"}}, "template": copy.deepcopy(TEMPLATE), **SPECS[kind]}
        stack.kube("POST", f"/apis/apps/v1/namespaces/{name}/{kind}", {"metadata": {"name": "server"}, "spec": spec})
    eventually(lambda: patch(stack, name, KINDS[0], ANOTHER_IMAGE).status == 422, "a policy just made is in force")
    yield name
    stack.kube("DELETE", f"/api/v1/namespaces/{name}", accept=(404,))


def patch(stack: Stack, namespace: str, kind: str, change: dict[str, Any], user: str = OPERATOR) -> Answer:
    """Merge-patch a workload as somebody else, without any effect."""
    path = f"/apis/apps/v1/namespaces/{namespace}/{kind}/server?dryRun=All"
    return stack.api("kube").answer("PATCH", path, change, headers={**MERGE, "Impersonate-User": user})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("change", "words"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_operator_may_not_change(stack: Stack, namespace: str, kind: str, change: dict[str, Any], words: str) -> None:
    """Whatever is no restart is refused, in a sentence that says what is allowed."""
    answer = patch(stack, namespace, kind, change)

    assert answer.status == 422, answer.text
    assert f"{SERVICE_ACCOUNT}-workloads" in answer.body["message"]
    assert words in answer.body["message"]


@pytest.mark.parametrize("kind", ["deployments", "statefulsets"])
def test_operator_may_not_scale(stack: Stack, namespace: str, kind: str) -> None:
    """Neither by the workload itself nor by its subresource."""
    assert patch(stack, namespace, kind, {"spec": {"replicas": 5}}).status == 422
    path = f"/apis/apps/v1/namespaces/{namespace}/{kind}/server/scale?dryRun=All"
    headers = {**MERGE, "Impersonate-User": OPERATOR}
    assert stack.api("kube").answer("PATCH", path, {"spec": {"replicas": 5}}, headers=headers).status == 403


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("again", [False, True], ids=["the first time", "again"])
def test_operator_may_restart(stack: Stack, namespace: str, kind: str, *, again: bool) -> None:
    """The two annotations come and change."""
    change = in_template(
        {"annotations": {RESTARTED_ANNOTATION: f"2026-01-0{1 + again}T12:00:00Z", HASH_ANNOTATION: "a"}}
    )
    path = f"/apis/apps/v1/namespaces/{namespace}/{kind}/server"
    answer = stack.api("kube").answer("PATCH", path, change, headers={**MERGE, "Impersonate-User": OPERATOR})

    assert answer.status == 200, answer.text
    assert HASH_ANNOTATION in answer.body["spec"]["template"]["metadata"]["annotations"]


@pytest.mark.parametrize("kind", KINDS)
def test_others_are_not_bounded(stack: Stack, namespace: str, kind: str) -> None:
    """The policy is about the operator alone."""
    for _, change, _ in REFUSED:
        if "labels" not in change.get("spec", {}).get("template", {}).get("metadata", {}):
            path = f"/apis/apps/v1/namespaces/{namespace}/{kind}/server?dryRun=All"
            answer = stack.api("kube").answer("PATCH", path, change, headers=MERGE)
            assert answer.status == 200, answer.text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("method", "subpath"), [("DELETE", ""), ("PUT", ""), ("PATCH", "/status")])
def test_operator_may_do_nothing_else_to_a_workload(
    stack: Stack, namespace: str, kind: str, method: str, subpath: str
) -> None:
    """RBAC refuses it."""
    headers = {"Impersonate-User": OPERATOR, **(MERGE if method == "PATCH" else {})}
    path = f"/apis/apps/v1/namespaces/{namespace}/{kind}/server{subpath}"

    answer = stack.api("kube").answer(method, path, {} if method != "DELETE" else None, headers=headers)

    assert answer.status == 403, answer.text
    assert "cannot" in answer.body["message"]


def test_expressions_have_the_right_types(stack: Stack) -> None:
    """The API server's own type checking finds nothing to warn of."""
    name = f"{SERVICE_ACCOUNT}-workloads"
    path = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{name}"

    def checked() -> dict[str, Any] | None:
        status: dict[str, Any] = stack.kube("GET", path).get("status", {})
        return status if "typeChecking" in status else None

    assert eventually(checked, "type checking")["typeChecking"] == {}
