"""Tests of the operator's memory of the cluster: the newest body of every object, whatever order it is told in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import (
    BOT_CLIENT,
    FEDERATION,
    FEDERATION_USER,
    IDENTITY_APPROVAL,
    KINDS,
    POD_IDENTITY,
    Body,
)
from fedid.reconcile.directory import Directory, key_of

BOT = ObjectKey(BOT_CLIENT, "site-a", "trainer")
OTHER_BOT = ObjectKey(BOT_CLIENT, "site-a", "other")
POD = ObjectKey(POD_IDENTITY, "site-a", "mount")


def body(key: ObjectKey, version: str | None = "1", *, uid: str = "uid-1", **parts: Any) -> dict[str, Any]:
    """Return an object as a watch tells it."""
    metadata: dict[str, Any] = {"name": key.name, "uid": uid}
    if key.namespace:
        metadata["namespace"] = key.namespace
    if version is not None:
        metadata["resourceVersion"] = version
    return {"kind": key.kind, "metadata": {**metadata, **parts.pop("metadata", {})}, **parts}


def pod(version: str = "1", bot: str | None = "trainer", key: ObjectKey = POD, uid: str = "uid-1") -> dict[str, Any]:
    """Return a PodIdentity that mounts a bot."""
    return body(key, version, uid=uid, spec={"botClientRef": {"name": bot}} if bot is not None else {})


@pytest.mark.parametrize("key", [BOT, ObjectKey(FEDERATION, "", "local"), ObjectKey("Namespace", "", "site-a")])
def test_the_key_of_a_body_is_kind_namespace_and_name(key: ObjectKey) -> None:
    """A body of any kind says which object it is of; a cluster-scoped one has no namespace."""
    assert key_of(body(key)) == key


@pytest.mark.parametrize(
    ("known", "told", "news"),
    [
        pytest.param("9", "10", True, id="a newer one replaces it; versions are numbers and no texts"),
        pytest.param("10", "9", False, id="an older one does not"),
        pytest.param("10", "10", False, id="the same one is no news"),
        pytest.param("999999999999999999999", "1000000000000000000000", True, id="numbers of any length"),
        pytest.param("10", None, True, id="one without a version cannot be judged, so it is taken"),
        pytest.param(None, "1", True, id="any version is newer than none"),
        pytest.param("10", "opaque", True, id="one that is no number cannot be judged, so it is taken"),
    ],
)
def test_an_older_body_never_replaces_a_newer_one(known: str | None, told: str | None, *, news: bool) -> None:
    """What is known is replaced by what is newer, and only that is news."""
    directory = Directory()
    assert directory.put(body(BOT, known, spec={"from": "known"}))
    assert directory.put(body(BOT, told, spec={"from": "told"})) is news
    found = directory.get(BOT)
    assert found is not None
    assert found["spec"]["from"] == ("told" if news else "known")


def test_nothing_is_known_of_what_was_never_told() -> None:
    """An empty memory answers with nothing."""
    directory = Directory()
    assert directory.get(BOT) is None
    assert directory.keys(BOT_CLIENT) == []
    assert directory.federations() == []
    assert directory.pods_of_bot(BOT) == frozenset()
    assert directory.namespace_labels("site-a") == {}


def test_managed_fields_are_not_kept() -> None:
    """Half of a body is for server-side apply alone; it is dropped, and the body that was told stays as it was."""
    told = body(BOT, metadata={"managedFields": [{"manager": "kubectl"}], "labels": {"a": "b"}})
    directory = Directory()
    directory.put(told)
    found = directory.get(BOT)
    assert found is not None
    assert found["metadata"] == {"name": "trainer", "namespace": "site-a", "uid": "uid-1", "resourceVersion": "1"} | {
        "labels": {"a": "b"}
    }
    assert "managedFields" in told["metadata"]


def test_an_object_is_forgotten_unless_another_took_its_name() -> None:
    """A deletion of the former object does not take the new one of the same name with it."""
    directory = Directory()
    directory.put(body(BOT, "5", uid="second"))
    directory.remove(BOT, "first")
    assert directory.get(BOT) is not None
    directory.remove(BOT, "second")
    assert directory.get(BOT) is None
    directory.remove(BOT, "second")
    directory.put(body(BOT, "6", uid="third"))
    directory.remove(BOT)
    assert directory.get(BOT) is None


def test_the_pods_of_a_bot_follow_every_change() -> None:
    """The index from bot to PodIdentities follows mounts, changes of the mounted bot, and deletions."""
    directory = Directory()
    second = ObjectKey(POD_IDENTITY, "site-a", "second")
    directory.put(pod("1"))
    directory.put(pod("2", key=second))
    assert directory.pods_of_bot(BOT) == {POD, second}
    directory.put(pod("3", bot="other"))
    assert directory.pods_of_bot(BOT) == {second}
    assert directory.pods_of_bot(OTHER_BOT) == {POD}
    directory.put(pod("2", bot="trainer"))
    assert directory.pods_of_bot(OTHER_BOT) == {POD}, "an older body moves nothing"
    directory.put(pod("4", bot=None))
    assert directory.pods_of_bot(OTHER_BOT) == frozenset()
    directory.remove(second)
    assert directory.pods_of_bot(BOT) == frozenset()


def test_a_pod_of_another_namespace_mounts_another_bot() -> None:
    """A reference is to a bot of the PodIdentity's own namespace."""
    directory = Directory()
    elsewhere = ObjectKey(POD_IDENTITY, "site-b", "mount")
    directory.put(pod(key=elsewhere))
    assert directory.pods_of_bot(BOT) == frozenset()
    assert directory.pods_of_bot(ObjectKey(BOT_CLIENT, "site-b", "trainer")) == {elsewhere}


def test_what_the_index_answers_does_not_change_afterwards() -> None:
    """An answer can be walked through while watches go on telling."""
    directory = Directory()
    directory.put(pod("1"))
    before = directory.pods_of_bot(BOT)
    directory.remove(POD)
    assert before == {POD}


def test_a_listing_finds_what_is_new_newer_and_gone() -> None:
    """A fresh listing tells exactly what the watches missed, and nothing about other kinds."""
    directory = Directory()
    same, newer, older, gone, new = (ObjectKey(BOT_CLIENT, "site-a", name) for name in "abcde")
    for key in (same, newer, older, gone):
        directory.put(body(key, "5"))
    directory.put(body(ObjectKey(FEDERATION, "", "local")))
    listed = [body(same, "5"), body(newer, "6"), body(older, "4"), body(new, "1")]
    assert sorted(directory.replace_all(BOT_CLIENT, listed)) == [newer, gone, new]
    assert sorted(directory.keys(BOT_CLIENT)) == [same, newer, older, new]
    assert [one["metadata"]["resourceVersion"] for one in map(directory.get, [same, newer, older, new]) if one] == [
        "5",
        "6",
        "5",
        "1",
    ]
    assert directory.keys(FEDERATION) == [ObjectKey(FEDERATION, "", "local")]
    assert directory.replace_all(BOT_CLIENT, listed) == []


def test_a_listing_takes_the_index_along() -> None:
    """A PodIdentity that a listing lacks mounts nothing any more, and one that it adds does."""
    directory = Directory()
    second = ObjectKey(POD_IDENTITY, "site-a", "second")
    directory.put(pod("1"))
    assert set(directory.replace_all(POD_IDENTITY, [pod("2", key=second)])) == {POD, second}
    assert directory.pods_of_bot(BOT) == {second}


@pytest.mark.parametrize(
    ("parts", "belongs"),
    [
        pytest.param({"spec": {"federationRef": {"name": "local"}}}, True, id="named in the spec"),
        pytest.param({"spec": {"federationRef": {"name": "other"}}}, False, id="another one is named"),
        pytest.param({"spec": {}, "status": {"federation": "local"}}, True, id="pinned in the status"),
        pytest.param({"spec": {}, "status": {"federation": "other"}}, False, id="pinned to another one"),
        pytest.param({"spec": {}}, True, id="neither: it may become the default's"),
        pytest.param({"spec": None, "status": None}, True, id="nothing at all: likewise"),
        pytest.param(
            {"spec": {"federationRef": {"name": "local"}}, "status": {"federation": "other"}},
            True,
            id="the spec counts before the status",
        ),
    ],
)
@pytest.mark.parametrize("kind", [BOT_CLIENT, FEDERATION_USER])
def test_the_identities_of_a_federation(kind: str, parts: dict[str, Any], *, belongs: bool) -> None:
    """Bots and users belong to the Federation that they name or are pinned to, and may belong to any without."""
    directory = Directory()
    key = ObjectKey(kind, "site-a", "x")
    directory.put(body(key, **parts))
    directory.put(pod())
    assert directory.identities_of("local") == ([key] if belongs else [])


def test_the_identities_of_a_namespace() -> None:
    """Bots and users of a namespace are found; PodIdentities and other namespaces are left out."""
    directory = Directory()
    user, elsewhere = ObjectKey(FEDERATION_USER, "site-a", "ana"), ObjectKey(BOT_CLIENT, "site-b", "trainer")
    for told in (body(BOT), body(user), body(elsewhere), pod()):
        directory.put(told)
    assert directory.identities_in("site-a") == [BOT, user]


def test_a_namespace_is_known_from_its_first_body_to_its_end() -> None:
    """An unseen namespace is told apart from one without labels, so that nobody takes the one for the other."""
    directory = Directory()
    key = ObjectKey("Namespace", "", "site-a")
    directory.put(pod())
    assert not directory.knows_namespace("site-a")
    directory.put(body(key))
    assert directory.knows_namespace("site-a")
    assert directory.namespace_labels("site-a") == {}
    assert not directory.knows_namespace("site-b")
    directory.remove(key)
    assert not directory.knows_namespace("site-a")


def test_the_labels_of_a_namespace_are_those_of_its_newest_body() -> None:
    """Labels are what the watch of Namespaces told last; one without labels has none."""
    directory = Directory()
    key = ObjectKey("Namespace", "", "site-a")
    directory.put(body(key, "1", metadata={"labels": {"a": "1"}}))
    assert directory.namespace_labels("site-a") == {"a": "1"}
    directory.put(body(key, "2", metadata={"labels": None}))
    assert directory.namespace_labels("site-a") == {}


def test_the_echo_of_our_own_write_of_a_secret_is_known() -> None:
    """The version that we wrote last is no news; any other one is, and after the Secret is gone everything is."""
    directory = Directory()
    assert not directory.is_own_secret_write("site-a", "x", "5")
    directory.wrote_secret("site-a", "x", "5")
    assert directory.is_own_secret_write("site-a", "x", "5")
    assert not directory.is_own_secret_write("site-a", "x", "6")
    assert not directory.is_own_secret_write("site-b", "x", "5")
    directory.wrote_secret("site-a", "x", None)
    assert directory.is_own_secret_write("site-a", "x", "5")
    directory.wrote_secret("site-a", "x", "7")
    assert not directory.is_own_secret_write("site-a", "x", "5")
    directory.forget_secret("site-a", "x")
    directory.forget_secret("site-a", "x")
    assert not directory.is_own_secret_write("site-a", "x", "7")


NAMES = st.sampled_from("ab")
VERSIONS = st.integers(1, 30).map(str)
BODIES = st.one_of(
    st.builds(
        lambda name, version, bot, uid: pod(version, bot, ObjectKey(POD_IDENTITY, "site-a", name), uid),
        NAMES,
        VERSIONS,
        st.sampled_from(["trainer", "other", None]),
        st.sampled_from("12"),
    ),
    st.builds(
        lambda kind, name, version: body(ObjectKey(kind, "site-a", name), version),
        st.sampled_from(KINDS[1:3]),
        NAMES,
        VERSIONS,
    ),
)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), BODIES),
        st.tuples(st.just("remove"), BODIES),
        st.tuples(st.just("listing"), st.lists(BODIES, max_size=3, unique_by=key_of)),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(EVENTS)
def test_any_order_of_events_leaves_memory_and_index_in_agreement(events: list[tuple[str, Any]]) -> None:
    """After any events the memory is what a plain dictionary of newest bodies holds, and the index is made of it."""
    directory = Directory()
    newest: dict[ObjectKey, Body] = {}

    def put(told: Body) -> None:
        known = newest.get(key_of(told))
        if known is None or int(told["metadata"]["resourceVersion"]) > int(known["metadata"]["resourceVersion"]):
            newest[key_of(told)] = told

    for event, told in events:
        before = dict(newest)
        match event:
            case "put":
                put(told)
                assert directory.put(told) == (newest != before)
            case "remove":
                if key_of(told) in newest and newest[key_of(told)]["metadata"]["uid"] == told["metadata"]["uid"]:
                    del newest[key_of(told)]
                directory.remove(key_of(told), told["metadata"]["uid"])
            case _:
                for one in told:
                    put(one)
                for key in [key for key in newest if key.kind == POD_IDENTITY and key not in map(key_of, told)]:
                    del newest[key]
                changed = {key for key in {*before, *newest} if before.get(key) != newest.get(key)}
                assert set(directory.replace_all(POD_IDENTITY, told)) == changed
    for kind in KINDS:
        assert {key: directory.get(key) for key in directory.keys(kind)} == {
            key: one for key, one in newest.items() if key.kind == kind
        }
    assert directory.identities_in("site-a") == sorted(key for key in newest if key.kind in KINDS[1:3])
    for bot in (BOT, OTHER_BOT):
        assert directory.pods_of_bot(bot) == {
            key for key, one in newest.items() if (one.get("spec") or {}).get("botClientRef") == {"name": bot.name}
        }


def test_readiness_counts_what_is_there_now() -> None:
    """Each object counts once, by what its newest body says of `Ready`; Namespaces and what has gone do not count."""

    def said(status: str, reason: str) -> dict[str, Any]:
        return {
            "conditions": [{"type": "Granted", "status": "True"}, {"type": "Ready", "status": status, "reason": reason}]
        }

    directory = Directory()
    for one in (
        body(BOT, status=said("False", "NotGranted")),
        body(OTHER_BOT, status=said("True", "Ready")),
        pod(),
        body(ObjectKey("Namespace", "", "site-a")),
        body(BOT, "2", status=said("True", "Ready")),
        body(BOT, "1", status=said("False", "Conflict")),
    ):
        directory.put(one)

    assert directory.readiness() == {("BotClient", "True", "Ready"): 2, ("PodIdentity", "Unknown", "None"): 1}
    directory.remove(OTHER_BOT)
    directory.replace_all(POD_IDENTITY, [])
    assert directory.readiness() == {("BotClient", "True", "Ready"): 1}


def test_approvals_are_found_by_the_uid_that_they_name() -> None:
    """However often they come and go; they are no identities, and say nothing of readiness."""

    def approval(name: str, uid: str, version: str = "1") -> dict[str, Any]:
        spec = {"identity": {"kind": BOT_CLIENT, "namespace": "site-a", "name": "trainer", "uid": uid}}
        return body(ObjectKey(IDENTITY_APPROVAL, "", name), version, spec=spec)

    directory = Directory()
    for one in (approval("a", "u1"), approval("b", "u1"), approval("c", "u2"), approval("a", "u1", "2")):
        directory.put(one)
    assert [one["metadata"]["name"] for one in directory.approvals_of("u1")] == ["a", "b"]
    directory.remove(ObjectKey(IDENTITY_APPROVAL, "", "a"))
    assert [one["metadata"]["name"] for one in directory.approvals_of("u1")] == ["b"]
    directory.replace_all(IDENTITY_APPROVAL, [approval("c", "u2")])
    assert directory.approvals_of("u1") == []
    assert len(directory.approvals_of("u2")) == 1
    assert directory.readiness() == {}
    assert directory.identities_in("") == []
