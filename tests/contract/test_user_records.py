"""What every `IdentityProvider` must do with users, their groups and their sessions: the fake and a real Keycloak."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedid.errors import BackendRejectedError, OwnershipConflictError, StaleObjectError
from tests.contract.conftest import Subject
from tests.contract.identities import person


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
