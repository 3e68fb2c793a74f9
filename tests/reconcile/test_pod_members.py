"""Whom OpenFGA lets into a SuperLink, by whole passes on the fakes: who is selected comes, who is refused leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fedid.domain.conditions import ConditionType
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER, POD_IDENTITY, TUPLES_FINALIZER
from fedid.engine import Priority
from fedid.reconcile.members import members_key
from tests.reconcile.grid import AWAY, BOT, LINK, OBJECT, RULE, SELECTED, USER, Grid
from tests.reconcile.small_operator import NAMESPACE

OTHER = "site-b"


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
