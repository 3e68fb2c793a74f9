"""What servers take and pods present of opaque tokens, on the fakes: nobody is refused at any instant of a rotation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from fedid.engine import Priority
from fedid.errors import BackendRejectedError, BackendUnavailableError
from tests.fakes.pods import pod_manifest
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

OTHER = "site-b"
LABELS = {"fedid.io/server": "aggregator"}
TOKEN = {"name": "list", "type": "opaque", "lifetime": "720h", "overlap": "5m"}
"""So long that none is renewed by itself meanwhile."""
BOT = {"tokens": [TOKEN]}
ACCEPTS = {"selector": {"matchLabels": LABELS}}
CLIENT = {
    "role": "client",
    "botClientRef": {"name": "trainer"},
    "platform": {"generic": {"files": {"token": "{token:list}"}}},
    "pods": {"selector": {"matchLabels": {"app": "trainer"}}},
}


def server(**accepts: Any) -> dict[str, Any]:
    """Return the spec of a server."""
    return {
        "role": "server",
        "accepts": {**ACCEPTS, **accepts},
        "platform": {"generic": {"files": {"tokens": "{tokens}"}}},
        "pods": {"selector": {"matchLabels": {"app": "aggregator"}}},
    }


class Loop(SmallOperator):
    """A bot, a server that takes its tokens, a pod that presents them; each pass is looked at."""

    def __init__(self) -> None:
        """Start with pods of both."""
        super().__init__()
        self.watched = False
        for app, secret in (("trainer", "trainer"), ("aggregator", "aggregator")):
            self.cluster.put_pod(pod_manifest(NAMESPACE, f"{app}-1", {"app": app}, mounts=[secret]), phase="Running")

    async def begun(self) -> Loop:
        """Return it once everything is Ready."""
        self.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", BOT, labels=LABELS)
        self.cluster.apply(POD_IDENTITY, NAMESPACE, "aggregator", server())
        self.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", CLIENT)
        await self.advance(30)
        assert self.presented() in self.taken()
        self.watched = True
        return self

    def taken(self, name: str = "aggregator", namespace: str = NAMESPACE) -> list[str]:
        """Return what the server takes, as its Secret says."""
        secret = self.cluster.secrets.get((namespace, name))
        return secret.data["tokens"].reveal().splitlines() if secret is not None else []

    def presented(self) -> str:
        """Return what the client presents."""
        secret = self.cluster.secrets.get((NAMESPACE, "trainer"))
        return secret.data["token"].reveal() if secret is not None else ""

    def vault(self) -> dict[str, str]:
        """Return the entry of the token."""
        entry = self.store.entries.get(f"fedid/{NAMESPACE}/bots/trainer/tokens/list")
        return dict(entry.shown(self.clock.now())) if entry is not None else {}

    def ready(self, kind: str, name: str) -> tuple[str, str]:
        """Return status and reason of `Ready`."""
        found = condition_of(self.status(kind, name).get("conditions") or (), ConditionType.READY)
        assert found is not None
        return found["status"], found["reason"]

    def rotate(self, value: str) -> None:
        """Ask for another token."""
        self.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", BOT, annotations={"fedid.io/rotate": value})

    async def _pass(self, key: ObjectKey) -> None:
        await super()._pass(key)
        if self.watched:
            assert self.presented() in self.taken(), f"after a pass over {key} the client is refused"


async def test_a_client_sees_a_token_only_once_the_server_takes_it() -> None:
    """The order of a first delivery: Vault, the server's list, its pods, and then the client."""
    loop = Loop()
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", BOT, labels=LABELS)
    loop.cluster.apply(POD_IDENTITY, NAMESPACE, "aggregator", server())
    loop.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", CLIENT)
    await loop.advance(2)
    assert loop.taken() == [loop.vault()["token"]]
    assert loop.presented() == ""
    assert loop.ready(POD_IDENTITY, "trainer") == ("False", "WaitingForVerifiers")
    await loop.advance(5)
    assert loop.presented() == loop.vault()["token"]
    assert loop.ready(POD_IDENTITY, "trainer") == ("True", "Ready")
    assert loop.status(POD_IDENTITY, "aggregator")["acceptedBots"] == 1


@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(hours=-1)])
async def test_a_client_waits_for_the_server_whatever_the_operators_clock_shows(
    off: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is as old as Keycloak's clock says: a machine that is ahead has not waited for an hour already."""
    loop = Loop()
    right = loop.clock.now
    monkeypatch.setattr(loop.clock, "now", lambda: right() + off)
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", BOT, labels=LABELS)
    loop.cluster.apply(POD_IDENTITY, NAMESPACE, "aggregator", server())
    loop.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", CLIENT)
    await loop.advance(2)
    assert loop.presented() == ""
    await loop.advance(5)
    assert loop.presented() == loop.vault()["token"]
    assert loop.presented() in loop.taken()


async def test_a_rotation_refuses_nobody_at_any_instant() -> None:
    """Pending in Vault, in the list, promoted, at the client, and the former leaves the list last."""
    loop = await Loop().begun()
    former = loop.presented()
    for number in range(3):
        loop.rotate(f"token-{number}")
        await loop.advance(1)
        pending = loop.vault()["pending_token"]
        assert loop.vault()["token"] == former == loop.presented(), "nobody presents what the server may not take yet"
        assert set(loop.taken()) == {former, pending}
        await loop.advance(10)
        assert loop.presented() == pending == loop.vault()["token"]
        assert set(loop.taken()) == {pending, former}
        await loop.advance(280)
        assert set(loop.taken()) == {pending, former}
        await loop.advance(20)
        assert loop.taken() == [pending]
        former = pending


async def test_a_server_that_cannot_be_told_holds_up_a_rotation_until_the_token_ends() -> None:
    """The old token stays in use and says for whom it waits; at its end the new one comes all the same."""
    loop = await Loop().begun()
    short = {"tokens": [{**TOKEN, "lifetime": "60m"}]}
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", short)
    await loop.advance(400)
    former = loop.presented()
    loop.cluster.failures.add(
        "nudge_pod", BackendRejectedError("a webhook denies it", backend="kubernetes"), times=None
    )
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", short, annotations={"fedid.io/rotate": "token-1"})
    await loop.advance(600)
    assert loop.presented() == former
    assert loop.vault()["pending_token"] in loop.taken()
    ready = condition_of(loop.status(BOT_CLIENT, "trainer")["conditions"], ConditionType.READY)
    assert ready is not None
    assert "token list stays in use until PodIdentity/site-a/aggregator takes the next one" in ready["message"]
    loop.watched = False  # a token ends when its time has come, whoever was not told of the next one
    await loop.advance(3600)
    assert loop.presented() != former


async def test_a_client_that_did_not_get_the_new_token_keeps_the_old_one_good_for_a_while() -> None:
    """The old token leaves the list after the overlap and after the client has the new; not for ever, though."""
    loop = await Loop().begun()
    former = loop.presented()
    loop.watched = False
    denied = BackendRejectedError("quota", backend="kubernetes")
    loop.cluster.failures.add("replace_secret", denied, times=None, when=lambda target: target.endswith("/trainer"))
    loop.rotate("token-1")
    await loop.advance(20 + 300 + 200)
    assert loop.presented() == former
    assert former in loop.taken()
    await loop.advance(300)
    assert former not in loop.taken()


@pytest.mark.parametrize("how", ["delete", "suspend", "relabel", "finalizer taken off by hand"])
async def test_a_bot_that_is_refused_leaves_the_list_at_once(how: str) -> None:
    """Also while Keycloak and Vault are away: the list waits for neither."""
    loop = await Loop().begun()
    loop.watched = False
    away = BackendUnavailableError("no answer", backend="keycloak")
    loop.provider.failures.add("*", away, times=None)
    loop.store.failures.add("*", BackendUnavailableError("no answer", backend="vault"), times=None)
    match how:
        case "delete":
            loop.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
        case "suspend":
            loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {**BOT, "suspend": True})
        case "relabel":
            loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", BOT, labels={})
        case _:
            body = loop.cluster.bodies[ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")]
            await loop.cluster.set_finalizers(body, ())
            loop.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await loop.advance(1)
    assert loop.taken() == []


async def test_another_bot_stays_listed_while_vault_is_away_and_one_is_revoked() -> None:
    """Also by a process that never read the tokens: they are found in the Secret, by what the status knows of them."""
    loop = await Loop().begun()
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "second", BOT, labels=LABELS)
    await loop.advance(10)
    (second,) = (token for token in loop.taken() if token != loop.presented())
    kept = loop.presented()
    loop.watched = False
    loop.restart()
    await loop.settle()
    loop.store.failures.add("*", BackendUnavailableError("no answer", backend="vault"), times=None)
    loop.cluster.delete(BOT_CLIENT, NAMESPACE, "second")
    await loop.advance(1)
    assert loop.taken() == [kept]
    assert second not in loop.taken()


async def test_another_bot_stays_listed_while_nothing_is_known_of_the_backends_and_one_is_revoked() -> None:
    """A process that began while Vault was away may not write there: a list is still the API server's."""
    loop = await Loop().begun()
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "second", BOT, labels=LABELS)
    await loop.advance(10)
    kept = loop.presented()
    assert len(loop.taken()) == 2
    loop.watched = False
    loop.store.failures.add("*", BackendUnavailableError("no answer", backend="vault"), times=None)
    loop.restart()
    await loop.settle()
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "second", {**BOT, "suspend": True})
    await loop.advance(1)
    assert loop.taken() == [kept]
    assert loop.status(POD_IDENTITY, "aggregator")["acceptedBots"] == 1
    loop.store.failures.clear()
    await loop.advance(120)
    assert loop.taken() == [kept]
    assert loop.ready(BOT_CLIENT, "second") == ("False", "Suspended")


async def test_who_is_suspended_while_a_pass_runs_takes_nobody_along() -> None:
    """The pass could not read every token, and listed the bot before its manifest changed; the next pass sees to it."""
    loop = await Loop().begun()
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "second", BOT, labels=LABELS)
    await loop.advance(10)
    kept = loop.presented()
    loop.watched = False

    def suspended_meanwhile(_path: str) -> bool:
        loop.cluster.apply(BOT_CLIENT, NAMESPACE, "second", {**BOT, "suspend": True})
        return True

    away = BackendUnavailableError("no answer", backend="vault")
    loop.store.failures.add("read", away, times=None, when=suspended_meanwhile)
    loop.world.wake(ObjectKey(POD_IDENTITY, NAMESPACE, "aggregator"), Priority.CHANGE)
    await loop.advance(5)
    assert loop.taken() == [kept]


async def test_a_deletion_waits_for_the_list_of_every_server() -> None:
    """The authority refuses at once; the object stays and says which Secret still lists a token."""
    loop = await Loop().begun()
    loop.watched = False
    loop.cluster.failures.add("replace_secret", BackendRejectedError("quota", backend="kubernetes"), times=None)
    loop.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await loop.advance(5)
    assert loop.provider.realm.client("site-a.trainer") is None
    assert loop.ready(BOT_CLIENT, "trainer")[1] in {"WaitingForVerifiers", "WaitingForConsumers"}
    loop.cluster.failures.clear()
    await loop.advance(60)
    assert ObjectKey(BOT_CLIENT, NAMESPACE, "trainer") not in loop.cluster.bodies
    assert loop.taken() == []


@pytest.mark.parametrize("restarted", [False, True], ids=["remembered", "forgotten"])
@pytest.mark.parametrize("ends", ["suspended", "deleted"])
async def test_the_end_of_a_bot_waits_for_a_list_of_which_no_answer_came(ends: str, *, restarted: bool) -> None:
    """No status tells yet that the Secret lists its token, and it may: the bot is not gone before it does not.

    Also if the operator that wrote it is gone, and the next one cannot write it anew for a while.
    """
    loop = await Loop().begun()
    loop.watched = False
    key = ObjectKey(BOT_CLIENT, NAMESPACE, "scout")
    away = BackendUnavailableError("away", backend="kubernetes", outcome_unknown=True)
    loop.cluster.failures.add("replace_secret", away, at="after", times=1)
    loop.cluster.failures.add("read_secret", away, times=None, when=lambda target: "aggregator" in target and listed())

    def listed() -> bool:
        return len(loop.taken()) > 1

    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "scout", BOT, labels=LABELS)
    await loop.advance(5)
    assert listed()
    assert "scout" not in str(loop.status(POD_IDENTITY, "aggregator")["accepted"])

    if ends == "suspended":
        loop.cluster.apply(BOT_CLIENT, NAMESPACE, "scout", {**BOT, "suspend": True}, labels=LABELS)
    else:
        loop.cluster.delete(BOT_CLIENT, NAMESPACE, "scout")
    if restarted:
        loop.restart()
        loop.cluster.failures.clear()
        quota = BackendRejectedError("quota", backend="kubernetes")
        loop.cluster.failures.add("replace_secret", quota, times=None, when=lambda target: "aggregator" in target)
    await loop.advance(20)
    assert loop.ready(BOT_CLIENT, "scout")[1] == "WaitingForVerifiers"
    assert listed()

    loop.cluster.failures.clear()
    await loop.advance(60)
    assert not listed()
    if ends == "suspended":
        assert loop.ready(BOT_CLIENT, "scout") == ("False", "Suspended")
    else:
        assert key not in loop.cluster.bodies


async def test_what_nobody_told_of_leaves_a_list_while_vault_is_away() -> None:
    """The operator that wrote it ended before its status was written; who is refused goes all the same."""
    loop = await Loop().begun()
    loop.watched = False
    crash: Any = KeyboardInterrupt()
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "scout", BOT, labels=LABELS)
    loop.cluster.failures.add("patch_status", crash, when=lambda target: "aggregator" in target)
    with pytest.raises(KeyboardInterrupt):
        await loop.advance(5)
    kept = loop.presented()
    assert len(loop.taken()) == 2
    loop.store.failures.add("*", BackendUnavailableError("no answer", backend="vault"), times=None)
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "scout", {**BOT, "suspend": True}, labels=LABELS)
    loop.restart()
    await loop.advance(5)
    assert loop.taken() == [kept]


async def test_both_sides_must_want_it_across_namespaces() -> None:
    """A label is not enough, nor is the bot's consent alone: the server lists the namespace, the bot the server's."""
    loop = await Loop().begun()
    loop.cluster.add_namespace(OTHER)
    loop.cluster.apply(POD_IDENTITY, OTHER, "aggregator", server())
    await loop.advance(5)
    assert loop.taken(namespace=OTHER) == []
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {**BOT, "allowedNamespaces": [OTHER]})
    await loop.advance(5)
    assert loop.taken(namespace=OTHER) == [], "nobody gets his bot accepted elsewhere by himself"
    loop.cluster.apply(POD_IDENTITY, OTHER, "aggregator", server(namespaces=[NAMESPACE]))
    await loop.advance(5)
    assert loop.taken(namespace=OTHER) == [loop.presented()]
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", BOT)
    await loop.advance(5)
    assert loop.taken(namespace=OTHER) == []


async def test_a_pod_of_another_namespace_mounts_a_bot_only_with_its_owners_consent() -> None:
    """Without it nothing is mounted, and it is not told whether the bot exists; withdrawn, the Secret is emptied."""
    loop = await Loop().begun()
    loop.cluster.add_namespace(OTHER)
    spec = {**CLIENT, "botClientRef": {"name": "trainer", "namespace": NAMESPACE}}
    loop.cluster.apply(POD_IDENTITY, OTHER, "guest", spec)
    absent = {**CLIENT, "botClientRef": {"name": "absent", "namespace": NAMESPACE}}
    loop.cluster.apply(POD_IDENTITY, OTHER, "nobody", absent)
    await loop.advance(5)
    assert (OTHER, "guest") not in loop.cluster.secrets
    told = [loop.cluster.bodies[ObjectKey(POD_IDENTITY, OTHER, name)]["status"] for name in ("guest", "nobody")]
    conditions = [condition_of(status["conditions"], ConditionType.READY) for status in told]
    assert {one["reason"] for one in conditions if one} == {"NotGranted"}
    messages = {one["message"].replace("absent", "trainer") for one in conditions if one}
    assert len(messages) == 1
    assert "spec.allowedNamespaces" in messages.pop()
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {**BOT, "allowedNamespaces": [OTHER]})
    await loop.advance(10)
    assert loop.cluster.secrets[OTHER, "guest"].data["token"].reveal() == loop.presented()
    seen = loop.presented()
    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", BOT)
    await loop.advance(5)
    assert loop.cluster.secrets[OTHER, "guest"].data["token"].reveal() == ""
    await loop.advance(20)
    assert loop.presented() != seen, "what was seen elsewhere is replaced"
    await loop.advance(400)
    assert seen not in loop.taken()
    current = loop.presented()
    loop.rotate("secret-1")
    await loop.advance(400)
    assert loop.presented() == current, "once, and not again for something else"


async def test_what_a_hand_puts_beside_a_token_in_vault_is_taken_by_nobody() -> None:
    """Whoever can write into Vault cannot add to the lists: servers go by what the bot's status tells."""
    loop = await Loop().begun()
    path = f"fedid/{NAMESPACE}/bots/trainer/tokens/list"
    mark, evil = loop.store.entries[path].mark, "e" * 64
    ends = "2026-01-01T13:00:00Z"
    for added in ({"pending_token": evil}, {"previous_token": evil, "previous_ends_at": ends}):
        loop.store.put_by_hand(path, {**loop.vault(), **added}, mark)
        await loop.look()
        await loop.advance(10)
        assert evil not in loop.taken()
        assert loop.presented() in loop.taken()


async def test_a_server_of_one_token_has_the_one_in_use() -> None:
    """Whatever else is good meanwhile: what waits, and what was in use before, is not what clients present."""
    loop = await Loop().begun()
    loop.watched = False
    loop.cluster.apply(
        POD_IDENTITY, NAMESPACE, "aggregator", {**server(), "platform": {"ai4flwr": {"distribution": "PyPI"}}}
    )
    for number in range(8):  # by chance alone half of them would go well
        loop.rotate(f"token-{number}")
        for _ in range(4):
            await loop.advance(4)
            data = loop.cluster.secrets[NAMESPACE, "aggregator"].data
            assert data["token"].reveal() == loop.vault()["token"]
        await loop.advance(400)


async def test_a_server_whose_files_cannot_be_made_lists_nobody_who_is_refused() -> None:
    """A platform that takes one bot only: others that join change nothing, but once the one goes, so does its token."""
    loop = await Loop().begun()
    loop.watched = False
    spec = {**server(), "platform": {"ai4flwr": {"distribution": "PyPI"}}}
    loop.cluster.apply(POD_IDENTITY, NAMESPACE, "aggregator", spec)
    await loop.advance(5)
    assert "until it is started anew" in loop.status(POD_IDENTITY, "aggregator")["residualWindow"]
    data = loop.cluster.secrets[NAMESPACE, "aggregator"].data
    assert data["token"].reveal().strip() == loop.presented()
    for name in ("second", "third"):
        loop.cluster.apply(BOT_CLIENT, NAMESPACE, name, BOT, labels=LABELS)
    await loop.advance(5)
    assert loop.ready(POD_IDENTITY, "aggregator") == ("False", "InvalidSpec")
    assert loop.cluster.secrets[NAMESPACE, "aggregator"].data["token"].reveal().strip() == loop.presented()
    loop.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await loop.advance(5)
    assert not any(loop.cluster.secrets[NAMESPACE, "aggregator"].data.values())
    await loop.advance(60)
    assert ObjectKey(BOT_CLIENT, NAMESPACE, "trainer") not in loop.cluster.bodies


async def test_a_second_pass_writes_nothing() -> None:
    """Neither of a server nor of those it takes."""
    loop = await Loop().begun()
    await loop.advance(30)
    before = len(loop.cluster.writes), len(loop.store.writes)
    await loop.look()
    await loop.advance(60)
    assert (len(loop.cluster.writes), len(loop.store.writes)) == before
