"""Nobody approves in another's name, and only those who are bound to do so, on a real API server."""

from __future__ import annotations

from tests.chart.render import of_kind, rendered
from tests.crds.manifests import API, APPROVAL, changed
from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

PATH = f"{API}/identityapprovals"
KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


def approve(stack: Stack, by: str) -> Answer:
    """Try to make an approval in this name; it is not kept."""
    return stack.api("kube").answer("POST", f"{PATH}?dryRun=All", changed(APPROVAL, {"spec.approvedBy": by}))


def test_who_approves_says_so(stack: Stack) -> None:
    """In the stack, where the chart is installed: one's own name is taken, another refused by a sentence with both."""
    assert approve(stack, "admin").status == 201
    refused = approve(stack, "somebody")
    assert refused.status == 422
    assert "'fedid-approvals'" in refused.text
    assert "approvedBy is somebody, and you are admin" in refused.text


def test_the_role_for_approvers_is_nobodys_until_it_is_bound(stack: Stack) -> None:
    """It lets people make and delete approvals and read what they approve; the operator has it not."""
    manifests = rendered(stack)
    (role,) = (one for one in of_kind(manifests, "ClusterRole") if one["metadata"]["name"] == "fedid-approver")
    rights = {(verb, kind) for rule in role["rules"] for verb in rule["verbs"] for kind in rule["resources"]}
    written = {(verb, kind) for verb, kind in rights if verb not in {"get", "list", "watch"}}
    assert written == {("create", "identityapprovals"), ("delete", "identityapprovals")}
    bound = [one["roleRef"]["name"] for one in of_kind(manifests, "ClusterRoleBinding", "RoleBinding")]
    assert "fedid-approver" not in bound


def test_the_policy_can_be_left_out(stack: Stack) -> None:
    """Without admission there is none; the operator's rights are the same."""
    manifests = of_kind(rendered(stack, {"admission": {"enabled": False}}), *KINDS)
    assert "fedid-approvals" not in {one["metadata"]["name"] for one in manifests}
