"""Receipts are the operator's word, on a real API server with the chart installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chart.render import of_kind, rendered
from tests.crds.manifests import API, RECEIPT, changed
from tests.testbed.cluster import OPERATOR_NAMESPACE, SERVICE_ACCOUNT
from tests.testbed.stack import Stack

PATH = f"{API}/revocationreceipts"
OPERATOR = {"Impersonate-User": f"system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"}
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
def left(stack: Stack) -> Iterator[str]:
    """A receipt that the operator left."""
    name = "policy.test.0123456789"
    manifest = changed(RECEIPT, {"metadata.name": name, "metadata.labels": {"fedid.io/cause": "Deleted"}})
    assert stack.api("kube").answer("POST", PATH, manifest, headers=OPERATOR).status == 201
    yield f"{PATH}/{name}"
    stack.kube("DELETE", f"{PATH}/{name}", accept=(404,))


def test_nobody_else_writes_a_receipt(stack: Stack) -> None:
    """Not even who may do everything."""
    refused = stack.api("kube").answer("POST", f"{PATH}?dryRun=All", RECEIPT)
    assert refused.status == 403
    assert "'fedid-receipts'" in refused.text
    assert "only the operator writes receipts" in refused.text


@pytest.mark.parametrize("headers", [{}, OPERATOR], ids=["an administrator", "the operator"])
def test_a_receipt_is_never_changed(stack: Stack, left: str, headers: dict[str, str]) -> None:
    """Neither what it tells nor the labels by which it is found; the operator may not even try."""
    kube = stack.api("kube")
    told = kube.answer("PATCH", left, {"spec": {"cause": "Rotated"}}, headers={**MERGE, **headers})
    named = kube.answer("PATCH", left, {"metadata": {"labels": None}}, headers={**MERGE, **headers})
    if headers:
        assert (told.status, named.status) == (403, 403)
    else:
        assert told.status == 422
        assert "is not changed" in told.text
        assert named.status == 403
        assert "nor its labels" in named.text


def test_who_may_delete_a_receipt_may(stack: Stack, left: str) -> None:
    """That is RBAC's to say, as with any object."""
    assert stack.api("kube").answer("DELETE", left).status == 200


def test_the_policy_can_be_left_out(stack: Stack) -> None:
    """Without admission there is none; the operator's rights are the same."""
    manifests = of_kind(rendered(stack, {"admission": {"enabled": False}}), "ValidatingAdmissionPolicy")
    assert "fedid-receipts" not in {one["metadata"]["name"] for one in manifests}
