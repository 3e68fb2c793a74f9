"""Of several copies of one installation a single one writes; another waits for a person, and brings nothing back."""

from __future__ import annotations

import itertools

import pytest

from fedid.domain.conditions import ConditionType
from fedid.domain.epoch import epoch_in
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import VaultMark
from fedid.domain.tokens import ClientCredentials
from fedid.errors import BackendDeniedError, BackendRejectedError, BackendUnavailableError
from tests.fakes.secret_store import FakeEntry, FakeVersion
from tests.reconcile.copies import LOCAL, Backup, clone_of, say, told
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

BOT = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
SPEC = {"tokens": [{"name": "default", "lifetime": "1h"}]}
FILES = {"token": "{token}", "secret": "{clientSecret}"}
POD = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": {"generic": {"files": FILES}}}
CLIENT_PATH = f"fedid/{NAMESPACE}/bots/trainer/client"


async def running() -> SmallOperator:
    """Return an operator with a bot that a pod mounts."""
    operator = SmallOperator()
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", SPEC)
    operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", POD)
    await operator.advance(10)
    assert operator.status(BOT_CLIENT, "trainer")["conditions"][0]["reason"] == "Ready"
    return operator


def number(operator: SmallOperator) -> int:
    """Return the number of the epoch in Vault."""
    (record,) = operator.store.records.values()
    found = epoch_in({name: Sensitive(value) for name, value in record.versions[record.newest].data.items()})
    assert found is not None
    return found.number


def effects(operator: SmallOperator) -> tuple[int, int]:
    """Return how many writes realm and mount have seen."""
    return len(operator.provider.writes), len(operator.store.writes)


def mounted(operator: SmallOperator) -> dict[str, str]:
    """Return what the Secret holds."""
    secret = operator.cluster.secrets[NAMESPACE, "trainer"]
    return {name: value.reveal() for name, value in secret.data.items()}


async def ask(operator: SmallOperator, value: str) -> None:
    """Have the bot's credentials replaced."""
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", SPEC, annotations={"fedid.io/rotate": value})
    await operator.advance(30)


async def test_each_leadership_moves_the_epoch() -> None:
    """The first makes the record; a restart claims the next, and that costs nobody a write."""
    operator = await running()
    assert (number(operator), told(operator, ConditionType.EXCLUSIVE)) == (1, ("True", "Exclusive"))
    before = effects(operator)
    operator.restart()
    await operator.advance(200)
    assert (number(operator), effects(operator)) == (2, before)
    assert operator.cluster.epochs["local"].begun is None


async def test_pods_that_waited_for_the_epoch_go_on_with_it() -> None:
    """Not half a minute later: what a PodIdentity mounts comes with its bot, whose own state did not change."""
    operator = await running()
    pod = ObjectKey(POD_IDENTITY, NAMESPACE, "trainer")
    operator.restart()
    operator.store.failures.add("*", BackendUnavailableError("no answer", backend="vault"), times=None)
    await operator.look()
    await operator.advance(90)
    assert operator.status(POD_IDENTITY, "trainer")["conditions"][0]["reason"] == "FederationNotReady"
    operator.store.failures.clear()
    operator.due[pod] = operator.clock.seconds + 3600  # no retry of its own
    while operator.status(BOT_CLIENT, "trainer")["conditions"][0]["reason"] != "Ready":
        await operator.advance(1)
    await operator.advance(2)
    assert operator.status(POD_IDENTITY, "trainer")["conditions"][0]["reason"] == "Ready"


@pytest.mark.parametrize("point", ["before", "after"])
@pytest.mark.parametrize(("call", "which"), [("remember_epoch", 1), ("write", 1), ("remember_epoch", 2)])
async def test_a_claim_that_was_cut_off_is_known_as_our_own(call: str, which: int, point: str) -> None:
    """Wherever a process ends between the cluster's memory and Vault's, the next one goes on without a person."""
    operator = await running()
    target = operator.store if call == "write" else operator.cluster
    nth = itertools.count(1)
    lost = BackendUnavailableError("gone", backend="vault", outcome_unknown=True)
    operator.restart()
    target.failures.add(call, lost, at=point, when=lambda _: next(nth) == which)
    await operator.settle()
    assert target.failures.planned[0].times == 0
    assert told(operator, ConditionType.EXCLUSIVE)[0] == "Unknown"
    target.failures.clear()
    operator.restart()
    await operator.advance(5)
    assert told(operator, ConditionType.READY) == ("True", "Ready")
    held = operator.cluster.epochs["local"].held
    assert held is not None
    assert held.number == number(operator) >= 2


async def test_a_claim_that_lands_late_is_still_our_own() -> None:
    """Vault takes it when the next process has begun its own: that is the same claim, so nobody waits for a person."""
    operator = await running()
    lost = BackendUnavailableError("late", backend="vault", outcome_unknown=True)
    operator.restart()
    operator.store.failures.add("write", lost, times=None)
    await operator.settle()
    late = operator.cluster.epochs["local"].begun
    operator.restart()
    await operator.settle()
    assert late is not None
    assert operator.cluster.epochs["local"].begun == late
    data = {name: value.reveal() for name, value in late.data().items()}
    operator.store.failures.clear()
    (path,) = operator.store.records
    operator.store.records[path].newest += 1
    operator.store.records[path].versions[operator.store.records[path].newest] = FakeVersion(data, None)
    await operator.advance(10)
    assert (number(operator), told(operator, ConditionType.READY)) == (late.number + 1, ("True", "Ready"))


async def test_a_copy_waits_and_writes_nothing() -> None:
    """A copy of the cluster touches neither realm nor mount, deletions included, and says what to do."""
    operator = await running()
    backup = clone_of(operator)
    operator.restart()
    await operator.advance(5)
    before, held = effects(operator), number(operator)

    backup.cluster.apply(BOT_CLIENT, NAMESPACE, "newcomer", SPEC)
    backup.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await backup.advance(120)

    assert told(backup, ConditionType.READY) == ("False", "TakeOverRequired")
    assert (effects(operator), number(operator)) == (before, held)
    message = backup.status(BOT_CLIENT, "trainer")["conditions"][0]["message"]
    assert f"fedid.io/take-over={held}" in message
    assert [one.reason for one in backup.cluster.events if one.about == LOCAL] == ["TakeOverRequired"]
    await operator.advance(120)
    assert told(operator, ConditionType.READY) == ("True", "Ready")


async def test_who_is_taken_over_stops_within_a_minute() -> None:
    """A running copy that finds a newer epoch writes no more, and the other goes on."""
    operator = await running()
    other = clone_of(operator)
    operator.restart()
    await operator.settle()
    await other.settle()
    say(other, number(operator))
    await other.advance(5)
    assert told(other, ConditionType.READY) == ("True", "Ready")

    await operator.advance(60)
    before = effects(operator)
    assert told(operator, ConditionType.EXCLUSIVE) == ("False", "TakeOverRequired")
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(300)
    assert effects(operator) == before


@pytest.mark.parametrize("said", ["0", "99", "yes", ""])
async def test_only_the_number_that_was_found_is_a_word(said: str) -> None:
    """An annotation of an earlier take-over, or one that guesses, does not count."""
    operator = await running()
    other = clone_of(operator)
    operator.restart()
    await operator.settle()
    say(other, said)
    await other.advance(90)
    assert told(other, ConditionType.READY) == ("False", "TakeOverRequired")


async def test_an_older_cluster_brings_no_older_credential_back() -> None:
    """Statuses and Secrets of before a rotation are put back: Vault and Keycloak keep the newest, Secrets follow."""
    operator = await running()
    backup, old = Backup.of(operator.cluster), mounted(operator)
    operator.restart()
    await ask(operator, "all-1")
    new, stored = mounted(operator), operator.store.data_of(CLIENT_PATH)
    assert new["token"] != old["token"]
    (client,) = operator.provider.realm.clients.values()

    backup.restore(operator.cluster)
    operator.restart()
    await operator.advance(90)
    assert mounted(operator) == old
    say(operator, number(operator))
    await operator.advance(30)

    assert told(operator, ConditionType.READY) == ("True", "Ready")
    assert operator.status(BOT_CLIENT, "trainer")["conditions"][0]["reason"] == "Ready"
    assert operator.provider.realm.clients[client.client_uuid].secret == client.secret
    assert operator.store.data_of(CLIENT_PATH)["client_secret"] == stored["client_secret"]
    assert mounted(operator)["secret"] == stored["client_secret"]
    assert mounted(operator)["token"] != old["token"]


async def test_what_was_deleted_since_the_backup_is_made_anew() -> None:
    """The object is back and its client gone: it gets another secret, and no token of before is good."""
    operator = await running()
    backup, old = Backup.of(operator.cluster), mounted(operator)
    operator.restart()
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(30)
    assert not operator.provider.realm.clients

    backup.restore(operator.cluster)
    operator.restart()
    await operator.settle()
    assert not operator.provider.realm.clients
    say(operator, number(operator))
    await operator.advance(30)

    assert operator.status(BOT_CLIENT, "trainer")["conditions"][0]["reason"] == "Ready"
    assert mounted(operator)["secret"] != old["secret"]
    assert mounted(operator)["token"] != old["token"]
    assert not await operator.provider.token_accepted(Sensitive(old["token"]))
    former = ClientCredentials(f"{NAMESPACE}.trainer", Sensitive(old["secret"]))
    assert await operator.provider.credentials_refused(former)


async def test_a_vault_without_a_record_needs_no_word() -> None:
    """Nobody else claims to be this installation there: a mount that lost everything, or another one."""
    operator = await running()
    operator.store.records.clear()
    await operator.advance(120)
    assert (number(operator), told(operator, ConditionType.READY)) == (2, ("True", "Ready"))


async def test_before_vault_was_asked_nothing_is_written() -> None:
    """A copy that does not reach Vault must not end clients of the living cluster."""
    operator = await running()
    other = clone_of(operator)
    before = effects(operator)
    other.store.sealed = True
    other.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await other.advance(60)
    assert effects(operator) == before
    other.store.sealed = False
    await other.advance(60)
    assert not operator.provider.realm.clients


async def test_a_mount_that_refuses_is_not_written_to() -> None:
    """One of the other version would take the record for a secret of its own."""
    operator = SmallOperator()
    mismatch = BackendRejectedError("set spec.vault.kvVersion to 1", backend="vault")
    operator.store.failures.add("probe", mismatch, times=None)
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", SPEC)
    await operator.advance(60)
    assert not operator.store.records
    assert not operator.provider.realm.clients
    assert "set spec.vault.kvVersion to 1" in operator.status(BOT_CLIENT, "trainer")["conditions"][0]["message"]
    operator.store.failures.clear()
    await operator.advance(60)
    assert (number(operator), told(operator, ConditionType.READY)) == (1, ("True", "Ready"))


async def test_an_outage_of_vault_stops_nobody_who_leads() -> None:
    """Who holds the epoch goes on at Keycloak while Vault is away."""
    operator = await running()
    operator.store.sealed = True
    await operator.advance(120)
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(30)
    assert not operator.provider.realm.clients
    operator.store.sealed = False
    await operator.advance(60)
    assert BOT not in operator.cluster.bodies


async def test_a_right_that_is_taken_stops_nobody_who_leads() -> None:
    """That the record cannot be read says nothing of other copies; who begins waits, and says why."""
    operator = await running()
    denied = BackendDeniedError("add read to the policy", backend="vault")
    operator.store.failures.add("read", denied, times=None, when=lambda path: "/.fedid/" in path)
    await operator.advance(120)
    assert told(operator, ConditionType.EXCLUSIVE) == ("False", "BackendDenied")
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(30)
    assert BOT not in operator.cluster.bodies
    operator.restart()
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", SPEC)
    await operator.advance(60)
    assert "add read to the policy" in operator.status(BOT_CLIENT, "trainer")["conditions"][0]["message"]
    assert not operator.provider.realm.clients


async def test_version_1_has_no_check() -> None:
    """It says so, is Ready, and looks no oftener than others."""
    operator = SmallOperator()
    spec = operator.cluster.bodies[LOCAL]["spec"]
    operator.store.kv_version = 1
    operator.cluster.apply(FEDERATION, None, "local", {**spec, "vault": {**spec["vault"], "kvVersion": 1}})
    await operator.settle()
    assert told(operator, ConditionType.READY) == ("True", "Ready")
    assert told(operator, ConditionType.EXCLUSIVE) == ("Unknown", "NoCheckAndSet")
    assert not operator.store.records
    assert operator.due[LOCAL] - operator.clock.seconds >= 50


async def test_a_federation_that_goes_takes_its_record_along() -> None:
    """And so a later one of its name begins anew."""
    operator = await running()
    operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(30)
    operator.cluster.delete(FEDERATION, None, "local")
    await operator.advance(30)
    assert LOCAL not in operator.cluster.bodies
    assert not operator.store.records
    assert operator.cluster.epochs["local"].epochs == ()


async def test_a_strangers_record_is_not_overwritten() -> None:
    """What lies there without our mark says so, and nothing begins."""
    operator = SmallOperator()
    operator.store.records["fedid/.fedid/i/local"] = FakeEntry(VaultMark("j/epoch", "Federation/local"))
    await operator.settle()
    assert told(operator, ConditionType.EXCLUSIVE) == ("False", "Conflict")
    assert told(operator, ConditionType.READY) == ("False", "Conflict")
