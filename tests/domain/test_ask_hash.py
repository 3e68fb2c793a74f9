"""Tests of the hash of what a token is asked to say: another one exactly if the token would say something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given

from fedid.domain.bot import DesiredBot, DesiredToken, asks_of_bot
from fedid.domain.grants import Ask, AskKind
from fedid.domain.resources import parse_bot_client
from tests.domain.bots import BOTS, FEDERATION
from tests.domain.samples import body, desired


def _hash(wanted: DesiredBot) -> str:
    return wanted.ask_hash(DesiredToken("any"))


def _asked(wanted: DesiredBot) -> tuple[object, ...]:
    return (wanted.realm_roles, dict(wanted.client_roles), wanted.audiences, wanted.lifetime)


@given(BOTS, BOTS)
def test_the_ask_hash_changes_if_and_only_if_the_asks_do(one: DesiredBot, other: DesiredBot) -> None:
    """Two bots have the same hash exactly if their tokens are asked to say the same."""
    assert (_hash(one) == _hash(other)) == (_asked(one) == _asked(other))
    assert len(_hash(one)) == 16


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            {"realm_roles": frozenset({"a", "b"})},
            {"realm_roles": frozenset({"a\nrole b"})},
            id="a line break within a role",
        ),
        pytest.param(
            {"client_roles": {"a b": frozenset({"c"})}},
            {"client_roles": {"a": frozenset({"b c"})}},
            id="a blank within a client id",
        ),
        pytest.param(
            {"realm_roles": frozenset({"a"}), "audiences": frozenset()},
            {"realm_roles": frozenset(), "audiences": frozenset({"a"})},
            id="a role and an audience of one name",
        ),
    ],
)
def test_no_two_asks_share_a_hash_by_their_spelling(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Names cannot be chosen so that two different sets of asks look alike."""
    assert _hash(desired(**one)) != _hash(desired(**other))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"description": "x"}, id="the description"),
        pytest.param({"tokens": ("a", "b")}, id="the names of the tokens"),
        pytest.param({"client_id": "other"}, id="the clientId, which the azp tells"),
        pytest.param({"owner": "other"}, id="the owner mark"),
    ],
)
def test_what_no_token_says_is_not_in_the_hash(change: dict[str, Any]) -> None:
    """A change that no token tells mints none."""
    assert _hash(desired(**change)) == _hash(desired())


def test_the_ask_hash_is_the_same_in_every_process() -> None:
    """The hash that a status remembers means the same after a restart and after an upgrade."""
    wanted = desired(realm_roles=frozenset("abc"), audiences=frozenset("xyz"))
    assert _hash(wanted) == "453b40c75110e9c9"


MUTATIONS: list[Callable[[DesiredBot], DesiredBot]] = [
    lambda wanted: replace(wanted, realm_roles=wanted.realm_roles | {"more"}),
    lambda wanted: replace(wanted, audiences=wanted.audiences | {"more"}),
    lambda wanted: replace(wanted, client_roles={**wanted.client_roles, "more": frozenset({"x"})}),
    lambda wanted: replace(wanted, lifetime=wanted.lifetime + timedelta(seconds=1)),
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=["realm role", "audience", "client role", "lifetime"])
@given(wanted=BOTS)
def test_one_more_ask_is_another_hash(mutation: Callable[[DesiredBot], DesiredBot], wanted: DesiredBot) -> None:
    """Each kind of ask is part of the hash."""
    assert _hash(mutation(wanted)) != _hash(wanted)


def test_a_claim_is_asked_for_by_name_and_minted_for_by_value() -> None:
    """Another value is another token; a bot without claims has the hash that it had before there were any."""
    asked = asks_of_bot(parse_bot_client(body("BotClient", {"claims": {"site": "a"}})), FEDERATION)
    assert Ask(AskKind.CLAIM, "site") in asked
    hashes = {_hash(desired(claims=claims)) for claims in ({}, {"site": "a"}, {"site": "b"}, {"a": "site"})}
    assert len(hashes) == 4
    assert _hash(desired(claims={})) == _hash(desired())
