"""The end of a user, or of its use: suspended, expired, withdrawn, deleted, retained, taken over."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.resources import FEDERATION_USER
from fedid.errors import BackendUnavailableError
from tests.reconcile.people import EVERYTHING, FINALIZER, USER, People
from tests.reconcile.small_operator import NAMESPACE
from tests.reconcile.test_suspension import dies

AT_NOON_OF_TOMORROW = "2026-01-02T12:00:00Z"


@pytest.fixture
async def people() -> People:
    """A user with two sessions."""
    return await logged_in()


async def logged_in(**spec: Any) -> People:
    """Return an operator with a user who is logged in twice, once for good."""
    people = People()
    await people.operator.settle()
    await people.make(realmRoles=["fl-member"], groups=["/sites/a"], **spec)
    user_id = str(people.account().record.user_id)
    people.realm.open_session(user_id)
    people.realm.open_session(user_id, offline=True)
    return people


WANTED: dict[str, Any] = {"realmRoles": ["fl-member"], "groups": ["/sites/a"]}


def assert_held(people: People, reason: str) -> None:
    """See the account there, disabled and without sessions, and the proof told."""
    account = people.account()
    assert (account.record.enabled, account.sessions) == (False, [])
    assert (account.groups, people.roles()) == ({"/sites/a"}, {"fl-member"})
    assert people.ready() == ("False", reason)
    revoked = people.condition("Revoked")
    assert revoked is not None
    assert (revoked["status"], revoked["reason"]) == ("True", "Proven")
    assert "is disabled and has no session" in revoked["message"]
    assert "revocation" not in people.status


async def test_a_suspended_user_is_disabled_and_logged_out_with_proof(people: People) -> None:
    """And nothing is written afterwards; brought back, nothing of before is good."""
    people.want(suspend=True, **WANTED)
    await people.operator.advance(5)
    assert_held(people, "Suspended")
    assert "with 1 online and 1 offline sessions" in people.told("Revoked")
    (event,) = people.events("RevocationProven")
    assert people.told("Revoked") in event
    before = people.writes()
    people.operator.world.wake(USER)
    await people.operator.advance(3600)
    people.operator.restart()
    await people.operator.advance(3600)
    assert people.writes() == before
    await people.make(**WANTED)
    assert (people.account().record.enabled, people.account().sessions) == (True, [])
    assert people.condition("Revoked") is None


async def test_a_user_expires_at_the_instant_and_comes_back_with_a_later_one(people: People) -> None:
    """Although the last look at it was long enough ago for nothing."""
    await people.make(expiresAt=AT_NOON_OF_TOMORROW, **WANTED)
    await people.operator.advance(86_400 - people.operator.clock.seconds - 1)
    assert people.ready() == ("True", "Ready")
    await people.operator.advance(2)
    assert_held(people, "Expired")
    await people.make(expiresAt="2026-02-01T00:00:00Z", **WANTED)
    assert people.account().record.enabled


async def test_one_who_expires_while_keycloak_is_away_expires_as_soon_as_it_is_back(people: People) -> None:
    """The status tells what it waits for."""
    await people.make(expiresAt=AT_NOON_OF_TOMORROW, **WANTED)
    people.operator.provider.failures.add("*", BackendUnavailableError("away", backend="keycloak"), times=None)
    await people.operator.advance(86_400)
    assert people.account().record.enabled
    assert people.ready() == ("False", "BackendUnavailable")
    people.operator.provider.failures.clear()
    await people.operator.advance(600)
    assert_held(people, "Expired")


async def test_one_who_is_suspended_from_the_start_is_never_made(people: People) -> None:
    """Nothing to end, nothing to prove."""
    people.operator.cluster.apply(FEDERATION_USER, NAMESPACE, "bea", {"username": "bea", "suspend": True})
    await people.operator.advance(5)
    assert people.realm.user("bea") is None
    body = next(body for key, body in people.operator.cluster.bodies.items() if key.name == "bea")
    assert FINALIZER not in body["metadata"].get("finalizers", ())


async def test_one_whom_a_hand_enables_is_disabled_again(people: People) -> None:
    """Whatever was opened meanwhile ends too."""
    people.want(suspend=True, **WANTED)
    await people.operator.advance(5)
    user_id = str(people.account().record.user_id)
    people.realm.change_user(user_id, enabled=True)
    people.realm.open_session(user_id)
    people.operator.world.wake(USER)
    await people.operator.advance(5)
    assert_held(people, "Suspended")
    assert people.events("DriftRepaired")


async def test_a_suspension_asks_no_grant(people: People) -> None:
    """A spec that asks for too much is suspended all the same."""
    people.grant(groups=["/sites/*"])
    people.want(suspend=True, **WANTED)
    await people.operator.advance(5)
    account = people.account()
    assert (account.record.enabled, account.sessions) == (False, [])
    assert people.ready() == ("False", "Suspended")


async def test_one_who_is_suspended_and_loses_every_grant_is_withdrawn_and_rests(people: People) -> None:
    """It says that there is no account, at once and at every later look."""
    people.want(suspend=True, **WANTED)
    await people.operator.advance(5)
    people.grant_nobody()
    await people.operator.advance(10)
    assert people.realm.user("ana") is None
    assert people.ready() == ("False", "Suspended")
    assert "so there is no account" in people.told()
    before = people.writes()
    people.operator.world.wake(USER)
    await people.operator.advance(3600)
    assert people.writes() == before


async def test_rights_that_went_while_a_user_was_suspended_are_gone_before_the_first_login(people: People) -> None:
    """The account is enabled last."""
    people.want(suspend=True, **WANTED)
    await people.operator.advance(5)
    people.operator.provider.writes.clear()
    await people.make(groups=["/sites/b"])
    done = [call.operation for call in people.operator.provider.writes]
    assert done[0] == "end_sessions"
    assert done[-1] == "update_user"
    assert set(done[1:-1]) == {"leave_group", "remove_roles", "join_group"}


async def test_wherever_a_suspension_is_cut_off_it_ends_the_same() -> None:
    """After each single effect; and with a proof that tells the sessions of before."""
    effects, cut = 0, True
    while cut:
        effects += 1
        people = await logged_in()
        people.want(suspend=True, **WANTED)
        cut = await dies(people.operator, effects)
        assert_held(people, "Suspended")
        assert "with 1 online and 1 offline sessions" in people.told("Revoked"), effects
    assert effects > 3, "it was cut off in a few places only"


async def test_a_suspension_that_is_called_off_halfway_is_finished() -> None:
    """Sessions of before are gone, wherever it was cut off once it was begun."""
    effects, cut = 1, True
    while cut:
        people = await logged_in()
        people.want(suspend=True, **WANTED)
        cut = await dies(people.operator, effects)
        await people.make(**WANTED)
        assert (people.account().record.enabled, people.account().sessions) == (True, []), effects
        effects += 1


class TestDeletion:
    """The account goes, with its sessions, its password and its object, in this order."""

    async def test_it_is_proven(self) -> None:
        """Seen there, sessions ended, deleted, 404; the Event says all of it."""
        people = await logged_in(initialPassword="Generate")
        user_id = people.account().record.user_id
        people.operator.provider.writes.clear()
        people.delete()
        await people.operator.advance(5)
        assert USER not in people.operator.cluster.bodies
        assert people.realm.user("ana") is None
        assert people.operator.store.entries == {}
        assert [call.operation for call in people.operator.provider.writes] == ["end_sessions", "delete_user"]
        (told,) = people.events("RevocationProven")
        for part in (
            "the account was there at",
            "1 online and 1 offline",
            f"{user_id} answers 404",
            "Vault answers 404",
        ):
            assert part in told

    async def test_wherever_it_is_cut_off_it_ends_the_same(self) -> None:
        """After each single effect: nothing is left, and no proof says less than was seen."""
        effects, cut = 0, True
        while cut:
            effects += 1
            people = await logged_in(initialPassword="Generate")
            people.delete()
            cut = await dies(people.operator, effects)
            assert USER not in people.operator.cluster.bodies, effects
            assert people.realm.user("ana") is None
            assert people.operator.store.entries == {}
            assert people.events("RevocationProven"), effects
            assert all("1 online and 1 offline" in told for told in people.events("RevocationProven")), effects
        assert effects > 5, "it was cut off in a few places only"

    async def test_it_needs_vault_only_where_there_is_something_in_it(self, people: People) -> None:
        """Without an initial password nothing is asked of Vault."""
        people.operator.store.failures.add("*", BackendUnavailableError("away", backend="vault"), times=None)
        people.delete()
        await people.operator.advance(5)
        assert USER not in people.operator.cluster.bodies

    async def test_with_vault_away_the_account_is_gone_and_the_object_waits(self) -> None:
        """The authority refuses first; the condition keeps the proof."""
        people = await logged_in(initialPassword="Generate")
        people.operator.store.failures.add("*", BackendUnavailableError("away", backend="vault"), times=None)
        people.delete()
        await people.operator.advance(5)
        assert people.realm.user("ana") is None
        assert people.ready() == ("False", "BackendUnavailable")
        assert (people.condition("Revoked") or {})["reason"] == "Proven"
        assert people.status["revocation"]["waitingFor"] == "vault"
        people.operator.store.failures.clear()
        await people.operator.advance(60)
        assert USER not in people.operator.cluster.bodies

    async def test_an_account_whose_mark_a_hand_took_is_waited_for(self, people: People) -> None:
        """It may be somebody else's by now."""
        people.realm.change_user(str(people.account().record.user_id), owner=None)
        people.delete()
        await people.operator.advance(5)
        assert people.ready() == ("False", "Conflict")
        assert people.account().sessions

    async def test_one_that_was_made_anew_and_never_told_goes_too(self, people: People) -> None:
        """A hand deleted it, and the process that made it again died before its status."""
        former = str(people.account().record.user_id)
        record = people.realm.users.pop(former).record
        people.realm.put_user(record)
        people.delete()
        await people.operator.advance(5)
        assert USER not in people.operator.cluster.bodies
        assert people.realm.user("ana") is None

    async def test_a_strangers_account_of_the_name_is_none_of_ours(self) -> None:
        """A user who was never made goes at once."""
        people = People()
        people.realm.add_user("ana")
        people.want()
        await people.operator.advance(5)
        assert people.ready() == ("False", "Conflict")
        people.delete()
        await people.operator.advance(5)
        assert USER not in people.operator.cluster.bodies
        assert people.realm.user("ana") is not None

    async def test_no_grant_is_needed(self, people: People) -> None:
        """The namespace has none, and the user goes with it."""
        people.grant_nobody()
        await people.operator.look()
        people.operator.world.wake(USER)
        await people.operator.advance(5)
        assert people.realm.user("ana") is None
        assert people.ready() == ("False", "NotGranted")
        assert "userId" not in people.status
        people.grant(**EVERYTHING)
        await people.operator.look()
        people.operator.world.wake(USER)
        await people.operator.advance(5)
        assert people.ready() == ("True", "Ready")

    async def test_wherever_a_withdrawal_is_cut_off_it_ends_the_same(self) -> None:
        """After each single effect: nobody, and an object that rests."""
        effects, cut = 0, True
        while cut:
            effects += 1
            people = await logged_in(initialPassword="Generate")
            people.grant_nobody()
            cut = await dies(people.operator, effects)
            assert people.realm.user("ana") is None, effects
            assert people.operator.store.entries == {}, effects
            assert people.ready() == ("False", "NotGranted"), effects
            assert FINALIZER not in people.operator.cluster.bodies[USER]["metadata"].get("finalizers", ()), effects
            assert not {"userId", "initialPassword", "revocation"} & people.status.keys(), effects
        assert effects > 6, "it was cut off in a few places only"


class TestRetention:
    """The account outlives the object: disabled, without sessions, and nobody's."""

    async def test_it_is_released_after_the_proof(self) -> None:
        """Groups and roles stay; the initial password goes."""
        people = await logged_in(initialPassword="Generate", deletionPolicy="Retain")
        people.delete()
        await people.operator.advance(5)
        self.assert_released(people)
        (told,) = people.events("RevocationProven")
        assert "is disabled and has no session" in told
        assert "the account stays, disabled, and is nobody's" in told

    async def test_without_a_grant_it_is_deleted(self) -> None:
        """A deletion is never refused."""
        people = await logged_in(deletionPolicy="Retain")
        people.grant(realmRoles=["fl-*"], groups=["/sites/*"])
        await people.operator.look()
        people.delete()
        await people.operator.advance(5)
        assert people.realm.user("ana") is None

    async def test_wherever_it_is_cut_off_it_ends_the_same(self) -> None:
        """After each single effect."""
        effects, cut = 0, True
        while cut:
            effects += 1
            people = await logged_in(initialPassword="Generate", deletionPolicy="Retain")
            people.delete()
            cut = await dies(people.operator, effects)
            self.assert_released(people)
            assert people.events("RevocationProven"), effects
        assert effects > 6, "it was cut off in a few places only"

    @staticmethod
    def assert_released(people: People) -> None:
        """See it there, as nobody's."""
        assert USER not in people.operator.cluster.bodies
        account = people.account()
        assert (account.record.owner, account.record.object_name, account.record.enabled) == (None, None, False)
        assert (account.sessions, account.groups, people.roles()) == ([], {"/sites/a"}, {"fl-member"})
        assert people.operator.store.entries == {}


class TestAdoption:
    """An account that is there already and nobody's is taken over: wholly, or not at all."""

    async def test_it_keeps_its_password_and_its_id(self) -> None:
        """Its sessions end, and what others gave it goes; no password is made, no mail sent."""
        people, user_id = self.strange()
        people.realm.sends_mail = True
        await people.make(adopt=True, groups=["/sites/a"], initialPassword="Generate", notify=True)
        account = people.account()
        assert (account.record.user_id, account.record.first_name) == (user_id, "Ana")
        assert account.record.owner is not None
        assert (account.sessions, account.groups, people.roles()) == ([], {"/sites/a"}, set())
        assert (account.password, people.entry(), people.realm.mails) == (None, {}, [])
        assert people.status["userId"] == user_id

    async def test_it_needs_the_word_and_the_grant(self) -> None:
        """Without either it is left untouched."""
        people, user_id = self.strange()
        before = people.account().record
        people.want()
        await people.operator.advance(5)
        assert people.ready() == ("False", "Conflict")
        assert "spec.adopt: true" in people.told()
        people.grant(groups=["/sites/*"])
        people.want(adopt=True)
        await people.operator.advance(5)
        assert "which needs a grant" in people.told()
        assert people.realm.users[user_id].record == before
        assert len(people.account().sessions) == 1

    async def test_never_an_administrator_and_never_anothers(self) -> None:
        """Whoever may adopt must not get the realm."""
        people, user_id = self.strange()
        people.realm.add_client("realm-management")
        people.realm.add_role("manage-users", client_id="realm-management")
        people.realm.map_role(user_id, "manage-users", "realm-management")
        people.want(adopt=True)
        await people.operator.advance(5)
        assert people.ready() == ("False", "Conflict")
        assert "administers the realm" in people.told()
        people.realm.unmap_role(user_id, "manage-users", "realm-management")
        people.realm.change_user(user_id, owner="elsewhere/uid")
        await people.operator.advance(900)
        assert people.ready() == ("False", "Conflict")
        assert len(people.account().sessions) == 1

    async def test_wherever_it_is_cut_off_it_ends_the_same(self) -> None:
        """After each single effect."""
        effects, cut = 0, True
        while cut:
            effects += 1
            people, user_id = self.strange()
            await people.operator.settle()
            people.want(adopt=True, groups=["/sites/a"])
            cut = await dies(people.operator, effects)
            assert people.ready() == ("True", "Ready"), effects
            account = people.account()
            assert (account.record.user_id, account.groups, people.roles()) == (user_id, {"/sites/a"}, set()), effects
        assert effects > 4, "it was cut off in a few places only"

    @staticmethod
    def strange() -> tuple[People, str]:
        """Return a realm with an account that somebody made, and its id."""
        people = People()
        user_id = people.realm.add_user("ana", email="ana@site-a.example")
        people.realm.map_role(user_id, "fl-admin")
        people.realm.users[user_id].groups.add("/sites/b")
        people.realm.open_session(user_id)
        return people, user_id
