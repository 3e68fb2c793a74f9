"""Tests of the clients of servers: what the spec asks, what the grants leave of it, what Keycloak is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fedid.domain.grants import parse_grants
from fedid.domain.judgement import judge
from fedid.domain.naming import ObjectKey, client_uuid
from fedid.domain.oidc_client import (
    ClaimSource,
    ClientNeeds,
    Flow,
    MappedClaim,
    OidcClientSpec,
    PublicClientNeeds,
    parse_oidc_client,
)
from fedid.domain.oidc_client_record import (
    DesiredOidcClient,
    asks_of_oidc_client,
    client_uuids,
    desired_oidc_clients,
    oidc_client_record,
)
from fedid.domain.resources import meta_of, parse_federation
from fedid.errors import InvalidSpecError
from tests.domain.samples import body

KEY = ObjectKey("PodIdentity", "site-a", "dai")
BASE = "https://dai.site-a.example:12345"
GATE = MappedClaim("dai_access", ClaimSource.USER_ATTRIBUTE, in_id_token=True, in_userinfo=False)
SIGNS_IN = ClientNeeds(
    flows=frozenset({Flow.AUTHORIZATION_CODE}),
    redirect_paths=("/oidc/callback",),
    post_logout_paths=("/login",),
    claims=(GATE,),
    public_client=PublicClientNeeds(None, ("/oauth2/client_token",)),
    takes_public=False,
)
EVERYTHING: dict[str, Any] = {
    "oidcFlows": ["authorizationCode", "device", "clientCredentials", "introspection"],
    "redirectUriPrefixes": ["https://dai.{namespace}.example:12345/*"],
    "audiences": ["*"],
    "claims": ["dai_*"],
    "scopes": ["fl-*"],
    "clientIds": ["*"],
}


def parsed(block: dict[str, Any] | None, needs: ClientNeeds = SIGNS_IN) -> OidcClientSpec:
    """Return the client that a PodIdentity asks for."""
    found = parse_oidc_client({"oidcClient": block}, KEY, needs)
    assert found is not None
    return found


def granted(block: dict[str, Any], needs: ClientNeeds = SIGNS_IN, **grant: Any) -> tuple[DesiredOidcClient, ...]:
    """Return what is left of it under one rule."""
    spec = parsed(block, needs)
    federation = parse_federation(body("Federation"))
    rules = parse_grants({"grants": [{"namespaces": {"names": ["site-a"]}, **grant}]})
    verdict = judge(asks_of_oidc_client(spec), rules, federation="local", namespace="site-a", labels={})
    return desired_oidc_clients(spec, meta_of(pod_body()), federation, verdict, owner="i/u")


def pod_body() -> dict[str, Any]:
    """Return a PodIdentity as far as its name goes."""
    return {"kind": "PodIdentity", "metadata": {"namespace": "site-a", "name": "dai", "uid": "u"}}


class TestParse:
    """What is written, and what the platform says where nothing is."""

    def test_a_platform_derives_everything_from_one_address(self) -> None:
        """Redirect URIs, the flow and the ids of both clients follow."""
        spec = parsed({"baseUrl": f"{BASE}/"})
        assert spec.client_id == "site-a.dai.server"
        assert spec.default_named
        assert spec.redirect_uris == {f"{BASE}/oidc/callback"}
        assert spec.post_logout_redirect_uris == {f"{BASE}/login"}
        assert spec.flows == {Flow.AUTHORIZATION_CODE}
        assert spec.second is not None
        assert (spec.second.client_id, spec.second.public) == ("site-a.dai.server.public", True)
        assert spec.second.redirect_uris == {f"{BASE}/oauth2/client_token"}

    def test_what_is_written_comes_beside_it(self) -> None:
        """More addresses do not take those away that the platform needs."""
        spec = parsed({"baseUrl": BASE, "redirectUris": ["https://other.example/cb"], "flows": ["authorizationCode"]})
        assert spec.redirect_uris == {f"{BASE}/oidc/callback", "https://other.example/cb"}

    def test_no_block_and_no_need_is_no_client(self) -> None:
        """A server that only checks tokens against a list has none."""
        assert parse_oidc_client({}, KEY, ClientNeeds()) is None

    @pytest.mark.parametrize(
        ("block", "needs", "told"),
        [
            (None, SIGNS_IN, "spec.oidcClient is missing"),
            ({}, ClientNeeds(), "spec.oidcClient.flows is missing"),
            ({}, SIGNS_IN, "spec.oidcClient.baseUrl is missing"),
            ({"baseUrl": "http://dai.example.org"}, SIGNS_IN, "spec.oidcClient.baseUrl is 'http://dai.example.org'"),
            ({"baseUrl": BASE, "flows": ["device"]}, SIGNS_IN, "flows lacks authorizationCode"),
            ({"baseUrl": BASE, "public": True}, SIGNS_IN, "has to have a secret"),
            ({"flows": ["password"]}, ClientNeeds(), "flows holds password"),
            ({"flows": ["authorizationCode"]}, ClientNeeds(), "redirectUris is missing"),
            ({"flows": ["device"], "redirectUris": [f"{BASE}/x"]}, ClientNeeds(), "only for the flow"),
            ({"flows": ["introspection"], "public": True}, ClientNeeds(), "introspection needs a secret"),
            ({"flows": ["clientCredentials"], "public": True}, ClientNeeds(), "clientCredentials needs a secret"),
            (
                {"flows": ["authorizationCode"], "redirectUris": [f"{BASE}/*"]},
                ClientNeeds(),
                "spec.oidcClient.redirectUris[0] is",
            ),
            (
                {"flows": ["device"], "postLogoutRedirectUris": ["+"]},
                ClientNeeds(),
                "spec.oidcClient.postLogoutRedirectUris[0] is",
            ),
        ],
    )
    def test_what_means_nothing_is_refused(self, block: dict[str, Any] | None, needs: ClientNeeds, told: str) -> None:
        """The sentence names the field."""
        with pytest.raises(InvalidSpecError) as refused:
            parse_oidc_client({"oidcClient": block}, KEY, needs)
        assert told in refused.value.message


class TestGrants:
    """Nothing is made that no rule covers."""

    def test_everything(self) -> None:
        """Both clients, the public one's tokens being for the server that introspects them."""
        main, second = granted({"baseUrl": BASE, "audiences": ["mlops"]}, **EVERYTHING)
        assert (main.client_uuid, second.client_uuid) == client_uuids("u")
        assert main.client_uuid == client_uuid("u")
        assert main.claims == (GATE,)
        assert second.audiences == {"site-a.dai.server"}

    def test_nothing(self) -> None:
        """Without a rule about flows and addresses there is no client."""
        assert granted({"baseUrl": BASE}) == ()

    @pytest.mark.parametrize("kept_from", ["oidcFlows", "redirectUriPrefixes"])
    def test_neither_flow_nor_address_is_enough(self, kept_from: str) -> None:
        """Each has to be covered."""
        assert granted({"baseUrl": BASE}, **{k: v for k, v in EVERYTHING.items() if k != kept_from}) == ()

    def test_a_flow_is_never_covered_by_an_asterisk(self) -> None:
        """Flows are few: each is named."""
        assert granted({"flows": ["device"]}, ClientNeeds(), oidcFlows=["*"]) == ()

    def test_the_addresses_of_another_namespace(self) -> None:
        """`{namespace}` is the one that asks."""
        assert granted({"baseUrl": "https://dai.site-b.example:12345"}, **EVERYTHING) == ()

    def test_another_id(self) -> None:
        """An id that is not its own is granted or there is no client."""
        rules = {**EVERYTHING, "clientIds": ["dai"]}
        assert [c.client_id for c in granted({"baseUrl": BASE, "clientId": "dai"}, **rules)] == [
            "dai",
            "site-a.dai.server.public",
        ]
        assert granted({"baseUrl": BASE, "clientId": "account-console"}, **rules) == ()

    def test_what_is_narrowed_is_withdrawn(self) -> None:
        """Audience, claim, address and flow go one by one; the rest stays."""
        block = {
            "flows": ["authorizationCode", "device"],
            "baseUrl": BASE,
            "redirectUris": ["https://other.example/cb"],
            "audiences": ["mlops"],
            "defaultScopes": ["fl-roles"],
            "optionalScopes": ["fl-profile"],
        }
        (main, _) = granted(block, oidcFlows=["authorizationCode"], redirectUriPrefixes=[BASE])
        assert main.flows == {Flow.AUTHORIZATION_CODE}
        assert main.redirect_uris == {f"{BASE}/oidc/callback"}
        assert (main.audiences, main.claims) == (frozenset(), ())
        assert (main.default_scopes, main.optional_scopes) == (frozenset(), frozenset())

    def test_client_scopes(self) -> None:
        """Each is granted by name, and they are the server's own client's alone."""
        block = {"baseUrl": BASE, "defaultScopes": ["fl-roles", "roles-of-others"], "optionalScopes": ["fl-profile"]}
        main, second = granted(block, **EVERYTHING)
        assert (main.default_scopes, main.optional_scopes) == ({"fl-roles"}, {"fl-profile"})
        assert second.default_scopes | second.optional_scopes == frozenset()

    def test_without_an_address_nobody_is_signed_in(self) -> None:
        """The flow goes with its last address, and takes the other client along."""
        block = {"flows": ["authorizationCode", "device"], "baseUrl": BASE}
        (main,) = granted(block, oidcFlows=["authorizationCode", "device"])
        assert (main.flows, main.redirect_uris, main.post_logout_redirect_uris) == (
            {Flow.DEVICE},
            frozenset(),
            frozenset(),
        )

    def test_a_limit_on_tokens_is_one_on_these(self) -> None:
        """Access tokens live as long as those of bots at most."""
        assert granted({"baseUrl": BASE}, **EVERYTHING)[0].lifetime == timedelta(minutes=10)
        assert granted({"baseUrl": BASE}, **EVERYTHING, maxTokenLifetime="5m")[0].lifetime == timedelta(minutes=5)


class TestRecord:
    """What Keycloak is told."""

    def test_a_server_that_signs_users_in(self) -> None:
        """Confidential, with one flow, exact addresses, and never full scope."""
        main, _ = granted({"baseUrl": BASE}, **EVERYTHING)
        record = oidc_client_record(main, secret=None)
        assert [name for name, value in record.flags.items() if value] == ["standardFlowEnabled"]
        assert record.uris == {"redirectUris": (f"{BASE}/oidc/callback",), "webOrigins": ()}
        assert record.attributes["post.logout.redirect.uris"] == f"{BASE}/login"
        assert record.attributes["fedid.secret-rotation"] == "true"
        assert "pkce.code.challenge.method" not in record.attributes
        (mapper,) = record.mappers
        assert mapper.config["id.token.claim"] == "true"
        assert mapper.config["userinfo.token.claim"] == "false"
        assert mapper.config["access.token.claim"] == "false"

    def test_the_public_one_must_use_pkce(self) -> None:
        """Without a secret only PKCE ties the code to who asked for it."""
        _, second = granted({"baseUrl": BASE}, **EVERYTHING)
        record = oidc_client_record(second, secret=None)
        assert [name for name, value in record.flags.items() if value] == ["publicClient", "standardFlowEnabled"]
        assert record.attributes["pkce.code.challenge.method"] == "S256"
        assert "fedid.secret-rotation" not in record.attributes

    def test_a_public_device_client_needs_none(self) -> None:
        """Programs that sign in on another screen send no challenge."""
        (main,) = granted({"flows": ["device"], "public": True}, ClientNeeds(), **EVERYTHING)
        record = oidc_client_record(main, secret=None)
        assert record.attributes["oauth2.device.authorization.grant.enabled"] == "true"
        assert "pkce.code.challenge.method" not in record.attributes
        assert [name for name, value in record.flags.items() if value] == ["publicClient"]

    def test_one_that_works_for_itself(self) -> None:
        """Only then is there a service account."""
        (main,) = granted({"flows": ["clientCredentials"]}, ClientNeeds(), **EVERYTHING)
        flags = oidc_client_record(main, secret=None).flags
        assert [name for name, value in flags.items() if value] == ["serviceAccountsEnabled"]

    def test_one_that_only_introspects(self) -> None:
        """Every way to get a token is shut."""
        (main,) = granted({"flows": ["introspection"]}, ClientNeeds(), **EVERYTHING)
        assert not any(oidc_client_record(main, secret=None).flags.values())
