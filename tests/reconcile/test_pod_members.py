"""Whom OpenFGA lets into a SuperLink, by whole passes on the fakes: who is refused leaves, and no stranger's tuple."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.openfga import RelationTuple
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER, POD_IDENTITY, TUPLES_FINALIZER
from fedid.engine import Priority
from fedid.errors import BackendDeniedError, BackendUnavailableError
from fedid.reconcile.members import members_key
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

OTHER = "site-b"
LABELS = {"grid": "blue"}
SELECTED = {"selector": {"matchLabels": LABELS}}
STORE = "01JSTORE000000000000000000"
OPENFGA = {"url": "https://openfga", "storeId": STORE, "auth": {"none": {}}}
RULE: dict[str, Any] = {
    "namespaces": {"names": [NAMESPACE]},
    "oidcFlows": ["device"],
    "openFgaObjects": ["service:{namespace}-*"],
}
OBJECT = "service:site-a-grid"
FGA = {"url": "https://openfga", "storeId": STORE, "modelId": "m", "object": OBJECT, "users": SELECTED}
AWAY = BackendUnavailableError("no answer", backend="openfga")
BOT, USER, LINK = (
    ObjectKey(kind, NAMESPACE, name)
    for kind, name in ((BOT_CLIENT, "trainer"), (FEDERATION_USER, "ana"), (POD_IDENTITY, "superlink"))
)


class Grid(SmallOperator):
    """A SuperLink, a bot and a person that are let in."""

    def __init__(self) -> None:
        """Start with a grant, OpenFGA, the bot and the person."""
        super().__init__()
        self.federate()
        self.bot()
        self.user()

    @classmethod
    async def begun(cls) -> Grid:
        """Return it once everything is in order."""
        grid = cls()
        grid.link()
        await grid.advance(20)
        assert grid.users() == {grid.of(BOT), grid.of(USER)}
        assert grid.told(ConditionType.READY) == ("True", "Ready"), grid.status(POD_IDENTITY, "superlink")
        return grid

    def federate(self, *rules: dict[str, Any], openfga: Any = OPENFGA) -> None:
        """Apply the Federation."""
        spec = {**self.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"], "openFga": openfga}
        spec = {name: value for name, value in spec.items() if value is not None}
        self.cluster.apply(FEDERATION, None, "local", {**spec, "grants": list(rules or (RULE,))})

    def bot(self, *, name: str = "trainer", labels: Any = LABELS, namespace: str = NAMESPACE, **spec: Any) -> None:
        """Apply a bot."""
        whole = {"tokens": [{"name": "default"}], **spec}
        self.cluster.apply(BOT_CLIENT, namespace, name, whole, labels=labels)

    def user(self, *, labels: Any = LABELS, namespace: str = NAMESPACE, **spec: Any) -> None:
        """Apply the person."""
        self.cluster.apply(FEDERATION_USER, namespace, "ana", {"username": "ana", **spec}, labels=labels)

    def link(self, *, accepts: Any = SELECTED, namespace: str = NAMESPACE, **fga: Any) -> None:
        """Apply the SuperLink; `fga` is what is different in its block."""
        block = {name: value for name, value in {**FGA, **fga}.items() if value is not None}
        spec = {"role": "server", "oidcClient": {}, "platform": {"flower": {"superLink": {"version": "1.33"}}}}
        spec["platform"]["flower"]["superLink"]["openFga"] = block
        self.cluster.apply(POD_IDENTITY, namespace, "superlink", spec | ({"accepts": accepts} if accepts else {}))

    def of(self, key: ObjectKey) -> str:
        """Return the user that an account is in OpenFGA."""
        status = self.cluster.bodies[key]["status"]
        return "flwr_aid:" + str(status.get("serviceAccountSubject") or status["userId"])

    def users(self, object_: str = OBJECT) -> set[str]:
        """Return who is let in."""
        return {one.user for one in self.tuples.tuples if one.object == object_}

    def told(self, kind: ConditionType, key: ObjectKey = LINK) -> tuple[str, str] | None:
        """Return status and reason of a condition."""
        found = self.condition(kind, key)
        return (found["status"], found["reason"]) if found else None

    def condition(self, kind: ConditionType, key: ObjectKey = LINK) -> Any:
        """Return a condition."""
        return condition_of((self.cluster.bodies[key].get("status") or {}).get("conditions") or (), kind)

    def written(self) -> tuple[int, str, str]:
        """Return what moves with every write to OpenFGA, the SuperLink's object or the Federation."""
        objects = (self.cluster.bodies[key]["metadata"] for key in (LINK, ObjectKey(FEDERATION, "", "local")))
        link, federation = (str(metadata["resourceVersion"]) for metadata in objects)
        return len(self.tuples.writes), link, federation

    def fail_authorities(self) -> None:
        """Let Keycloak and Vault be away."""
        for fake, name in ((self.provider, "keycloak"), (self.store, "vault")):
            fake.failures.add("*", BackendUnavailableError("no answer", backend=name), times=None)


async def test_those_who_are_selected_are_let_in() -> None:
    """By the `sub` of their tokens; the status and the condition say so, and nothing moves without a reason."""
    grid = await Grid.begun()
    told = grid.status(POD_IDENTITY, "superlink")["openFga"]
    assert (told["count"], {one["member"] for one in told["members"]}) == (2, {str(BOT), str(USER)})
    message = grid.condition(ConditionType.OPENFGA_SYNCED)["message"]
    assert message == f"OpenFGA lets 2 accounts into {OBJECT} by tuples of fedid"
    assert grid.told(ConditionType.OPENFGA_READY, ObjectKey(FEDERATION, "", "local")) == ("True", "Ready")
    await grid.advance(120)  # by then the Federation has counted its identities
    before = grid.written()
    await grid.advance(7200)
    await grid.look()
    grid.restart()
    await grid.advance(7200)
    assert grid.written() == before


async def test_a_superlink_lists_no_tokens() -> None:
    """Its bots are members: their opaque tokens wait for no list of a server that reads none."""
    grid = await Grid.begun()
    grid.bot(tokens=[{"name": "list", "type": "opaque"}])
    await grid.advance(30)
    assert grid.told(ConditionType.READY, BOT) == ("True", "Ready")
    assert "accepted" not in grid.status(POD_IDENTITY, "superlink")


@pytest.mark.parametrize("how", ["delete", "suspend", "relabel", "finalizer taken off by hand"])
async def test_a_bot_that_is_refused_leaves_at_once(how: str) -> None:
    """Also while Keycloak and Vault are away: OpenFGA waits for neither."""
    grid = await Grid.begun()
    grid.fail_authorities()
    match how:
        case "delete":
            grid.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
        case "suspend":
            grid.bot(suspend=True)
        case "relabel":
            grid.bot(labels={})
        case _:
            await grid.cluster.set_finalizers(grid.cluster.bodies[BOT], ())
            grid.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await grid.advance(1)
    assert grid.users() == {grid.of(USER)}
    (event,) = (one for one in grid.cluster.events if one.reason == "RevocationProven")
    assert f"{BOT} may not use {OBJECT} any more: their tuples are read back as absent, and Check" in event.message


async def test_a_bot_leaves_while_its_own_pass_hangs() -> None:
    """Whom to take out is known before the first request of the bot's own end, and does not wait for its answer."""
    grid = await Grid.begun()
    grid.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    begun, never = asyncio.Event(), asyncio.Event()

    async def hang(*_: Any) -> None:
        begun.set()
        await never.wait()

    grid.store.read = hang  # type: ignore[assignment,method-assign]
    hanging = asyncio.create_task(grid.dispatch(BOT, Priority.DELETION))
    await begun.wait()
    assert grid.due.pop(members_key(LINK)) <= grid.clock.seconds
    await grid.dispatch(members_key(LINK), Priority.DELETION)
    assert grid.users() == {grid.of(USER)}
    hanging.cancel()


async def test_a_member_is_of_the_federation_of_the_superlink() -> None:
    """The `sub` of another realm's account means nothing there, or somebody else."""
    grid = Grid()
    spec = grid.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    grid.cluster.apply(FEDERATION, None, "other", {**spec, "default": False})
    grid.bot(name="foreign", federationRef={"name": "other"})
    grid.link()
    await grid.advance(20)
    assert grid.told(ConditionType.READY, ObjectKey(BOT_CLIENT, NAMESPACE, "foreign")) == ("True", "Ready")
    assert grid.users() == {grid.of(BOT), grid.of(USER)}


@pytest.mark.parametrize("how", ["delete", "disable", "relabel"])
async def test_a_person_who_is_refused_leaves_at_once(how: str) -> None:
    """Likewise."""
    grid = await Grid.begun()
    grid.fail_authorities()
    match how:
        case "delete":
            grid.cluster.delete(FEDERATION_USER, NAMESPACE, "ana")
        case "disable":
            grid.user(enabled=False)
        case _:
            grid.user(labels={})
    await grid.advance(1)
    assert grid.users() == {grid.of(BOT)}


@pytest.mark.parametrize("key", [BOT, USER], ids=["bot", "user"])
async def test_a_deletion_waits_for_openfga(key: ObjectKey) -> None:
    """The authority refuses at once; the object stays, says what waits since when, and goes once the tuple is gone."""
    grid = await Grid.begun()
    account = grid.of(key)
    grid.tuples.failures.add("*", AWAY, times=None)
    grid.cluster.delete(key.kind, NAMESPACE, key.name)
    await grid.advance(40)
    assert grid.provider.realm.client("site-a.trainer") is None or key is USER
    assert account in grid.users()
    ready = grid.condition(ConditionType.READY, key)
    assert ready["reason"] == "WaitingForVerifiers"
    assert f"OpenFGA may still hold tuples of it, written for {LINK}: no answer" in ready["message"]
    assert "since 2026-01-01T12:00" in ready["message"]
    synced = grid.condition(ConditionType.OPENFGA_SYNCED)
    assert (synced["status"], synced["reason"]) == ("False", "BackendUnavailable")
    assert grid.told(ConditionType.PUBLISHED) == ("True", "Published"), "the SuperLink itself goes on"
    grid.tuples.failures.clear()
    await grid.advance(60)
    assert key not in grid.cluster.bodies
    assert account not in grid.users()
    assert grid.told(ConditionType.READY) == ("True", "Ready")


async def test_the_end_of_a_superlink_takes_all_its_tuples() -> None:
    """The object goes only after they were seen to be gone; its client waits for nothing of that."""
    grid = await Grid.begun()
    grid.tuples.failures.add("*", AWAY, times=None)
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(60)
    assert grid.provider.realm.client("site-a.superlink.server") is None
    assert grid.cluster.bodies[LINK]["metadata"]["finalizers"] == [TUPLES_FINALIZER]
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "BackendUnavailable")
    assert "(since 2026-01-01T12:00" in grid.condition(ConditionType.OPENFGA_SYNCED)["message"]
    grid.tuples.failures.clear()
    await grid.advance(60)
    assert LINK not in grid.cluster.bodies
    assert grid.users() == set()


async def test_a_tuple_that_is_still_there_after_its_deletion_is_no_proof() -> None:
    """It is deleted again; nothing ends before it was read back as absent."""
    grid = await Grid.begun()
    kept = next(one for one in grid.tuples.tuples if one.user == grid.of(BOT))
    listed = type(grid.tuples).users

    async def stale(object_: str, relation: str) -> frozenset[str]:
        return await listed(grid.tuples, object_, relation) | {kept.user}

    grid.tuples.users = stale  # type: ignore[method-assign]
    grid.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await grid.advance(60)
    assert grid.condition(ConditionType.OPENFGA_SYNCED)["message"].startswith(f"Tuple {kept} is still there")
    assert BOT in grid.cluster.bodies
    del grid.tuples.users  # type: ignore[method-assign]
    await grid.advance(60)
    assert BOT not in grid.cluster.bodies


async def test_a_strangers_tuple_is_never_touched() -> None:
    """Not written over, not deleted with the member or the SuperLink; the condition says whose is in the way."""
    grid = Grid()
    await grid.advance(20)
    foreign = RelationTuple(grid.of(BOT), "has_access", OBJECT)
    other = RelationTuple("flwr_aid:somebody", "has_access", OBJECT)
    grid.tuples.tuples |= {foreign, other}
    grid.link()
    await grid.advance(20)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "Conflict")
    assert str(BOT) in grid.condition(ConditionType.OPENFGA_SYNCED)["message"]
    assert grid.told(ConditionType.READY) == ("False", "Conflict")
    assert grid.users() == {foreign.user, other.user, grid.of(USER)}
    grid.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await grid.advance(30)
    assert BOT not in grid.cluster.bodies
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(30)
    assert LINK not in grid.cluster.bodies
    assert grid.tuples.tuples == {foreign, other}


async def test_a_strangers_tuple_that_came_in_between_is_a_strangers() -> None:
    """It was absent, was recorded, and is there when it is written for the first time: so it is not ours."""
    grid = Grid()
    await grid.advance(20)
    foreign = RelationTuple(grid.of(BOT), "has_access", OBJECT)
    write = type(grid.tuples).write

    async def late(wanted: RelationTuple) -> bool:
        grid.tuples.tuples.add(foreign)
        return await write(grid.tuples, wanted)

    grid.tuples.write = late  # type: ignore[method-assign]
    grid.link()
    await grid.advance(20)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "Conflict")
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(30)
    assert LINK not in grid.cluster.bodies
    assert grid.tuples.tuples == {foreign}


@pytest.mark.parametrize("at", ["before", "after"])
async def test_a_crash_between_the_record_and_the_tuple_leaves_no_orphan(at: str) -> None:
    """Whether the tuple was written or not, another process finishes it, and its end takes it away."""
    grid = Grid()
    await grid.advance(20)
    grid.tuples.failures.add("write", RuntimeError("killed"), at=at)
    grid.link()
    with pytest.raises(RuntimeError, match="killed"):
        await grid.settle()
    recorded = grid.status(POD_IDENTITY, "superlink")["openFga"]["members"]
    assert [one["state"] for one in recorded] == ["Writing", "Writing"]
    assert len(grid.users()) == (1 if at == "after" else 0)
    grid.restart()
    await grid.advance(20)
    assert grid.told(ConditionType.READY) == ("True", "Ready")
    assert grid.users() == {grid.of(BOT), grid.of(USER)}
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(30)
    assert grid.users() == set()


async def test_an_answer_that_was_lost_does_not_make_our_tuple_a_strangers() -> None:
    """It was sent and may have arrived: it stays on record, and the next pass finds it."""
    grid = Grid()
    await grid.advance(20)
    lost = BackendUnavailableError("the answer was lost", backend="openfga", outcome_unknown=True)
    grid.tuples.failures.add("write", lost, at="after")
    grid.link()
    await grid.advance(20)
    assert grid.told(ConditionType.READY) == ("True", "Ready")
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(30)
    assert grid.tuples.tuples == set()


async def test_a_refused_write_is_not_recorded_as_ours() -> None:
    """Whoever writes that tuple afterwards keeps it."""
    grid = Grid()
    await grid.advance(20)
    grid.tuples.failures.add("write", BackendDeniedError("read only", backend="openfga"), times=None)
    grid.link()
    await grid.advance(5)
    assert grid.status(POD_IDENTITY, "superlink")["openFga"]["members"] == []
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "BackendDenied")
    foreign = RelationTuple(grid.of(BOT), "has_access", OBJECT)
    grid.tuples.tuples.add(foreign)
    grid.tuples.failures.clear()
    await grid.advance(30)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "Conflict")


async def test_nothing_is_written_before_its_record_is() -> None:
    """A status that cannot be written stops the tuple."""
    grid = Grid()
    await grid.advance(20)
    grid.cluster.failures.add(
        "patch_status",
        BackendUnavailableError("no answer", backend="kubernetes"),
        times=None,
        when=lambda at: "superlink" in at,
    )
    grid.link()
    await grid.advance(5)
    assert grid.users() == set()


async def test_a_tuple_that_a_hand_deleted_is_written_again() -> None:
    """Within the resync period, as all that is ours."""
    grid = await Grid.begun()
    grid.tuples.tuples.clear()
    await grid.advance(700)
    assert grid.users() == {grid.of(BOT), grid.of(USER)}
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(30)
    assert grid.users() == set()


async def test_what_is_not_granted_is_not_written_and_a_grant_that_goes_takes_it_away() -> None:
    """The object with its relation has to be covered; what is mounted goes on."""
    grid = Grid()
    grid.federate({**RULE, "openFgaObjects": ["service:other"]})
    grid.link()
    await grid.advance(20)
    assert grid.users() == set()
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "NotGranted")
    assert f"openFgaObjects: {OBJECT}" in grid.condition(ConditionType.OPENFGA_SYNCED)["message"]
    assert grid.told(ConditionType.PUBLISHED) == ("True", "Published")
    assert TUPLES_FINALIZER not in grid.cluster.bodies[LINK]["metadata"]["finalizers"]
    grid.federate(RULE)
    await grid.advance(20)
    assert grid.users() == {grid.of(BOT), grid.of(USER)}
    grid.federate({**RULE, "openFgaObjects": []})
    await grid.advance(5)
    assert grid.users() == set()
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "NotGranted")


async def test_both_sides_must_want_it_across_namespaces() -> None:
    """The SuperLink lists the namespace, and the bot and the person the SuperLink's."""
    grid = Grid()
    grid.cluster.add_namespace(OTHER)
    grid.federate({**RULE, "namespaces": {"names": [NAMESPACE, OTHER]}})
    grid.bot(allowedNamespaces=[OTHER])
    grid.user()
    theirs = "service:site-b-grid"
    both = {**SELECTED, "namespaces": [NAMESPACE]}
    grid.link(namespace=OTHER, object=theirs)
    await grid.advance(20)
    assert grid.users(theirs) == set()
    grid.link(namespace=OTHER, object=theirs, accepts=both, users=both)
    await grid.advance(20)
    assert grid.users(theirs) == {grid.of(BOT)}
    grid.user(allowedNamespaces=[OTHER])
    await grid.advance(20)
    assert grid.users(theirs) == {grid.of(BOT), grid.of(USER)}
    grid.bot()
    await grid.advance(20)
    assert grid.users(theirs) == {grid.of(USER)}


@pytest.mark.parametrize("what", ["no OpenFGA", "another store", "no store", "no model", "no key"])
async def test_what_is_wrong_with_openfga_is_told_and_holds_up_nothing_else(what: str) -> None:
    """The Federation and the SuperLink stay what they are beside that; mended, the members are let in."""
    grid = Grid()
    reasons = {"no OpenFGA": "FederationNotReady", "another store": "InvalidSpec", "no store": "StoreNotFound"}
    reasons |= {"no model": "ModelNotFound", "no key": "CredentialsMissing"}
    match what:
        case "no OpenFGA":
            grid.federate(openfga=None)
        case "another store":
            grid.federate(openfga={**OPENFGA, "storeId": "01JSTORE000000000000000001"})
        case "no store":
            grid.tuples.exists = False
        case "no model":
            grid.tuples.has_model = False
        case _:
            grid.federate(openfga={**OPENFGA, "auth": {"presharedKey": {"secretName": "missing"}}})
    grid.link()
    await grid.advance(20)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", reasons[what])
    assert grid.told(ConditionType.PUBLISHED) == ("True", "Published")
    federation = ObjectKey(FEDERATION, "", "local")
    assert grid.told(ConditionType.READY, federation) == ("True", "Ready")
    if what in {"no store", "no model", "no key"}:
        assert grid.told(ConditionType.OPENFGA_READY, federation) == ("False", reasons[what])
    if what == "no OpenFGA":
        assert grid.told(ConditionType.OPENFGA_READY, federation) is None
    assert grid.told(ConditionType.READY, BOT) == ("True", "Ready")
    grid.tuples.exists = grid.tuples.has_model = True
    grid.federate()
    await grid.advance(90)
    assert grid.users() == {grid.of(BOT), grid.of(USER)}
    assert grid.told(ConditionType.READY) == ("True", "Ready")


async def test_an_outage_changes_no_status_while_all_is_in_order() -> None:
    """Whoever is in stays in; only somebody who has to come or go is told to wait."""
    grid = await Grid.begun()
    grid.tuples.failures.add("*", AWAY, times=None)
    await grid.advance(1200)
    assert grid.told(ConditionType.OPENFGA_READY, ObjectKey(FEDERATION, "", "local")) == ("False", "BackendUnavailable")
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("True", "Synced")
    assert grid.told(ConditionType.READY) == ("True", "Ready")
    grid.bot(name="second")
    await grid.advance(60)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "BackendUnavailable")
    grid.tuples.failures.clear()
    await grid.advance(60)
    assert grid.told(ConditionType.READY) == ("True", "Ready")
    assert len(grid.users()) == 3


async def test_a_store_that_is_gone_has_nothing_to_take_away() -> None:
    """All that it held went with it: nothing waits for ever."""
    grid = await Grid.begun()
    grid.tuples.exists = False
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    grid.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await grid.advance(60)
    assert LINK not in grid.cluster.bodies
    assert BOT not in grid.cluster.bodies


async def test_what_was_written_elsewhere_holds_the_object() -> None:
    """Nobody can delete it there any more: the condition says what to put back."""
    grid = await Grid.begun()
    grid.federate(openfga={**OPENFGA, "storeId": "01JSTORE000000000000000001"})
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(60)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "FederationNotReady")
    assert "put it back in spec.openFga" in grid.condition(ConditionType.OPENFGA_SYNCED)["message"]
    grid.federate()
    await grid.advance(60)
    assert LINK not in grid.cluster.bodies
    assert grid.users() == set()


async def test_a_server_that_moves_takes_its_stores_along() -> None:
    """At another address it is the same store; but that there is none, only the address of before can say."""
    grid = await Grid.begun()
    grid.federate(openfga={**OPENFGA, "url": "https://another"})
    await grid.advance(20)
    assert grid.status(POD_IDENTITY, "superlink")["openFga"]["url"] == "https://another"
    assert grid.told(ConditionType.READY) == ("True", "Ready")
    assert len(grid.tuples.writes) == 2
    grid.federate(openfga={**OPENFGA, "url": "https://elsewhere"})
    grid.tuples.exists = False
    grid.cluster.delete(POD_IDENTITY, NAMESPACE, "superlink")
    await grid.advance(60)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "StoreNotFound")
    grid.federate(openfga={**OPENFGA, "url": "https://another"})
    await grid.advance(60)
    assert LINK not in grid.cluster.bodies


async def test_another_object_moves_all_members() -> None:
    """The former tuples end, the next ones are made; nobody keeps both."""
    grid = await Grid.begun()
    grid.link(object="service:site-a-other")
    await grid.advance(5)
    assert grid.users() == set()
    assert grid.users("service:site-a-other") == {grid.of(BOT), grid.of(USER)}
    grid.link(accepts=None, users=None)
    await grid.advance(5)
    assert grid.tuples.tuples == set()
    assert "openFga" not in grid.status(POD_IDENTITY, "superlink")
    assert grid.told(ConditionType.OPENFGA_SYNCED) is None
    assert TUPLES_FINALIZER not in grid.cluster.bodies[LINK]["metadata"]["finalizers"]


async def test_too_many_members_are_refused_and_one_who_is_refused_leaves_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those who are in stay, nobody comes, and whoever is deleted or deselected goes."""
    grid = await Grid.begun()
    monkeypatch.setattr("fedid.reconcile.pod_members._MOST", 2)
    grid.bot(name="second")
    grid.bot(name="third")
    await grid.advance(20)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "InvalidSpec")
    assert grid.users() == {grid.of(BOT), grid.of(USER)}
    grid.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await grid.advance(5)
    assert grid.users() == {grid.of(USER)}
    monkeypatch.setattr("fedid.reconcile.pod_members._MOST", 1)
    grid.user(labels={})
    await grid.advance(5)
    assert grid.told(ConditionType.OPENFGA_SYNCED) == ("False", "InvalidSpec")
    assert grid.users() == set()
