"""Tests of the names of what is made outside the cluster."""

from __future__ import annotations

import posixpath
import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.naming import ObjectKey, client_uuid, default_client_id, owner_mark, vault_path
from fedid.errors import InvalidSpecError

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
NASTY = st.text(alphabet=string.ascii_letters + string.digits + "./\\%-_ *?#\0\n\u2025\uff0e\u2215", max_size=12)


@given(st.sampled_from(["fedid", "teams/fedid"]), st.lists(st.one_of(NASTY, NAMES, st.text()), max_size=5))
def test_no_segments_leave_the_prefix(prefix: str, segments: list[str]) -> None:
    """A Vault path lies below its prefix by exactly its segments, also after normalisation, or is refused."""
    try:
        path = vault_path(prefix, *segments)
    except InvalidSpecError:
        return
    assert posixpath.normpath(path) == path
    assert path.split("/") == [*prefix.split("/"), *segments]
    assert path.isascii()
    assert not set(path) & set("\\%?#* \0\n")


@given(st.lists(NAMES, max_size=5))
def test_every_name_of_kubernetes_is_a_segment(segments: list[str]) -> None:
    """What the API server admits as a name can be a part of a path."""
    assert vault_path("fedid", *segments) == "/".join(["fedid", *segments])


@pytest.mark.parametrize(
    "segment",
    [
        pytest.param("", id="an empty segment"),
        pytest.param(".", id="the folder itself"),
        pytest.param("..", id="the folder above"),
        pytest.param("a..b", id="two dots within"),
        pytest.param("../other", id="a way out"),
        pytest.param("a/b", id="two segments in one"),
        pytest.param("a\\b", id="a backslash"),
        pytest.param("%2e%2e", id="a way out in disguise"),
        pytest.param(".hidden", id="a leading dot"),
        pytest.param("a\n", id="a trailing line break"),
        pytest.param("ä", id="a letter beyond ASCII"),
        pytest.param("a*", id="a wildcard, which a policy would read"),
        pytest.param("+", id="a policy's wildcard for one segment"),
    ],
)
def test_a_hostile_segment_is_refused_by_name(segment: str) -> None:
    """A segment that could mean another place is refused, and the message shows it."""
    with pytest.raises(InvalidSpecError) as caught:
        vault_path("fedid", "site-a", segment)
    assert repr(segment) in caught.value.message


@given(LABELS, NAMES, LABELS, NAMES)
def test_default_client_ids_never_meet(namespace: str, name: str, other_namespace: str, other_name: str) -> None:
    """Two objects have the same default clientId only if they are the same object."""
    same = default_client_id(namespace, name) == default_client_id(other_namespace, other_name)
    assert same == ((namespace, name) == (other_namespace, other_name))


def test_the_client_id_of_keycloak_is_fixed_for_ever() -> None:
    """Keycloak's id of a client derives from the uid alone, today and after any upgrade."""
    assert client_uuid("3d1b6c7e-0000-4000-8000-000000000001") == "3e4eb185-3419-5eda-9806-5c1ea8225435"


@given(st.uuids(), st.uuids())
def test_the_client_id_of_keycloak_follows_the_uid(uid: uuid.UUID, other: uuid.UUID) -> None:
    """Another uid is another client, the same uid the same one, and the id is a UUID as Keycloak wants it."""
    assert (client_uuid(str(uid)) == client_uuid(str(other))) == (uid == other)
    assert uuid.UUID(client_uuid(str(uid))).version == 5


def test_owner_mark_names_installation_and_object() -> None:
    """The owner mark is `<installation id>/<CR uid>`."""
    assert owner_mark("inst", "uid") == "inst/uid"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        pytest.param(ObjectKey("BotClient", "site-a", "trainer"), "BotClient/site-a/trainer", id="in a namespace"),
        pytest.param(ObjectKey("Federation", "", "local"), "Federation/local", id="of the whole cluster"),
    ],
)
def test_a_key_is_written_as_kind_namespace_and_name(key: ObjectKey, text: str) -> None:
    """A key reads as `<kind>/<namespace>/<name>`, without a gap where there is no namespace."""
    assert str(key) == text


def test_keys_are_ordered_so_that_messages_are_stable() -> None:
    """Keys sort by kind, then namespace, then name."""
    keys = [ObjectKey("B", "a", "z"), ObjectKey("A", "z", "z"), ObjectKey("B", "a", "a")]
    assert sorted(keys) == [keys[1], keys[2], keys[0]]
