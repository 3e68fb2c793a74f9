"""Workloads are restarted for a new content: once, one after the other, and nothing that does not mount it."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from fedid.domain.workloads import HASH_ANNOTATION, RESTARTED_ANNOTATION, hashes_in, hashes_text
from fedid.errors import BackendDeniedError, BackendUnavailableError, StaleObjectError
from tests.fakes.pods import pod_manifest
from tests.fakes.workloads import controlled, workload_manifest
from tests.reconcile.reloading import Site
from tests.reconcile.small_operator import NAMESPACE

DENIED = BackendDeniedError("the operator may not patch deployments: helm upgrade", backend="kubernetes")
AWAY = BackendUnavailableError("no answer", backend="kubernetes")
DONE = {
    "DaemonSet": {"desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1},
    "Deployment": {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    "StatefulSet": {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
}


class Crash(BaseException):
    """The process ends here."""


class Fleet(Site):
    """Workloads of one pod each; their controllers do nothing by themselves."""

    def __init__(self) -> None:
        """Start without any."""
        super().__init__("Restart")

    def workload(self, name: str, kind: str = "Deployment", **how: Any) -> None:
        """Make a workload whose pod runs."""
        template = pod_manifest(NAMESPACE, name, {"app": "server"}, **(how or {"mounts": ["server"]}))
        body = self.operator.cluster.put_workload(workload_manifest(kind, NAMESPACE, name, template))
        if kind == "Deployment":
            replica_set = workload_manifest("ReplicaSet", NAMESPACE, f"{name}-1", template)
            self.operator.cluster.put_workload(controlled(replica_set, body))
        self.roll_out(name, kind, **how)

    def roll_out(self, name: str, kind: str = "Deployment", *, done: bool = True, **how: Any) -> None:
        """Do what its controller does: a pod of the newest template takes the place of the former."""
        body = self.body(name, kind)
        annotations = (body["spec"]["template"].get("metadata") or {}).get("annotations") or {}
        owner = self.body(f"{name}-1", "ReplicaSet") if kind == "Deployment" else body
        self.pod(f"{name}-pod", owner, ready=done, annotations=annotations, **how)
        status = {"observedGeneration": body["metadata"]["generation"]} | (DONE[kind] if done else {})
        self.operator.cluster.put_workload({**body, "status": status})

    def body(self, name: str, kind: str = "Deployment") -> dict[str, Any]:
        """Return a workload."""
        return self.operator.cluster.bodies[ObjectKey(kind, NAMESPACE, name)]

    def annotations(self, name: str, kind: str = "Deployment") -> dict[str, str]:
        """Return those of its template."""
        found: dict[str, str] = self.body(name, kind)["spec"]["template"]["metadata"].get("annotations") or {}
        return found

    async def follow(self) -> None:
        """Let every restart roll out, one after the other."""
        for _ in range(5):
            await self.operator.advance(70)
            if self.restarts:
                kind, name = self.restarts[-1].split()
                self.roll_out(name, kind)

    @property
    def restarts(self) -> list[str]:
        """What was restarted, in order."""
        return self.operator.cluster.restarts


@pytest.fixture
async def fleet() -> Fleet:
    """Two Deployments whose pods waited for the Secret, and run now."""
    made = Fleet()
    for name in ("a", "b"):
        made.workload(name)
        made.roll_out(name, done=False)
    made.identity()
    await made.operator.settle()
    for name in ("a", "b"):
        made.roll_out(name)
    await made.operator.advance(5)
    assert made.not_held() is None
    made.operator.cluster.writes.clear()
    made.operator.cluster.events.clear()
    return made


async def test_who_waited_for_the_first_content_is_not_restarted(fleet: Fleet) -> None:
    """It began with it; nor does any later pass, or a restart of the operator, restart anything."""
    assert fleet.told()["reloaded"] == 2
    await fleet.operator.look()
    fleet.operator.restart()
    await fleet.operator.advance(300)
    assert fleet.restarts == []
    assert fleet.writes() == []


async def test_a_change_restarts_one_after_the_other_and_each_once(fleet: Fleet) -> None:
    """The second begins once the first has rolled out; all is told when both have."""
    fleet.identity("two")
    await fleet.operator.advance(5)
    assert fleet.restarts == ["Deployment a"]
    assert "Deployment a is rolling out" in fleet.lagging()["a-pod"]
    assert "waits for its turn" in fleet.lagging()["b-pod"]
    assert hashes_in(fleet.annotations("a")[HASH_ANNOTATION]) == {"server": fleet.digest}
    assert RESTARTED_ANNOTATION in fleet.annotations("a")
    fleet.roll_out("a", done=False)
    await fleet.operator.advance(100)
    assert fleet.restarts == ["Deployment a"]
    fleet.roll_out("a")
    await fleet.operator.advance(70)
    assert fleet.restarts == ["Deployment a", "Deployment b"]
    assert fleet.told()["reloaded"] == 1
    fleet.roll_out("b")
    await fleet.operator.advance(70)
    assert fleet.not_held() is None
    assert fleet.told()["reloaded"] == 2
    await fleet.operator.advance(600)
    fleet.operator.restart()
    await fleet.operator.advance(600)
    assert len(fleet.restarts) == 2
    assert [event.reason for event in fleet.operator.cluster.events] == ["WorkloadRestarted"] * 2


async def test_while_there_is_no_pod_at_all_the_next_one_waits(fleet: Fleet) -> None:
    """With the strategy Recreate the former pods are gone before the new ones come."""
    fleet.identity("two")
    await fleet.operator.advance(5)
    fleet.operator.cluster.delete("Pod", NAMESPACE, "a-pod")
    await fleet.operator.advance(70)
    assert fleet.restarts == ["Deployment a"]
    assert fleet.not_held() is not None
    fleet.roll_out("a")
    await fleet.operator.advance(70)
    assert fleet.restarts == ["Deployment a", "Deployment b"]


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_other_workloads_are_restarted_likewise(fleet: Fleet, kind: str) -> None:
    """Each is its pods' own controller."""
    fleet.workload("c", kind)
    fleet.identity("two")
    await fleet.follow()
    assert sorted(fleet.restarts) == sorted(["Deployment a", "Deployment b", f"{kind} c"])
    assert fleet.not_held() is None


async def test_what_does_not_mount_it_is_left_alone(fleet: Fleet) -> None:
    """Neither a neighbour with the same labels, nor a workload whose newest template mounts it no more."""
    fleet.workload("neighbour", mounts=["other"])
    body = fleet.body("a")
    template = {**body["spec"]["template"], "spec": {"containers": []}}
    fleet.operator.cluster.put_workload({**body, "spec": {**body["spec"], "template": template}})
    fleet.identity("two")
    await fleet.operator.advance(5)
    assert fleet.restarts == ["Deployment b"]
    assert "mounts the Secret no more" in fleet.lagging()["a-pod"]


async def test_what_admission_mounts_counts_as_mounted(fleet: Fleet) -> None:
    """The template has an annotation instead of a volume."""
    body = fleet.body("a")
    template = {"metadata": {"annotations": {"fedid.io/identity": "server"}}, "spec": {"containers": []}}
    fleet.operator.cluster.put_workload({**body, "spec": {**body["spec"], "template": template}})
    fleet.identity("two")
    await fleet.operator.advance(5)
    assert fleet.restarts == ["Deployment a"]


@pytest.mark.parametrize("kind", ["Job", "ReplicaSet", None])
async def test_what_has_no_rollout_says_so(fleet: Fleet, kind: str | None) -> None:
    """Bare pods, Jobs and bare ReplicaSets are not deleted; the others go on."""
    manifest = workload_manifest("ReplicaSet", NAMESPACE, "lone", pod_manifest(NAMESPACE, "x", {"app": "server"}))
    by = fleet.operator.cluster.put_workload({**manifest, "kind": kind}) if kind is not None else None
    fleet.pod("lone", by)
    fleet.identity("two")
    await fleet.follow()
    assert fleet.restarts == ["Deployment a", "Deployment b"]
    assert list(fleet.lagging()) == ["lone"]
    assert "start it anew by hand" in fleet.lagging()["lone"]
    assert (f"{kind} lone" if kind else "by nothing") in fleet.lagging()["lone"]


async def test_two_secrets_of_one_workload_do_not_fight(fleet: Fleet) -> None:
    """What the annotation says of another Secret stays."""
    annotations = {HASH_ANNOTATION: "other=0123456789abcdef", "example.org/a": "b"}
    body = fleet.body("a")
    body["spec"]["template"]["metadata"]["annotations"] = annotations
    fleet.identity("two")
    await fleet.operator.advance(5)
    said = hashes_in(fleet.annotations("a")[HASH_ANNOTATION])
    assert said == {"other": "0123456789abcdef", "server": fleet.digest}
    assert fleet.annotations("a")["example.org/a"] == "b"


async def test_a_wish_that_comes_later_restarts_once(fleet: Fleet) -> None:
    """Nobody knows what the pods began with; then it is known."""
    fleet.identity(reload="None")
    await fleet.operator.advance(5)
    fleet.identity()
    await fleet.follow()
    assert fleet.restarts == ["Deployment a", "Deployment b"]
    assert fleet.not_held() is None


async def test_a_pod_that_ran_before_there_was_a_secret_is_restarted() -> None:
    """It mounts it as an optional one, or ran with that of a former PodIdentity."""
    fleet = Fleet()
    fleet.workload("a")
    fleet.identity()
    await fleet.operator.advance(5)
    assert fleet.restarts == ["Deployment a"]


async def test_without_the_right_the_message_names_it(fleet: Fleet) -> None:
    """The identity stays Ready, and once the right is there the restart follows."""
    fleet.operator.cluster.failures.add("restart_workload", DENIED, times=None)
    fleet.identity("two")
    await fleet.operator.advance(5)
    assert fleet.lagging()["a-pod"] == f"cannot be restarted: {DENIED.message}"
    assert fleet.operator.status(POD_IDENTITY, "server")["conditions"][0]["status"] == "True"
    fleet.operator.cluster.failures.clear()
    await fleet.operator.advance(70)
    assert fleet.restarts == ["Deployment a"]


async def test_without_the_right_to_look_the_message_names_it(fleet: Fleet) -> None:
    """Nothing is restarted that was not looked at."""
    fleet.operator.cluster.failures.add("workload_of", DENIED, times=None)
    fleet.identity("two")
    await fleet.operator.advance(5)
    assert set(fleet.lagging().values()) == {f"cannot be restarted: {DENIED.message}"}
    assert fleet.restarts == []


@pytest.mark.parametrize(
    ("operation", "point"),
    [
        ("replace_secret", "after"),
        ("workload_of", "before"),
        ("restart_workload", "before"),
        ("restart_workload", "after"),
        ("patch_status", "before"),
    ],
)
async def test_a_crash_restarts_nothing_twice_and_forgets_nothing(fleet: Fleet, operation: str, point: str) -> None:
    """The template itself says for what it was restarted."""
    crash: Any = Crash()
    fleet.operator.cluster.failures.add(operation, crash, at=point)
    fleet.identity("two")
    with pytest.raises(Crash):
        await fleet.operator.advance(5)
    fleet.operator.restart()
    await fleet.follow()
    assert fleet.restarts == ["Deployment a", "Deployment b"]
    assert fleet.not_held() is None


async def test_an_api_server_that_is_away_is_waited_for(fleet: Fleet) -> None:
    """Whichever call meets it."""
    for operation in ("workload_of", "restart_workload", "pods"):
        fleet.operator.cluster.failures.add(operation, AWAY)
    fleet.operator.cluster.failures.add("restart_workload", StaleObjectError("changed"))
    fleet.identity("two")
    await fleet.follow()
    assert fleet.restarts == ["Deployment a", "Deployment b"]


async def test_what_is_withdrawn_is_restarted_too(fleet: Fleet) -> None:
    """A program that read its credential at its start would keep it."""
    fleet.operator.cluster.delete(BOT_CLIENT, NAMESPACE, "server")
    await fleet.operator.advance(5)
    assert fleet.restarts == ["Deployment a"]


@pytest.mark.parametrize(
    ("text", "hashes"),
    [
        (None, {}),
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1, b=2", {"a": "1", "b": "2"}),
        ("made by hand", {}),
        ("=", {"": ""}),
    ],
)
def test_the_annotation_is_read_whatever_a_hand_made_of_it(text: str | None, hashes: dict[str, str]) -> None:
    """And written in a fixed order."""
    assert hashes_in(text) == hashes
    assert hashes_in(hashes_text(hashes)) == hashes
    assert hashes_text({"b": "2", "a": "1"}) == "a=1,b=2"
