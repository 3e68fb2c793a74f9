"""The condition `Mounted`: whether the pods of a PodIdentity have what its Secret holds, through all that happens."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.reload_report import ProcessState
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from fedid.errors import BackendDeniedError
from tests.reconcile.reloading import Site
from tests.reconcile.small_operator import NAMESPACE


def mounted(site: Site) -> dict[str, Any] | None:
    """Return the condition."""
    status = site.operator.status(POD_IDENTITY, "server")
    found = condition_of(status.get("conditions") or (), ConditionType.MOUNTED)
    return dict(found) if found is not None else None


def said(site: Site) -> tuple[str, str, str]:
    """Return status, reason and message of the condition, which is there."""
    found = mounted(site)
    assert found is not None
    return found["status"], found["reason"], found["message"]


@pytest.fixture
def told() -> Site:
    """A PodIdentity with two pods that only have to be told."""
    made = Site("None")
    for name in ("a", "b"):
        made.pod(name)
    made.identity()
    return made


async def test_pods_that_open_their_files_anew_have_it_once_they_were_told(told: Site) -> None:
    """Told in the write that tells of the Secret; a change moves no transition, since none of them lags."""
    await told.operator.advance(10)
    status, reason, message = said(told)
    assert (status, reason) == ("True", "Mounted")
    assert message.endswith("was told of what it holds: 2")
    before = mounted(told)
    told.operator.cluster.writes.clear()
    told.identity("two")
    await told.operator.advance(10)
    assert told.writes() == ["patch_status"]
    after = mounted(told)
    assert before is not None
    assert after is not None
    assert after["lastTransitionTime"] == before["lastTransitionTime"]
    assert after["observedGeneration"] == before["observedGeneration"] + 1


async def test_pods_that_cannot_be_told(told: Site) -> None:
    """The sentence says what to give, and goes when it is given; the PodIdentity is Ready all the while."""
    await told.operator.advance(10)
    denied = BackendDeniedError("the operator may not list pods: helm upgrade", backend="kubernetes")
    told.operator.cluster.failures.add("pods", denied, times=None)
    told.identity("two")
    await told.operator.advance(10)
    status, reason, message = said(told)
    assert (status, reason) == ("False", "WaitingForConsumers")
    assert message.endswith("helm upgrade")
    ready = condition_of(told.operator.status(POD_IDENTITY, "server")["conditions"], ConditionType.READY)
    assert ready is not None
    assert ready["status"] == "True"
    told.operator.cluster.failures.clear()
    await told.operator.look()
    assert said(told)[0] == "True"


async def test_without_pods_there_is_none(told: Site) -> None:
    """Nobody is asked, so nothing is told; taken out of the spec, it goes."""
    await told.operator.advance(10)
    told.identity(pods=None)
    await told.operator.advance(10)
    assert mounted(told) is None


async def test_a_secret_that_was_emptied_is_not_mounted(told: Site) -> None:
    """What pods have then is nothing; filled again, they are told again."""
    await told.operator.advance(10)
    told.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "server", {"suspend": True})
    await told.operator.advance(30)
    assert not told.operator.status(POD_IDENTITY, "server")["delivered"]
    assert mounted(told) is None
    told.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "server", {})
    await told.operator.advance(30)
    assert said(told)[0] == "True"


async def test_a_program_that_has_not_read_it_is_named_until_it_has() -> None:
    """`reload: Signal`; while it lags, nothing is written at each question."""
    site = Site("Signal")
    for name in ("a", "b"):
        site.pod(name)
    site.identity()
    await site.operator.settle()
    assert said(site)[:2] == ("False", "WaitingForConsumers")
    former = site.digest
    site.says("a")
    site.says("b", ProcessState.STARTING, had="0" * 16)
    await site.operator.advance(20)
    status, _, message = said(site)
    assert status == "False"
    assert "1 of 2 pods of PodIdentity server use it: pod b runs a program that does not take" in message
    site.operator.cluster.writes.clear()
    await site.operator.advance(600)
    assert site.writes() == []
    site.says("b")
    await site.operator.advance(60)
    assert said(site) == ("True", "Mounted", "Every pod that mounts Secret server uses what it holds: 2")
    assert site.writes() == ["patch_status"]
    site.identity("two")
    await site.operator.settle()
    assert site.digest != former
    assert said(site)[0] == "False", "what they use is the former content"
