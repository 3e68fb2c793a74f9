"""Tests of Driverless AI: its settings byte for byte, and what it makes of them."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.naming import ObjectKey
from fedid.domain.oidc_client import ClaimSource, Flow, parse_oidc_client
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms import driverless_ai
from fedid.platforms.identity import OidcClient, ServedIdentity
from fedid.platforms.table import client_needs, renderer
from tests.platforms.samples import AUDIT, DEFAULT, trainer

GOLDEN = Path(__file__).parent / "golden" / "driverlessAi"
"""One folder per case: `options.yaml` as in the manifest, `mounted/` as a pod sees it."""
PATH = "spec.platform.driverlessAi"
ISSUER = "https://keycloak.example.org/realms/fl"
KEY = ObjectKey("PodIdentity", "site-a", "dai")


def server(*, public_client_id: str | None = "site-a.dai.server.public") -> ServedIdentity:
    """Return the server of the golden files."""
    client = OidcClient(
        client_id="site-a.dai.server",
        client_secret=Sensitive("fbs_golden-secret"),
        redirect_uris=("https://dai.site-a.example:12345/oidc/callback",),
        post_logout_redirect_uris=("https://dai.site-a.example:12345/login",),
        base_url="https://dai.site-a.example:12345",
        public_client_id=public_client_id,
    )
    return ServedIdentity(issuer_url=ISSUER, oidc_client=client)


def rendered(options: dict[str, Any], role: str = "server", *, public: str | None = None) -> dict[str, str]:
    """Return what a pod mounts."""
    identity = server(public_client_id=public) if role == "server" else trainer(default=DEFAULT, audit=AUDIT)
    return {key: value.reveal() for key, value in renderer("driverlessAi", options, role)(identity).items()}


def public_id(options: dict[str, Any]) -> str | None:
    """Return the id of the public client that these options bring about."""
    spec = parse_oidc_client({"oidcClient": {"baseUrl": "https://dai"}}, KEY, client_needs("driverlessAi", options))
    return spec.second.client_id if spec is not None and spec.second is not None else None


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDEN.iterdir()))
def test_a_pod_mounts_the_golden_files(case: str) -> None:
    """What lies in the Secret is byte for byte what the golden files hold, no key more and none less."""
    options = yaml.safe_load((GOLDEN / case / "options.yaml").read_text(encoding="utf-8"))
    role = "client" if case == "program" else "server"
    found = rendered(options, role, public=public_id(options) if role == "server" else None)
    mounted = {path.name: path.read_bytes() for path in (GOLDEN / case / "mounted").iterdir()}
    assert {key: value.encode() for key, value in found.items()} == mounted


def test_file_and_variables_say_the_same() -> None:
    """A TOML reader finds in the file what the variables say, whichever characters the values have."""
    options = yaml.safe_load((GOLDEN / "config_toml_everything" / "options.yaml").read_text(encoding="utf-8"))
    file = tomllib.loads(rendered(options, public="p")["config.toml"])
    variables = rendered({**options, "format": "Environment"}, public="p")
    as_words = {True: "true", False: "false"}
    assert {f"DRIVERLESS_AI_{k.upper()}": as_words.get(v, v) for k, v in file.items()} == variables


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_any_text_survives_the_file(value: str) -> None:
    """No value can end its string and say something else."""
    options = {"format": "ConfigToml", "gate": {"claim": "x", "source": "UserAttribute", "value": value}}
    file = tomllib.loads(rendered(options)["config.toml"])
    assert file["auth_openid_userinfo_auth_value"] == value
    assert file["authentication_method"] == "oidc"


@pytest.mark.parametrize(
    ("source", "in_id_token", "in_userinfo"),
    [("userinfo", False, True), ("idToken", True, False)],
)
def test_the_gate_is_on_the_token_that_is_read(source: str, in_id_token: bool, in_userinfo: bool) -> None:  # noqa: FBT001
    """Where the server looks, there the claim is, and nowhere else."""
    gate = {"claim": "groups", "source": "Groups", "objectPath": "$.groups"}
    (claim,) = client_needs("driverlessAi", {"identitySource": source, "gate": gate}).claims
    assert (claim.name, claim.source, claim.in_id_token, claim.in_userinfo) == (
        "groups",
        ClaimSource.GROUPS,
        in_id_token,
        in_userinfo,
    )


def test_the_client_follows_from_one_address() -> None:
    """Redirect and post-logout URIs of both clients are derived, and match what the settings say."""
    options: dict[str, Any] = {"pythonClient": {}}
    block = {"baseUrl": "https://dai.site-a.example:12345/"}
    spec = parse_oidc_client({"oidcClient": block}, KEY, client_needs("driverlessAi", options))
    assert spec is not None
    assert spec.second is not None
    found = rendered(options, public=spec.second.client_id)
    assert {found["DRIVERLESS_AI_AUTH_OPENID_REDIRECT_URI"]} == spec.redirect_uris
    assert {found["DRIVERLESS_AI_AUTH_OIDC_POST_LOGOUT_URL"]} == spec.post_logout_redirect_uris
    assert {found["DRIVERLESS_AI_OAUTH2_CLIENT_TOKENS_REDIRECT_URL"]} == spec.second.redirect_uris
    assert spec.flows == {Flow.AUTHORIZATION_CODE, Flow.INTROSPECTION}
    assert (spec.public, spec.second.public) == (False, True)


@pytest.mark.parametrize(
    ("options", "role", "told"),
    [
        ({"format": "toml"}, "server", "format is 'toml'; write Environment or ConfigToml"),
        ({"method": "saml"}, "server", "method is 'saml'"),
        ({"method": "openid", "identitySource": "idToken"}, "server", "identitySource is for method: oidc"),
        (
            {"method": "openid", "usernameClaimKey": "auth_oidc_username_claim"},
            "server",
            "usernameClaimKey is for method: oidc",
        ),
        ({"usernameClaimKey": "x"}, "server", "usernameClaimKey is 'x'"),
        ({"usernameClaim": "a\nb"}, "server", "in one line"),
        ({"scopes": ["a b"]}, "server", "no scope"),
        ({"gate": {"claim": "x", "source": "UserAttribute"}}, "server", "exactly one of value and objectPath"),
        (
            {"gate": {"claim": "x", "source": "UserAttribute", "value": "a", "objectPath": "b"}},
            "server",
            "exactly one of value and objectPath",
        ),
        ({"gate": {"claim": "groups", "value": "/a"}}, "server", "groups are a list; write objectPath"),
        ({"gate": {"claim": "sub", "objectPath": "$"}}, "server", "gate.claim is 'sub'"),
        ({"gate": {"claim": "groups", "source": "UserAttribute", "value": "x"}}, "server", "gate.claim is 'groups'"),
        ({"gate": {"claim": "x", "source": "Realm", "value": "x"}}, "server", "source is 'Realm'"),
        ({"method": "oidc"}, "client", "role: server only"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], role: str, told: str) -> None:
    """One sentence names the field and says what to write."""
    with pytest.raises(InvalidSpecError) as refused:
        renderer("driverlessAi", options, role)
    assert told in refused.value.message
    assert refused.value.message.startswith(PATH)


@pytest.mark.parametrize(
    "client",
    [None, replace(server().oidc_client, client_secret=None), replace(server().oidc_client, base_url=None)],  # type: ignore[type-var]
)
def test_a_server_without_what_it_needs_is_told(client: OidcClient | None) -> None:
    """Nothing is rendered with a hole in it."""
    with pytest.raises(InvalidSpecError, match="must have a baseUrl and a secret"):
        driverless_ai.render(replace(server(), oidc_client=client), driverless_ai.Options())


def test_a_program_without_a_token_is_told() -> None:
    """A program presents a bearer token or nothing."""
    render = renderer("driverlessAi", {}, "client")
    with pytest.raises(InvalidSpecError, match="give the BotClient one") as refused:
        render(trainer())
    assert refused.value.reason == "TokenMissing"


def test_a_program_of_a_bot_with_a_key_has_no_secret() -> None:
    """What is not there is no key of the Secret."""
    files = renderer("driverlessAi", {}, "client")(replace(trainer(default=DEFAULT), client_secret=None))
    assert sorted(files) == ["access_token", "client_id", "token_endpoint_url", "token_introspection_url"]
