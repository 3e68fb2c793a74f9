"""What every `IdentityProvider` must do: the fake and a real Keycloak."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from fedid.domain.realm import ClientRecord, ClientScope, ProtocolMapper, UserRecord
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials, MintedToken
from fedid.errors import BackendRejectedError, OwnershipConflictError, StaleObjectError
from tests.contract.conftest import Subject

OWNER = "installation/uid-of-a-bot"
OBJECT = "BotClient/site-a/trainer"


def bot(subject: Subject, suffix: str = "bot", *, audiences: tuple[str, ...] = (), seconds: int = 600) -> ClientRecord:
    """Return a client as a BotClient wants it."""
    return ClientRecord(
        client_uuid=str(uuid.uuid4()),
        client_id=subject.name(suffix),
        owner=OWNER,
        object_name=OBJECT,
        description="trains models",
        enabled=True,
        secret=Sensitive(f"secret-of-{uuid.uuid4()}"),
        flags={"serviceAccountsEnabled": True, "publicClient": False, "standardFlowEnabled": False},
        attributes={"access.token.lifespan": str(seconds), "client_credentials.use_refresh_token": "false"},
        mappers=tuple(audience_mapper(audience) for audience in audiences),
    )


def audience_mapper(audience: str) -> ProtocolMapper:
    """Return what adds an audience to access tokens."""
    config = {"included.custom.audience": audience, "access.token.claim": "true"}
    return ProtocolMapper(f"audience {audience}", "oidc-audience-mapper", config)


def credentials(client: ClientRecord) -> ClientCredentials:
    """Return what the client logs in with."""
    assert client.secret is not None
    return ClientCredentials(client.client_id, client.secret)


async def minted(subject: Subject, client: ClientRecord) -> MintedToken:
    """Return a token of the client."""
    found = await subject.provider.mint(credentials(client))
    assert found is not None
    return found


async def created(subject: Subject, client: ClientRecord) -> ClientRecord:
    """Create the client and return it as given."""
    assert await subject.provider.create_client(client)
    return client


def person(subject: Subject, suffix: str = "ana", *, groups: frozenset[str] = frozenset()) -> UserRecord:
    """Return a user as a FederationUser wants it."""
    return UserRecord(
        user_id=None,
        username=subject.name(suffix),
        owner=OWNER,
        object_name="FederationUser/site-a/ana",
        enabled=True,
        email=f"{subject.name(suffix)}@site-a.example",
        first_name="Ana",
        last_name="Novak",
        groups=groups,
        email_verified=False,
    )


async def next_second(subject: Subject) -> int:
    """Wait until Keycloak's clock is surely beyond this second, and return the second that it is then."""
    last = subject.provider.server_now_at_most()
    while (now := subject.provider.server_now()) <= last:  # noqa: ASYNC110 - a clock sends no event
        await asyncio.sleep((last - now).total_seconds() / 10 + 0.02)
    return int(now.timestamp())


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


class TestRoles:
    """Roles by name and by whom they are mapped to."""

    async def test_by_name(self, subject: Subject) -> None:
        """Those that exist are found, composites are marked as such, and one that is made later is found then."""
        single, group, later = (subject.name(suffix) for suffix in ("single", "group", "later"))
        subject.hands.add_role(single)
        group_id = subject.hands.add_role(group, brings=[single])
        found = await subject.provider.realm_roles(frozenset({single, group, later}))
        assert set(found) == {single, group}
        assert not found[single].composite
        assert found[group].composite
        assert found[group].role_id == group_id
        assert found[group].client_id is None
        subject.hands.add_role(later)
        assert set(await subject.provider.realm_roles(frozenset({later}))) == {later}

    async def test_of_a_client(self, subject: Subject) -> None:
        """A client's roles are its own; a client that does not exist has none, until it does."""
        client_id, role = subject.name("server"), subject.name("reader")
        assert await subject.provider.client_roles(client_id, frozenset({role})) == {}
        client_uuid = subject.hands.add_client(client_id)
        subject.hands.add_role(role, client_id=client_id)
        found = await subject.provider.client_roles(client_id, frozenset({role, "nonsense"}))
        assert [(one.name, one.client_id, one.client_uuid) for one in found.values()] == [
            (role, client_id, client_uuid)
        ]
        assert await subject.provider.realm_roles(frozenset({role})) == {}

    async def test_mapping(self, subject: Subject) -> None:
        """What was mapped is read back, twice is once, and the realm's default role does not show."""
        server, client = subject.name("server"), await created(subject, bot(subject))
        subject.hands.add_client(server)
        names = [subject.name(suffix) for suffix in ("one", "two", "three")]
        for name in names:
            subject.hands.add_role(name)
        subject.hands.add_role(names[2], client_id=server)
        account = await subject.provider.service_account_id(client.client_uuid)
        assert (await subject.provider.role_mappings(account)).realm == frozenset()
        realm = frozenset((await subject.provider.realm_roles(frozenset(names))).values())
        of_server = frozenset((await subject.provider.client_roles(server, frozenset(names))).values())
        await subject.provider.add_roles(account, realm | of_server)
        await subject.provider.add_roles(account, realm)
        mapped = await subject.provider.role_mappings(account)
        assert (mapped.realm, mapped.client) == (realm, of_server)
        gone = frozenset(role for role in realm if role.name == names[0]) | of_server
        await subject.provider.remove_roles(account, gone)
        await subject.provider.remove_roles(account, gone)
        mapped = await subject.provider.role_mappings(account)
        assert (mapped.realm, mapped.client) == (realm - gone, frozenset())

    async def test_made_anew(self, subject: Subject) -> None:
        """A role made anew under its name is another one: mapping the old one does nothing and asks to look again."""
        stays, again = subject.name("stays"), subject.name("again")
        subject.hands.add_role(stays)
        subject.hands.add_role(again)
        user = subject.hands.add_user(subject.name("ana"))
        roles = await subject.provider.realm_roles(frozenset({stays, again}))
        subject.hands.delete_role(again)
        new_id = subject.hands.add_role(again)
        with pytest.raises(StaleObjectError):
            await subject.provider.add_roles(user, frozenset(roles.values()))
        assert (await subject.provider.role_mappings(user)).realm == frozenset()
        found = await subject.provider.realm_roles(frozenset({again}))
        assert found[again].role_id == new_id
        await subject.provider.add_roles(user, frozenset(found.values()))

    async def test_nobody(self, subject: Subject) -> None:
        """A user that is gone has no mappings to read or to change."""
        role = subject.name("role")
        subject.hands.add_role(role)
        roles = frozenset((await subject.provider.realm_roles(frozenset({role}))).values())
        nobody = str(uuid.uuid4())
        with pytest.raises(StaleObjectError):
            await subject.provider.role_mappings(nobody)
        with pytest.raises(StaleObjectError):
            await subject.provider.add_roles(nobody, roles)
        with pytest.raises(StaleObjectError):
            await subject.provider.remove_roles(nobody, roles)


class TestUsers:
    """Users, their groups and their sessions."""

    async def test_round_trip(self, subject: Subject) -> None:
        """What was created is read back by id and by name, in whatever case."""
        user = person(subject)
        user_id = await subject.provider.create_user(user)
        assert user_id is not None
        expected = replace(user, user_id=user_id)
        assert await subject.provider.read_user(user_id) == expected
        assert await subject.provider.find_user(user.username.upper()) == expected
        assert await subject.provider.find_user(user.username[:-1]) is None

    async def test_lower_case(self, subject: Subject) -> None:
        """Keycloak keeps name and address in lower case, and takes them in whatever case afterwards."""
        user = replace(person(subject), username=subject.name("ANA"), email=f"{subject.name('ANA')}@Site-A.example")
        user_id = await subject.provider.create_user(user)
        assert user_id is not None
        assert user.email is not None
        kept = replace(user, user_id=user_id, username=user.username.lower(), email=user.email.lower())
        assert await subject.provider.read_user(user_id) == kept
        await subject.provider.update_user(replace(user, user_id=user_id))
        assert await subject.provider.read_user(user_id) == kept

    async def test_name_taken(self, subject: Subject) -> None:
        """A name is not given twice, also when the address is taken with it."""
        user = person(subject)
        assert await subject.provider.create_user(user) is not None
        assert await subject.provider.create_user(replace(user, email=None)) is None
        assert await subject.provider.create_user(user) is None

    async def test_address_taken(self, subject: Subject) -> None:
        """An address that belongs to another user is told apart from a name that is taken."""
        user, other = person(subject), person(subject, "bea")
        other_id = await subject.provider.create_user(other)
        with pytest.raises(OwnershipConflictError):
            await subject.provider.create_user(replace(user, email=other.email))
        assert await subject.provider.find_user(user.username) is None
        assert await subject.provider.create_user(user) is not None
        with pytest.raises(OwnershipConflictError):
            await subject.provider.update_user(replace(other, user_id=other_id, email=user.email))

    async def test_refused_field(self, subject: Subject) -> None:
        """A field that Keycloak does not like is named."""
        with pytest.raises(BackendRejectedError, match="email"):
            await subject.provider.create_user(replace(person(subject), email="no address"))

    async def test_groups(self, subject: Subject) -> None:
        """A user is created in its groups, joins and leaves others, and a group that is missing is named."""
        first, second = f"/{subject.name('sites')}/a b", f"/{subject.name('sites')}/c"
        first_id = subject.hands.add_group(first)
        missing = f"/{subject.name('nowhere')}"
        with pytest.raises(BackendRejectedError, match=missing):
            await subject.provider.create_user(person(subject, groups=frozenset({first, missing})))
        user_id = await subject.provider.create_user(person(subject, groups=frozenset({first})))
        assert user_id is not None
        assert await subject.provider.user_groups(user_id) == {first: first_id}
        assert await subject.provider.group_ids(frozenset({first, second, missing})) == {first: first_id}
        second_id = subject.hands.add_group(second)
        assert await subject.provider.group_ids(frozenset({first, second})) == {first: first_id, second: second_id}
        await subject.provider.join_group(user_id, second_id)
        await subject.provider.join_group(user_id, second_id)
        await subject.provider.leave_group(user_id, first_id)
        await subject.provider.leave_group(user_id, first_id)
        assert await subject.provider.user_groups(user_id) == {second: second_id}
        subject.hands.delete_group(second)
        await subject.provider.leave_group(user_id, second_id)
        with pytest.raises(StaleObjectError):
            await subject.provider.join_group(user_id, second_id)

    async def test_update(self, subject: Subject) -> None:
        """An update makes the user's own fields those of the record and leaves groups and roles."""
        group, role = f"/{subject.name('sites')}", subject.name("role")
        subject.hands.add_group(group)
        subject.hands.add_role(role)
        user = person(subject, groups=frozenset({group}))
        user_id = await subject.provider.create_user(user)
        assert user_id is not None
        subject.hands.map_role(user_id, role)
        changed = replace(
            user, user_id=user_id, enabled=False, email=None, first_name="Anna", last_name=None, groups=frozenset()
        )
        await subject.provider.update_user(changed)
        assert await subject.provider.read_user(user_id) == changed
        assert set(await subject.provider.user_groups(user_id)) == {group}
        assert {one.name for one in (await subject.provider.role_mappings(user_id)).realm} == {role}

    async def test_release(self, subject: Subject) -> None:
        """An update without an owner takes the marks off."""
        user = person(subject)
        user_id = await subject.provider.create_user(user)
        assert user_id is not None
        released = replace(user, user_id=user_id, owner=None, object_name=None)
        await subject.provider.update_user(released)
        assert await subject.provider.read_user(user_id) == released

    async def test_stranger(self, subject: Subject) -> None:
        """A user made by hand carries no mark, one of another installation carries its."""
        by_hand = subject.hands.add_user(subject.name("hand"))
        foreign = subject.hands.add_user(subject.name("foreign"), owner="elsewhere/uid")
        found = [await subject.provider.read_user(user_id) for user_id in (by_hand, foreign)]
        assert [user.owner if user is not None else "nobody" for user in found] == [None, "elsewhere/uid"]

    async def test_sessions(self, subject: Subject) -> None:
        """Sessions end, and so do offline sessions."""
        user_id = subject.hands.add_user(subject.name("ana"), email=f"{subject.name('ana')}@site-a.example")
        subject.hands.open_session(user_id)
        subject.hands.open_session(user_id, offline=True)
        assert subject.hands.sessions(user_id) > 1
        await subject.provider.end_sessions(user_id)
        assert subject.hands.sessions(user_id) == 0

    async def test_gone(self, subject: Subject) -> None:
        """A user that is gone reads as None, is deleted again without complaint, and cannot be changed."""
        user = person(subject)
        user_id = await subject.provider.create_user(user)
        assert user_id is not None
        await subject.provider.delete_user(user_id)
        await subject.provider.delete_user(user_id)
        await subject.provider.end_sessions(user_id)
        assert await subject.provider.read_user(user_id) is None
        assert await subject.provider.find_user(user.username) is None
        with pytest.raises(StaleObjectError):
            await subject.provider.update_user(replace(user, user_id=user_id))
        with pytest.raises(StaleObjectError):
            await subject.provider.user_groups(user_id)


class TestTokens:
    """Bearer tokens of bots: what proves them alive, and dead."""

    async def test_mint(self, subject: Subject) -> None:
        """A token says who it is for, what it may, and how long."""
        client, role = await created(subject, bot(subject, audiences=("superlink",))), subject.name("role")
        subject.hands.add_role(role)
        account = await subject.provider.service_account_id(client.client_uuid)
        subject.hands.map_role(account, role)
        claims = (await minted(subject, client)).claims
        assert claims.authorized_party == client.client_id
        assert claims.issuer == (await subject.provider.probe()).issuer
        assert "superlink" in claims.audiences
        assert role in claims.realm_roles
        assert claims.expires_at - claims.issued_at == timedelta(seconds=600)
        assert claims.token_id

    async def test_refused(self, subject: Subject) -> None:
        """A wrong secret, an unknown client and a disabled one are refused alike; a right one is not."""
        client = await created(subject, bot(subject))
        wrong = ClientCredentials(client.client_id, Sensitive("wrong"))
        unknown = ClientCredentials(subject.name("unknown"), Sensitive("wrong"))
        for refused in (wrong, unknown):
            assert await subject.provider.mint(refused) is None
            assert await subject.provider.credentials_refused(refused)
        assert not await subject.provider.credentials_refused(credentials(client))
        subject.hands.change_client(client.client_uuid, enabled=False)
        assert await subject.provider.mint(credentials(client)) is None
        assert await subject.provider.credentials_refused(credentials(client))

    async def test_verify(self, subject: Subject) -> None:
        """A token verifies to what it said when it was minted; anything else does not verify."""
        token = await minted(subject, await created(subject, bot(subject)))
        assert await subject.provider.verify(token.token) == token.claims
        head, body, signature = token.token.reveal().split(".")
        for other in ("", "abc", "a.b.c", f"{head}.{body}.{signature[::-1]}", f"{head}.{body[:-8]}{body[-8:][::-1]}."):
            assert await subject.provider.verify(Sensitive(other)) is None

    async def test_expired(self, subject: Subject) -> None:
        """A token that has expired still verifies, is not accepted, and is revoked without complaint."""
        client = await created(subject, bot(subject, seconds=1))
        token = await minted(subject, client)
        assert await subject.provider.token_accepted(token.token)
        await next_second(subject)
        await next_second(subject)
        assert await subject.provider.verify(token.token) == token.claims
        assert not await subject.provider.token_accepted(token.token)
        await subject.provider.revoke(token.token, credentials(client))

    async def test_revoke(self, subject: Subject) -> None:
        """A revoked token is refused, one that was not is accepted, and both still verify."""
        client = await created(subject, bot(subject))
        old, new = await minted(subject, client), await minted(subject, client)
        await subject.provider.revoke(old.token, credentials(client))
        await subject.provider.revoke(old.token, credentials(client))
        assert not await subject.provider.token_accepted(old.token)
        assert await subject.provider.token_accepted(new.token)
        assert await subject.provider.verify(old.token) == old.claims

    async def test_revoke_as_another(self, subject: Subject) -> None:
        """A token is revoked by its own client only, and whoever cannot is told so."""
        client, other = await created(subject, bot(subject)), await created(subject, bot(subject, "other"))
        token = await minted(subject, client)
        with pytest.raises(BackendRejectedError):
            await subject.provider.revoke(token.token, credentials(other))
        with pytest.raises(BackendRejectedError):
            await subject.provider.revoke(token.token, ClientCredentials(client.client_id, Sensitive("wrong")))
        assert await subject.provider.token_accepted(token.token)
        await subject.provider.delete_client(client.client_uuid)
        await subject.provider.revoke(token.token, credentials(client))

    async def test_new_secret(self, subject: Subject) -> None:
        """A new secret ends the old one at once, and leaves the tokens that were minted with it."""
        client = await created(subject, bot(subject))
        token = await minted(subject, client)
        renewed = replace(client, secret=Sensitive(f"secret-of-{uuid.uuid4()}"))
        await subject.provider.update_client(renewed)
        assert await subject.provider.credentials_refused(credentials(client))
        assert not await subject.provider.credentials_refused(credentials(renewed))
        assert await subject.provider.token_accepted(token.token)

    async def test_disabled(self, subject: Subject) -> None:
        """A disabled client's tokens are refused, and good again once it is enabled: so suspending must revoke them."""
        client = await created(subject, bot(subject))
        kept, revoked = await minted(subject, client), await minted(subject, client)
        await subject.provider.revoke(revoked.token, credentials(client))
        await subject.provider.update_client(replace(client, enabled=False, secret=None))
        assert not await subject.provider.token_accepted(kept.token)
        await subject.provider.update_client(replace(client, enabled=True, secret=None))
        assert await subject.provider.token_accepted(kept.token)
        assert not await subject.provider.token_accepted(revoked.token)

    async def test_deleted(self, subject: Subject) -> None:
        """A deleted client's token and secret are refused at once."""
        client = await created(subject, bot(subject))
        token = await minted(subject, client)
        await subject.provider.delete_client(client.client_uuid)
        assert not await subject.provider.token_accepted(token.token)
        assert await subject.provider.credentials_refused(credentials(client))

    async def test_made_anew(self, subject: Subject) -> None:
        """Under the same clientId old tokens are good again, unless they were revoked or a later notBefore stands."""
        client = await created(subject, bot(subject))
        kept, revoked = await minted(subject, client), await minted(subject, client)
        await subject.provider.revoke(revoked.token, credentials(client))
        await subject.provider.delete_client(client.client_uuid)
        await created(subject, client)
        assert await subject.provider.token_accepted(kept.token)
        assert not await subject.provider.token_accepted(revoked.token)
        await subject.provider.delete_client(client.client_uuid)
        await created(subject, replace(client, not_before=await next_second(subject)))
        assert not await subject.provider.token_accepted(kept.token)
        assert await subject.provider.token_accepted((await minted(subject, client)).token)

    async def test_ended_and_kept(self, subject: Subject) -> None:
        """A new secret and a notBefore of the next second end all that a client is used with, and leave it there."""
        client = await created(subject, bot(subject))
        token = (await minted(subject, client)).token
        assert await subject.provider.token_accepted(token)
        after = int(subject.provider.server_now_at_most().timestamp()) + 1
        await subject.provider.update_client(replace(client, secret=Sensitive("another"), not_before=after))
        assert not await subject.provider.token_accepted(token)
        assert await subject.provider.credentials_refused(credentials(client))
        assert await subject.provider.read_client(client.client_uuid) is not None
