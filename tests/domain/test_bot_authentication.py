"""Tests of how bots authenticate: what is read of a spec, what a client must say, and whose a ServiceAccount is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fedid.domain.bot import desired_bot
from fedid.domain.bot_authentication import (
    BotAuthentication,
    ClientSecret,
    PrivateKeyJwt,
    ServiceAccount,
    SubjectClaim,
    authenticator_attributes,
    parse_authentication,
    subject_conflict,
    thumbprint,
)
from fedid.domain.bot_record import client_differences, desired_client
from fedid.domain.judgement import Verdict
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import ClientRecord
from fedid.domain.resources import parse_bot_client, parse_federation
from fedid.errors import InvalidSpecError
from tests.domain.samples import BOT, FEDERATION, OWNER, body

OLD, NEW = {"kid": "b", "x": "1"}, {"kid": "a", "x": "2"}
OPERATOR = "system:serviceaccount:fedid-system:fedid"


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (None, ClientSecret()),
        ({}, ClientSecret()),
        ({"clientSecret": {}}, ClientSecret()),
        ({"privateKeyJwt": {}}, PrivateKeyJwt()),
        ({"privateKeyJwt": {}, "clientSecret": None}, PrivateKeyJwt()),
        ({"serviceAccount": {"name": "trainer"}}, ServiceAccount("system:serviceaccount:site-a:trainer")),
    ],
)
def test_each_way_is_read(told: dict[str, Any] | None, read: BotAuthentication) -> None:
    """Without a word it is the bot secret; a ServiceAccount is one of the bot's own namespace."""
    assert parse_authentication({"authentication": told}, "site-a") == read


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"authentication": {"clientSecret": {}, "privateKeyJwt": {}}}, "exactly one of clientSecret"),
        ({"authentication": {"password": {}}}, "exactly one of clientSecret"),
        ({"authentication": "clientSecret"}, "spec.authentication must be an object"),
        ({"authentication": {"clientSecret": True}}, "spec.authentication.clientSecret must be an object"),
        ({"authentication": {"serviceAccount": {}}}, "spec.authentication.serviceAccount.name is missing"),
        ({"authentication": {"serviceAccount": {"name": "a"}}, "tokens": [{"name": "t"}]}, "leave out spec.tokens"),
        (
            {"authentication": {"serviceAccount": {"name": "a"}}, "secretRotation": {"every": "720h"}},
            "leave out spec.secretRotation",
        ),
    ],
)
def test_a_way_that_is_none_is_told(spec: dict[str, Any], words: str) -> None:
    """None, two, or one that contradicts the rest: the sentence says what to write."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_authentication(spec, "site-a")
    assert words in caught.value.message


def client_of(authentication: dict[str, Any], *, provider: str | None = "cluster", keys: Any = ()) -> ClientRecord:
    """Return the client that a bot of this authentication wants."""
    spec = {**{k: v for k, v in BOT.items() if k != "tokens"}, "authentication": authentication}
    federation = {**FEDERATION, "keycloak": {**FEDERATION["keycloak"], "assertionProvider": provider}}
    verdict = Verdict(namespace_matched=True, denied=frozenset(), max_token_lifetime=None, message="")
    bot = desired_bot(
        parse_bot_client(body("BotClient", spec)),
        parse_federation(body("Federation", federation)),
        verdict,
        owner=OWNER,
    )
    return desired_client(bot, secret=None, keys=keys)


def test_the_client_of_each_way() -> None:
    """The authenticator and what it reads; whatever else it is stays the same."""
    secret, key = client_of({"clientSecret": {}}), client_of({"privateKeyJwt": {}}, keys=[OLD])
    account = client_of({"serviceAccount": {"name": "trainer"}})
    assert (secret.authenticator, key.authenticator, account.authenticator) == (
        "client-secret",
        "client-jwt",
        "federated-jwt",
    )
    assert account.attributes == {
        **{name: value for name, value in secret.attributes.items() if name != "fedid.secret-rotation"},
        "jwt.credential.issuer": "cluster",
        "jwt.credential.sub": "system:serviceaccount:site-a:trainer",
    }
    assert json.loads(key.attributes["jwks.string"]) == {"keys": [OLD]}
    assert (key.attributes["use.jwks.string"], key.attributes["use.jwks.url"]) == ("true", "false")
    assert secret.flags == key.flags == account.flags


def test_keys_in_any_order_are_no_drift() -> None:
    """The text depends on which keys are good, not on how they are listed; another key is a difference."""
    both, turned = (client_of({"privateKeyJwt": {}}, keys=keys) for keys in ([OLD, NEW], [NEW, OLD]))
    assert client_differences(both, turned) == ()
    assert client_differences(both, client_of({"privateKeyJwt": {}}, keys=[NEW])) == ("attributes[jwks.string]",)


def test_another_subject_is_drift() -> None:
    """A hand that gives the client to another ServiceAccount is seen."""
    mine, other = (client_of({"serviceAccount": {"name": name}}) for name in ("trainer", "thief"))
    assert client_differences(mine, other) == ("attributes[jwt.credential.sub]",)
    assert "clientAuthenticatorType" in client_differences(mine, client_of({"clientSecret": {}}))


def test_without_a_provider() -> None:
    """A Federation that names none cannot serve a ServiceAccount, and the message says what to set."""
    with pytest.raises(InvalidSpecError, match=r"set spec\.keycloak\.assertionProvider"):
        client_of({"serviceAccount": {"name": "trainer"}}, provider=None)
    assert authenticator_attributes(ClientSecret()) == {}


def claim(name: str, created_at: str, *, subject: str = "system:serviceaccount:site-a:x") -> SubjectClaim:
    """Return what the bot of that name wants."""
    return SubjectClaim(subject, ObjectKey("BotClient", "site-a", name), f"uid-{name}", created_at)


def test_the_oldest_has_the_subject() -> None:
    """Of all that want one ServiceAccount exactly one gets it, whatever the order."""
    claims = [
        claim("c", "2026-01-03T00:00:00Z"),
        claim("a", "2026-01-02T00:00:00Z"),
        claim("b", "2026-01-02T00:00:00Z"),
    ]
    other = claim("z", "2026-01-01T00:00:00Z", subject="system:serviceaccount:site-a:y")
    for known in (claims, claims[::-1]):
        told = {one.key.name: subject_conflict(one, [*known, other], operators_own=OPERATOR) for one in claims}
        assert told["a"] is None
        assert "authenticates BotClient/site-a/a already" in (told["b"] or "")
        assert "authenticates BotClient/site-a/a already" in (told["c"] or "")
    assert subject_conflict(other, claims, operators_own=OPERATOR) is None


def test_the_operators_own_subject_is_nobodys() -> None:
    """Else the operator's client and the bot's would be in each other's way."""
    own = claim("a", "2026-01-01T00:00:00Z", subject=OPERATOR)
    assert "is the operator's own" in (subject_conflict(own, [own], operators_own=OPERATOR) or "")


def test_thumbprint() -> None:
    """It depends on the key alone, not on what is written beside it."""
    key = {"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2Yi"}
    assert thumbprint(key) == thumbprint({**key, "kid": "1", "use": "sig"})
    assert thumbprint(key) != thumbprint({**key, "x": "A"})
    assert len(thumbprint(key)) == 43
