"""What every `Cluster` does with what controls pods: finds it, and restarts it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from fedid.adapters.clock import SystemClock
from fedid.adapters.kubernetes import KubernetesCluster, load_cluster_access
from fedid.domain.pods import Pod, pod_of
from fedid.domain.workloads import HASH_ANNOTATION, RESTARTED_ANNOTATION, Owner, Workload
from fedid.errors import BackendDeniedError, StaleObjectError
from tests.contract.cluster_worlds import (
    CLUSTERS,
    MERGE_PATCH,
    OPERATOR_NAMESPACE,
    ClusterWorld,
    RealClusterWorld,
    cluster_world,
)
from tests.fakes.pods import pod_manifest
from tests.fakes.workloads import controlled, workload_manifest
from tests.testbed.stack import Stack

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KINDS = ("Deployment", "StatefulSet", "DaemonSet")


@pytest.fixture(params=CLUSTERS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[ClusterWorld]:
    """Yield one cluster after the other."""
    async with cluster_world(request) as made:
        yield made


def template(world: ClusterWorld) -> dict[str, Any]:
    """Return the manifest of a pod that no node runs."""
    return pod_manifest(world.namespace, "server-1", {"app": "server"}, mounts=["server"])


def controlled_pod(world: ClusterWorld, by: Any | None) -> Pod:
    """Return a pod that this controls, as it was made: its controller may end it at once."""
    return pod_of(world.put_pod(template(world) if by is None else controlled(template(world), by)))


async def made(world: ClusterWorld, kind: str) -> tuple[Pod, Workload]:
    """Return a workload with a pod of it."""
    body = world.put_workload(workload_manifest(kind, world.namespace, "server", template(world), replicas=0))
    pod = controlled_pod(world, body)
    found = await world.cluster.workload_of(pod)
    assert isinstance(found, Workload)
    return pod, found


async def restarted(world: ClusterWorld, pod: Pod, started_for: dict[str, str]) -> Workload:
    """Restart what controls a pod, and return it as it was before; its controller may write its status meanwhile."""
    for _ in range(50):
        found = await world.cluster.workload_of(pod)
        assert isinstance(found, Workload)
        with suppress(StaleObjectError):
            assert await world.cluster.restart_workload(found, started_for, NOON) is True
            return found
    message = "it changes all the time"
    raise AssertionError(message)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_workload_is_found_from_its_pod(world: ClusterWorld, kind: str) -> None:
    """With what its template mounts, and what it was restarted for."""
    _, found = await made(world, kind)

    assert (found.kind, found.name, found.namespace) == (kind, "server", world.namespace)
    assert found.uid == world.workload(kind, "server")["metadata"]["uid"]
    assert found.mounts == {"server"}
    assert found.started_for == {}


async def test_a_deployment_is_found_through_its_replica_set(world: ClusterWorld) -> None:
    """A ReplicaSet of nobody's is what it is."""
    deployment = world.put_workload(
        workload_manifest("Deployment", world.namespace, "server", template(world), replicas=0)
    )
    replicas = workload_manifest("ReplicaSet", world.namespace, "server-a", template(world), replicas=0)
    owned = world.put_workload(controlled(replicas, deployment))
    found = await world.cluster.workload_of(controlled_pod(world, owned))

    assert isinstance(found, Workload)
    assert (found.kind, found.name) == ("Deployment", "server")


@pytest.mark.parametrize("kind", ["ReplicaSet", "Job"])
async def test_what_has_no_rollout_is_named(world: ClusterWorld, kind: str) -> None:
    """As the pod names it."""
    manifest = workload_manifest("ReplicaSet", world.namespace, "lone", template(world), replicas=0)
    body = world.put_workload(manifest)
    by = {**body, "kind": kind}

    found = await world.cluster.workload_of(controlled_pod(world, by))

    assert found == Owner(kind, "lone", body["metadata"]["uid"])


async def test_a_pod_of_nobody(world: ClusterWorld) -> None:
    """Nothing controls it, or what did is gone."""
    assert await world.cluster.workload_of(controlled_pod(world, None)) is None


async def test_another_of_the_same_name_controls_nothing(world: ClusterWorld) -> None:
    """The uid counts."""
    pod, found = await made(world, "Deployment")
    world.delete_workload("Deployment", "server")
    assert await world.cluster.workload_of(pod) is None
    assert await world.cluster.restart_workload(found, {"server": "0" * 16}, NOON) is False

    world.put_workload(workload_manifest("Deployment", world.namespace, "server", template(world), replicas=0))
    assert await world.cluster.workload_of(pod) is None
    with pytest.raises(StaleObjectError):
        await world.cluster.restart_workload(found, {"server": "0" * 16}, NOON)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_restart_changes_two_annotations_of_the_template(world: ClusterWorld, kind: str) -> None:
    """Nothing else, and what it was for is read back; the second time it needs what is there now."""
    pod, _ = await made(world, kind)
    before = world.workload(kind, "server")["spec"]

    found = await restarted(world, pod, {"server": "0" * 16, "other": "1" * 16})

    after = world.workload(kind, "server")["spec"]
    annotations = after["template"]["metadata"].pop("annotations")
    assert annotations[RESTARTED_ANNOTATION] == "2026-01-01T12:00:00Z"
    assert annotations[HASH_ANNOTATION] == f"other={'1' * 16},server={'0' * 16}"
    before["template"]["metadata"].pop("annotations", None)
    assert after == before
    with pytest.raises(StaleObjectError):
        await world.cluster.restart_workload(found, {"server": "2" * 16}, NOON)
    again = await world.cluster.workload_of(pod)
    assert isinstance(again, Workload)
    assert again.started_for == {"server": "0" * 16, "other": "1" * 16}


async def test_without_the_right_the_message_says_what_to_give(stack: Stack) -> None:
    """Each right by its name."""
    access = await load_cluster_access(kubeconfig=str(stack.paths.operator_kubeconfig), namespace=OPERATOR_NAMESPACE)
    cluster = KubernetesCluster(access, SystemClock())
    world = RealClusterWorld(stack, cluster)
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/fedid"
    rules = stack.kube("GET", role)["rules"]
    pod, found = await made(world, "Deployment")
    try:
        lesser = [rule for rule in rules if rule["apiGroups"] != ["apps"]]
        stack.kube("PATCH", role, {"rules": lesser}, headers=MERGE_PATCH)
        with pytest.raises(BackendDeniedError, match=r"may not get deployments server in namespace .*helm upgrade"):
            await _until_denied(lambda: cluster.workload_of(pod))
        with pytest.raises(BackendDeniedError, match=r"may not patch deployments server in namespace .*helm upgrade"):
            await cluster.restart_workload(found, {}, NOON)
    finally:
        stack.kube("PATCH", role, {"rules": rules}, headers=MERGE_PATCH)
        world.remove_all()
        await cluster.aclose()
        await access.aclose()


async def _until_denied(call: Callable[[], Awaitable[object]]) -> None:
    for _ in range(200):
        await call()
