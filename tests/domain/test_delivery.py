"""Tests of where the copy of a token may go in Vault."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.bot import asks_of_bot, deliveries, desired_bot
from fedid.domain.delivery import delivery
from fedid.domain.grants import Ask, AskKind, parse_grants
from fedid.domain.judgement import judge
from fedid.domain.resources import parse_bot_client, parse_federation
from fedid.domain.token_entries import Location
from fedid.errors import InvalidSpecError
from tests.domain.samples import body

FEDERATION = parse_federation(body("Federation"))
VALUES = {"namespace": "site-a", "name": "trainer", "token": "default", "clientId": "site-a.trainer"}


def place(template: str, mount: str = "secrets") -> Any:
    """Return where a template leads."""
    return delivery(
        template, "spec.tokens[0].vaultPath", mount=mount, key="token", own_folder=("secret", "fedid"), values=VALUES
    )


def test_every_placeholder_has_its_value() -> None:
    """The subject comes last, once the client exists."""
    found = place("users/{subject}/{namespace}/{name}-{token}/{clientId}")
    assert found.location(None) is None
    assert found.location("4-2") == Location("secrets", "users/4-2/site-a/trainer-default/site-a.trainer")
    assert found.ask == "secrets/users/{subject}/site-a/trainer-default/site-a.trainer"


@pytest.mark.parametrize(
    "template",
    [
        "../x",
        "a/../b",
        "a/./b",
        "/a",
        "a/",
        "a//b",
        "a b",
        "a/%2e%2e/b",
        "a/{nonsense}",
        "a/{subject",
        "a/{}",
        "é",
        "a:b",
        "a" * 600,
        "{token.__class__}",
    ],
)
def test_a_template_cannot_leave_its_place(template: str) -> None:
    """Dots, slashes, encodings and unknown placeholders are refused, and the message names the field."""
    with pytest.raises(InvalidSpecError, match=r"spec\.tokens\[0\]\.vaultPath"):
        place(template)


@pytest.mark.parametrize("template", ["fedid", "fedid/site-b/bots/x/client", "fedid/{namespace}/x"])
def test_the_operators_own_folder_is_closed(template: str) -> None:
    """Nobody's copy may lie among the credentials themselves; in another mount the name means nothing."""
    with pytest.raises(InvalidSpecError, match="fedid's own"):
        place(template, mount="secret")
    assert place(template).location("x") is not None


@given(st.text())
def test_a_subject_cannot_lead_elsewhere(subject: str) -> None:
    """Whatever Keycloak says it is: one part of the path, or refused."""
    found = place("users/{subject}/x")
    try:
        location = found.location(subject)
    except InvalidSpecError:
        return
    assert location is not None
    assert location.path.count("/") == 2
    assert ".." not in location.path.split("/")


def bot(**token: Any) -> Any:
    """Return a bot with one token."""
    return parse_bot_client(body("BotClient", {"tokens": [{"name": "default", **token}]}))


@pytest.mark.parametrize(
    ("pattern", "template", "granted"),
    [
        ("secrets/users/*", "users/{subject}/x", True),
        ("secrets/users/{subject}/*", "users/{subject}/x", True),
        ("secrets/users/{subject}/*", "users/somebody-else/x", False),
        ("secrets/tenants/{namespace}/*", "tenants/{namespace}/x", True),
        ("secrets/tenants/{namespace}/*", "tenants/site-a/x", True),
        ("secrets/tenants/{namespace}/*", "tenants/site-b/x", False),
        ("secrets/users/trainer", "users/{name}", True),
        ("other/users/*", "users/x", False),
        ("secrets/*", "anything", True),
    ],
)
def test_a_copy_goes_only_where_a_grant_lets_it(pattern: str, template: str, granted: bool) -> None:  # noqa: FBT001
    """By prefix, with the placeholders as they are written or filled."""
    grants = parse_grants({"grants": [{"namespaces": {"names": ["site-a"]}, "vaultPaths": [pattern]}]})
    spec = bot(vaultPath=template, vaultMount="secrets")
    asks = asks_of_bot(spec, FEDERATION)
    verdict = judge(asks, grants, federation="local", namespace="site-a", labels={})
    assert verdict.granted == granted
    (token,) = desired_bot(spec, FEDERATION, verdict, owner="o").tokens
    assert (token.delivery is not None) == granted


def test_two_tokens_cannot_share_a_place() -> None:
    """They would overwrite each other for ever."""
    tokens = [{"name": name, "vaultPath": "a/b"} for name in ("x", "y")]
    with pytest.raises(InvalidSpecError, match="must not share"):
        deliveries(parse_bot_client(body("BotClient", {"tokens": tokens})), FEDERATION)


def test_the_scopes_of_a_token_are_asked_for() -> None:
    """Each by its name."""
    assert Ask(AskKind.SCOPE, "fl-a") in asks_of_bot(bot(scopes=["fl-a"]), FEDERATION)
