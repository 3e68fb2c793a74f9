"""Pods are brought to use a new content, by their sidecar or by a restart, and the status says how far that is."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.reload_report import Loaded, ProcessState
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from fedid.reconcile.pod_secret import digest
from tests.fakes.pods import pod_manifest
from tests.reconcile.reloading import Site
from tests.reconcile.small_operator import NAMESPACE
from tests.reconcile.test_servers import BOT, CLIENT, LABELS, Loop, server


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
async def site() -> Site:
    """Two pods whose sidecars say that all is well."""
    made = Site("Signal")
    for name in ("a", "b"):
        made.pod(name)
    made.identity()
    await made.operator.settle()
    for name in ("a", "b"):
        made.says(name)
    await made.operator.advance(5)
    assert made.not_held() is None
    made.operator.cluster.writes.clear()
    made.operator.sidecars.asked.clear()
    return made


async def test_all_have_read_it(site: Site) -> None:
    """The status says how many, of which content, and nobody is asked again."""
    told = site.told()
    assert (told["mounting"], told["reloaded"], told["reloadedHash"]) == (2, 2, site.digest)
    assert "lagging" not in told
    assert "startedWith" not in told
    await site.operator.look()
    await site.operator.advance(300)
    assert site.operator.sidecars.asked == []
    assert site.writes() == []


async def test_a_change_is_asked_for_until_all_have_read_it(site: Site) -> None:
    """Ever more rarely; the status moves only when something does, and names who lags and why."""
    former = site.digest
    site.identity("x")
    await site.operator.advance(2)
    assert site.not_held() is not None
    assert site.told()["reloaded"] == 0
    assert set(site.lagging()) == {"a", "b"}
    site.says("a")
    site.says("b", ProcessState.STARTING, had=former)
    await site.operator.advance(20)
    assert site.told()["reloaded"] == 1
    assert "does not take the signal yet" in site.lagging()["b"]
    assert site.not_held() == f"1 of 2 pods of PodIdentity server use it: pod b {site.lagging()['b']}"
    site.operator.sidecars.asked.clear()
    site.operator.cluster.writes.clear()
    await site.operator.advance(600)
    assert 8 <= site.operator.sidecars.asked.count("b") <= 13
    assert site.writes() == []
    site.says("b")
    await site.operator.advance(60)
    assert site.not_held() is None
    assert site.writes() == ["patch_status"]


async def test_a_newer_content_takes_the_place_of_an_earlier_one(site: Site) -> None:
    """What was read before is not enough, and what is new is asked for at once."""
    site.identity("x")
    await site.operator.advance(200)
    site.identity("y")
    await site.operator.settle()
    site.says("a")
    site.says("b")
    await site.operator.advance(2)
    assert site.not_held() is None


STATES = [
    (ProcessState.SETTLING, "has not read it yet"),
    (ProcessState.STARTING, "does not take the signal yet"),
    (ProcessState.ABSENT, "--process matches"),
    (ProcessState.ALONE, "shareProcessNamespace"),
    (ProcessState.AMBIGUOUS, "several processes"),
    (ProcessState.REFUSED, "runAsUser"),
    (ProcessState.UNMOUNTED, "--mount"),
    (ProcessState.UNREADABLE, "fsGroup"),
]


@pytest.mark.parametrize(("state", "words"), STATES)
async def test_each_state_has_its_own_sentence(site: Site, state: ProcessState, words: str) -> None:
    """With what to do about it."""
    site.identity("x")
    await site.operator.settle()
    site.says("a")
    site.says("b", state, had="0" * 16)
    await site.operator.advance(3)
    assert words in site.lagging()["b"]


async def test_a_pod_that_has_the_former_content_mounted(site: Site) -> None:
    """It has read what it has; that is not what the Secret holds."""
    site.identity("x")
    await site.operator.settle()
    site.says("a")
    site.operator.sidecars.answers["b"] = Loaded("0" * 16, "0" * 16, ProcessState.LOADED)
    await site.operator.advance(3)
    assert "former content" in site.lagging()["b"]


async def test_a_pod_without_a_sidecar_lags(site: Site) -> None:
    """It is not asked."""
    site.pod("c", port=None)
    site.identity("x")
    await site.operator.settle()
    site.says("a")
    site.says("b")
    await site.operator.advance(3)
    assert "port named fedid-reload" in site.lagging()["c"]
    assert "c" not in site.operator.sidecars.asked
    assert (site.told()["mounting"], site.told()["reloaded"]) == (3, 2)


async def test_whom_no_node_has_yet_does_not_lag(site: Site) -> None:
    """A pod that cannot be scheduled will begin with what is there, and holds up nobody."""
    site.pod("c", node="")
    site.identity("x")
    await site.operator.settle()
    site.says("a")
    site.says("b")
    await site.operator.advance(3)
    assert site.not_held() is None


async def test_who_does_not_mount_it_is_not_asked(site: Site) -> None:
    """Nor counted."""
    site.pod("c", mounts=["other"])
    site.identity("x")
    await site.operator.settle()
    site.says("a")
    site.says("b")
    await site.operator.advance(3)
    assert "c" not in site.operator.sidecars.asked
    assert site.not_held() is None


async def test_many_pods_are_asked_a_few_at_a_time(site: Site) -> None:
    """And only some of those that lag are named."""
    for number in range(50):
        site.pod(f"p-{number:02}")
    site.identity("x")
    await site.operator.advance(3)
    assert site.operator.sidecars.most_at_once == 16
    assert len(site.lagging()) == 5
    assert (site.told()["mounting"], site.told()["reloaded"]) == (52, 0)


@pytest.mark.parametrize(
    ("operation", "point"),
    [("replace_secret", "after"), ("pods", "before"), ("patch_status", "before"), ("patch_status", "after")],
)
async def test_a_crash_loses_no_question(site: Site, operation: str, point: str) -> None:
    """Whoever dies between the Secret and the answer, the next one asks."""
    crash: Any = Crash()
    mine = {"replace_secret": "Secret", "patch_status": "PodIdentity"}.get(operation, "")
    site.operator.cluster.failures.add(operation, crash, at=point, when=lambda target: target.startswith(mine))
    site.identity("x")
    with pytest.raises(Crash):
        await site.operator.advance(5)
    site.operator.restart()
    for name in ("a", "b"):
        site.says(name)
    await site.operator.advance(10)
    assert site.not_held() is None


async def test_what_a_hand_changed_is_asked_for_again(site: Site) -> None:
    """The content is as before, but the programs may have read the other one in between."""
    secret = site.operator.cluster.secrets[NAMESPACE, "server"]
    values = {name: getattr(secret, name) for name in secret.__slots__}
    site.operator.cluster.put_secret_by_hand(type(secret)(**values | {"data": {}}))
    await site.operator.look()
    await site.operator.advance(5)
    assert sorted(site.operator.sidecars.asked) == ["a", "b"]
    assert site.not_held() is None


async def test_another_selector_means_other_pods(site: Site) -> None:
    """They are asked although the content is the same."""
    site.identity(pods={"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}})
    await site.operator.advance(5)
    assert sorted(site.operator.sidecars.asked) == ["a", "b"]
    assert site.not_held() is None


async def test_without_a_wish_nobody_is_asked(site: Site) -> None:
    """And what was known goes from the status; to be told is enough then."""
    site.identity(reload="None")
    await site.operator.advance(5)
    site.identity("x", reload="None")
    await site.operator.advance(5)
    assert site.operator.sidecars.asked == []
    assert {"reloaded", "reloadedHash", "reloadedAt", "lagging"}.isdisjoint(site.told())
    assert site.not_held() is None


async def test_a_pod_identity_that_goes_is_forgotten(site: Site) -> None:
    """Nobody is asked for it any more."""
    site.identity("x")
    await site.operator.settle()
    site.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "server")
    await site.operator.advance(60)
    assert site.operator.sidecars.asked == []


async def test_what_is_withdrawn_is_read_too(site: Site) -> None:
    """The bot goes: the programs are to hold nothing."""
    site.operator.cluster.delete(BOT_CLIENT, NAMESPACE, "server")
    await site.operator.settle()
    for name in ("a", "b"):
        site.says(name)
    await site.operator.advance(5)
    assert site.told()["reloadedHash"] == site.digest
    assert site.told()["reloaded"] == 2


async def test_a_client_sees_a_token_only_once_the_servers_program_has_read_it() -> None:
    """The list in the Secret is not enough, nor that its pod was told; once the program has it, all goes on at once."""
    loop = Loop()
    manifest = pod_manifest(NAMESPACE, "aggregator-1", {"app": "aggregator"}, mounts=["aggregator"])
    ports = [{"name": "fedid-reload", "containerPort": 8484}]
    manifest["spec"] |= {"nodeName": "node", "initContainers": [{"name": "reload", "ports": ports}]}
    loop.cluster.put_pod(manifest)
    loop.cluster.bodies[ObjectKey("Pod", NAMESPACE, "aggregator-1")]["status"] |= {"podIP": "10.0.0.1"}

    async def has_read() -> None:
        """Have the program read what is mounted, and let the operator ask it."""
        held = digest(loop.cluster.secrets[NAMESPACE, "aggregator"].data)
        loop.sidecars.answers["aggregator-1"] = Loaded(held, held, ProcessState.LOADED)
        for _ in range(61):  # it comes back at least once a minute
            if loop.status(POD_IDENTITY, "aggregator")["pods"].get("reloadedHash") == held:
                return
            await loop.advance(1)

    loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", BOT, labels=LABELS)
    loop.cluster.apply(POD_IDENTITY, NAMESPACE, "aggregator", {**server(), "reload": "Signal"})
    loop.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", CLIENT)
    await loop.advance(60)
    assert loop.taken() == [loop.vault()["token"]]
    assert loop.presented() == ""
    await has_read()
    former = loop.presented()
    assert former == loop.vault()["token"]

    loop.rotate("token-1")
    await loop.advance(60)
    listed = loop.taken()
    assert loop.presented() == former
    assert len(listed) == 2
    await has_read()
    assert loop.presented() == loop.vault()["token"] != former
    assert loop.taken() == listed, "in another order it would be another content, to be read again"
