"""What has our owner mark and no object is told at once, and removed only where the Federation says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER, FINALIZER
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import VaultMark
from fedid.errors import BackendUnavailableError
from tests.reconcile.copies import LOCAL, Backup, federation_status, say
from tests.reconcile.small_operator import NAMESPACE, SmallOperator
from tests.reconcile.test_epochs import SPEC, number

DAY = 24 * 3600
USER = {"username": "ana", "email": "ana@example.org", "firstName": "Ana", "lastName": "N"}


async def running(*, kv_version: int = 2) -> SmallOperator:
    """Return an operator with a bot and a user."""
    operator = SmallOperator()
    operator.store.kv_version = kv_version
    want(operator, vault={"kvVersion": kv_version})
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", SPEC)
    operator.cluster.apply(FEDERATION_USER, NAMESPACE, "ana", USER)
    await operator.advance(10)
    assert (len(operator.provider.realm.clients), len(people(operator))) == (1, 1)
    return operator


def people(operator: SmallOperator) -> list[str]:
    """Return the ids of the users that carry a mark: service accounts are users too."""
    return [user_id for user_id, user in operator.provider.realm.users.items() if user.record.owner]


def want(operator: SmallOperator, *, vault: dict[str, Any] | None = None, **spec: Any) -> None:
    """Change fields of the Federation's spec."""
    known = operator.cluster.bodies[LOCAL]["spec"]
    operator.cluster.apply(FEDERATION, None, "local", {**known, **spec, "vault": {**known["vault"], **(vault or {})}})


def let_go_by_hand(operator: SmallOperator, kind: str, name: str) -> None:
    """Take the finalizer off an object and delete it, before the operator has a chance."""
    body = operator.cluster.bodies[ObjectKey(kind, NAMESPACE, name)]
    assert FINALIZER in body["metadata"]["finalizers"]
    body["metadata"]["finalizers"] = []
    operator.cluster.delete(kind, NAMESPACE, name)


async def next_sweep(operator: SmallOperator) -> None:
    """Let a whole sweep, and what it leads to, go by."""
    await operator.advance(1300)


def told(operator: SmallOperator) -> list[tuple[str, str]]:
    """Return backend and what is told of each orphan."""
    return [
        (one["backend"], one["what"]) for one in (federation_status(operator).get("orphans") or {}).get("first", ())
    ]


def metric(operator: SmallOperator, backend: str) -> float | None:
    """Return the metric."""
    operator.meter.show_objects({}, {}, {}, operator.clock.now())
    return operator.meter.registry.get_sample_value("fedid_orphans", {"backend": backend})


@pytest.mark.parametrize("kv_version", [1, 2])
async def test_a_finalizer_that_a_hand_took_off_leaves_orphans(kv_version: int) -> None:
    """Client, user and entries are told with their object, by Event, condition and metric, and stay as they are."""
    operator = await running(kv_version=kv_version)
    (client,) = operator.provider.realm.clients.values()
    let_go_by_hand(operator, BOT_CLIENT, "trainer")
    let_go_by_hand(operator, FEDERATION_USER, "ana")
    await next_sweep(operator)

    folder = f"fedid/{NAMESPACE}/bots/trainer"
    entries = [("vault", f"entry {folder}/{leaf}") for leaf in ("client", "tokens/default")]
    assert told(operator) == [
        ("keycloak", f"client {client.client_id} ({client.client_uuid})"),
        ("keycloak", f"user ana ({people(operator)[0]})"),
        *entries,
    ]
    orphans = federation_status(operator)["orphans"]
    assert (orphans["count"], orphans["first"][0]["object"]) == (4, f"BotClient/{NAMESPACE}/trainer")
    found = condition_of(federation_status(operator)["conditions"], ConditionType.ORPHANS)
    assert found is not None
    assert (found["status"], found["reason"]) == ("True", "OrphansFound")
    events = [one for one in operator.cluster.events if one.reason == "OrphansFound"]
    assert len(events) == 1
    assert (metric(operator, "keycloak"), metric(operator, "vault")) == (2, 2)

    operator.restart()
    await operator.advance(2 * DAY)
    assert operator.provider.realm.clients
    assert people(operator)
    assert len([one for one in operator.cluster.events if one.reason == "OrphansFound"]) == 1
    assert told(operator)[2:] == entries
    assert federation_status(operator)["orphans"] == orphans


async def test_what_has_an_object_is_none() -> None:
    """Neither what is in order, nor what is suspended, being made or taken away while a sweep runs."""
    operator = await running()
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "resting", {**SPEC, "suspend": True})
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "going", SPEC)
    await operator.advance(595)
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "going")
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "coming", SPEC)
    await next_sweep(operator)
    assert "orphans" not in federation_status(operator)
    assert metric(operator, "keycloak") == 0


async def test_what_the_directory_has_lost_is_asked_for() -> None:
    """An object that only the watches do not know, as one of a namespace that is not watched, is no orphan."""
    operator = await running()
    operator.world.directory.remove(ObjectKey(BOT_CLIENT, NAMESPACE, "trainer"))
    await next_sweep(operator)
    assert told(operator) == []


@pytest.mark.parametrize("owner", ["j/uid-1", "nobody", ""])
async def test_a_siblings_things_are_never_counted(owner: str) -> None:
    """What carries another installation's mark, or none, is theirs."""
    operator = await running()
    want(operator, orphans={"remove": True, "after": "1h"})
    (client,) = operator.provider.realm.clients.values()
    theirs = replace(client, client_uuid="theirs", client_id="theirs", owner=owner or None)
    operator.provider.realm.clients["theirs"] = theirs
    mark = VaultMark(owner, "BotClient/site-b/x") if owner else None
    operator.store.put_by_hand("fedid/site-b/bots/x/client", {"client_secret": "s"}, mark)
    await operator.advance(2 * DAY)
    assert told(operator) == []
    assert operator.provider.realm.clients["theirs"] == theirs
    assert operator.store.data_of("fedid/site-b/bots/x/client")


async def test_removal_is_announced_and_then_done_in_the_order_of_a_teardown() -> None:
    """With the instant in the status for as long as asked; a restart in between changes nothing."""
    operator = await running()
    (client,) = operator.provider.realm.clients.values()
    token = Sensitive(operator.store.data_of(f"fedid/{NAMESPACE}/bots/trainer/tokens/default")["token"])
    want(operator, orphans={"remove": True, "after": "2h"})
    let_go_by_hand(operator, BOT_CLIENT, "trainer")
    let_go_by_hand(operator, FEDERATION_USER, "ana")
    await next_sweep(operator)
    assert all("removeAt" in one for one in federation_status(operator)["orphans"]["first"])
    await operator.advance(3000)
    operator.restart()
    await operator.advance(2400)
    assert len(told(operator)) == 4
    assert client.client_uuid in operator.provider.realm.clients

    operator.store.calls.clear()
    await operator.advance(2000)
    assert told(operator) == []
    assert not operator.provider.realm.clients
    assert not people(operator)
    assert not await operator.provider.token_accepted(token)
    assert [path for path in operator.store.entries if "/bots/trainer/" in path] == []
    steps = [line for line in operator.audited if line["step"] == "RemoveOrphan"]
    assert [line["what"].split()[0] for line in steps] == ["client", "user", "entry", "entry"]
    assert len([one for one in operator.cluster.events if one.reason == "OrphanRemoved"]) == 4
    assert condition_of(federation_status(operator)["conditions"], ConditionType.ORPHANS) is None
    assert metric(operator, "vault") == 0


async def test_an_object_that_comes_back_keeps_its_things() -> None:
    """Whoever restores the object within the delay has it as it was."""
    operator = await running()
    want(operator, orphans={"remove": True, "after": "2h"})
    backup = Backup.of(operator.cluster)
    (client,) = operator.provider.realm.clients.values()
    let_go_by_hand(operator, BOT_CLIENT, "trainer")
    await next_sweep(operator)
    assert told(operator)
    key = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
    operator.cluster.bodies[key] = backup.bodies[key]
    await operator.advance(3 * 3600)
    assert client.client_uuid in operator.provider.realm.clients
    assert told(operator) == []


async def test_what_was_made_since_the_backup_is_an_orphan() -> None:
    """An older cluster that takes over tells what it does not know; nothing before, and nothing goes by itself."""
    operator = await running()
    backup = Backup.of(operator.cluster)
    operator.restart()
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "later", SPEC)
    await operator.advance(30)
    backup.restore(operator.cluster)
    operator.restart()
    await next_sweep(operator)
    assert told(operator) == []
    say(operator, number(operator))
    await next_sweep(operator)
    assert [what.split()[1] for _, what in told(operator)] == [
        f"{NAMESPACE}.later",
        f"fedid/{NAMESPACE}/bots/later/client",
        f"fedid/{NAMESPACE}/bots/later/tokens/default",
    ]
    assert len(operator.provider.realm.clients) == 2


async def test_vault_away_delays_and_loses_nothing() -> None:
    """The walk goes on where it stopped."""
    operator = await running()
    away = BackendUnavailableError("away", backend="vault")
    operator.store.failures.add("folders", away, times=3)
    let_go_by_hand(operator, BOT_CLIENT, "trainer")
    await next_sweep(operator)
    assert len(told(operator)) == 3


async def test_more_than_are_listed() -> None:
    """Ten are named, all are counted, and as they go the others are announced in their turn."""
    operator = SmallOperator()
    want(operator, orphans={"remove": True, "after": "1h"})
    for name in range(8):
        operator.cluster.apply(BOT_CLIENT, NAMESPACE, f"b{name}", SPEC)
    await operator.advance(10)
    for name in range(8):
        let_go_by_hand(operator, BOT_CLIENT, f"b{name}")
    await next_sweep(operator)
    status = federation_status(operator)["orphans"]
    assert (status["count"], len(status["first"])) == (24, 10)
    await operator.advance(3600)
    status = federation_status(operator)["orphans"]
    assert (status["count"], len(status["first"])) == (14, 10)
    await operator.advance(3 * 3600)
    assert told(operator) == []
