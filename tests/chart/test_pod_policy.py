"""The operator's right to patch Pods is a right to one annotation, on a real API server."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.tenancy import MERGE
from tests.e2e.waiting import eventually
from tests.testbed.cluster import OPERATOR_NAMESPACE, SERVICE_ACCOUNT
from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"
NUDGE = "fedid.io/credential-nudge"
POD = {
    "metadata": {
        "name": "trainer",
        "labels": {"app": "trainer"},
        "annotations": {"example.org/a": "1", "example.org/b": "2"},
        "finalizers": ["example.org/keep"],
    },
    "spec": {
        "automountServiceAccountToken": False,
        "activeDeadlineSeconds": 3600,
        "containers": [{"name": "main", "image": "registry.example.org/trainer:1"}],
    },
}
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "00000000-0000-0000-0000-000000000000"}

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("another image", {"spec": {"containers": [{"name": "main", "image": "evil:1"}]}}, "spec"),
    ("an earlier end", {"spec": {"activeDeadlineSeconds": 1}}, "spec"),
    (
        "one toleration more",
        {"spec": {"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute"}]}},
        "spec",
    ),
    ("a new label", {"metadata": {"labels": {"b": "c"}}}, "labels"),
    ("another value of a label", {"metadata": {"labels": {"app": "other"}}}, "labels"),
    ("a label taken off", {"metadata": {"labels": {"app": None}}}, "labels"),
    ("all labels taken off", {"metadata": {"labels": None}}, "labels"),
    ("a finalizer taken off", {"metadata": {"finalizers": None}}, "finalizers"),
    ("a finalizer more", {"metadata": {"finalizers": ["example.org/keep", "example.org/more"]}}, "finalizers"),
    ("an owner", {"metadata": {"ownerReferences": [OWNER]}}, "owners"),
    ("a new annotation", {"metadata": {"annotations": {"example.org/c": "3"}}}, "no annotation"),
    ("another value of an annotation", {"metadata": {"annotations": {"example.org/a": "9"}}}, "no annotation"),
    ("an annotation taken off", {"metadata": {"annotations": {"example.org/a": None}}}, "no annotation"),
    ("all annotations taken off", {"metadata": {"annotations": None}}, "no annotation"),
    (
        "another annotation beside ours",
        {"metadata": {"annotations": {NUDGE: "1", "example.org/a": "9"}}},
        "no annotation",
    ),
    ("one that begins like ours", {"metadata": {"annotations": {f"{NUDGE}-x": "1"}}}, "no annotation"),
    ("a label beside our annotation", {"metadata": {"annotations": {NUDGE: "1"}, "labels": {"b": "c"}}}, "labels"),
]


@pytest.fixture(scope="module")
def namespace(stack: Stack) -> Iterator[str]:
    """A namespace without pods."""
    name = f"pods-{secrets.token_hex(4)}"
    stack.kube("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    account = {"metadata": {"name": "default"}}
    stack.kube("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account, accept=(409,))
    yield name
    stack.kube("DELETE", f"/api/v1/namespaces/{name}", accept=(404,))


@pytest.fixture
def pod(stack: Stack, namespace: str) -> Iterator[str]:
    """The path of a pod that no node runs."""
    yield from _pod(stack, namespace, POD)


@pytest.fixture
def bare_pod(stack: Stack, namespace: str) -> Iterator[str]:
    """The path of a pod without labels and annotations."""
    yield from _pod(stack, namespace, {"metadata": {"name": "bare"}, "spec": POD["spec"]})


def _pod(stack: Stack, namespace: str, manifest: dict[str, Any]) -> Iterator[str]:
    path = f"/api/v1/namespaces/{namespace}/pods"
    stack.kube("POST", path, copy.deepcopy(manifest))
    own = f"{path}/{manifest['metadata']['name']}"
    yield own
    stack.kube("DELETE", f"{own}?gracePeriodSeconds=0", accept=(404,))
    stack.kube("PATCH", own, {"metadata": {"finalizers": None}}, headers=MERGE, accept=(404,))


def patch(stack: Stack, path: str, change: dict[str, Any], user: str = OPERATOR) -> Answer:
    """Merge-patch as somebody else, without any effect."""
    return stack.api("kube").answer("PATCH", f"{path}?dryRun=All", change, headers={**MERGE, "Impersonate-User": user})


@pytest.fixture(scope="module")
def trusted(stack: Stack) -> Iterator[str]:
    """The path of such a pod where the operator may delete pods: who may not is refused owners before any policy."""
    name = f"pods-{secrets.token_hex(4)}"
    stack.kube("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    account = {"metadata": {"name": "default"}}
    stack.kube("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account, accept=(409,))
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}"
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}
    stack.kube("POST", f"{rbac}/roles", {"metadata": {"name": "delete"}, "rules": [rule]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "delete"}
    operator = {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": OPERATOR_NAMESPACE}
    binding = {"metadata": {"name": "delete"}, "roleRef": reference, "subjects": [operator]}
    stack.kube("POST", f"{rbac}/rolebindings", binding)
    asked = {"user": OPERATOR, "resourceAttributes": {"namespace": name, "verb": "delete", "resource": "pods"}}
    reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    eventually(lambda: stack.kube("POST", reviews, {"spec": asked})["status"]["allowed"], "the right is in force")
    yield from _pod(stack, name, POD)
    stack.kube("DELETE", f"/api/v1/namespaces/{name}", accept=(404,))


@pytest.mark.parametrize(("change", "words"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_operator_may_not_change(stack: Stack, trusted: str, change: dict[str, Any], words: str) -> None:
    """What any other change would do to a pod is refused, in a sentence that says what is allowed."""
    answer = patch(stack, trusted, change)

    assert answer.status == 422, answer.text
    assert f"{SERVICE_ACCOUNT}-pods" in answer.body["message"]
    assert words in answer.body["message"]
    assert NUDGE in answer.body["message"]


@pytest.mark.parametrize("values", [("1",), ("1", "2"), ("1", None)], ids=["set", "changed", "taken off"])
def test_operator_may_nudge(stack: Stack, pod: str, bare_pod: str, values: tuple[str | None, ...]) -> None:
    """The annotation comes, changes and goes, also where it is the only one."""
    for path in (pod, bare_pod):
        for value in values:
            change = {"metadata": {"annotations": {NUDGE: value}}}
            headers = {**MERGE, "Impersonate-User": OPERATOR}
            answer = stack.api("kube").answer("PATCH", path, change, headers=headers)

            assert answer.status == 200, answer.text
            assert (answer.body["metadata"].get("annotations") or {}).get(NUDGE) == value


def test_others_are_not_bounded(stack: Stack, pod: str) -> None:
    """The policy is about the operator alone; the API server's own rules stay."""
    for _, change, _ in REFUSED:
        if "tolerations" in change.get("spec", {}):
            continue  # not as a merge patch: those that admission added may not go
        answer = stack.api("kube").answer("PATCH", f"{pod}?dryRun=All", change, headers=MERGE)
        assert answer.status == 200, answer.text


@pytest.mark.parametrize(
    ("method", "subpath", "body"),
    [
        pytest.param("DELETE", "", None, id="delete it"),
        pytest.param("PUT", "", POD, id="replace it"),
        pytest.param("PATCH", "/status", {"status": {"phase": "Failed"}}, id="say that it failed"),
        pytest.param("PATCH", "/ephemeralcontainers", {"spec": {}}, id="put a container into it"),
        pytest.param("POST", "/eviction", {"metadata": {"name": "trainer"}}, id="evict it"),
        pytest.param("GET", "/log", None, id="read its log"),
        pytest.param("POST", "/exec?command=sh", None, id="run something in it"),
    ],
)
def test_operator_may_do_nothing_else_to_a_pod(
    stack: Stack, pod: str, method: str, subpath: str, body: dict[str, Any] | None
) -> None:
    """RBAC refuses it."""
    headers = {"Impersonate-User": OPERATOR, **(MERGE if method == "PATCH" else {})}

    answer = stack.api("kube").answer(method, f"{pod}{subpath}", body, headers=headers)

    assert answer.status == 403, answer.text
    assert "cannot" in answer.body["message"]


def test_expressions_have_the_right_types(stack: Stack) -> None:
    """The API server's own type checking finds nothing to warn of."""
    name = f"{SERVICE_ACCOUNT}-pods"
    path = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{name}"

    def checked() -> dict[str, Any] | None:
        status: dict[str, Any] = stack.kube("GET", path).get("status", {})
        return status if "typeChecking" in status else None

    assert eventually(checked, "type checking")["typeChecking"] == {}
