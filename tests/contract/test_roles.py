"""What every `IdentityProvider` must do with roles and whom they are mapped to: the fake and a real Keycloak."""

from __future__ import annotations

import uuid

import pytest

from fedid.errors import StaleObjectError
from tests.contract.conftest import Subject
from tests.contract.identities import bot, created


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
