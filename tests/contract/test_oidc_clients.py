"""The clients that servers are themselves, before every `IdentityProvider`: the fake and a real Keycloak.

The real one works with the operator's own rights, so these tests also say that those suffice.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from fedid.domain.bot import DesiredSecretRotation
from fedid.domain.bot_record import client_differences, corrected
from fedid.domain.oidc_client import ClaimSource, Flow, MappedClaim
from fedid.domain.oidc_client_record import DesiredOidcClient, oidc_client_record
from fedid.domain.realm import ClientRecord, ClientScope, scope_changes
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from fedid.errors import BackendRejectedError
from tests.contract.conftest import Subject

CALLBACK = "https://dai.site-a.example:12345/oidc/callback"
LOGIN = "https://dai.site-a.example:12345/login"
GATE = MappedClaim("groups", ClaimSource.GROUPS, in_id_token=False, in_userinfo=True)
SHAPES = [
    pytest.param({Flow.AUTHORIZATION_CODE, Flow.INTROSPECTION}, False, id="signs users in and introspects"),
    pytest.param({Flow.AUTHORIZATION_CODE}, True, id="public, with PKCE"),
    pytest.param({Flow.DEVICE}, False, id="device"),
    pytest.param({Flow.DEVICE}, True, id="public device"),
    pytest.param({Flow.CLIENT_CREDENTIALS}, False, id="for itself"),
    pytest.param({Flow.INTROSPECTION}, False, id="introspects only"),
]


def desired(subject: Subject, flows: set[Flow], *, public: bool = False, suffix: str = "server") -> DesiredOidcClient:
    """Return the client of a server."""
    code = Flow.AUTHORIZATION_CODE in flows
    return DesiredOidcClient(
        client_uuid=str(uuid.uuid4()),
        client_id=subject.name(suffix),
        owner="installation/uid-of-a-server",
        object_name="PodIdentity/site-a/dai",
        flows=frozenset(flows),
        public=public,
        redirect_uris=frozenset({CALLBACK, f"{CALLBACK}/2"}) if code else frozenset(),
        post_logout_redirect_uris=frozenset({LOGIN, f"{LOGIN}/2"}) if code else frozenset(),
        audiences=frozenset({"superlink"}),
        claims=(GATE,),
        lifetime=timedelta(minutes=10),
        issuer_url="https://keycloak.test/realms/fl",
        rotation=DesiredSecretRotation(),
    )


async def created(subject: Subject, client: DesiredOidcClient) -> ClientRecord:
    """Create the client and return it as Keycloak has it."""
    secret = None if client.public else Sensitive(f"fbs_{uuid.uuid4()}")
    assert await subject.provider.create_client(oidc_client_record(client, secret=secret))
    return await read(subject, client.client_uuid)


async def read(subject: Subject, client_uuid: str) -> ClientRecord:
    """Return a client that is there."""
    found = await subject.provider.read_client(client_uuid)
    assert found is not None
    return found


def credentials(client: ClientRecord) -> ClientCredentials:
    """Return what a client with a secret authenticates with."""
    assert client.secret is not None
    return ClientCredentials(client.client_id, client.secret)


@pytest.mark.parametrize(("flows", "public"), SHAPES)
class TestShapes:
    """Every kind of client that a server may be."""

    async def test_reads_back_as_it_was_made(self, subject: Subject, flows: set[Flow], public: bool) -> None:  # noqa: FBT001
        """Keycloak adds nothing that is to be put right: no web origins, no scope of roles, no other flow."""
        client = desired(subject, flows, public=public)
        found = await created(subject, client)
        assert client_differences(oidc_client_record(client, secret=None), found) == ()
        assert (found.secret is None) == public
        realm = await subject.provider.realm_scopes(frozenset())
        assert scope_changes(frozenset(), frozenset(), found, client.scopes_of(realm)) == (frozenset(), frozenset())
        assert "basic" in found.default_scopes, "without it tokens have no sub"

    async def test_may_get_tokens_for_itself_only_where_it_asks_for_that(
        self,
        subject: Subject,
        flows: set[Flow],
        public: bool,  # noqa: FBT001
    ) -> None:
        """A client that signs users in, or introspects, has no service account."""
        found = await created(subject, desired(subject, flows, public=public))
        if Flow.CLIENT_CREDENTIALS in flows:
            minted = await subject.provider.mint(credentials(found))
            assert minted is not None
            assert "superlink" in minted.claims.audiences
            assert minted.claims.subject
            assert minted.claims.realm_roles == frozenset(), "no full scope"
        elif not public:
            with pytest.raises(BackendRejectedError):
                await subject.provider.mint(credentials(found))


async def test_what_a_hand_changed_is_seen_and_put_back(subject: Subject) -> None:
    """Flags, addresses and attributes: each is named, and one write mends them."""
    client = desired(subject, {Flow.AUTHORIZATION_CODE})
    found = await created(subject, client)
    wanted = oidc_client_record(client, secret=None)
    changed = replace(
        found,
        secret=None,
        flags={**found.flags, "fullScopeAllowed": True, "directAccessGrantsEnabled": True},
        attributes={**found.attributes, "post.logout.redirect.uris": "https://elsewhere.example/"},
        uris={"redirectUris": (CALLBACK, "https://elsewhere.example/"), "webOrigins": ("https://elsewhere.example",)},
    )
    await subject.provider.update_client(changed)
    found = await read(subject, client.client_uuid)
    assert set(client_differences(wanted, found)) == {
        "fullScopeAllowed",
        "directAccessGrantsEnabled",
        "attributes[post.logout.redirect.uris]",
        "redirectUris",
        "webOrigins",
    }
    await subject.provider.update_client(corrected(wanted, found))
    assert client_differences(wanted, await read(subject, client.client_uuid)) == ()


async def test_a_redirect_uri_that_is_gone_is_missed(subject: Subject) -> None:
    """A client without the address that it needs is no client that is as wanted."""
    client = desired(subject, {Flow.AUTHORIZATION_CODE})
    found = await created(subject, client)
    await subject.provider.update_client(replace(found, secret=None, uris={"redirectUris": ()}))
    found = await read(subject, client.client_uuid)
    assert client_differences(oidc_client_record(client, secret=None), found) == ("redirectUris",)


async def test_flows_can_be_switched(subject: Subject) -> None:
    """A client that signed users in becomes one that works for itself, and nothing of before is left."""
    client = desired(subject, {Flow.AUTHORIZATION_CODE})
    found = await created(subject, client)
    other = replace(
        client,
        flows=frozenset({Flow.CLIENT_CREDENTIALS}),
        redirect_uris=frozenset(),
        post_logout_redirect_uris=frozenset(),
        claims=(),
    )
    wanted = oidc_client_record(other, secret=None)
    await subject.provider.update_client(corrected(wanted, found))
    found = await read(subject, client.client_uuid)
    assert client_differences(wanted, found) == ()
    assert await subject.provider.mint(credentials(found)) is not None


class TestRolesInTokens:
    """A client without full scope shows those roles that its client scopes list, and the holder has."""

    @pytest.mark.parametrize("optional", [False, True])
    async def test_what_a_scope_lists_and_is_held(self, subject: Subject, *, optional: bool) -> None:
        """Neither a role that no scope lists, nor one that a scope lists and nobody was given."""
        names = {one: subject.name(one) for one in ("both", "held", "listed")}
        for name in names.values():
            subject.hands.add_role(name)
        scope = ClientScope(
            subject.name("roles"),
            subject.hands.add_scope(subject.name("roles"), roles=[names["both"], names["listed"]]),
            optional,
        )
        found = await created(subject, desired(subject, {Flow.CLIENT_CREDENTIALS}))
        account = await subject.provider.service_account_id(found.client_uuid)
        for one in ("both", "held"):
            subject.hands.map_role(account, names[one])

        async def shown(scopes: frozenset[str] = frozenset()) -> set[str]:
            minted = await subject.provider.mint(credentials(found), scopes)
            assert minted is not None
            return set(minted.claims.realm_roles & set(names.values()))

        assert await shown() == set()
        await subject.provider.add_client_scope(found.client_uuid, scope)
        assert await shown() == (set() if optional else {names["both"]})
        assert await shown(frozenset({scope.name})) == {names["both"]}
        await subject.provider.remove_client_scope(found.client_uuid, scope)
        assert await shown() == set()


class TestProof:
    """Whether a secret is good, where no token can be had with it."""

    async def test_alive_and_dead(self, subject: Subject) -> None:
        """The client authenticates with its secret and with no other; deleted, with none."""
        found = await created(subject, desired(subject, {Flow.AUTHORIZATION_CODE}))
        assert await subject.provider.authenticates(credentials(found))
        wrong = ClientCredentials(found.client_id, Sensitive("wrong"))
        assert not await subject.provider.authenticates(wrong)
        assert await subject.provider.credentials_refused(wrong)
        await subject.provider.delete_client(found.client_uuid)
        assert await subject.provider.read_client(found.client_uuid) is None
        assert not await subject.provider.authenticates(credentials(found))
        assert await subject.provider.credentials_refused(credentials(found))

    async def test_disabled(self, subject: Subject) -> None:
        """A client that is switched off authenticates nobody."""
        found = await created(subject, desired(subject, {Flow.AUTHORIZATION_CODE}))
        subject.hands.change_client(found.client_uuid, enabled=False)
        assert not await subject.provider.authenticates(credentials(found))

    async def test_one_that_gets_tokens(self, subject: Subject) -> None:
        """A client with a service account is told from others by nothing."""
        found = await created(subject, desired(subject, {Flow.CLIENT_CREDENTIALS}))
        assert await subject.provider.authenticates(credentials(found))

    async def test_a_public_one_has_nothing_to_prove(self, subject: Subject) -> None:
        """A client without a secret can show nothing, and Keycloak says so."""
        found = await created(subject, desired(subject, {Flow.AUTHORIZATION_CODE}, public=True))
        with pytest.raises(BackendRejectedError):
            await subject.provider.authenticates(ClientCredentials(found.client_id, Sensitive("anything")))
