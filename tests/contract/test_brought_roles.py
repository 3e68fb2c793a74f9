"""What comes along with roles and groups: the same answers in memory and from a real Keycloak, for few calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedid.adapters.keycloak.connection import AdminConnection
from fedid.errors import BackendUnavailableError
from tests.contract.conftest import KeycloakSubject, Subject


class TestRoles:
    """Roles made of roles."""

    async def test_closure(self, subject: Subject) -> None:
        """All roles below come along, those of clients under their client, and the role itself is not among them."""
        top, middle, leaf, server = (subject.name(suffix) for suffix in ("top", "middle", "leaf", "server"))
        subject.hands.add_client(server)
        subject.hands.add_role(leaf, client_id=server)
        subject.hands.add_role(middle)
        subject.hands.bring(middle, leaf, of_client=server)
        subject.hands.add_role(top, brings=[middle])
        with_role = subject.provider.roles_with_role
        assert await with_role((None, top)) == {(None, middle), (server, leaf)}
        assert await with_role((None, middle)) == {(server, leaf)}
        assert await with_role((server, leaf)) == frozenset()

    async def test_composite_of_a_client(self, subject: Subject) -> None:
        """A client's role brings roles along as well, of its client or another, or of the realm."""
        one, other, role = subject.name("one"), subject.name("other"), subject.name("role")
        for client in (one, other):
            subject.hands.add_client(client)
            subject.hands.add_role(role, client_id=client)
        subject.hands.add_role(role)
        subject.hands.bring(role, role, client_id=one, of_client=other)
        subject.hands.bring(role, role, client_id=other)
        assert await subject.provider.roles_with_role((one, role)) == {(other, role), (None, role)}
        assert await subject.provider.roles_with_role((None, role)) == frozenset()

    async def test_circle(self, subject: Subject) -> None:
        """Roles that bring each other along are each found once."""
        one, two = subject.name("one"), subject.name("two")
        subject.hands.add_role(one)
        subject.hands.add_role(two, brings=[one])
        subject.hands.bring(one, two)
        assert await subject.provider.roles_with_role((None, one)) == {(None, two)}
        assert await subject.provider.roles_with_role((None, two)) == {(None, one)}

    async def test_unknown(self, subject: Subject) -> None:
        """What does not exist brings nothing."""
        assert await subject.provider.roles_with_role((None, subject.name("none"))) == frozenset()
        assert await subject.provider.roles_with_role((subject.name("none"), "role")) == frozenset()

    async def test_remembered(self, subject: Subject) -> None:
        """An answer holds until it is forgotten, also where a plain role becomes a composite."""
        role, later = subject.name("role"), subject.name("later")
        subject.hands.add_role(role)
        subject.hands.add_role(later)
        assert await subject.provider.roles_with_role((None, role)) == frozenset()
        subject.hands.bring(role, later)
        assert await subject.provider.roles_with_role((None, role)) == frozenset()
        subject.provider.forget_brought_roles()
        assert await subject.provider.roles_with_role((None, role)) == {(None, later)}


class TestGroups:
    """Groups with roles."""

    async def test_inherited(self, subject: Subject) -> None:
        """A member has what is mapped to the group and to those above it, with all that comes along, and no more."""
        path, server = f"/{subject.name('sites')}", subject.name("server")
        names = {suffix: subject.name(suffix) for suffix in ("above", "leaf", "own", "below", "beside")}
        subject.hands.add_client(server)
        for name in (names["leaf"], names["below"], names["beside"]):
            subject.hands.add_role(name)
        subject.hands.add_role(names["above"], brings=[names["leaf"]])
        subject.hands.add_role(names["own"], client_id=server)
        for group in (f"{path}/a/b", f"{path}/ab"):
            subject.hands.add_group(group)
        subject.hands.map_group_role(path, names["above"])
        subject.hands.map_group_role(f"{path}/a", names["own"], server)
        subject.hands.map_group_role(f"{path}/a/b", names["below"])
        subject.hands.map_group_role(f"{path}/ab", names["beside"])
        of_top = {(None, names["above"]), (None, names["leaf"])}
        assert await subject.provider.roles_with_group(path) == of_top
        assert await subject.provider.roles_with_group(f"{path}/a") == of_top | {(server, names["own"])}

    async def test_unknown(self, subject: Subject) -> None:
        """A group that does not exist gives nothing, whatever those above it give; nor does one without roles."""
        path = f"/{subject.name('sites')}"
        subject.hands.add_role(subject.name("role"))
        subject.hands.add_group(path)
        assert await subject.provider.roles_with_group(path) == frozenset()
        subject.hands.map_group_role(path, subject.name("role"))
        assert await subject.provider.roles_with_group(f"{path}/none") == frozenset()


class TestCalls:
    """What the answers cost of a real Keycloak."""

    async def test_plain(self, keycloak: KeycloakSubject) -> None:
        """A plain role costs nothing beside the catalogue, a group nothing beside its id; repeated, all is free."""
        provider, role, group = keycloak.provider(), f"{keycloak.prefix}-role", f"/{keycloak.prefix}-group"
        keycloak.hands.add_role(role)
        keycloak.hands.add_group(group)
        await provider.probe()
        await provider.realm_roles(frozenset({role}))
        await provider.group_ids(frozenset({group}))
        keycloak.calls.clear()
        for _ in range(3):
            assert await provider.roles_with_role((None, role)) == frozenset()
            assert await provider.roles_with_group(group) == frozenset()
        assert keycloak.calls == []

    async def test_composite(self, keycloak: KeycloakSubject) -> None:
        """A composite costs one call for itself, one per composite in it and one per client, once."""
        provider, hands = keycloak.provider(), keycloak.hands
        top, middle, server = (f"{keycloak.prefix}-{suffix}" for suffix in ("top", "middle", "server"))
        hands.add_client(server)
        for leaf in ("one", "two"):
            hands.add_role(leaf, client_id=server)
        hands.add_role(middle)
        for leaf in ("one", "two"):
            hands.bring(middle, leaf, of_client=server)
        hands.add_role(top, brings=[middle])
        await provider.probe()
        await provider.realm_roles(frozenset({top, middle}))
        keycloak.calls.clear()
        for _ in range(3):
            assert await provider.roles_with_role((None, top)) == {(None, middle), (server, "one"), (server, "two")}
        assert len(keycloak.calls) == 3

    async def test_outage(self, keycloak: KeycloakSubject, monkeypatch: pytest.MonkeyPatch) -> None:
        """While Keycloak is away the last answer counts, and what was never asked cannot be told."""
        provider, hands = keycloak.provider(), keycloak.hands
        top, leaf = f"{keycloak.prefix}-top", f"{keycloak.prefix}-leaf"
        hands.add_role(leaf)
        hands.add_role(top, brings=[leaf])
        await provider.probe()
        assert await provider.roles_with_role((None, top)) == {(None, leaf)}
        provider.forget_brought_roles()
        call = AdminConnection.call

        async def away(self: AdminConnection, method: str, path: str, **options: Any) -> Any:
            if "composites" not in path:
                return await call(self, method, path, **options)
            message = "away"
            raise BackendUnavailableError(message, backend="keycloak")

        replace: Callable[..., None] = monkeypatch.setattr
        replace(AdminConnection, "call", away)
        assert await provider.roles_with_role((None, top)) == {(None, leaf)}
        other = keycloak.provider()
        with pytest.raises(BackendUnavailableError):
            await other.roles_with_role((None, top))
