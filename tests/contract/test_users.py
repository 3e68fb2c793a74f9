"""What every `IdentityProvider` must do with users beyond names and roles: the fake and a real Keycloak."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fedid.domain.realm import IdentityProviderLink, UserRecord, UserSessions
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendRejectedError, StaleObjectError
from tests.contract.conftest import Subject
from tests.contract.identities import person

PASSWORD = Sensitive("Correct-Horse-7-Battery")


async def made(subject: Subject, user: UserRecord, password: Sensitive | None = None) -> str:
    """Create a user and return its id."""
    user_id = await subject.provider.create_user(user, password)
    assert user_id is not None
    return user_id


async def seen(subject: Subject, user_id: str) -> UserRecord:
    """Return a user who is there."""
    found = await subject.provider.read_user(user_id)
    assert found is not None
    return found


def link(subject: Subject, suffix: str, whom: str) -> IdentityProviderLink:
    """Return a link to a provider of this test."""
    return IdentityProviderLink(subject.name(suffix), whom, f"{whom} by name")


@pytest.fixture
def policy(subject: Subject) -> Iterator[None]:
    """Have the realm ask something of passwords, for the time of a test."""
    subject.hands.set_password_policy("length(12) and digits(2)")
    yield
    subject.hands.set_password_policy("")


async def test_everything_comes_with_the_create(subject: Subject) -> None:
    """Attributes, required actions, links and a password: one call makes the whole account."""
    site, university = subject.name("site"), link(subject, "university", "u-1")
    subject.hands.declare_attribute(site)
    subject.hands.add_identity_provider(university.alias)
    user = replace(
        person(subject),
        attributes={site: ("a", "b")},
        required_actions=frozenset({"VERIFY_EMAIL"}),
        links=frozenset({university}),
        email_verified=True,
    )
    user_id = await made(subject, user, PASSWORD)
    found = await seen(subject, user_id)
    assert sorted(found.attributes[site]) == ["a", "b"]
    assert found.required_actions == {"VERIFY_EMAIL", "UPDATE_PASSWORD"}
    assert found.links == {university}
    assert found.email_verified
    assert subject.hands.has_password(user_id)


async def test_a_user_without_a_password_has_none(subject: Subject) -> None:
    """And nothing to do."""
    user_id = await made(subject, person(subject))
    assert not subject.hands.has_password(user_id)
    assert (await seen(subject, user_id)).required_actions == frozenset()


async def test_what_the_realm_does_not_know_is_dropped_without_a_word(subject: Subject) -> None:
    """So a create must be read back."""
    user = replace(
        person(subject),
        attributes={subject.name("undeclared"): ("a",)},
        required_actions=frozenset({"NO_SUCH_ACTION"}),
        links=frozenset({link(subject, "nowhere", "u-1")}),
    )
    found = await seen(subject, await made(subject, user))
    assert (found.attributes, found.required_actions, found.links) == ({}, frozenset(), frozenset())


async def test_the_rules_tell_what_would_be_kept(subject: Subject) -> None:
    """They are read again where what is remembered does not suffice."""
    site = subject.name("site")
    before = await subject.provider.user_rules(lambda _: True)
    assert site not in before.attributes
    assert {"VERIFY_EMAIL", "UPDATE_PASSWORD"} <= before.required_actions
    assert {"fedid.owner", "fedid.object"} <= before.attributes
    assert not before.takes_any_attribute
    subject.hands.declare_attribute(site)
    after = await subject.provider.user_rules(lambda rules: site in rules.attributes)
    assert site in after.attributes
    assert (after.password_policy, after.sends_mail) == ("", False)


async def test_an_action_that_is_switched_off_is_none(subject: Subject) -> None:
    """The rules leave it out, and an account does not keep it."""
    subject.hands.switch_required_action("CONFIGURE_TOTP", on=False)
    try:
        rules = await subject.provider.user_rules(lambda rules: "CONFIGURE_TOTP" not in rules.required_actions)
        assert "CONFIGURE_TOTP" not in rules.required_actions
    finally:
        subject.hands.switch_required_action("CONFIGURE_TOTP", on=True)


@pytest.mark.usefixtures("policy")
async def test_a_password_must_meet_the_policy(subject: Subject) -> None:
    """A refused one leaves no user, and is not told."""
    rules = await subject.provider.user_rules(lambda rules: bool(rules.password_policy))
    assert rules.password_policy == "length(12) and digits(2)"
    user = person(subject)
    with pytest.raises(BackendRejectedError) as refused:
        await subject.provider.create_user(user, Sensitive("Sh0rt"))
    assert refused.value.reason == "PasswordPolicyUnmet"
    assert "Sh0rt" not in refused.value.message
    assert await subject.provider.find_user(user.username) is None
    await made(subject, user, Sensitive("long-enough-42"))


async def test_an_update_leaves_what_is_the_users(subject: Subject) -> None:
    """Required actions, links and the password stay; of a verified address it says what is known."""
    university = link(subject, "university", "u-1")
    subject.hands.add_identity_provider(university.alias)
    user = replace(person(subject), required_actions=frozenset({"VERIFY_EMAIL"}), links=frozenset({university}))
    user_id = await made(subject, replace(user, email_verified=True), PASSWORD)
    await subject.provider.update_user(
        replace(user, user_id=user_id, first_name="Anna", email_verified=None, required_actions=frozenset())
    )
    found = await seen(subject, user_id)
    assert (found.first_name, found.email_verified) == ("Anna", True)
    assert found.required_actions == {"VERIFY_EMAIL", "UPDATE_PASSWORD"}
    assert found.links == {university}
    assert subject.hands.has_password(user_id)
    other = replace(user, user_id=user_id, email=f"{subject.name('x')}@site-a.example", email_verified=None)
    await subject.provider.update_user(other)
    assert (await seen(subject, user_id)).email_verified, "another address stays verified unless one says otherwise"
    await subject.provider.update_user(replace(other, email_verified=False))
    assert not (await seen(subject, user_id)).email_verified


async def test_attributes_come_and_go(subject: Subject) -> None:
    """An update leaves exactly those of the record."""
    site, badge = subject.name("site"), subject.name("badge")
    subject.hands.declare_attribute(site)
    subject.hands.declare_attribute(badge)
    user = replace(person(subject), attributes={site: ("a",)})
    user_id = await made(subject, user)
    await subject.provider.update_user(replace(user, user_id=user_id, attributes={badge: ("1",)}))
    assert (await seen(subject, user_id)).attributes == {badge: ("1",)}


async def test_links(subject: Subject) -> None:
    """They come, are found by whom they lead to, and go; a second one to the same provider is none."""
    university = link(subject, "university", "u-1")
    subject.hands.add_identity_provider(university.alias)
    user_id, other_id = await made(subject, person(subject)), await made(subject, person(subject, "bea"))
    assert await subject.provider.linked_users(university) == ()
    for _ in range(2):
        assert await subject.provider.link_identity(user_id, university)
    assert (await seen(subject, user_id)).links == {university}
    with pytest.raises(StaleObjectError):
        await subject.provider.link_identity(user_id, replace(university, user_id="u-2"))
    subject.hands.link_user(other_id, university.alias, "u-1")
    assert {one.user_id for one in await subject.provider.linked_users(university)} == {user_id, other_id}
    assert await subject.provider.linked_users(replace(university, user_id="u-2")) == ()
    for _ in range(2):
        await subject.provider.unlink_identity(user_id, university.alias)
    assert (await seen(subject, user_id)).links == frozenset()


async def test_a_link_to_nowhere_is_not_left(subject: Subject) -> None:
    """Keycloak would keep it, and whoever makes such a provider later would find it there."""
    nowhere = link(subject, "nowhere", "u-1")
    user_id = await made(subject, person(subject))
    assert not await subject.provider.link_identity(user_id, nowhere)
    subject.hands.add_identity_provider(nowhere.alias)
    assert (await seen(subject, user_id)).links == frozenset()


async def test_links_of_a_user_who_is_gone(subject: Subject) -> None:
    """None can be made, and to take one away is no error."""
    university = link(subject, "university", "u-1")
    subject.hands.add_identity_provider(university.alias)
    user_id = await made(subject, person(subject))
    await subject.provider.delete_user(user_id)
    await subject.provider.unlink_identity(user_id, university.alias)
    with pytest.raises(StaleObjectError):
        await subject.provider.link_identity(user_id, university)


async def test_sessions_are_counted(subject: Subject) -> None:
    """Online and offline ones apart; none once they are ended, and none of a user who is gone."""
    user_id = subject.hands.add_user(subject.name("ana"), email=f"{subject.name('ana')}@site-a.example")
    assert await subject.provider.user_sessions(user_id) == UserSessions()
    subject.hands.open_session(user_id)
    assert await subject.provider.user_sessions(user_id) == UserSessions(1, 0)
    subject.hands.open_session(user_id, offline=True)
    assert (await subject.provider.user_sessions(user_id)).offline == 1
    await subject.provider.end_sessions(user_id)
    assert not await subject.provider.user_sessions(user_id)
    await subject.provider.delete_user(user_id)
    assert await subject.provider.user_sessions(user_id) == UserSessions()


async def test_a_mail_that_cannot_be_sent_is_no_outage(subject: Subject) -> None:
    """Without a mail server Keycloak answers 500; it is the mail that failed."""
    user_id = await made(subject, person(subject))
    with pytest.raises(BackendRejectedError) as failed:
        await subject.provider.send_actions(user_id, frozenset({"UPDATE_PASSWORD"}))
    assert failed.value.reason == "MailNotSent"
    await subject.provider.delete_user(user_id)
    with pytest.raises(StaleObjectError):
        await subject.provider.send_actions(user_id, frozenset({"UPDATE_PASSWORD"}))
