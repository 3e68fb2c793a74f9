"""Tests of what a BotClient becomes: whether it is wanted, what it asks for, and its entries in Vault."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fedid.domain.bot import DesiredBot, asks_of_bot, client_entry, desired_bot, suspension_of
from fedid.domain.bot_record import desired_client
from fedid.domain.conditions import Reason, rfc3339
from fedid.domain.grants import Ask, AskKind
from fedid.domain.judgement import Verdict
from fedid.domain.resources import parse_bot_client
from fedid.domain.sensitive import Sensitive
from fedid.domain.token_entries import token_entry
from fedid.domain.tokens import MintedToken
from tests.domain.bots import FEDERATION
from tests.domain.samples import BOT, ISSUER, NOW, OWNER, body, claims, desired


def verdict(*denied: Ask, limit: timedelta | None = None) -> Verdict:
    """Return what grants might say of the trainer."""
    return Verdict(namespace_matched=True, denied=frozenset(denied), max_token_lifetime=limit, message="")


def bot(spec: dict[str, Any], said: Verdict | None = None) -> DesiredBot:
    """Return what a spec becomes under the sample Federation."""
    return desired_bot(parse_bot_client(body("BotClient", spec)), FEDERATION, said or verdict(), owner=OWNER)


AT_NOON = rfc3339(NOW)


@pytest.mark.parametrize(
    ("spec", "after", "reason"),
    [
        pytest.param({}, 0, None, id="neither is said"),
        pytest.param({"suspend": False}, 0, None, id="suspend: false"),
        pytest.param({"suspend": True}, 0, Reason.SUSPENDED, id="suspended"),
        pytest.param({"expiresAt": AT_NOON}, -1, None, id="a microsecond before the instant"),
        pytest.param({"expiresAt": AT_NOON}, 0, Reason.EXPIRED, id="the very instant"),
        pytest.param({"expiresAt": AT_NOON}, 1, Reason.EXPIRED, id="a microsecond after it"),
        pytest.param({"suspend": True, "expiresAt": AT_NOON}, -1, Reason.SUSPENDED, id="suspended, and to expire"),
        pytest.param({"suspend": True, "expiresAt": AT_NOON}, 1, Reason.SUSPENDED, id="suspended, and expired since"),
    ],
)
def test_a_bot_is_not_wanted_while_suspended_and_from_its_instant_on(
    spec: dict[str, Any], after: int, reason: Reason | None
) -> None:
    """The message names the field, what it says, and how to get the bot back."""
    found = suspension_of(parse_bot_client(body("BotClient", spec)), NOW + timedelta(microseconds=after))
    assert (found.reason if found is not None else None) is reason
    if found is not None:
        field = "spec.suspend is true" if reason is Reason.SUSPENDED else f"spec.expiresAt was {AT_NOON}"
        assert found.message.startswith(f"{field}, so nothing of this bot exists outside the cluster; set ")


def test_the_bot_of_the_design_becomes_a_definite_client() -> None:
    """The example of design.md, granted in full, is the sample that the other tests start from."""
    assert bot({**BOT, "clientRoles": {"superlink": ["submit"]}}) == desired()


def test_what_is_denied_is_left_out() -> None:
    """Roles and audiences that no grant covers never become part of what is made."""
    spec = {
        "realmRoles": ["fl-client", "admin"],
        "clientRoles": {"superlink": ["submit", "run"], "realm-management": ["manage-users"]},
        "audiences": ["superlink", "bank"],
    }
    wanted = bot(
        spec,
        verdict(
            Ask(AskKind.REALM_ROLE, "admin"),
            Ask(AskKind.CLIENT_ROLE, "run", "superlink"),
            Ask(AskKind.CLIENT_ROLE, "manage-users", "realm-management"),
            Ask(AskKind.AUDIENCE, "bank"),
        ),
    )
    assert wanted.realm_roles == {"fl-client"}
    assert wanted.client_roles == {"superlink": {"submit"}}
    assert wanted.audiences == {"superlink"}


def test_a_denial_is_of_one_kind_and_one_client() -> None:
    """A denied role does not take an audience, or the same role of another client, with it."""
    spec = {"realmRoles": ["x"], "clientRoles": {"one": ["x"], "two": ["x"]}, "audiences": ["x"]}
    wanted = bot(spec, verdict(Ask(AskKind.CLIENT_ROLE, "x", "one")))
    assert wanted.realm_roles == wanted.audiences == {"x"}
    assert wanted.client_roles == {"two": {"x"}}


@pytest.mark.parametrize(
    ("tokens", "limit", "lifetime"),
    [
        pytest.param([], None, "10m", id="no token: the Federation's default"),
        pytest.param([{"name": "a"}], None, "10m", id="no lifetime: the Federation's default"),
        pytest.param([{"name": "a", "lifetime": "30m"}], None, "30m", id="what is asked for"),
        pytest.param(
            [{"name": "a", "lifetime": "30m"}, {"name": "b", "lifetime": "5m"}],
            None,
            "5m",
            id="the shorter of two, since Keycloak's is one per client",
        ),
        pytest.param([{"name": "a", "lifetime": "30m"}, {"name": "b"}], None, "30m", id="one says, the other follows"),
        pytest.param([{"name": "a", "lifetime": "30m"}], timedelta(minutes=3), "3m", id="a limit cuts it"),
        pytest.param([{"name": "a", "lifetime": "2m"}], timedelta(minutes=3), "2m", id="a limit lengthens nothing"),
        pytest.param([], timedelta(minutes=3), "3m", id="a limit cuts the default too"),
    ],
)
def test_one_lifetime_within_the_limit(tokens: list[dict[str, Any]], limit: timedelta | None, lifetime: str) -> None:
    """All tokens of a bot share one lifetime, never longer than the grants let it be."""
    minutes = timedelta(minutes=int(lifetime.removesuffix("m")))
    wanted = bot({"tokens": tokens}, verdict(limit=limit))
    assert wanted.lifetime == minutes
    assert wanted.lifetime_limit == limit
    assert wanted.token_names == tuple(token["name"] for token in tokens)
    assert desired_client(wanted, secret=None).attributes["access.token.lifespan"] == str(minutes.seconds)


def test_a_bot_asks_for_everything_it_names() -> None:
    """Each role, audience and own clientId is one ask; the lifetime is bounded and not asked."""
    spec = {
        "clientId": "partner",
        "realmRoles": ["a", "b"],
        "clientRoles": {"one": ["x", "y"], "two": ["x"]},
        "audiences": ["s"],
        "tokens": [{"name": "t", "lifetime": "24h"}],
    }
    assert asks_of_bot(parse_bot_client(body("BotClient", spec)), FEDERATION) == {
        Ask(AskKind.CLIENT_ID, "partner"),
        Ask(AskKind.REALM_ROLE, "a"),
        Ask(AskKind.REALM_ROLE, "b"),
        Ask(AskKind.CLIENT_ROLE, "x", "one"),
        Ask(AskKind.CLIENT_ROLE, "y", "one"),
        Ask(AskKind.CLIENT_ROLE, "x", "two"),
        Ask(AskKind.AUDIENCE, "s"),
    }


def test_the_default_client_id_is_not_asked_for() -> None:
    """A bot under its default clientId, written out or not, needs no grant for it."""
    assert asks_of_bot(parse_bot_client(body("BotClient", {})), FEDERATION) == set()
    assert asks_of_bot(parse_bot_client(body("BotClient", {"clientId": "site-a.trainer"})), FEDERATION) == set()


def test_the_entry_of_the_secret_is_what_the_design_says() -> None:
    """Vault holds client id, secret, issuer and token URL."""
    entry = client_entry(desired(), Sensitive("hush"))
    assert {key: value.reveal() for key, value in entry.items()} == {
        "client_id": "site-a.trainer",
        "client_secret": "hush",
        "issuer": ISSUER,
        "token_url": f"{ISSUER}/protocol/openid-connect/token",
    }
    assert "hush" not in repr(entry)


def test_the_entry_of_a_token_is_what_the_design_says() -> None:
    """Vault holds token, type and both instants in RFC 3339."""
    entry = token_entry(MintedToken(Sensitive("hush"), claims(desired())))
    assert {key: value.reveal() for key, value in entry.items()} == {
        "token": "hush",
        "token_type": "Bearer",
        "issued_at": "2026-03-01T12:00:00Z",
        "expires_at": "2026-03-01T12:10:00Z",
    }
    assert "hush" not in repr(entry)


def test_the_expectation_is_what_the_bot_asks_for() -> None:
    """What a token must say is what the granted spec says."""
    wanted, expectation = desired(), desired().expectation()
    assert expectation.client_id == wanted.client_id
    assert (expectation.realm_roles, expectation.client_roles) == (wanted.realm_roles, wanted.client_roles)
    assert (expectation.audiences, expectation.lifetime) == (wanted.audiences, wanted.lifetime)
