"""Tests of the AI-on-Demand platform: what `aiod` would make of its two files."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import Identity, MountedIdentity
from fedid.platforms.table import renderer
from tests.platforms.samples import DEFAULT, server, trainer

API = {"apiServer": "https://api.aiodp.eu/"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def read(identity: Identity, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `token.toml` and `config.toml` say to a reader of TOML."""
    files = renderer("aiod", options, "client")(identity)
    assert files.keys() == {"token.toml", "config.toml"}
    return tomllib.loads(files["token.toml"].reveal()), tomllib.loads(files["config.toml"].reveal())


@given(TEXT, TEXT)
def test_no_secret_and_no_id_can_break_out(secret: str, client_id: str) -> None:
    """Whatever they hold, `token.toml` has the secret alone, as aiod demands, and each value is itself."""
    bot = replace(trainer(), client_secret=Sensitive(secret), client_id=client_id)
    token, config = read(bot, API)
    assert token == {"client_secret": secret}
    assert config == {
        "api_server": "https://api.aiodp.eu/",
        "auth_server": "https://keycloak.example.org/",
        "realm": "fl",
        "client_id": client_id,
    }


@pytest.mark.parametrize(
    ("issuer", "auth_server", "realm"),
    [
        ("https://auth.aiodp.eu/aiod-auth/realms/aiod", "https://auth.aiodp.eu/aiod-auth/", "aiod"),
        ("http://127.0.0.1:8080/realms/fl.example.org", "http://127.0.0.1:8080/", "fl.example.org"),
        ("https://example.org/realms/a/realms/b", "https://example.org/realms/a/", "b"),
    ],
)
def test_aiod_asks_the_issuer(issuer: str, auth_server: str, realm: str) -> None:
    """What aiod puts together of the two is the token endpoint of the realm, context path and all."""
    bot = replace(trainer(), issuer_url=issuer)
    _, config = read(bot, API)
    assert (config["auth_server"], config["realm"]) == (auth_server, realm)
    asked = urljoin(config["auth_server"], f"realms/{config['realm']}/protocol/openid-connect/token")
    assert asked == bot.endpoints.token


@pytest.mark.parametrize("given_url", ["https://example.org/aiod-auth", "https://example.org/aiod-auth/"])
def test_a_final_slash_is_there_whatever_was_written(given_url: str) -> None:
    """Without it the last part of the path would be dropped."""
    _, config = read(trainer(), {"apiServer": given_url, "authServer": given_url})
    assert config["api_server"] == config["auth_server"] == "https://example.org/aiod-auth/"


@pytest.mark.parametrize(
    "identity",
    [
        replace(trainer(default=DEFAULT), client_secret=None, private_key=Sensitive("PEM"), key_id="kid-1"),
        replace(trainer(), client_secret=None),
    ],
    ids=["a bot with a key", "a bot with a ServiceAccount"],
)
def test_a_bot_without_a_secret_is_refused_with_the_reason(identity: MountedIdentity) -> None:
    """The program has no other way to sign in."""
    with pytest.raises(InvalidSpecError, match=r"knows neither private keys nor ServiceAccounts; name a bot with"):
        read(identity, API)


def test_an_issuer_without_a_realm_is_refused() -> None:
    """There is nothing that aiod could put together."""
    for issuer in ("https://issuer.example.org", "/realms/fl", "https://example.org/realms/"):
        with pytest.raises(InvalidSpecError, match="does not end in /realms/<realm>"):
            read(replace(trainer(), issuer_url=issuer), API)


def test_a_server_is_refused() -> None:
    """By its role, and by what it would be given."""
    with pytest.raises(InvalidSpecError, match=r"^spec\.platform\.aiod is for role: client"):
        renderer("aiod", API, "server")
    with pytest.raises(InvalidSpecError, match=r"^spec\.platform\.aiod is for role: client"):
        read(server(), API)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "spec.platform.aiod.apiServer is missing"),
        ({"apiServer": "api.aiodp.eu"}, "spec.platform.aiod.apiServer is no base URL"),
        ({"apiServer": "https://me:pw@api.aiodp.eu/"}, "spec.platform.aiod.apiServer is no base URL"),
        ({"apiServer": "https://api.aiodp.eu/?a=b"}, "spec.platform.aiod.apiServer is no base URL"),
        ({"apiServer": "https://api.aiodp.eu/\n"}, "spec.platform.aiod.apiServer is no base URL"),
        ({**API, "authServer": "ftp://example.org/"}, "spec.platform.aiod.authServer is no base URL"),
        ({**API, "authServer": "https://example.org/realms/fl"}, "leave out /realms/<realm>"),
        ({**API, "version": "latest"}, "such as v2"),
        ({**API, "requestTimeoutSeconds": 0}, "a whole number from 1 to 3600"),
        ({**API, "requestTimeoutSeconds": 3601}, "a whole number from 1 to 3600"),
        ({**API, "requestTimeoutSeconds": "10"}, "a whole number from 1 to 3600"),
        ({**API, "requestTimeoutSeconds": True}, "a whole number from 1 to 3600"),
    ],
)
def test_a_wrong_option_says_what_to_write(options: dict[str, Any], told: str) -> None:
    """Also where an older schema let it through; what is written is not repeated where it may hold a password."""
    with pytest.raises(InvalidSpecError) as caught:
        renderer("aiod", options, "client")
    assert told in caught.value.message
    assert "pw" not in caught.value.message
