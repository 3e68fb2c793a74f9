"""What every `IdentityProvider` must list: the fake and a real Keycloak."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest

from fedid.domain.bot_authentication import FEDERATED_JWT, ServiceAccount, authenticator_attributes
from fedid.domain.drift import AdminEvent, Part, touched
from fedid.domain.realm import ClientRecord, UserRecord
from fedid.errors import BackendDeniedError, StaleObjectError
from tests.contract.conftest import KeycloakSubject, Subject
from tests.contract.identities import bot, created, person
from tests.contract.test_keycloak_realm import operator
from tests.testbed.keycloak_realm import CLUSTER_PROVIDER

SIZE = 3


@pytest.fixture
def owner() -> str:
    """Return what the owner marks of one test begin with."""
    return f"installation-{secrets.token_hex(5)}/"


async def test_clients_of_an_owner_are_found_page_by_page_as_a_look_at_each_finds_them(
    subject: Subject, owner: str
) -> None:
    """With their secrets; nothing of anybody else's."""
    provider = subject.provider
    for number in range(5):
        client = bot(subject, f"bot-{number}", audiences=("superlink",))
        assert await provider.create_client(_owned(client, f"{owner}{number}"))
    subject.hands.add_client(subject.name("stranger"), owner="another-installation/uid", secret="not to be read")
    subject.hands.add_client(subject.name("nobodys"))
    found, first, seen = [], 0, SIZE
    while seen == SIZE:
        page = await provider.clients_page(owner, first, SIZE)
        found += page.items
        first, seen = first + SIZE, page.seen
    assert [client.owner for client in found] == [f"{owner}{number}" for number in range(5)]
    assert all([client == await provider.read_client(client.client_uuid) for client in found])
    assert all(client.secret for client in found)


async def test_users_of_an_owner_are_found_page_by_page(subject: Subject, owner: str) -> None:
    """As a look at each finds them."""
    provider = subject.provider
    for number in range(4):
        assert await provider.create_user(_owned(person(subject, f"ana-{number}"), f"{owner}{number}"))
    subject.hands.add_user(subject.name("stranger"), owner="another-installation/uid")
    pages = [await provider.users_page(owner, first, SIZE) for first in (0, SIZE)]
    found = [user for page in pages for user in page.items]
    assert [page.seen for page in pages] == [3, 1]
    assert [user.owner for user in found] == [f"{owner}{number}" for number in range(4)]
    assert all([user == await provider.read_user(user.user_id or "") for user in found])


async def test_members_of_roles_are_found(subject: Subject) -> None:
    """Users and service accounts, of the realm's roles and of a client's; page by page."""
    provider, hands = subject.provider, subject.hands
    client_id = subject.name("server")
    hands.add_client(client_id)
    hands.add_role(subject.name("role"))
    hands.add_role("reader", client_id=client_id)
    client = bot(subject)
    assert await provider.create_client(client)
    holders = {await provider.service_account_id(client.client_uuid)}
    holders |= {hands.add_user(subject.name(f"ana-{number}")) for number in range(3)}
    realm_roles = {role.name: role for role in await provider.all_roles(None)}
    of_client = await provider.all_roles(client_id)
    assert [role.name for role in of_client if role.name != "uma_protection"] == ["reader"]
    assert not any(name.startswith("default-roles-") for name in realm_roles)
    for role in (realm_roles[subject.name("role")], of_client[0]):
        for holder in holders:
            await provider.add_roles(holder, frozenset({role}))
        pages = [await provider.role_members(role, first, SIZE) for first in (0, SIZE)]
        assert [len(page) for page in pages] == [3, 1]
        assert {member for page in pages for member in page} == holders
    hands.delete_role(subject.name("role"))
    with pytest.raises(StaleObjectError):
        await provider.role_members(realm_roles[subject.name("role")], 0, SIZE)


async def test_a_client_that_is_not_there_has_no_roles(subject: Subject) -> None:
    """No error."""
    assert await subject.provider.all_roles(subject.name("nobody")) == ()


async def test_members_of_groups_are_found(subject: Subject) -> None:
    """Direct ones, at any depth of the tree."""
    provider, hands = subject.provider, subject.hands
    top = f"/{subject.name('g')}"
    deep = hands.add_group(f"{top}/b/c")
    groups = await provider.all_groups(1000)
    assert {path for path in groups if path.startswith(top)} == {top, f"{top}/b", f"{top}/b/c"}
    assert groups[f"{top}/b/c"] == deep
    assert len(await provider.all_groups(1)) > 1
    members = {hands.add_user(subject.name(f"ana-{number}")) for number in range(4)}
    for member in members:
        await provider.join_group(member, deep)
    pages = [await provider.group_members(deep, first, SIZE) for first in (0, SIZE)]
    assert {member for page in pages for member in page} == members
    assert await provider.group_members(groups[top], 0, SIZE) == ()
    hands.delete_group(top)
    with pytest.raises(StaleObjectError):
        await provider.group_members(deep, 0, SIZE)


@pytest.fixture
async def observer(subject: Subject, request: pytest.FixtureRequest) -> Subject:
    """A realm that records admin events, and an operator who may read them."""
    subject.hands.record_events()
    if "keycloak" in request.node.callspec.id:
        await subject.provider.probe()
    return subject


async def test_admin_events_tell_what_others_changed(observer: Subject) -> None:
    """Oldest first, each with an id; none about what the operator did itself."""
    provider, hands = observer.provider, observer.hands
    facts = await provider.probe()
    assert (facts.admin_events_recorded, facts.admin_events_readable) == (True, True)
    client = bot(observer)
    assert await provider.create_client(client)
    subject_id = await provider.service_account_id(client.client_uuid)
    hands.add_role(observer.name("role"))
    since = provider.server_now() - timedelta(seconds=1)
    hands.change_client(client.client_uuid, enabled=False)
    hands.add_mapper(client.client_uuid, "more")
    hands.map_role(subject_id, observer.name("role"))
    hands.delete_role(observer.name("role"))
    expected = [
        (Part.CLIENT, client.client_uuid),
        (Part.CLIENT, client.client_uuid),
        (Part.USER, subject_id),
        (Part.REALM_ROLE, observer.name("role")),
    ]
    events: list[AdminEvent] = []
    first, seen = 0, SIZE
    while seen == SIZE:
        page = await provider.admin_events(since, first, SIZE)
        events += page.items
        first, seen = first + SIZE, page.seen
    assert [part for event in events if (part := touched(event)) in expected][-4:] == expected
    assert len({event.event_id for event in events}) == len(events)
    later = provider.server_now_at_most() + timedelta(seconds=5)
    assert (await provider.admin_events(later, 0, SIZE)).items == ()


async def test_without_the_role_admin_events_are_refused(keycloak: KeycloakSubject) -> None:
    """The probe says so, and nothing else is missing; who asks all the same is told which role it is."""
    keycloak.hands.record_events()
    provider = keycloak.provider(credentials=operator(keycloak, "manage-clients", "manage-users", "view-realm"))
    facts = await provider.probe()
    assert facts.missing_permissions == ()
    assert (facts.admin_events_recorded, facts.admin_events_readable) == (True, False)
    with pytest.raises(BackendDeniedError, match="view-events"):
        await provider.admin_events(provider.server_now(), 0, 1)


_Record = TypeVar("_Record", ClientRecord, UserRecord)


def _owned(record: _Record, owner: str) -> _Record:
    return replace(record, owner=owner)


async def test_who_takes_assertions_of_a_subject(subject: Subject) -> None:
    """Whoever made the client, and no others: another subject, another authenticator, a deleted client."""
    wanted = f"system:serviceaccount:{subject.name('ns')}:x"
    attributes = authenticator_attributes(ServiceAccount(wanted), provider=CLUSTER_PROVIDER)
    assert await subject.provider.clients_of_subject(wanted) == ()
    takes = bot(subject, "takes")
    takes = replace(takes, authenticator=FEDERATED_JWT, attributes={**takes.attributes, **attributes}, owner=None)
    made = await created(subject, takes)
    other = bot(subject, "other")
    await created(subject, replace(other, attributes={**other.attributes, **attributes}))
    (found,) = await subject.provider.clients_of_subject(wanted)
    assert (found.client_uuid, found.client_id, found.secret) == (made.client_uuid, made.client_id, None)
    await subject.provider.delete_client(made.client_uuid)
    assert await subject.provider.clients_of_subject(wanted) == ()
