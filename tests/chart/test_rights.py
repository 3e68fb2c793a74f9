"""The operator may do what it does, and nothing else."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from fedid.adapters.kubernetes.rights import needed_rights
from tests.chart.render import NAMESPACE, RELEASE, Manifest, hooks, installed, of_kind, rendered
from tests.testbed.stack import Stack

Right = tuple[str, str, str]
"""Verb, resource with its group, namespace (empty: the whole cluster)."""

OUR_KINDS = ("federations", "botclients", "federationusers", "podidentities")

OURS: set[Right] = {
    *((verb, f"{kind}.fedid.io", "") for kind in OUR_KINDS for verb in ("get", "list", "watch", "patch")),
    *(("patch", f"{kind}/status.fedid.io", "") for kind in OUR_KINDS),
    *((verb, "identityapprovals.fedid.io", "") for verb in ("get", "list", "watch")),
    *((verb, "revocationreceipts.fedid.io", "") for verb in ("create", "list", "delete")),
    *((verb, "namespaces", "") for verb in ("get", "list", "watch")),
}
OWN_NAMESPACE: set[Right] = {
    ("get", "secrets", NAMESPACE),
    ("create", "configmaps", NAMESPACE),
    *((verb, "configmaps[fedid-installation]", NAMESPACE) for verb in ("get", "patch")),
    ("create", "leases.coordination.k8s.io", NAMESPACE),
    *((verb, "leases.coordination.k8s.io[fedid-operator]", NAMESPACE) for verb in ("get", "patch")),
}


def _tenant(namespace: str) -> set[Right]:
    secrets = {(verb, "secrets", namespace) for verb in ("get", "list", "watch", "create", "update", "delete")}
    pods = {(verb, "pods", namespace) for verb in ("list", "patch")}
    kinds = ("deployments", "statefulsets", "daemonsets")
    workloads = {(verb, f"{kind}.apps", namespace) for verb in ("get", "patch") for kind in kinds}
    workloads.add(("get", "replicasets.apps", namespace))
    return {*secrets, *pods, *workloads, ("create", "events", namespace)}


SCOPES = [
    pytest.param({}, _tenant(""), id="every namespace"),
    pytest.param(
        {"watchNamespaces": ["site-a", "site-b"]},
        _tenant("site-a") | _tenant("site-b") | {("create", "events", "default")},
        id="listed namespaces",
    ),
    pytest.param(
        {"watchNamespaces": ["default", NAMESPACE]},
        _tenant("default") | _tenant(NAMESPACE) | {("create", "events", "default")},
        id="listed namespaces that have other roles too",
    ),
]


@pytest.mark.parametrize(("values", "tenants"), SCOPES)
def test_rights_are_exactly_these(stack: Stack, values: Mapping[str, Any], tenants: set[Right]) -> None:
    """Every right is written down here; one more or one fewer is a decision."""
    assert rights(rendered(stack, values)) == OURS | OWN_NAMESPACE | tenants


@pytest.mark.parametrize("watched", [(), ("site-a",), ("default", NAMESPACE)])
def test_rights_are_those_that_the_operator_says_it_needs(stack: Stack, watched: tuple[str, ...]) -> None:
    """What `check-installation` asks for, and what the chart gives, are the same; the Secrets' names are the user's."""
    needed = {
        (right.verb, _named(right.resource, right.group, right.name), right.namespace)
        for right in needed_rights(NAMESPACE, watched)
    }

    assert rights(rendered(stack, {"watchNamespaces": list(watched)})) == needed | {("get", "secrets", NAMESPACE)}


def test_uninstall_check_may_list_our_kinds_and_nothing_else(stack: Stack) -> None:
    """The account of the hook exists only while it runs, and can read no Secret."""
    found = hooks(rendered(stack), "pre-delete")
    (role,) = of_kind(found, "ClusterRole")
    (binding,) = of_kind(found, "ClusterRoleBinding")
    (job,) = of_kind(found, "Job")
    (account,) = of_kind(found, "ServiceAccount")

    assert role["rules"] == [
        {"apiGroups": ["fedid.io"], "resources": [*OUR_KINDS, "identityapprovals"], "verbs": ["list"]}
    ]
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": NAMESPACE}
    ]


@pytest.mark.parametrize("values", [{"rbac": {"create": False}}, {"serviceAccount": {"create": False, "name": "own"}}])
def test_uninstall_check_makes_no_account_where_the_chart_makes_none(stack: Stack, values: Mapping[str, Any]) -> None:
    """Then it looks as the operator, which may list its kinds anyway."""
    manifests = rendered(stack, values)
    (job,) = found = hooks(manifests, "pre-delete")
    (deployment,) = of_kind(manifests, "Deployment")

    assert len(found) == 1
    assert (
        job["spec"]["template"]["spec"]["serviceAccountName"]
        == deployment["spec"]["template"]["spec"]["serviceAccountName"]
    )


@pytest.mark.parametrize(("values", "tenants"), SCOPES)
def test_nothing_is_granted_by_wildcard(stack: Stack, values: Mapping[str, Any], tenants: set[Right]) -> None:
    """No `*`, no URL, no right to grant, impersonate or escalate."""
    assert tenants
    rules = [rule for role in of_kind(rendered(stack, values), "ClusterRole", "Role") for rule in role["rules"]]

    assert [rule for rule in rules if "*" in rule["verbs"] + rule["resources"] + rule["apiGroups"]] == []
    assert [rule for rule in rules if "nonResourceURLs" in rule] == []
    assert {"rbac.authorization.k8s.io", "authentication.k8s.io"}.isdisjoint(
        group for rule in rules for group in rule["apiGroups"]
    )


def test_secrets_of_other_namespaces_are_out_of_reach(stack: Stack) -> None:
    """With `watchNamespaces` no rule of the cluster is about Secrets, Pods or workloads."""
    cluster_roles = of_kind(installed(rendered(stack, {"watchNamespaces": ["site-a"]})), "ClusterRole")

    beyond = {"secrets", "pods", "deployments", "statefulsets", "daemonsets", "replicasets"}
    assert [rule for role in cluster_roles for rule in role["rules"] if beyond & {*rule["resources"]}] == []


def test_own_secrets_can_be_narrowed_to_those_that_federations_name(stack: Stack) -> None:
    """With `rbac.federationSecrets` the operator's own namespace shows no other Secret."""
    values = {"watchNamespaces": ["site-a"], "rbac": {"federationSecrets": ["fedid-keycloak", "other"]}}

    own = {right for right in rights(rendered(stack, values)) if right[2] == NAMESPACE and "secrets" in right[1]}

    assert own == {("get", "secrets[fedid-keycloak]", NAMESPACE), ("get", "secrets[other]", NAMESPACE)}


def test_roles_can_be_left_to_the_platform_team(stack: Stack) -> None:
    """With `rbac.create: false` the chart makes no role and no binding."""
    manifests = rendered(stack, {"rbac": {"create": False}, "watchNamespaces": ["site-a"]})

    assert of_kind(manifests, "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding") == []


@pytest.mark.parametrize(
    ("values", "name", "made"),
    [
        pytest.param({}, "fedid", True, id="made, named after the release"),
        pytest.param({"name": "operator"}, "operator", True, id="made, named"),
        pytest.param({"create": False, "name": "operator"}, "operator", False, id="one that exists"),
        pytest.param({"create": False}, "default", False, id="none: the namespace's default"),
    ],
)
def test_rights_go_to_the_service_account_of_the_pod(
    stack: Stack, values: Mapping[str, Any], name: str, *, made: bool
) -> None:
    """Pod, bindings and ServiceAccount agree."""
    manifests = installed(rendered(stack, {"serviceAccount": values, "watchNamespaces": ["site-a"]}))
    (deployment,) = of_kind(manifests, "Deployment")
    bindings = of_kind(manifests, "ClusterRoleBinding", "RoleBinding")

    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == name
    assert [account["metadata"]["name"] for account in of_kind(manifests, "ServiceAccount")] == [name] * made
    assert len(bindings) == 4
    assert all(
        binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}]
        for binding in bindings
    )


def rights(manifests: Iterable[Manifest]) -> set[Right]:
    """Return what the bindings really give, each role looked up by its reference."""
    manifests = installed(manifests)
    roles = {
        (role["kind"], role["metadata"].get("namespace", ""), role["metadata"]["name"]): role["rules"]
        for role in of_kind(manifests, "ClusterRole", "Role")
    }
    found: set[Right] = set()
    for binding in of_kind(manifests, "ClusterRoleBinding", "RoleBinding"):
        namespace = binding["metadata"].get("namespace", "")
        reference = binding["roleRef"]
        rules = roles.pop((reference["kind"], namespace, reference["name"]))
        found |= {(verb, resource, namespace) for rule in rules for verb in rule["verbs"] for resource in _of(rule)}
    assert {name for _, _, name in roles} <= {f"{RELEASE}-approver"}, "a role that nobody is bound to"
    return found


def _of(rule: Mapping[str, Any]) -> list[str]:
    return [
        _named(resource, group, name)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    ]


def _named(resource: str, group: str, name: str) -> str:
    return f"{resource}{f'.{group}' if group else ''}{f'[{name}]' if name else ''}"
