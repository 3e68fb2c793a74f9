"""Tests of account authentication of a SuperLink: byte for byte, by version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedid.domain.naming import ObjectKey
from fedid.domain.oidc_client import Flow, parse_oidc_client
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms import flower_accounts
from fedid.platforms.identity import OidcClient, ServedIdentity
from fedid.platforms.table import client_needs, renderer

GOLDEN = Path(__file__).parent / "golden" / "flower_superlink"
"""One folder per case: `options.yaml` as in the manifest, `mounted/` as a pod sees it."""
ISSUER = "https://keycloak.example.org/realms/fl"
SERVER = ServedIdentity(ISSUER, oidc_client=OidcClient("site-a.superlink.server", Sensitive("fbs_golden-secret")))
FGA = {"url": "http://openfga.fl:8080", "storeId": "s", "modelId": "m", "object": "service:grid"}
CASES = ("accounts_1_33", "accounts_1_41", "users_1_22")


def rendered(options: dict[str, Any]) -> dict[str, str]:
    """Return what a pod mounts."""
    return {key: value.reveal() for key, value in renderer("flower", options, "server")(SERVER).items()}


@pytest.mark.parametrize("case", CASES)
def test_a_superlink_mounts_the_golden_files(case: str) -> None:
    """What lies in the Secret is byte for byte what the golden files hold, no key more and none less."""
    options = yaml.safe_load((GOLDEN / case / "options.yaml").read_text(encoding="utf-8"))
    mounted = {path.name: path.read_text(encoding="utf-8") for path in (GOLDEN / case / "mounted").iterdir()}
    assert rendered(options) == mounted


def test_the_file_says_what_the_documentation_asks_for() -> None:
    """A YAML reader finds the sections and keys of the version, whatever the secret looks like."""
    secret = 'a": {b} \\ # c'
    client = OidcClient("superlink", Sensitive(secret))
    options = flower_accounts.parse({"superLink": {"version": "1.30", "openFga": FGA}}, "p", "server")
    files = flower_accounts.render(replace(SERVER, oidc_client=client), options)
    found = yaml.safe_load(files["account-auth-config.yml"].reveal())
    assert found == {
        "authentication": {
            "authn_type": "oidc",
            "authn_url": f"{ISSUER}/protocol/openid-connect/auth/device",
            "token_url": f"{ISSUER}/protocol/openid-connect/token",
            "validate_url": f"{ISSUER}/protocol/openid-connect/userinfo",
            "oidc_client_id": "superlink",
            "oidc_client_secret": secret,
        },
        "authorization": {
            "authz_type": "openfga",
            "authz_url": "http://openfga.fl:8080",
            "store_id": "s",
            "model_id": "m",
            "relation": "has_access",
            "object": "service:grid",
        },
    }


@pytest.mark.parametrize(
    ("version", "keys"),
    [
        ("1.22", ["user-auth-config.yml"]),
        ("1.23", ["account-auth-config.yml"]),
        ("1.33", ["account-auth-config.yml"]),
    ],
)
def test_the_form_changes_with_the_version(version: str, keys: list[str]) -> None:
    """At the very versions that changed it."""
    assert list(rendered({"superLink": {"version": version, "openFga": FGA}})) == keys


def test_from_1_34_on_there_are_variables() -> None:
    """And a switch for the certificate."""
    found = rendered({"superLink": {"version": "1.34", "verifyTls": False}})
    assert (found["FLWR_OIDC_ENABLED"], found["FLWR_OIDC_VERIFY_TLS"]) == ("1", "0")


def test_its_client_signs_in_on_another_screen_and_may_introspect_its_own_tokens() -> None:
    """With nothing but the flow `device`, and itself among the audiences."""
    needs = client_needs("flower", {"superLink": {"version": "1.41"}})
    spec = parse_oidc_client({"oidcClient": {}}, ObjectKey("PodIdentity", "site-a", "superlink"), needs)
    assert spec is not None
    assert (spec.flows, spec.public, spec.own_audience) == ({Flow.DEVICE}, False, True)
    assert not spec.redirect_uris


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "superLink is missing"),
        ({"superLink": {}}, "superLink.version is missing"),
        ({"superLink": {"version": "2.0"}}, "1.<minor>"),
        ({"superLink": {"version": "1.041"}}, "1.<minor>"),
        ({"superLink": {"version": "1.33"}}, "openFga is missing"),
        ({"superLink": {"version": "1.34", "openFga": FGA}}, "from 1.34 on"),
        ({"superLink": {"version": "1.33", "openFga": FGA, "verifyTls": True}}, "verifyTls is for flwr from 1.34"),
        ({"superLink": {"version": "1.33", "openFga": {**FGA, "object": "a b"}}}, "without blanks"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], told: str) -> None:
    """One sentence names the field and says what to write."""
    with pytest.raises(InvalidSpecError) as refused:
        renderer("flower", options, "server")
    assert told in refused.value.message


def test_without_a_secret_nothing_is_rendered() -> None:
    """A SuperLink cannot be public."""
    render = renderer("flower", {"superLink": {"version": "1.41"}}, "server")
    with pytest.raises(InvalidSpecError, match="must be there and have a secret"):
        render(ServedIdentity(ISSUER))


SELECTED = {"selector": {"matchLabels": {"grid": "blue"}}}


def link(version: str = "1.33", **spec: Any) -> dict[str, Any]:
    """Return the spec of a SuperLink; `fga` is what its block says beside where OpenFGA is."""
    block = {"version": version} | ({"openFga": {**FGA, **spec.pop("fga", {})}} if version == "1.33" else {})
    return {"role": "server", "platform": {"flower": {"superLink": block}}, **spec}


def test_members_are_those_whom_the_manifest_selects() -> None:
    """Bots by `accepts`, people by `users`, in the store and for the object that the SuperLink asks about."""
    both = flower_accounts.membership(link(accepts=SELECTED, fga={"users": {**SELECTED, "namespaces": ["site-b"]}}))
    assert both is not None
    assert (both.store_id, both.object, both.relation) == ("s", "service:grid", "has_access")
    body = {"metadata": {"namespace": "site-a", "labels": {"grid": "blue"}}, "spec": {}}
    assert both.selects("site-a", {**body, "kind": "BotClient"})
    assert both.selects("site-a", {**body, "kind": "FederationUser"})
    bots = flower_accounts.membership(link(accepts=SELECTED))
    assert bots is not None
    assert not bots.selects("site-a", {**body, "kind": "FederationUser"})


@pytest.mark.parametrize(
    "spec",
    [link(), link("1.41"), {"role": "client", "platform": {"flower": {"superNode": {}}}}, {"role": "server"}],
    ids=["nobody is selected", "from 1.34 on", "a client", "no platform"],
)
def test_where_nobody_is_selected_nothing_is_written(spec: dict[str, Any]) -> None:
    """Somebody else sees to the tuples, or there are none."""
    assert flower_accounts.membership(spec) is None


def test_the_members_change_nothing_of_the_file() -> None:
    """A SuperLink reads where OpenFGA is; whom it lets in OpenFGA says."""
    block = {"version": "1.33", "openFga": FGA}
    with_members = {**block, "openFga": {**FGA, "users": SELECTED}}
    assert rendered({"superLink": block}) == rendered({"superLink": with_members})
