"""Users sign in through the clients that servers get, at a real Keycloak: what works, what is refused, what is said."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from fedid.domain.bot import DesiredSecretRotation
from fedid.domain.judgement import Verdict
from fedid.domain.naming import ObjectKey
from fedid.domain.oidc_client import Flow, parse_oidc_client
from fedid.domain.oidc_client_record import DesiredOidcClient, desired_oidc_clients, oidc_client_record
from fedid.domain.resources import Federation, Meta, meta_of, parse_federation
from fedid.domain.sensitive import Sensitive
from fedid.platforms.identity import OidcClient, ServedIdentity
from fedid.platforms.table import client_needs, renderer
from fedid.ports import IdentityProvider
from tests.contract.conftest import KeycloakSubject
from tests.contract.signing_in import Browser, RelyingParty, SignInError, said
from tests.crds.manifests import FEDERATION

BASE = "https://dai.site-a.example:12345"
OPTIONS = {
    "gate": {"claim": "groups", "source": "Groups", "objectPath": "'/sites/a' in $.groups"},
    "pythonClient": {},
}
PASSWORD = "correct horse battery"
GROUP = "/sites/a"


@dataclass(frozen=True, slots=True)
class Dai:
    """A Driverless AI server and the Python client of its users, by the settings that a pod would mount."""

    provider: IdentityProvider
    clients: tuple[DesiredOidcClient, DesiredOidcClient]
    settings: dict[str, str]
    username: str
    server: RelyingParty
    python: RelyingParty


@pytest.fixture
async def dai(keycloak: KeycloakSubject) -> Dai:
    """Make both clients as the operator does, and a user in a group."""
    provider = keycloak.provider()
    await provider.probe()
    needs = client_needs("driverlessAi", OPTIONS)
    key = ObjectKey("PodIdentity", "site-a", keycloak.prefix)
    spec = parse_oidc_client({"oidcClient": {"baseUrl": BASE, "clientId": f"{keycloak.prefix}-dai"}}, key, needs)
    assert spec is not None
    assert spec.second is not None
    shared = {"owner": "i/u", "object_name": str(key), "lifetime": timedelta(minutes=10), "issuer_url": ""}
    main = DesiredOidcClient(
        client_uuid=str(uuid.uuid4()),
        client_id=spec.client_id,
        flows=spec.flows,
        public=False,
        redirect_uris=spec.redirect_uris,
        post_logout_redirect_uris=spec.post_logout_redirect_uris,
        audiences=frozenset(),
        claims=spec.claims,
        rotation=DesiredSecretRotation(),
        **shared,  # type: ignore[arg-type]
    )
    public = replace(
        main,
        client_uuid=str(uuid.uuid4()),
        client_id=f"{keycloak.prefix}-dai-py",
        flows=frozenset({Flow.AUTHORIZATION_CODE}),
        public=True,
        redirect_uris=spec.second.redirect_uris,
        post_logout_redirect_uris=frozenset(),
        claims=(),
        audiences=frozenset({main.client_id}),
    )
    secret = Sensitive(f"fbs_{uuid.uuid4()}")
    assert await provider.create_client(oidc_client_record(main, secret=secret))
    assert await provider.create_client(oidc_client_record(public, secret=None))
    username = _user(keycloak)
    issuer = keycloak.stack.issuer_url
    client = OidcClient(main.client_id, secret, base_url=BASE, public_client_id=public.client_id)
    files = renderer("driverlessAi", OPTIONS, "server")(ServedIdentity(issuer, oidc_client=client))
    settings = {name.removeprefix("DRIVERLESS_AI_"): value.reveal() for name, value in files.items()}
    server = RelyingParty(
        settings["AUTH_OIDC_ISSUER_URL"],
        settings["AUTH_OPENID_CLIENT_ID"],
        settings["AUTH_OPENID_REDIRECT_URI"],
        settings["AUTH_OPENID_CLIENT_SECRET"],
        settings["AUTH_OPENID_SCOPE"],
    )
    python = RelyingParty(
        issuer,
        settings["OAUTH2_CLIENT_TOKENS_CLIENT_ID"],
        settings["OAUTH2_CLIENT_TOKENS_REDIRECT_URL"],
        scope=settings["OAUTH2_CLIENT_TOKENS_SCOPE"],
        pkce=True,
    )
    return Dai(provider, (main, public), settings, username, server, python)


def _user(keycloak: KeycloakSubject) -> str:
    hands, username = keycloak.hands, f"{keycloak.prefix}-ana"
    user_id = hands.add_user(username, email=f"{username}@site-a.example")
    password = {"type": "password", "value": PASSWORD, "temporary": False}
    hands.call("PUT", f"/users/{user_id}/reset-password", password)
    hands.call("PUT", f"/users/{user_id}/groups/{hands.call('GET', f'/group-by-path{GROUP}')['id']}")
    return username


def test_a_user_signs_in_and_is_let_in_by_the_gate(dai: Dai) -> None:
    """The server finds name and groups where it looks, and nowhere else."""
    code, _ = dai.server.code(Browser(), dai.username, PASSWORD)
    tokens = dai.server.tokens(code)
    about = dai.server.userinfo(tokens["access_token"])
    assert about[dai.settings["AUTH_OIDC_USERNAME_CLAIM"]] == dai.username
    assert about["groups"] == [GROUP]
    assert "groups" not in said(tokens["id_token"])
    access = said(tokens["access_token"])
    assert "groups" not in access
    assert "realm_access" not in access, "no full scope"
    assert access["sub"]
    assert access["exp"] - access["iat"] == 600


def test_a_code_comes_back_to_the_exact_address_only(dai: Dai) -> None:
    """Whatever looks like it is refused before anybody signs in."""
    for elsewhere in (
        f"{BASE}/oidc/callback/x",
        f"{BASE}/oidc/callback?x=y",
        f"{BASE}/oidc/../oidc/callback",
        "https://dai.site-a.example:12345.evil/oidc/callback",
        "https://dai.site-a.example/oidc/callback",
    ):
        with pytest.raises(SignInError, match="redirect_uri"):
            replace(dai.server, redirect_uri=elsewhere).code(Browser(), dai.username, PASSWORD)


def test_after_a_logout_the_browser_comes_back(dai: Dai) -> None:
    """To the server's login page, and to no other address."""
    browser = Browser()
    code, _ = dai.server.code(browser, dai.username, PASSWORD)
    hint = {"id_token_hint": dai.server.tokens(code)["id_token"]}
    there = dai.settings["AUTH_OIDC_POST_LOGOUT_URL"]
    elsewhere = urlencode({**hint, "post_logout_redirect_uri": "https://evil.example/"})
    assert browser.get(f"{dai.server.endpoint('logout')}?{elsewhere}").status == 400
    back = urlencode({**hint, "post_logout_redirect_uri": there})
    assert browser.get(f"{dai.server.endpoint('logout')}?{back}").location == there


def test_the_python_client_must_use_pkce(dai: Dai) -> None:
    """Without a challenge there is no code, and without its verifier no token."""
    with pytest.raises(SignInError, match="code_challenge"):
        replace(dai.python, pkce=False).code(Browser(), dai.username, PASSWORD)
    code, _ = dai.python.code(Browser(), dai.username, PASSWORD)
    assert dai.python.tokens(code, "x" * 43)["error"] == "invalid_grant"


def test_the_server_takes_tokens_of_the_python_client(dai: Dai) -> None:
    """By introspection, with the field that the settings name."""
    code, verifier = dai.python.code(Browser(), dai.username, PASSWORD)
    tokens = dai.python.tokens(code, verifier)
    found = dai.server.ask("token/introspect", {"token": tokens["access_token"]})
    assert found["active"] is True
    assert found[dai.settings["API_TOKEN_OAUTH2_USERNAME_FIELD_NAME"]] == dai.username


@pytest.mark.parametrize("grant", ["password", "client_credentials"])
def test_there_is_no_other_way_in(dai: Dai, grant: str) -> None:
    """Neither a password nor the server's own secret yields a token."""
    form = {"grant_type": grant, "username": dai.username, "password": PASSWORD}
    assert dai.server.ask("token", form)["error"] == "unauthorized_client"


async def test_nothing_is_good_after_the_end(dai: Dai) -> None:
    """Refresh and access tokens of both clients end with them, and stay dead when they are made anew."""
    refresh, access = {}, {}
    for party in (dai.server, dai.python):
        code, verifier = party.code(Browser(), dai.username, PASSWORD)
        tokens = party.tokens(code, verifier)
        refresh[party], access[party] = tokens["refresh_token"], tokens["access_token"]
        assert party.userinfo(access[party])["sub"]
    for client in dai.clients:
        await dai.provider.delete_client(client.client_uuid)
    last = dai.provider.server_now_at_most()
    for party in (dai.server, dai.python):
        assert party.ask("token", {"grant_type": "refresh_token", "refresh_token": refresh[party]})["error"] in {
            "invalid_client",
            "unauthorized_client",
        }
        assert "sub" not in party.userinfo(access[party])
    while dai.provider.server_now() <= last:
        await dai.provider.probe()
    secret = dai.server.client_secret or ""
    for client in dai.clients:
        record = oidc_client_record(
            replace(client, client_uuid=str(uuid.uuid4())),
            secret=None if client.public else Sensitive(secret),
            not_before=int(dai.provider.server_now().timestamp()),
        )
        assert await dai.provider.create_client(record)
    for party in (dai.server, dai.python):
        assert "access_token" not in party.ask(
            "token", {"grant_type": "refresh_token", "refresh_token": refresh[party]}
        )
        assert "sub" not in party.userinfo(access[party])


async def test_a_superlink_signs_accounts_in_on_another_screen(keycloak: KeycloakSubject) -> None:
    """By the device flow alone; it may introspect what its accounts show it, and finds out who they are."""
    provider = keycloak.provider()
    await provider.probe()
    options = {"superLink": {"version": "1.41"}}
    key = ObjectKey("PodIdentity", "site-a", "superlink")
    block = {"oidcClient": {"clientId": f"{keycloak.prefix}-superlink"}}
    spec = parse_oidc_client(block, key, client_needs("flower", options))
    assert spec is not None
    (client,) = desired_oidc_clients(spec, _meta(key), _federation(), _allowed(), owner="i/u")
    secret = Sensitive(f"fbs_{uuid.uuid4()}")
    record = replace(oidc_client_record(client, secret=secret), client_uuid=str(uuid.uuid4()))
    assert await provider.create_client(record)
    identity = ServedIdentity(keycloak.stack.issuer_url, oidc_client=OidcClient(client.client_id, secret))
    files = {name: value.reveal() for name, value in renderer("flower", options, "server")(identity).items()}
    superlink = RelyingParty(
        files["FLWR_OIDC_ISSUER"], files["FLWR_OIDC_CLIENT_ID"], "", files["FLWR_OIDC_CLIENT_SECRET"], "openid"
    )
    username = _user(keycloak)
    tokens = superlink.on_another_screen(Browser(), username, PASSWORD)
    assert tokens["refresh_token"]
    assert superlink.userinfo(tokens["access_token"])["sub"] == said(tokens["access_token"])["sub"]
    found = superlink.ask("token/introspect", {"token": tokens["access_token"]})
    assert (found["active"], found["username"]) == (True, username)


def _meta(key: ObjectKey) -> Meta:
    return meta_of({"kind": key.kind, "metadata": {"namespace": key.namespace, "name": key.name, "uid": "u"}})


def _federation() -> Federation:
    return parse_federation({**FEDERATION, "metadata": {**FEDERATION["metadata"], "uid": "u"}})


def _allowed() -> Verdict:
    return Verdict(namespace_matched=True, denied=frozenset(), max_token_lifetime=None, message="")
