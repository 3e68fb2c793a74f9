"""What every `IdentityProvider` must do with a realm, its clients and their scopes: the fake and a real Keycloak."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import pytest

from fedid.domain.realm import ClientScope
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendRejectedError, StaleObjectError
from tests.contract.conftest import Subject
from tests.contract.identities import OBJECT, OWNER, audience_mapper, bot, created, credentials, minted


class TestProbe:
    """What a look at the realm finds."""

    async def test_healthy(self, subject: Subject) -> None:
        """A realm that was set up as documented lacks nothing."""
        facts = await subject.provider.probe()
        assert facts.missing_permissions == ()
        assert facts.owner_attributes_kept
        assert facts.issuer.endswith("/realms/fl")

    async def test_server_clock(self, subject: Subject) -> None:
        """A token issued between two looks at the clock lies within its bounds."""
        client = await created(subject, bot(subject))
        at_least = subject.provider.server_now()
        token = await minted(subject, client)
        assert at_least <= token.claims.issued_at <= subject.provider.server_now_at_most()
        assert at_least.microsecond == 0


class TestClients:
    """Clients by their two ids."""

    async def test_round_trip(self, subject: Subject) -> None:
        """What was created is read back, among more flags and attributes that Keycloak adds."""
        now = int(subject.provider.server_now().timestamp())
        client = replace(bot(subject, audiences=("superlink", "other")), not_before=now)
        assert await subject.provider.create_client(client)
        found = await subject.provider.read_client(client.client_uuid)
        assert found is not None
        assert client.flags.items() <= found.flags.items()
        assert client.attributes.items() <= found.attributes.items()
        assert sorted(client.mappers, key=lambda mapper: mapper.name) == list(found.mappers)
        realms_own = {"default_scopes": frozenset(), "optional_scopes": frozenset()}
        found = replace(found, flags=client.flags, attributes=client.attributes, mappers=client.mappers, **realms_own)
        assert found == client

    async def test_taken(self, subject: Subject) -> None:
        """Neither an id nor a clientId is given twice, and whoever holds it keeps it."""
        client = await created(subject, bot(subject))
        assert not await subject.provider.create_client(replace(bot(subject, "other"), client_uuid=client.client_uuid))
        assert not await subject.provider.create_client(bot(subject))
        found = await subject.provider.read_client(client.client_uuid)
        assert found is not None
        assert (found.client_id, found.secret) == (client.client_id, client.secret)

    async def test_race(self, subject: Subject) -> None:
        """Of several who create the same clientId at the same time one succeeds, and the others are told so."""
        answers = await asyncio.gather(*(subject.provider.create_client(bot(subject)) for _ in range(8)))
        assert sorted(answers) == [False] * 7 + [True]

    async def test_strange_secret(self, subject: Subject) -> None:
        """The secret of a client without an owner mark is never looked at."""
        stranger = subject.hands.add_client(subject.name("stranger"), secret="do not look")
        found = await subject.provider.read_client(stranger)
        assert found is not None
        assert (found.owner, found.secret) == (None, None)

    async def test_find(self, subject: Subject) -> None:
        """A client is found by its exact clientId, with its mark and without its secret."""
        client = await created(subject, bot(subject))
        found = await subject.provider.find_client(client.client_id)
        assert found is not None
        assert (found.client_uuid, found.owner, found.object_name) == (client.client_uuid, OWNER, OBJECT)
        assert found.secret is None
        assert await subject.provider.find_client(client.client_id[:-1]) is None

    async def test_odd_client_id(self, subject: Subject) -> None:
        """A clientId may hold what means something in a URL, and so may its secret."""
        client = replace(bot(subject, "a/b c?d#e&f=g%41+ü"), secret=Sensitive("p@ss:w%rd+ü=& /?#" * 3))
        await created(subject, client)
        assert await subject.provider.find_client(client.client_id) is not None
        assert (await minted(subject, client)).claims.authorized_party == client.client_id

    async def test_update(self, subject: Subject) -> None:
        """An update makes description, flags, attributes and mappers those of the record and leaves the secret."""
        client = await created(subject, bot(subject, audiences=("old", "kept")))
        subject.hands.add_mapper(client.client_uuid, "by hand")
        wanted = replace(
            client,
            description="other",
            secret=None,
            flags={**client.flags, "consentRequired": True},
            attributes={"access.token.lifespan": "60"},
            mappers=(audience_mapper("kept"), audience_mapper("new")),
        )
        await subject.provider.update_client(wanted)
        found = await subject.provider.read_client(client.client_uuid)
        assert found is not None
        assert found.mappers == wanted.mappers
        assert (found.description, found.flags["consentRequired"]) == ("other", True)
        assert found.attributes["access.token.lifespan"] == "60"
        assert found.attributes["client_credentials.use_refresh_token"] == "false"
        assert found.secret == client.secret

    async def test_not_before_stays(self, subject: Subject) -> None:
        """An update that names no notBefore does not take it back, and one that does moves it."""
        now = int(subject.provider.server_now().timestamp())
        client = await created(subject, replace(bot(subject), not_before=now))
        await subject.provider.update_client(replace(client, not_before=0))
        found = await subject.provider.read_client(client.client_uuid)
        assert found is not None
        assert found.not_before == now
        await subject.provider.update_client(replace(client, not_before=now + 1))
        found = await subject.provider.read_client(client.client_uuid)
        assert found is not None
        assert found.not_before == now + 1

    async def test_release(self, subject: Subject) -> None:
        """An update without an owner takes the marks off, and with them the secret out of sight."""
        client = await created(subject, bot(subject))
        await subject.provider.update_client(replace(client, owner=None, object_name=None))
        found = await subject.provider.read_client(client.client_uuid)
        assert found is not None
        assert (found.owner, found.object_name, found.secret) == (None, None, None)

    async def test_gone(self, subject: Subject) -> None:
        """A client that is gone reads as None, is deleted again without complaint, and cannot be changed."""
        client = await created(subject, bot(subject))
        await subject.provider.delete_client(client.client_uuid)
        await subject.provider.delete_client(client.client_uuid)
        assert await subject.provider.read_client(client.client_uuid) is None
        assert await subject.provider.find_client(client.client_id) is None
        with pytest.raises(StaleObjectError):
            await subject.provider.update_client(client)
        with pytest.raises(StaleObjectError):
            await subject.provider.service_account_id(client.client_uuid)

    async def test_service_account(self, subject: Subject) -> None:
        """The service account's id is the `sub` of the client's tokens; without one there are none."""
        client = await created(subject, bot(subject))
        account = await subject.provider.service_account_id(client.client_uuid)
        assert (await minted(subject, client)).claims.subject == account
        public = await created(subject, replace(bot(subject, "public"), flags={"serviceAccountsEnabled": True}))
        with pytest.raises(BackendRejectedError):
            await subject.provider.mint(credentials(public))
        subject.hands.drop_service_account(client.client_uuid)
        with pytest.raises(BackendRejectedError):
            await subject.provider.service_account_id(client.client_uuid)
        with pytest.raises(BackendRejectedError):
            await subject.provider.mint(credentials(client))


class TestScopes:
    """Client scopes, and which a client has."""

    async def test_of_a_new_client(self, subject: Subject) -> None:
        """It has those of the realm, and an update leaves them alone."""
        realm = await subject.provider.realm_scopes(frozenset())
        client = await created(subject, bot(subject))
        for _ in range(2):
            found = await subject.provider.read_client(client.client_uuid)
            assert found is not None
            assert (found.default_scopes, found.optional_scopes) == (realm.default, realm.optional)
            await subject.provider.update_client(client)
        assert {"basic", "roles", "service_account"} <= realm.default <= realm.ids.keys()
        assert "role_list" not in realm.ids  # of SAML

    @pytest.mark.parametrize("optional", [False, True])
    async def test_given_and_taken(self, subject: Subject, *, optional: bool) -> None:
        """Once or twice; one that it has is not given in the other way, and is taken whichever way it has it."""
        name, provider = subject.name("scope"), subject.provider
        scope = ClientScope(name, subject.hands.add_scope(name), optional)
        assert (await provider.realm_scopes(frozenset({name}))).ids[name] == scope.scope_id
        client = await created(subject, bot(subject))

        async def given() -> tuple[bool, bool]:
            found = await provider.read_client(client.client_uuid)
            assert found is not None
            return name in found.default_scopes, name in found.optional_scopes

        await provider.add_client_scope(client.client_uuid, scope)
        await provider.add_client_scope(client.client_uuid, scope)
        assert await given() == (not optional, optional)
        await provider.add_client_scope(client.client_uuid, replace(scope, optional=not optional))
        assert await given() == (not optional, optional)
        assert (name in (await minted(subject, client)).claims.scopes) is not optional
        await provider.remove_client_scope(client.client_uuid, replace(scope, optional=not optional))
        await provider.remove_client_scope(client.client_uuid, scope)
        assert await given() == (False, False)

    async def test_gone(self, subject: Subject) -> None:
        """A scope or a client that is gone is told, and the scope is not in the realm any more."""
        name, provider = subject.name("scope"), subject.provider
        scope = ClientScope(name, subject.hands.add_scope(name), optional=False)
        client = await created(subject, bot(subject))
        for change in (provider.add_client_scope, provider.remove_client_scope):
            with pytest.raises(StaleObjectError):
                await change(str(uuid.uuid4()), scope)
        subject.hands.delete_scope(name)
        for change in (provider.add_client_scope, provider.remove_client_scope):
            with pytest.raises(StaleObjectError):
                await change(client.client_uuid, scope)
        assert name not in (await provider.realm_scopes(frozenset({name}))).ids
