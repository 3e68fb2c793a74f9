"""Grants as the reconciler holds identities to them: composites that grow, demands, places, approvals."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from fedid.domain.conditions import condition_of, rfc3339
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER, IDENTITY_APPROVAL, POD_IDENTITY
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

TOKEN = {"name": "default", "lifetime": "24h"}
ADMINISTRATIVE = "realm-management"


class Estate:
    """A Federation whose rules a test writes, and identities of one namespace."""

    def __init__(self, *rules: dict[str, Any], records_events: bool = False) -> None:
        """Start with these rules about the namespace, and the roles of the realm."""
        self.operator = SmallOperator()
        self.realm = self.operator.provider.realm
        self.realm.records_events = records_events
        for role in ("fl-client", "fl-admin", "fl-top", "billing"):
            self.realm.add_role(role)
        self.realm.add_client(ADMINISTRATIVE)
        self.realm.add_role("realm-admin", client_id=ADMINISTRATIVE)
        self.realm.add_group("/sites/a")
        self.rules(*rules)

    def rules(self, *rules: dict[str, Any]) -> None:
        """Replace the rules."""
        spec = self.operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        grants = [{"namespaces": {"names": [NAMESPACE]}, **rule} for rule in rules]
        self.operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": grants})

    def sweep_every(self, period: str) -> None:
        """Have the realm swept so often, and its events read every ten seconds."""
        spec = self.operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        self.operator.cluster.apply(FEDERATION, None, "local", {**spec, "drift": {"sweepPeriod": period}})

    def bot(self, *roles: str, name: str = "trainer", **spec: Any) -> None:
        """Apply a bot with these realm roles and one token."""
        wanted = {"realmRoles": list(roles), "tokens": [TOKEN], **spec}
        self.operator.cluster.apply(BOT_CLIENT, NAMESPACE, name, wanted)

    def user(self, *groups: str, name: str = "ana", **spec: Any) -> None:
        """Apply a user in these groups."""
        self.operator.cluster.apply(FEDERATION_USER, NAMESPACE, name, {"username": name, "groups": [*groups], **spec})

    def approve(self, message: str, name: str = "yes", **fields: Any) -> None:
        """Do what the hint in a message says, with other fields."""
        found = re.search(r"echo '(.*)' \| kubectl create -f -", message)
        assert found, message
        spec = json.loads(re.sub(r"'\"\$\(.*?\)\"'", "ana", found[1]))["spec"]
        self.operator.cluster.apply(IDENTITY_APPROVAL, None, name, {**spec, "reason": "FL-17", **fields})

    def told(self, kind: str = BOT_CLIENT, name: str = "trainer", about: str = "Granted") -> tuple[str, str]:
        """Return reason and message of a condition."""
        found = condition_of(self.operator.status(kind, name)["conditions"], about)  # type: ignore[arg-type]
        assert found is not None
        return found["reason"], found["message"]

    def roles(self, name: str = "trainer") -> set[str]:
        """Return the realm roles of a bot, other than the default ones."""
        client = self.realm.client(f"{NAMESPACE}.{name}")
        if client is None:
            return set()
        held = {self.realm.roles[one].name for one in self.realm.account_of(client.client_uuid).role_ids}
        return held - {self.realm.default_role.name}

    def made(self, name: str = "trainer") -> bool:
        """Tell whether a bot has a client."""
        return self.realm.client(f"{NAMESPACE}.{name}") is not None

    def events(self, reason: str) -> list[str]:
        """Return what Events of this reason told."""
        return [event.message for event in self.operator.cluster.events if event.reason == reason]


class TestComposites:
    """What a role or group brings along."""

    async def test_too_much_at_creation(self) -> None:
        """A role that brings more than is granted makes nothing; no call of Keycloak's but reads."""
        estate = Estate({"realmRoles": ["fl-*"]})
        estate.realm.bring("fl-top", "billing")
        estate.bot("fl-top")
        estate.user("/sites/a", realmRoles=["fl-top"])
        await estate.operator.settle()
        assert estate.told()[0] == "NotGranted"
        assert "fl-top (it brings realmRoles: billing)" in estate.told()[1]
        assert "fl-top (it brings" in estate.told(FEDERATION_USER, "ana")[1]
        assert estate.operator.provider.writes == []

    @pytest.mark.parametrize("found_by", ["events", "sweep"])
    @pytest.mark.parametrize("what", ["realm-admin", "billing", "nested"])
    async def test_a_role_that_grows_is_withdrawn(self, found_by: str, what: str) -> None:
        """Who has it loses it, keeps the rest, is told by condition and Event, and it is no repair of drift."""
        estate = Estate({"realmRoles": ["fl-*"]}, records_events=found_by == "events")
        if what == "nested":
            estate.realm.bring("fl-top", "fl-admin")
        estate.bot("fl-client", "fl-top")
        estate.bot("fl-client", name="other")
        await estate.operator.settle()
        estate.sweep_every("1m" if found_by == "sweep" else "6h")
        await estate.operator.advance(400)
        await estate.operator.look()  # what it brings is remembered as of now
        assert estate.roles() == {"fl-client", "fl-top"}
        writes = len(estate.operator.provider.writes)
        match what:
            case "realm-admin":
                estate.realm.bring("fl-top", "realm-admin", of_client=ADMINISTRATIVE)
            case "nested":
                estate.realm.bring("fl-admin", "billing")
            case _:
                estate.realm.bring("fl-top", "billing")
        await estate.operator.advance(20 if found_by == "events" else 130)
        assert estate.roles() == {"fl-client"}
        assert estate.roles("other") == {"fl-client"}
        assert estate.told()[0] == estate.told(about="Ready")[0] == "NotGranted"
        assert "fl-top (it brings" in estate.told()[1]
        assert any("fl-top (it brings" in one for one in estate.events("NotGranted"))
        assert estate.events("DriftRepaired") == []
        assert estate.told(name="other")[0] == "Granted"
        targets = {call.target for call in estate.operator.provider.writes[writes:]}
        assert estate.realm.client(f"{NAMESPACE}.other").client_uuid not in targets  # type: ignore[union-attr]

    async def test_a_group_that_gets_a_role(self) -> None:
        """Its members of ours leave it when a group above gives what is not granted."""
        estate = Estate({"groups": ["/sites/*"]}, records_events=True)
        estate.user("/sites/a")
        await estate.operator.settle()
        await estate.operator.advance(100)
        user_id = estate.operator.status(FEDERATION_USER, "ana")["userId"]
        assert estate.realm.users[user_id].groups == {"/sites/a"}
        estate.realm.map_group_role("/sites", "billing")
        await estate.operator.advance(60)
        assert estate.realm.users[user_id].groups == set()
        assert "groups: /sites/a (it brings realmRoles: billing)" in estate.told(FEDERATION_USER, "ana")[1]

    async def test_nothing_is_asked_twice(self) -> None:
        """A second pass over what was judged writes nothing anywhere."""
        estate = Estate({"realmRoles": ["*"]})
        estate.realm.bring("fl-top", "billing")
        estate.bot("fl-top")
        await estate.operator.settle()
        writes = len(estate.operator.cluster.writes), len(estate.operator.provider.writes)
        await estate.operator.look()
        estate.operator.restart()
        await estate.operator.settle()
        assert (len(estate.operator.cluster.writes), len(estate.operator.provider.writes)) == writes


class TestPlaces:
    """`maxIdentities`."""

    async def test_the_oldest_have_the_places(self) -> None:
        """All kinds count, the youngest waits, and gets the place that becomes free, at once."""
        estate = Estate({"maxIdentities": 2, "realmRoles": ["*"]})
        operator = estate.operator
        for number, name in enumerate(("one", "two", "three", "four")):
            operator.clock.seconds += 1
            if number == 1:
                estate.user(name=name)
            else:
                estate.bot(name=name)
        await operator.settle()
        assert [estate.made(name) for name in ("one", "three", "four")] == [True, False, False]
        assert estate.told(FEDERATION_USER, "two")[0] == "Granted"
        assert "grants[0] of Federation local lets namespace site-a have 2 identities" in estate.told(name="three")[1]
        operator.cluster.delete(FEDERATION_USER, NAMESPACE, "two")
        await operator.advance(5)
        assert estate.told(name="three", about="Ready")[0] == "Ready"
        assert not estate.made("four")

    async def test_who_has_a_place_keeps_it(self) -> None:
        """Of those made within one second the newcomers wait, whatever their uids."""
        estate = Estate({"maxIdentities": 1, "realmRoles": ["*"]})
        estate.bot(name="one")
        await estate.operator.settle()
        names = [f"later-{number}" for number in range(8)]
        for name in names:
            estate.bot(name=name)
        await estate.operator.settle()
        bodies: list[Any] = [
            await estate.operator.cluster.read(BOT_CLIENT, NAMESPACE, name) for name in ("one", *names)
        ]
        assert len({body["metadata"]["creationTimestamp"] for body in bodies}) == 1, "the clock stood still"
        assert [name for name in ("one", *names) if estate.made(name)] == ["one"]

    async def test_a_limit_that_narrows(self) -> None:
        """The youngest go, wholly, and come back when there is place again."""
        estate = Estate({"realmRoles": ["*"]})
        for name in ("one", "two", "three"):
            estate.operator.clock.seconds += 1
            estate.bot("fl-client", name=name)
        await estate.operator.settle()
        estate.rules({"realmRoles": ["*"], "maxIdentities": 1})
        await estate.operator.advance(10)
        assert [estate.made(name) for name in ("one", "two", "three")] == [True, False, False]
        assert len(estate.events("RevocationProven")) == 2
        estate.rules({"realmRoles": ["*"], "maxIdentities": 2})
        await estate.operator.advance(10)
        assert [estate.made(name) for name in ("one", "two", "three")] == [True, True, False]


class TestExpiry:
    """`requireExpiry`."""

    async def test_only_what_ends_by_itself(self) -> None:
        """Without `expiresAt` nothing is made; with it all is."""
        estate = Estate({"realmRoles": ["fl-*"], "requireExpiry": True})
        estate.bot("fl-client")
        await estate.operator.settle()
        assert not estate.made()
        assert estate.told()[0] == "NotGranted"
        assert "spec.expiresAt" in estate.told()[1]
        estate.bot("fl-client", expiresAt="2027-01-01T00:00:00Z")
        await estate.operator.settle()
        assert estate.told(about="Ready")[0] == "Ready"
        assert estate.operator.status(BOT_CLIENT, "trainer")["grants"] == [0]


class TestApproval:
    """`requireApproval`."""

    RULES = ({"realmRoles": ["fl-client"]}, {"realmRoles": ["fl-*", "billing"], "requireApproval": True})

    async def test_waits_and_is_made(self) -> None:
        """Nothing is made before; the hint of the condition makes the approval; its deletion withdraws at once."""
        estate = Estate(*self.RULES)
        estate.bot("fl-client", "fl-admin")
        await estate.operator.settle()
        assert not estate.made()
        reason, message = estate.told()
        assert reason == estate.told(about="Ready")[0] == "WaitingForApproval"
        assert "grants[1]" in message
        estate.approve(message)
        await estate.operator.settle()
        assert estate.roles() == {"fl-client", "fl-admin"}
        status = estate.operator.status(BOT_CLIENT, "trainer")
        assert status["grants"] == [0, 1]
        assert status["approval"]["asks"] == ["realmRoles: fl-admin", "realmRoles: fl-client"]
        assert status["approval"]["askHash"] in message
        estate.operator.cluster.delete(IDENTITY_APPROVAL, None, "yes")
        await estate.operator.settle()
        assert estate.roles() == {"fl-client"}
        assert estate.told(about="Ready")[0] == "WaitingForApproval"
        assert estate.events("WaitingForApproval")

    async def test_all_of_it_goes(self) -> None:
        """Where no other rule is about the namespace, an approval that goes takes everything with it."""
        estate = Estate(self.RULES[1])
        estate.bot("fl-admin")
        await estate.operator.settle()
        estate.approve(estate.told()[1])
        await estate.operator.settle()
        assert estate.made()
        estate.operator.cluster.delete(IDENTITY_APPROVAL, None, "yes")
        await estate.operator.advance(10)
        assert not estate.made()
        assert estate.events("RevocationProven")

    async def test_a_widening_waits_for_another(self) -> None:
        """What was approved stays, what is new waits; less than was approved needs nothing; a crash changes nothing."""
        estate = Estate(*self.RULES)
        estate.bot("fl-admin")
        await estate.operator.settle()
        estate.approve(estate.told()[1])
        await estate.operator.settle()
        estate.bot("fl-admin", "billing")
        await estate.operator.settle()
        assert estate.roles() == {"fl-admin"}
        assert estate.told()[0] == "WaitingForApproval"
        message = estate.told()[1]
        estate.operator.restart()
        await estate.operator.settle()
        assert estate.roles() == {"fl-admin"}
        estate.approve(message, "another")
        await estate.operator.settle()
        assert estate.roles() == {"fl-admin", "billing"}
        assert estate.told(about="Ready")[0] == "Ready"
        estate.operator.cluster.delete(IDENTITY_APPROVAL, None, "yes")
        estate.bot("billing")
        await estate.operator.settle()
        assert estate.roles() == {"billing"}
        assert estate.told(about="Ready")[0] == "Ready"

    async def test_what_a_status_says_is_not_believed(self) -> None:
        """Asks in a status count only with an approval of their very hash."""
        estate = Estate(*self.RULES)
        estate.bot("fl-admin")
        await estate.operator.settle()
        estate.approve(estate.told()[1])
        await estate.operator.settle()
        body = estate.operator.cluster.bodies[ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")]
        body["status"]["approval"]["asks"] = ["realmRoles: fl-admin", "realmRoles: billing"]
        estate.operator.restart()
        estate.bot("fl-admin", "billing")
        await estate.operator.settle()
        assert "billing" not in estate.roles()
        assert estate.told()[0] == "WaitingForApproval"

    @pytest.mark.parametrize(
        "field", [{"askHash": "0" * 64}, {"uid": "of another"}, {"name": "other"}, {"namespace": "site-b"}]
    )
    async def test_of_something_else(self, field: dict[str, str]) -> None:
        """Another hash, uid, name or namespace approves nothing here."""
        estate = Estate(*self.RULES)
        estate.bot("fl-admin")
        await estate.operator.settle()
        message = estate.told()[1]
        key = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
        uid = estate.operator.cluster.bodies[key]["metadata"]["uid"]
        identity = {"kind": BOT_CLIENT, "namespace": NAMESPACE, "name": "trainer", "uid": uid}
        if "askHash" in field:
            estate.approve(message, **field)
        else:
            estate.approve(message, identity={**identity, **field})
        await estate.operator.look()
        assert not estate.made()

    async def test_expires(self) -> None:
        """At its very end what it allowed is withdrawn, though nothing else happens then."""
        estate = Estate(*self.RULES)
        estate.bot("fl-client", "fl-admin")
        await estate.operator.settle()
        until = estate.operator.clock.now() + timedelta(seconds=90)
        estate.approve(estate.told()[1], expiresAt=rfc3339(until))
        await estate.operator.advance(89)
        assert estate.roles() == {"fl-client", "fl-admin"}
        await estate.operator.advance(1)
        assert estate.roles() == {"fl-client"}

    async def test_of_a_user(self) -> None:
        """A person waits likewise, and goes with the approval."""
        estate = Estate({"groups": ["/sites/*"], "requireApproval": True})
        estate.user("/sites/a")
        await estate.operator.settle()
        assert estate.realm.user("ana") is None
        estate.approve(estate.told(FEDERATION_USER, "ana")[1])
        await estate.operator.settle()
        assert estate.realm.user("ana") is not None
        estate.operator.cluster.delete(IDENTITY_APPROVAL, None, "yes")
        await estate.operator.settle()
        assert estate.realm.user("ana") is None
        assert estate.told(FEDERATION_USER, "ana", "Ready")[0] == "WaitingForApproval"


async def test_what_mounts_a_bot_says_why_it_is_refused_whichever_was_looked_at_first() -> None:
    """Its own pass came before the bot's, and nobody wakes it again but the refusal."""
    estate = Estate({"realmRoles": ["fl-client"]})
    operator = estate.operator
    await operator.advance(1)
    estate.bot("fl-client", "fl-admin")
    mounted = {"generic": {"files": {"token": "{token}"}}}
    pod = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": mounted}
    operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", pod)
    bot = operator.due.pop(ObjectKey(BOT_CLIENT, NAMESPACE, "trainer"))
    await operator.settle()
    operator.due.clear()
    operator.due[ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")] = bot
    await operator.settle()
    ready = condition_of(operator.status(POD_IDENTITY, "trainer")["conditions"], "Ready")
    assert ready is not None
    assert ready["reason"] == "NotGranted"
    assert "fl-admin" in ready["message"]
