"""Tests of the ai4flwr platform: what its servers and clients would make of what they read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.conditions import Reason
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import Identity, PublishedToken
from fedid.platforms.table import renderer
from tests.crds.manifests import CERTIFICATE
from tests.platforms.samples import ACCEPTED, AUDIT, DEFAULT, IN_OVERLAP, accepted, server, trainer

FILE = {"distribution": "Git", "mode": "File"}
VAULT = {"distribution": "Git", "mode": "Vault", "vault": {"deployment": "42"}}
INDEX = {"distribution": "PyPI"}
TOKENS = st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=5)


def read_tokens(text: str) -> list[str]:
    """Return what `_read_tokens_from_file` of the distribution `Git` makes of a file (contract: one per line)."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def mounted(role: str, options: dict[str, Any], identity: Identity) -> dict[str, str]:
    """Return what a pod sees."""
    return {key: value.reveal() for key, value in renderer("ai4flwr", options, role)(identity).items()}


@given(TOKENS, TOKENS)
def test_a_file_server_takes_the_good_tokens_and_no_line_else(one: list[str], other: list[str]) -> None:
    """What the server reads is what is accepted, each once; with nothing accepted it reads nothing."""
    identity = server(accepted("a", *one), accepted("b", *other))
    tokens = read_tokens(mounted("server", FILE, identity)["tokens"])
    assert tokens == list(dict.fromkeys([*one, *other]))


def test_the_order_in_the_file_is_that_of_the_bots() -> None:
    """A bot that comes or goes moves no other's line."""
    both = mounted("server", FILE, server(IN_OVERLAP, ACCEPTED))["tokens"]
    assert (
        both
        == mounted("server", FILE, server(IN_OVERLAP))["tokens"] + mounted("server", FILE, server(ACCEPTED))["tokens"]
    )


def test_a_vault_server_is_told_of_each_change_and_of_nothing_else() -> None:
    """The fingerprint moves with the set of tokens, and not with which of them is in use."""
    first = mounted("server", VAULT, server(accepted("a", "1", "2")))
    assert mounted("server", VAULT, server(accepted("a", "2", "1"))) == first
    for tokens in (("1",), ("1", "3"), ("1", "2", "3")):
        assert mounted("server", VAULT, server(accepted("a", *tokens)))["tokens.sha256"] != first["tokens.sha256"]


def test_a_server_whose_only_bot_went_mounts_nothing_of_it() -> None:
    """Every key stays, so that the pod starts; every one that a bot filled is empty."""
    for options in (INDEX, FILE, VAULT):
        assert set(mounted("server", options, server()).values()) == {""}
        assert mounted("server", options, server(accepted("a"))) == mounted("server", options, server())
        assert mounted("server", options, server()).keys() == mounted("server", options, server(ACCEPTED)).keys()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (INDEX, "takes the token of one bot, and spec.accepts picks site-a/evaluator, site-a/trainer; narrow"),
        (VAULT, "reads the folder of one subject, and spec.accepts picks site-a/evaluator, site-a/trainer; narrow"),
    ],
)
def test_more_bots_than_a_server_can_read_are_named(options: dict[str, Any], told: str) -> None:
    """A server that would leave somebody out says whom it was to take, and what to write instead."""
    with pytest.raises(InvalidSpecError) as caught:
        mounted("server", options, server(IN_OVERLAP, ACCEPTED))
    assert told in caught.value.message


def test_of_many_bots_a_few_are_named() -> None:
    """A message stays readable with a hundred bots."""
    with pytest.raises(InvalidSpecError, match=r"picks site-a/b0, site-a/b1, site-a/b2 and 97 more; narrow"):
        mounted("server", INDEX, server(*(accepted(f"b{i}", "1") for i in range(100))))


@pytest.mark.parametrize("bad", ["", "a b", "a\n", "a\nb", "käse", "x" * 7169, "\x00"])
def test_a_token_that_would_be_read_as_another_is_refused_unseen(bad: str) -> None:
    """No token makes a line or a header of its own, and the message does not repeat it."""
    for role, identity in (
        ("client", trainer(default=PublishedToken(Sensitive(bad), DEFAULT.expires_at))),
        ("server", server(accepted("a", "good", bad))),
    ):
        options = INDEX if role == "client" else FILE
        with pytest.raises(InvalidSpecError, match="printable ASCII") as caught:
            mounted(role, options, identity)
        assert not bad or bad not in caught.value.message


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({**INDEX, "token": "fleet"}, "spec.platform.ai4flwr.token is 'fleet', and the bot's published tokens are: "),
        (INDEX, "spec.platform.ai4flwr.token is not set and none is named default, and the bot's published tokens"),
    ],
)
def test_a_token_that_the_bot_has_not_is_named(options: dict[str, Any], told: str) -> None:
    """Never a guess among several."""
    with pytest.raises(InvalidSpecError) as caught:
        mounted("client", options, trainer(audit=AUDIT, other=DEFAULT))
    assert told in caught.value.message
    assert caught.value.message.endswith("audit, other. Name one of them, or add it to its spec.tokens")
    assert caught.value.reason == Reason.TOKEN_MISSING


@pytest.mark.parametrize(
    ("role", "options", "told"),
    [
        ("client", {}, "spec.platform.ai4flwr.distribution is missing"),
        ("client", {"distribution": "Conda"}, "write PyPI or Git"),
        ("client", FILE, "mode is for role: server; take it out"),
        ("client", {**INDEX, "vault": {"deployment": "1"}}, "vault is for role: server; take it out"),
        ("server", {**INDEX, "token": "a"}, "token is for role: client; take it out"),
        ("server", {**INDEX, "caBundle": CERTIFICATE}, "caBundle is for role: client; take it out"),
        ("server", {**INDEX, "mode": "File"}, "mode needs distribution: Git"),
        ("server", {**INDEX, "vault": {"deployment": "1"}}, "vault needs distribution: Git"),
        ("server", {"distribution": "Git", "mode": "Keycloak"}, "write File or Vault"),
        ("server", {"distribution": "Git", "mode": "Vault"}, "vault: {deployment: <id>} go together"),
        ("server", {**FILE, "vault": {"deployment": "1"}}, "vault: {deployment: <id>} go together"),
        ("server", {**VAULT, "vault": {}}, "vault.deployment is missing"),
        ("server", {**VAULT, "vault": {"deployment": ".."}}, "vault.deployment is one part of a path"),
        ("server", {**VAULT, "vault": {"deployment": "a/b"}}, "vault.deployment is one part of a path"),
        (
            "server",
            {**VAULT, "vault": {"deployment": "1", "virtualOrganisation": "a\n"}},
            "vault.virtualOrganisation is one part of a path",
        ),
        ("client", {**INDEX, "caBundle": "ca.crt"}, "caBundle holds no certificate"),
        ("client", {**INDEX, "caBundle": CERTIFICATE + "-----BEGIN PRIVATE KEY-----"}, "remove the private key"),
    ],
)
def test_a_wrong_combination_says_what_to_write(role: str, options: dict[str, Any], told: str) -> None:
    """Also where an older schema let it through."""
    with pytest.raises(InvalidSpecError) as caught:
        renderer("ai4flwr", options, role)
    assert told in caught.value.message
