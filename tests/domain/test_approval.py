"""Approvals: what is approved, by which hash, and until when."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.approval import Approval, approval_hint, approved_of, ask_hash
from fedid.domain.grants import Ask, AskKind
from fedid.domain.naming import ObjectKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BOT = ObjectKey("BotClient", "site-a", "trainer")
TEXTS = st.frozensets(st.text(max_size=5), max_size=4)
NAMES = st.text(alphabet='a/%:,"', min_size=1, max_size=4)
ASKS = st.one_of(
    st.builds(Ask, st.sampled_from([AskKind.REALM_ROLE, AskKind.GROUP]), NAMES),
    st.builds(Ask, st.just(AskKind.CLIENT_ROLE), NAMES, NAMES),
)


def approval(digest: str, expires_at: datetime | None = None) -> Approval:
    """Return an approval of the bot."""
    return Approval("yes", BOT, "u", digest, expires_at)


@given(ASKS, ASKS)
def test_no_two_asks_have_the_same_signature(one: Ask, other: Ask) -> None:
    """Whatever slashes are in the names of clients and roles."""
    assert (one.signature == other.signature) is (one == other)


@given(TEXTS, TEXTS)
def test_a_hash_is_of_a_set(one: frozenset[str], other: frozenset[str]) -> None:
    """The order means nothing, and no two sets share one, however their texts could be joined."""
    assert (ask_hash(one) == ask_hash(other)) is (one == other)
    assert ask_hash(sorted(one)) == ask_hash([*sorted(one, reverse=True), *one])


@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=3))
def test_only_what_was_hashed_is_approved(
    asked: frozenset[str], recorded: frozenset[str], given_for: list[frozenset[str]]
) -> None:
    """Asks of now or of before count exactly if an approval has their hash."""
    found = approved_of([approval(ask_hash(one)) for one in given_for], asked, recorded, NOW)
    counted = [one for one in (asked, recorded) if one in given_for]
    assert found == (frozenset().union(*counted) if counted else None)


@pytest.mark.parametrize(("seconds", "counts"), [(-1, False), (0, False), (1, True)])
def test_an_approval_ends_at_its_instant(seconds: int, *, counts: bool) -> None:
    """At the very instant it counts no more."""
    one = approval(ask_hash({"a"}), NOW + timedelta(seconds=seconds))
    assert (approved_of([one], {"a"}, (), NOW) is not None) is counts


def test_the_hint_is_one_command() -> None:
    """For a shell, a manifest is one word but for who runs it, and it is complete but for a reason."""
    command = approval_hint(BOT, "u", "0" * 64)
    manifest, _, rest = command.removeprefix("echo ").rpartition(" | ")
    assert rest == "kubectl create -f -"
    (word,) = shlex.split(manifest.replace("$(kubectl auth whoami -o jsonpath={.status.userInfo.username})", "ana"))
    spec = json.loads(word)["spec"]
    assert spec == {
        "identity": {"kind": "BotClient", "namespace": "site-a", "name": "trainer", "uid": "u"},
        "askHash": "0" * 64,
        "reason": "<why>",
        "approvedBy": "ana",
    }
