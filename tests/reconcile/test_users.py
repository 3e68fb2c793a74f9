"""Users on the fakes: what a manifest gives them, what it takes back, and what stays the user's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import VaultMark
from fedid.errors import BackendRejectedError, BackendUnavailableError
from tests.fakes.failures import Failures
from tests.reconcile.people import PASSWORD_PATH, USER, People
from tests.reconcile.test_suspension import dies

FULL: dict[str, Any] = {
    "emailVerified": True,
    "attributes": {"site": ["a"], "badge": ["1", "2"]},
    "groups": ["/sites/a"],
    "realmRoles": ["fl-member"],
    "clientRoles": {"superlink": ["submit"]},
    "identityProviderLinks": [{"identityProvider": "university", "userId": "u-1"}],
    "requiredActions": ["VERIFY_EMAIL"],
}


@pytest.fixture
def people() -> People:
    """Nobody yet."""
    return People()


async def test_a_plain_user_takes_three_calls_and_no_password(people: People) -> None:
    """Create, read back, roles; nothing is hashed, and Vault is not asked."""
    people.operator.provider.calls.clear()
    await people.operator.settle()
    people.operator.provider.calls.clear()
    stored = len(people.operator.store.calls)
    await people.make(realmRoles=["fl-member"], groups=["/sites/a"])
    asked = [call.operation for call in people.operator.provider.calls]
    assert asked == ["create_user", "read_user", "add_roles"]
    assert people.account().password is None
    assert len(people.operator.store.calls) == stored


async def test_everything_that_a_manifest_says_comes_true_and_nothing_is_written_after(people: People) -> None:
    """Account, attributes, groups, roles, links and required actions."""
    await people.make(**FULL)
    found = people.account()
    assert found.record.attributes == {"site": ("a",), "badge": ("1", "2")}
    assert found.record.email_verified
    assert found.record.required_actions == {"VERIFY_EMAIL"}
    assert {(link.alias, link.user_id) for link in found.record.links} == {("university", "u-1")}
    assert (found.groups, people.roles()) == ({"/sites/a"}, {"fl-member", "superlink/submit"})
    applied = {"attributes": ["badge", "site"], "identityProviders": ["university"], "emailVerified": True}
    assert people.status["applied"] == applied
    before = people.writes()
    await people.operator.look()
    people.operator.restart()
    await people.operator.advance(3600)
    assert people.writes() == before


async def test_a_look_whose_outcome_could_not_be_told_is_no_look(people: People) -> None:
    """Made anew while the API server is away, a user's new id is in the status once it is back."""
    await people.make()
    former = people.status["userId"]
    del people.realm.users[former]
    away = BackendUnavailableError("away", backend="kubernetes")
    people.operator.cluster.failures.add("patch_status", away, times=1)
    people.operator.world.wake(USER)
    await people.operator.advance(30)
    assert people.status["userId"] == people.account().record.user_id != former


async def test_what_leaves_the_manifest_leaves_keycloak(people: People) -> None:
    """And what others gave, or Keycloak gives by default, stays."""
    await people.make(**FULL)
    account = people.account()
    user_id = str(account.record.user_id)
    account.record = replace(account.record, attributes={**account.record.attributes, "locale": ("sl",)})
    people.realm.identity_providers.add("hospital")
    people.realm.link_user(user_id, "hospital", "h-1")
    await people.make()
    assert account.record.attributes == {"locale": ("sl",)}
    assert {link.alias for link in account.record.links} == {"hospital"}
    assert not account.record.email_verified
    assert account.record.required_actions == {"VERIFY_EMAIL"}
    assert (account.groups, people.roles()) == (set(), set())
    assert people.realm.default_role.role_id in account.role_ids
    assert "applied" not in people.status


@pytest.mark.parametrize("lost", ["attributes", "identityProviders", "emailVerified", "clientRoles"])
async def test_a_grant_that_narrows_takes_back_what_it_covered(people: People, lost: str) -> None:
    """From a user who is there, and from nothing else of it."""
    await people.make(**FULL)
    kept = {"realmRoles": ["fl-*"], "groups": ["/sites/*"], "attributes": ["*"], "identityProviders": ["*"]}
    kept |= {"clientRoles": {"superlink": ["*"]}, "emailVerified": True}
    people.grant(**{name: value for name, value in kept.items() if name != lost})
    await people.operator.look()
    record = people.account().record
    assert people.ready() == ("False", "NotGranted")
    assert bool(record.attributes) == (lost != "attributes")
    assert bool(record.links) == (lost != "identityProviders")
    assert record.email_verified == (lost != "emailVerified")
    assert people.roles() == ({"fl-member"} if lost == "clientRoles" else {"fl-member", "superlink/submit"})


async def test_a_manifest_that_asks_for_too_much_makes_nobody(people: People) -> None:
    """Each ask needs its grant, and a new user is refused as a whole."""
    people.grant(realmRoles=["fl-*"], groups=["/sites/*"], clientRoles={"superlink": ["*"]})
    people.want(**FULL)
    await people.operator.advance(5)
    assert people.ready() == ("False", "NotGranted")
    for ask in ("attributes: site", "identityProviders: university", "emailVerified: true"):
        assert ask in people.told()
    assert people.realm.user("ana") is None


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"attributes": {"undeclared": ["a"]}}, "AttributeMissing", "does not declare undeclared"),
        ({"requiredActions": ["NO_SUCH"]}, "RequiredActionMissing", "required action NO_SUCH"),
        (
            {"identityProviderLinks": [{"identityProvider": "nowhere", "userId": "1"}]},
            "IdentityProviderMissing",
            "no identity provider nowhere",
        ),
    ],
)
async def test_what_keycloak_would_drop_without_a_word_is_told(
    people: People, spec: dict[str, Any], reason: str, words: str
) -> None:
    """Nothing is left of the attempt, and it succeeds once the realm has it."""
    people.grant(attributes=["*"], identityProviders=["*"])
    people.want(**spec)
    await people.operator.advance(5)
    assert people.ready() == ("False", reason)
    assert words in people.told()
    assert people.realm.user("ana") is None
    people.realm.declared_attributes.add("undeclared")
    people.realm.required_actions.add("NO_SUCH")
    people.realm.identity_providers.add("nowhere")
    await people.operator.look()
    people.operator.world.wake(USER)
    await people.operator.settle()
    assert people.ready() == ("True", "Ready")


async def test_what_the_user_did_is_left_in_peace(people: People) -> None:
    """Done actions, a chosen password, a verified address: no look undoes them."""
    await people.make(requiredActions=["VERIFY_EMAIL"], initialPassword="Generate")
    account = people.account()
    account.password = Sensitive("her own")
    account.record = replace(account.record, required_actions=frozenset(), email_verified=True)
    people.want(requiredActions=["VERIFY_EMAIL"], initialPassword="Generate", firstName="Anna")
    await people.operator.advance(5)
    assert account.record.first_name == "Anna"
    assert account.record.required_actions == frozenset()
    assert account.record.email_verified
    assert account.password == Sensitive("her own")


async def test_another_address_is_not_verified(people: People) -> None:
    """Keycloak would leave it so; somebody else's address would be taken for the user's."""
    await people.make()
    account = people.account()
    account.record = replace(account.record, email_verified=True)
    await people.make(email="other@site-a.example")
    assert (account.record.email, account.record.email_verified) == ("other@site-a.example", False)


async def test_nobody_is_linked_to_whom_somebody_else_is(people: People) -> None:
    """Keycloak would take it, and let neither of the two in."""
    other = people.realm.add_user("bea")
    people.realm.link_user(other, "university", "u-1")
    people.want(identityProviderLinks=[{"identityProvider": "university", "userId": "u-1"}])
    await people.operator.advance(5)
    assert people.ready() == ("False", "Conflict")
    assert "bea" not in people.told()
    assert people.realm.user("ana") is None


async def test_changes_by_hand_are_put_back_and_told(people: People) -> None:
    """An attribute, a link that leads to somebody else, a client's role."""
    await people.make(**FULL)
    user_id = str(people.account().record.user_id)
    people.realm.change_user(user_id, attributes={"site": ("b",)})
    people.realm.link_user(user_id, "university", "u-2")
    people.realm.unmap_role(user_id, "submit", "superlink")
    people.operator.world.wake(USER)
    await people.operator.advance(5)
    assert people.account().record.attributes == {"site": ("a",), "badge": ("1", "2")}
    assert {link.user_id for link in people.account().record.links} == {"u-1"}
    assert "superlink/submit" in people.roles()
    (told,) = people.events("DriftRepaired")
    for part in ("attributes[site]", "links to identity providers (university)", "superlink/submit"):
        assert part in told


async def test_a_sweep_finds_what_was_changed_by_hand(people: People) -> None:
    """Attributes and clients' roles too."""
    await people.make(**FULL)
    user_id = str(people.account().record.user_id)
    for change in (
        lambda: people.realm.change_user(user_id, attributes={"site": ("b",)}),
        lambda: people.realm.unmap_role(user_id, "submit", "superlink"),
    ):
        change()
        await people.operator.advance(1)
        from fedid.reconcile.sweep import Sweep  # noqa: PLC0415 - beside what it is compared with

        sweep = Sweep(people.operator.world, people.operator.world.backends["local"], 0.0)
        await sweep.begin()
        found = []
        while not sweep.done:
            found += await sweep.step()
        assert USER in found
        people.operator.world.wake(USER)
        await people.operator.advance(1)


class TestInitialPassword:
    """It is in Vault first, meets the policy, and is made once."""

    async def test_it_goes_to_vault_and_to_keycloak_and_nowhere_else(self, people: People) -> None:
        """Made to the realm's policy; the status says where it lies, and never what it is."""
        people.realm.password_policy = "length(30) and digits(2) and upperCase(3)"
        await people.make(initialPassword="Generate")
        entry, account = people.entry(), people.account()
        assert (entry["username"], entry["temporary"], entry["state"]) == ("ana", "true", "current")
        assert account.password == Sensitive(entry["password"])
        assert len(entry["password"]) == 30
        assert "UPDATE_PASSWORD" in account.record.required_actions
        assert people.status["initialPassword"] == {"path": PASSWORD_PATH}
        assert people.condition("Published")["reason"] == "Published"  # type: ignore[index]
        assert entry["password"] not in str(people.operator.cluster.bodies[USER])
        assert all(entry["password"] not in event.message for event in people.operator.cluster.events)

    async def test_it_is_never_made_again(self, people: People) -> None:
        """Neither by a look nor by a new process, nor by another manifest."""
        await people.make(initialPassword="Generate")
        entry = people.entry()
        people.operator.restart()
        await people.operator.advance(60)
        await people.make(initialPassword="Generate", firstName="Anna")
        people.operator.world.wake(USER)
        await people.operator.settle()
        assert people.entry() == entry

    async def test_one_who_is_there_already_gets_none(self, people: People) -> None:
        """It comes with the account, or not at all."""
        await people.make()
        await people.make(initialPassword="Generate")
        assert people.account().password is None
        assert people.entry() == {}
        assert people.condition("Published") is None

    async def test_it_goes_from_vault_with_the_field_and_with_the_user(self, people: People) -> None:
        """Read back as gone."""
        await people.make(initialPassword="Generate")
        await people.make()
        assert people.operator.store.entries == {}
        assert "initialPassword" not in people.status
        assert people.condition("Published") is None

    async def test_a_policy_that_cannot_be_met_is_told(self, people: People) -> None:
        """And nobody is made."""
        people.realm.password_policy = "length(20) and maxLength(8)"
        people.want(initialPassword="Generate")
        await people.operator.advance(5)
        assert people.ready() == ("False", "PasswordPolicyUnmet")
        assert "at least 20 characters and takes at most 8" in people.told()
        assert people.realm.user("ana") is None

    async def test_a_policy_that_only_keycloak_can_judge_is_named(self, people: People) -> None:
        """Nothing of the attempt stays in Vault."""
        people.realm.password_policy = "regexPattern(^[a-z]+$) and length(12)"
        refusal = BackendRejectedError("refused", backend="keycloak", reason="PasswordPolicyUnmet")
        people.operator.provider.failures.add("create_user", refusal)
        people.want(initialPassword="Generate")
        await people.operator.settle()
        assert people.ready() == ("False", "PasswordPolicyUnmet")
        assert "what meets regexPattern" in people.told()
        assert people.operator.store.entries == {}

    async def test_one_that_the_policy_refuses_by_now_is_made_anew(self, people: People) -> None:
        """The policy was another one when it was put into Vault."""
        away = BackendUnavailableError("away", backend="keycloak")
        people.operator.provider.failures.add("create_user", away)
        people.want(initialPassword="Generate")
        await people.operator.settle()
        assert people.entry()["state"] == "pending"
        people.realm.password_policy = "length(40)"
        await people.operator.advance(3600)
        assert people.ready() == ("True", "Ready")
        assert len(people.entry()["password"]) == 40
        assert people.account().password == Sensitive(people.entry()["password"])

    async def test_a_strangers_entry_is_left_alone(self, people: People) -> None:
        """And so is Keycloak."""
        people.operator.store.put_by_hand(PASSWORD_PATH, {"password": "theirs"}, VaultMark("i/other", "X/y/z"))
        people.want(initialPassword="Generate")
        await people.operator.advance(5)
        assert people.ready() == ("False", "Conflict")
        assert people.realm.user("ana") is None
        assert people.entry() == {"password": "theirs"}

    async def test_a_strangers_account_gets_none(self, people: People) -> None:
        """Nothing of the attempt stays in Vault."""
        people.realm.add_user("ana")
        people.want(initialPassword="Generate")
        await people.operator.advance(5)
        assert people.ready() == ("False", "Conflict")
        assert people.operator.store.entries == {}

    async def test_one_whose_account_a_hand_deleted_gets_another(self, people: People) -> None:
        """The former may be known by now."""
        await people.make(initialPassword="Generate")
        former = people.entry()["password"]
        del people.realm.users[str(people.account().record.user_id)]
        people.operator.world.wake(USER)
        await people.operator.advance(5)
        entry = people.entry()
        assert entry["password"] != former
        assert people.account().password == Sensitive(entry["password"])
        assert entry["state"] == "current"

    async def test_wherever_the_making_is_cut_off_vault_has_what_keycloak_took(self) -> None:
        """After each single effect: one account, one password, the same on both sides."""
        effects, cut = 0, True
        while cut:
            effects += 1
            people = People()
            await people.operator.settle()
            people.want(initialPassword="Generate", **FULL)
            cut = await dies(people.operator, effects)
            assert people.ready() == ("True", "Ready"), (effects, people.told())
            assert people.account().password == Sensitive(people.entry()["password"]), effects
            assert people.entry()["state"] == "current", effects
            assert people.status["initialPassword"] == {"path": PASSWORD_PATH}, effects
            people.delete()
            await people.operator.advance(30)
            assert USER not in people.operator.cluster.bodies, effects
            assert people.operator.store.entries == {}, effects
        assert effects > 7, "it was cut off in a few places only"


class TestNotification:
    """A mail once the account is made; a mail that fails keeps nobody from anything."""

    async def test_it_leads_to_what_the_user_has_to_do(self, people: People) -> None:
        """Sent once, also after looks, changes and restarts."""
        people.realm.sends_mail = True
        await people.make(notify=True, requiredActions=["VERIFY_EMAIL"], initialPassword="Generate")
        user_id = people.account().record.user_id
        sent = [(user_id, {"VERIFY_EMAIL", "UPDATE_PASSWORD"})]
        assert people.realm.mails == sent
        assert people.status["notification"]["state"] == "Sent"
        await people.make(notify=True, requiredActions=["VERIFY_EMAIL"], initialPassword="Generate", lastName="N")
        people.operator.restart()
        people.operator.world.wake(USER)
        await people.operator.advance(3600)
        assert people.realm.mails == sent

    @pytest.mark.parametrize("failure", [None, "the server said no"])
    async def test_one_that_cannot_be_sent_is_told_and_sent_later(self, people: People, failure: str | None) -> None:
        """Ready says so, one Event tells it, and nothing else is written until it is sent."""
        people.realm.sends_mail, people.realm.mail_failure = failure is not None, failure
        await people.make(notify=True)
        assert (failure or "has no mail server") in people.told()
        assert len(people.events("MailNotSent")) == 1
        before = people.writes()
        await people.operator.advance(1500)
        assert people.writes() == before
        assert len(people.events("MailNotSent")) == 1
        people.realm.sends_mail, people.realm.mail_failure = True, None
        await people.operator.advance(1500)
        assert people.realm.mails == [(people.account().record.user_id, {"UPDATE_PASSWORD"})]
        assert "mail" not in people.told()

    async def test_an_outage_while_it_is_sent_blocks_nothing(self, people: People) -> None:
        """A mail server that hangs keeps Keycloak from answering."""
        people.realm.sends_mail = True
        away = BackendUnavailableError("no answer within 15 s", backend="keycloak")
        people.operator.provider.failures.add("send_actions", away, times=None)
        await people.make(notify=True)
        assert "no answer within 15 s" in people.told()
        people.operator.provider.failures = Failures()
        await people.operator.advance(1500)
        assert len(people.realm.mails) == 1
