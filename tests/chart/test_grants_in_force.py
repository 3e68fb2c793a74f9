"""When the admission policies judge and when they let pass, and who may do what only the operator does."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chart.judging import OURS, Body, Judged, federation, judged, manifest
from tests.chart.test_pod_policy import OPERATOR
from tests.e2e.tenancy import MERGE, PLURALS
from tests.e2e.waiting import eventually
from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

FINALIZER = "fedid.io/revoke"
GIVE_UP = "fedid.io/force-release"
WIDE = {"namespaces": {"selector": {"matchLabels": {"fedid.io/tenant": "true"}}}, "realmRoles": ["fl-*"]}
LABELS = {"fedid.io/tenant": "true"}
HELD = {"federationRef": {"name": "held"}}
GRANTED = {**HELD, "realmRoles": ["fl-client"]}
OVER = {**HELD, "realmRoles": ["fl-client", "offline_access"]}
TENANT, PLATFORM = "tenant-of-the-policy-test", "platform-of-the-policy-test"
VERBS = ["get", "list", "create", "update", "patch", "delete"]


@pytest.fixture(scope="module")
def here(stack: Stack) -> Iterator[Judged]:
    """A namespace that `held` grants roles, a tenant with every usual right in it, and one of the platform team."""
    kinds = [plural for kind, plural in PLURALS.items() if kind != "Federation"]
    usual = {"apiGroups": ["fedid.io"], "resources": [*kinds, *(f"{one}/status" for one in kinds)], "verbs": VERBS}
    special = {"apiGroups": ["fedid.io"], "resources": kinds, "verbs": ["force-release"]}
    with judged(stack, LABELS, {"held": [WIDE]}) as namespace:
        folder = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace.name}"
        for user, rules in ((TENANT, [usual]), (PLATFORM, [usual, special])):
            stack.kube("POST", f"{folder}/roles", {"metadata": {"name": user}, "rules": rules})
            reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user}
            subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]
            stack.kube("POST", f"{folder}/rolebindings", {
                "metadata": {"name": user}, "roleRef": reference, "subjects": subjects,
            })  # fmt: skip
            eventually(lambda u=user: namespace.ask("GET", namespace.path("BotClient"), user=u).status == 200, "rights")
        yield namespace


def change(here: Judged, path: str, patch: Body, user: str = TENANT) -> Answer:
    """Merge-patch an object as somebody else, without any effect."""
    return here.ask("PATCH", path, patch, user=user, query="?dryRun=All")


def assert_refused(answer: Answer, words: str) -> None:
    """Assert that a policy refused it, in these words."""
    assert answer.status == 403, answer.text
    assert "ValidatingAdmissionPolicy" in answer.body["message"]
    assert words in answer.body["message"], answer.text


NOT_JUDGED: dict[str, Body] = {
    "the spec as it was": {"spec": OVER},
    "labels": {"metadata": {"labels": {"a": "b"}}},
    "annotations": {"metadata": {"annotations": {"fedid.io/rotate": "token"}}},
    "owners": {"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "00000000-0000-0000-0000-000000000000"},
    ]}},
    "finalizers of others": {"metadata": {"finalizers": ["example.org/a"]}},
    "the ask that is too much taken out": {"spec": {"realmRoles": ["fl-client"]}},
    "a suspension": {"spec": {"suspend": True}},
    "another covered ask": {"spec": {"realmRoles": ["fl-client", "offline_access", "fl-other"]}},
}  # fmt: skip


@pytest.mark.parametrize("patch", [pytest.param(patch, id=title) for title, patch in NOT_JUDGED.items()])
def test_an_update_is_judged_by_what_it_adds(here: Judged, patch: Body) -> None:
    """What a narrower grant left behind hinders nothing else: not a suspension, and not its own mending."""
    with here.holding("BotClient", OVER) as path:
        answer = change(here, path, patch)
        assert answer.status == 200, answer.text


def test_an_update_that_adds_what_is_not_covered_is_refused(here: Judged) -> None:
    """Also where the object asked for too much before, and by whichever verb."""
    for spec in (GRANTED, OVER):
        with here.holding("BotClient", spec) as path:
            wider = {"realmRoles": [*spec["realmRoles"], "admin"]}
            assert_refused(change(here, path, {"spec": wider}), "realmRoles: admin. Rules that match the namespace")
            whole = {**manifest("BotClient", {**HELD, **wider}, name="trainer")}
            whole["metadata"]["resourceVersion"] = here.ask("GET", path).body["metadata"]["resourceVersion"]
            assert_refused(here.ask("PUT", path, whole, user=TENANT, query="?dryRun=All"), "realmRoles: admin")


def test_a_deletion_is_never_refused(here: Judged) -> None:
    """Whatever the object asks for, one or all; and while it goes its spec may change."""
    with here.holding("BotClient", OVER, finalizers=[FINALIZER]) as path:
        assert here.ask("DELETE", path, user=TENANT).status == 200
        answer = change(here, path, {"spec": {"realmRoles": ["admin"]}})
        assert answer.status == 200, answer.text


def test_what_cannot_be_judged_is_left_to_the_operator(here: Judged) -> None:
    """A Federation that does not exist, a client's PodIdentity, a namespace that the policies do not judge."""
    assert here.would_make("BotClient", {**OVER, "federationRef": {"name": "none-of-that-name"}}).status == 201
    files = {"generic": {"files": {"token": "{token}"}}}
    client = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": files}
    assert here.would_make("PodIdentity", client).status == 201
    here.judge(on=False)
    assert here.would_make("BotClient", OVER).status == 201
    here.judge(on=True)
    assert_refused(here.would_make("BotClient", OVER), "realmRoles: offline_access")


def test_a_name_that_the_server_makes_up_opens_nothing(here: Judged) -> None:
    """With `generateName` the object is judged under the name that it gets."""
    assert_refused(here.would_make("BotClient", OVER, generateName="trainer-"), "realmRoles: offline_access")
    own = {**HELD, "clientId": f"{here.name}.trainer-abcde"}
    assert_refused(here.would_make("BotClient", own, generateName="trainer-"), "clientIds: ")
    assert here.would_make("BotClient", GRANTED, generateName="trainer-").status == 201


@pytest.fixture
def default(stack: Stack, here: Judged) -> Iterator[str]:
    """The name of the default Federation; one that grants nothing, unless another test left one."""
    found = stack.kube("GET", f"{OURS}/federations")["items"]
    names = [one["metadata"]["name"] for one in found if one["spec"].get("default")]
    if names:
        yield names[0]
        return
    assert here.would_make("BotClient", {"realmRoles": ["admin"]}).status == 201, "there is nobody to judge it"
    name = f"default-{secrets.token_hex(3)}"
    stack.kube("POST", f"{OURS}/federations", federation(stack, name, [], default=True))
    eventually(lambda: here.would_make("BotClient", {}).status == 403, "judged by the default")
    yield name
    stack.kube("DELETE", f"{OURS}/federations/{name}")


def test_an_object_that_names_no_federation_is_judged_by_the_default(stack: Stack, here: Judged, default: str) -> None:
    """By the one that says so; once pinned, by the one in the status, whichever is the default then."""
    assert_refused(here.would_make("BotClient", {"realmRoles": ["admin"]}), f"Federation {default} ")
    with here.holding("BotClient", {}) as path:
        assert_refused(change(here, path, {"spec": {"realmRoles": ["admin"]}}), f"Federation {default} ")
        stack.kube("PATCH", f"{path}/status", {"status": {"federation": "held"}}, headers=MERGE)
        assert change(here, path, {"spec": {"realmRoles": ["fl-client"]}}).status == 200
        assert_refused(change(here, path, {"spec": {"realmRoles": ["admin"]}}), "Federation held does not grant")


def test_a_server_gets_a_client_only_where_a_rule_is_about_it(here: Judged) -> None:
    """A PodIdentity without one is not judged; to add one to it is as to make it."""
    files = {"generic": {"files": {"client-id": "{clientId}"}}}
    none = {"role": "server", "platform": files, **HELD}
    none["accepts"] = {"selector": {"matchLabels": {"a": "b"}}}
    with here.holding("PodIdentity", none) as path:
        assert_refused(change(here, path, {"spec": {"oidcClient": {"flows": ["device"]}}}), "oidcFlows: device")


def test_a_long_answer_is_cut(here: Judged) -> None:
    """Of many asks the first sixteen are named."""
    answer = here.would_make("BotClient", {**HELD, "realmRoles": [f"{'r' * 200}-{number}" for number in range(64)]})

    assert_refused(answer, "among others realmRoles: rrr")
    assert answer.body["message"].count("realmRoles: ") == 16


@pytest.mark.parametrize(
    ("asks", "rules", "status"),
    [pytest.param(16, 16, 403, id="what a large platform has"), pytest.param(64, 64, 201, id="the most there can be")],
)
def test_huge_lists_are_no_error(stack: Stack, here: Judged, asks: int, rules: int, status: int) -> None:
    """Where judging would cost the API server too much, it lets the object through to the operator."""
    name, filler = f"huge-{secrets.token_hex(3)}", "x" * 100
    wide = [{**WIDE, "realmRoles": [f"{filler}-{rule}-{one}-*" for one in range(64)]} for rule in range(rules)]
    stack.kube("POST", f"{OURS}/federations", federation(stack, name, wide))
    try:
        one = {"federationRef": {"name": name}, "realmRoles": ["a"]}
        eventually(lambda: here.would_make("BotClient", one).status == 403, "judged by the huge one")
        answer = here.would_make("BotClient", {**one, "realmRoles": [f"{filler}-{number}" for number in range(asks)]})
        assert answer.status == status, answer.text
    finally:
        stack.kube("DELETE", f"{OURS}/federations/{name}")


RESERVED: list[tuple[str, str, Body, str]] = [
    ("the finalizer taken off", "", {"metadata": {"finalizers": None}}, "the finalizer of fedid.io stays"),
    ("another in its place", "", {"metadata": {"finalizers": ["a.org/b"]}}, "the finalizer of fedid.io stays"),
    ("giving up", "", {"metadata": {"annotations": {GIVE_UP: "lost"}}}, "the annotation fedid.io/force-release"),
    ("a status", "/status", {"status": {"clientUuid": "11111111-2222-3333-4444-555555555555"}}, "the operator's"),
    ("another Federation's mark", "/status", {"status": {"federation": "nothing-granted"}}, "the operator's to write"),
]
OBJECTS: dict[str, Body] = {
    "BotClient": GRANTED,
    "FederationUser": {"username": "ana", **HELD},
    "PodIdentity": {
        "role": "client",
        "botClientRef": {"name": "trainer"},
        "platform": {"generic": {"files": {"token": "{token}"}}},
    },
}


@pytest.mark.parametrize(("subpath", "patch", "words"), [pytest.param(*row[1:], id=row[0]) for row in RESERVED])
@pytest.mark.parametrize("kind", OBJECTS)
def test_what_only_the_operator_does(here: Judged, kind: str, subpath: str, patch: Body, words: str) -> None:
    """Refused to a tenant with every usual right; open to the verb `force-release`, and to the operator."""
    if kind == "PodIdentity" and "clientUuid" in patch.get("status", {}):
        patch = {"status": {"secretName": "another"}}
    with here.holding(kind, OBJECTS[kind], finalizers=[FINALIZER]) as path:
        assert_refused(change(here, f"{path}{subpath}", patch), words)
        for user in (PLATFORM, OPERATOR):
            answer = change(here, f"{path}{subpath}", patch, user)
            assert answer.status == 200, (user, answer.text)


def test_a_tenant_goes_on_beside_what_is_reserved(here: Judged) -> None:
    """The finalizer stays, the reason is taken back, the object is deleted."""
    with here.holding("BotClient", GRANTED, finalizers=[FINALIZER], annotations={GIVE_UP: "lost"}) as path:
        kept: list[dict[str, Any]] = [
            {"metadata": {"finalizers": [FINALIZER, "a.org/b"]}},
            {"metadata": {"annotations": {"a": "b"}}},
            {"metadata": {"annotations": {GIVE_UP: None}}},
        ]
        for patch in kept:
            answer = change(here, path, patch)
            assert answer.status == 200, answer.text
        assert_refused(change(here, path, {"metadata": {"annotations": {GIVE_UP: "more"}}}), GIVE_UP)
        assert here.ask("DELETE", path, user=TENANT, query="?dryRun=All").status == 200


@pytest.mark.parametrize(
    ("metadata", "words"),
    [({"annotations": {GIVE_UP: "lost"}}, GIVE_UP), ({"finalizers": [FINALIZER]}, "so the operator sets it")],
    ids=["giving up", "a finalizer that says that it was begun"],
)
def test_what_is_reserved_from_the_start(here: Judged, metadata: Body, words: str) -> None:
    """Nor may an object be made with it, or get it later."""
    body = manifest("BotClient", GRANTED, name="trainer", **metadata)
    path = here.path("BotClient")
    assert_refused(here.ask("POST", path, body, user=TENANT, query="?dryRun=All"), words)
    assert here.ask("POST", path, body, user=PLATFORM, query="?dryRun=All").status == 201
    with here.holding("BotClient", GRANTED) as own:
        assert_refused(change(here, own, {"metadata": metadata}), words)
        assert change(here, own, {"metadata": metadata}, OPERATOR).status == 200
