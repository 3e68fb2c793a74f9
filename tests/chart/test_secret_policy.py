"""The operator's right to write Secrets is a right to those of PodIdentities, on a real API server."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.chart.test_pod_policy import OPERATOR
from tests.e2e.tenancy import MERGE
from tests.e2e.waiting import eventually
from tests.testbed.cluster import OPERATOR_NAMESPACE, SERVICE_ACCOUNT
from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

PART_OF = "fedid.io/part-of"
UID = "00000000-0000-0000-0000-000000000001"
"""Stands for that of the PodIdentity `trainer`, which has to exist: the garbage collector looks for owners."""
MAP_UID = "00000000-0000-0000-0000-000000000002"
"""Stands for that of the ConfigMap `trainer`."""
OTHER_UID = "00000000-0000-0000-0000-000000000003"

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "uid": MAP_UID}

Body = dict[str, Any]


def owner(**changes: Any) -> Body:
    """Return the owner reference that the operator writes, with fields replaced."""
    wanted = {
        "apiVersion": "fedid.io/v1alpha1",
        "kind": "PodIdentity",
        "name": "trainer",
        "uid": UID,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {**wanted, **changes}


def secret(name: str = "credential", **changes: Any) -> Body:
    """Return the Secret of a PodIdentity, with fields of its metadata replaced."""
    metadata = {"name": name, "labels": {PART_OF: "trainer"}, "ownerReferences": [owner()], **changes}
    return {"metadata": metadata, "type": "Opaque", "data": {"token": base64.b64encode(b"a").decode()}}


def typed(kind: str) -> Body:
    """Return the Secret of a PodIdentity of another type, as far as the API server asks for its fields."""
    account = {"annotations": {"kubernetes.io/service-account.name": "default"}}
    return {**secret(**account), "type": kind, "data": {}}


NOT_MADE: list[tuple[str, Body, str]] = [
    ("one of nobody", secret(ownerReferences=[]), "one that a PodIdentity controls"),
    ("one without our label", secret(labels={}), "label fedid.io/part-of"),
    ("one whose label names another", secret(labels={PART_OF: "other"}), "label fedid.io/part-of"),
    ("one that a PodIdentity only owns", secret(ownerReferences=[owner(controller=False)]), "controls"),
    ("one that a ConfigMap controls", secret(ownerReferences=[owner(**CONFIG_MAP)]), "controls"),
    ("one of a BotClient", secret(ownerReferences=[owner(kind="BotClient")]), "controls"),
    ("one of another group's PodIdentity", secret(ownerReferences=[owner(apiVersion="evil.io/v1")]), "controls"),
    ("one with a finalizer", secret(finalizers=["example.org/keep"]), "finalizer"),
    ("a token of a ServiceAccount", typed("kubernetes.io/service-account-token"), "control plane"),
    ("a token that joins nodes", typed("bootstrap.kubernetes.io/token"), "control plane"),
]
NOT_CHANGED: list[tuple[str, Body, str]] = [
    ("its owner taken off", {"ownerReferences": []}, "controls"),
    ("another owner", {"ownerReferences": [owner(uid=OTHER_UID)]}, "to another"),
    ("its label taken off", {"labels": {}}, "label fedid.io/part-of"),
    ("another label", {"labels": {PART_OF: "other"}}, "label fedid.io/part-of"),
    ("a finalizer", {"finalizers": ["example.org/keep"]}, "finalizer"),
]
STRANGERS: list[tuple[str, Body]] = [
    ("of nobody", secret("foreign", ownerReferences=[], labels={})),
    ("of nobody, with our label", secret("foreign", ownerReferences=[])),
    ("of a ConfigMap, with our label", secret("foreign", ownerReferences=[owner(**CONFIG_MAP)])),
    ("that a PodIdentity does not control", secret("foreign", ownerReferences=[owner(controller=False)])),
]


class Folder:
    """The Secrets of a namespace in which the owners exist."""

    def __init__(self, stack: Stack, namespace: str) -> None:
        """Make the owners."""
        self._stack = stack
        self.path = f"/api/v1/namespaces/{namespace}/secrets"
        ours = f"/apis/fedid.io/v1alpha1/namespaces/{namespace}/podidentities"
        files = {"generic": {"files": {"token": "{token}"}}}
        spec = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": files}
        identity = {"apiVersion": "fedid.io/v1alpha1", "kind": "PodIdentity", "spec": spec}
        made = (
            stack.kube("POST", ours, {**identity, "metadata": {"name": "trainer"}}),
            stack.kube("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "trainer"}}),
        )
        self._uids = dict(zip((UID, MAP_UID), (body["metadata"]["uid"] for body in made), strict=True))

    def real(self, body: Body) -> Body:
        """Return the body with the owners' real uids."""
        text = json.dumps(body)
        for stand_in, uid in self._uids.items():
            text = text.replace(stand_in, uid)
        found: Body = json.loads(text)
        return found

    def ask(self, method: str, path: str, body: Body | None = None, user: str = OPERATOR) -> Answer:
        """Ask as somebody else, without any effect."""
        sent = self.real(body) if body is not None else None
        return self._stack.api("kube").answer(method, f"{path}?dryRun=All", sent, headers={"Impersonate-User": user})

    @contextmanager
    def holding(self, body: Body, user: str | None = None) -> Iterator[str]:
        """Make a Secret, and give its path."""
        path = f"{self.path}/{body['metadata']['name']}"
        self._stack.kube("POST", self.path, self.real(body), headers={"Impersonate-User": user} if user else {})
        try:
            yield path
        finally:
            self._stack.kube("DELETE", path, accept=(404,))


@pytest.fixture(scope="module")
def folder(stack: Stack) -> Iterator[Folder]:
    """The Secrets of a namespace of its own, once the API server goes by the policy."""
    name = f"secrets-{secrets.token_hex(4)}"
    stack.kube("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    made = Folder(stack, name)
    eventually(lambda: made.ask("POST", made.path, secret(labels={})).status == 422, "the policy is in force")
    yield made
    stack.kube("DELETE", f"/api/v1/namespaces/{name}", accept=(404,))


@pytest.fixture
def own(folder: Folder) -> Iterator[str]:
    """The path of a Secret as the operator makes it."""
    with folder.holding(secret(), OPERATOR) as path:
        yield path


def assert_refused(answer: Answer, words: str) -> None:
    """Assert that the policy refused it, in these words."""
    assert answer.status == 422, answer.text
    assert f"{SERVICE_ACCOUNT}-secrets" in answer.body["message"]
    assert words in answer.body["message"]


@pytest.mark.parametrize(("body", "words"), [pytest.param(*row[1:], id=row[0]) for row in NOT_MADE])
def test_operator_may_not_make(folder: Folder, body: Body, words: str) -> None:
    """A Secret that no PodIdentity controls, or that says something else than it is, is not made."""
    assert_refused(folder.ask("POST", folder.path, body), words)


@pytest.mark.parametrize(("changes", "words"), [pytest.param(*row[1:], id=row[0]) for row in NOT_CHANGED])
def test_operator_may_not_give_away_what_is_its_own(folder: Folder, own: str, changes: Body, words: str) -> None:
    """Label and owner stay as they are."""
    assert_refused(folder.ask("PUT", own, secret(**changes)), words)


@pytest.mark.parametrize("foreign", [pytest.param(row[1], id=row[0]) for row in STRANGERS])
def test_operator_may_not_touch_a_strangers(folder: Folder, foreign: Body) -> None:
    """Neither with what it would be, nor as it is, nor by taking it over, nor by deleting it."""
    with folder.holding(foreign) as path:
        for body in (secret("foreign"), foreign):
            assert_refused(folder.ask("PUT", path, body), "no PodIdentity controls")
        assert_refused(folder.ask("DELETE", path), "no PodIdentity controls")


def test_operator_may_not_touch_secrets_of_its_own_namespace(stack: Stack, folder: Folder) -> None:
    """There lie the credentials of Federations; they are read, and that is all."""
    own_folder = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets"
    path, access = f"{own_folder}/policy-test", secret("policy-test", ownerReferences=[], labels={})
    stack.kube("POST", own_folder, access)
    try:
        assert_refused(folder.ask("PUT", path, access), "no PodIdentity controls")
        assert_refused(folder.ask("DELETE", path), "no PodIdentity controls")
        assert_refused(folder.ask("POST", own_folder, secret("another", ownerReferences=[])), "controls")
        assert folder.ask("GET", path).status == 200
    finally:
        stack.kube("DELETE", path)


def test_operator_may_write_its_own(stack: Stack, folder: Folder) -> None:
    """It is made, found without its label and labelled again, made immutable and deleted."""
    headers = {"Impersonate-User": OPERATOR}
    with folder.holding(secret(), OPERATOR) as path:
        stack.kube("PATCH", path, {"metadata": {"labels": None, "finalizers": ["a.org/b"]}}, headers=MERGE)
        stack.kube("PUT", path, folder.real(secret(finalizers=["a.org/b"])), headers=headers)
        stack.kube("PUT", path, folder.real({**secret(), "immutable": True}), headers=headers)
        stack.kube("DELETE", path, headers=headers)
        assert stack.api("kube").answer("GET", path).status == 404


def test_operator_may_neither_patch_one_nor_delete_all(stack: Stack, folder: Folder, own: str) -> None:
    """RBAC refuses both: nothing is forced upon a stranger's, and nothing goes unseen."""
    headers = {"Impersonate-User": OPERATOR, **MERGE}
    assert stack.api("kube").answer("PATCH", own, {"data": None}, headers=headers).status == 403
    assert folder.ask("DELETE", folder.path).status == 403


def test_others_are_not_bounded(stack: Stack, folder: Folder, own: str) -> None:
    """The policy is about the operator alone."""
    for _, body, _ in NOT_MADE:
        if body["type"] == "Opaque":
            other = folder.real({**body, "metadata": {**body["metadata"], "name": "others"}})
            answer = stack.api("kube").answer("POST", f"{folder.path}?dryRun=All", other)
            assert answer.status == 201, answer.text
    assert stack.api("kube").answer("DELETE", f"{own}?dryRun=All").status == 200


def test_expressions_have_the_right_types(stack: Stack) -> None:
    """The API server's own type checking finds nothing to warn of."""
    name = f"{SERVICE_ACCOUNT}-secrets"
    path = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{name}"

    def checked() -> dict[str, Any] | None:
        status: dict[str, Any] = stack.kube("GET", path).get("status", {})
        return status if "typeChecking" in status else None

    assert eventually(checked, "type checking")["typeChecking"] == {}
