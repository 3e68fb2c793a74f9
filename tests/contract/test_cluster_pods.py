"""What every `Cluster` does with pods: finds those that a selector picks, and annotates one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from fedid.adapters.clock import SystemClock
from fedid.adapters.kubernetes import KubernetesCluster, load_cluster_access
from fedid.domain.label_selector import LabelSelector
from fedid.domain.pods import NUDGE_ANNOTATION, Nudge
from fedid.errors import BackendDeniedError, BackendRejectedError
from tests.contract.cluster_worlds import (
    CLUSTERS,
    MERGE_PATCH,
    OPERATOR_NAMESPACE,
    ClusterWorld,
    cluster_world,
)
from tests.fakes.pods import Body, pod_manifest
from tests.testbed.stack import Stack

TRAINER = LabelSelector({"app": "trainer"}, ())
FIRST, SECOND = Nudge("7", 1), Nudge("7", 2)


@pytest.fixture(params=CLUSTERS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[ClusterWorld]:
    """Yield one cluster after the other; the real one lists two pods at a time."""
    async with cluster_world(request, chunk=2) as made:
        yield made


def trainer(world: ClusterWorld, name: str = "trainer-1", **wanted: object) -> Body:
    """Return the manifest of a pod that the selector picks."""
    labels = {"app": "trainer"}
    return pod_manifest(world.namespace, name, wanted.pop("labels", labels), **wanted)  # type: ignore[arg-type]


async def found(world: ClusterWorld, selector: LabelSelector = TRAINER) -> list[str]:
    """Return the names that the selector picks."""
    return [pod.name for pod in await world.cluster.pods(world.namespace, selector)]


async def test_a_pod_tells_what_it_mounts_and_what_it_was_nudged_with(world: ClusterWorld) -> None:
    """Volumes of both kinds count, the environment does not."""
    manifest = trainer(world, mounts=["a", "b"], projects=["c", "d"], reads=["e"])
    created = world.put_pod(manifest)

    (pod,) = await world.cluster.pods(world.namespace, TRAINER)

    assert (pod.namespace, pod.name, pod.uid) == (world.namespace, "trainer-1", created["metadata"]["uid"])
    assert pod.mounts == {"a", "b", "c", "d"}
    assert pod.nudge is None
    assert not pod.finished


SELECTORS = [
    pytest.param(TRAINER, "abc", id="label"),
    pytest.param(LabelSelector({"app": "trainer", "tier": "x"}, ()), "a", id="two labels"),
    pytest.param(LabelSelector({}, (("tier", "In", ("x", "y")),)), "abd", id="In"),
    pytest.param(LabelSelector({}, (("tier", "NotIn", ("x",)),)), "bce", id="NotIn, also without the label"),
    pytest.param(LabelSelector({}, (("tier", "Exists", ()),)), "abd", id="Exists"),
    pytest.param(LabelSelector({}, (("tier", "DoesNotExist", ()),)), "ce", id="DoesNotExist"),
    pytest.param(LabelSelector({"app": "trainer"}, (("tier", "Exists", ()),)), "ab", id="both"),
    pytest.param(LabelSelector({"empty": ""}, ()), "e", id="empty value"),
]


@pytest.mark.parametrize(("selector", "picked"), SELECTORS)
async def test_a_selector_picks_as_everywhere_in_kubernetes(
    world: ClusterWorld, selector: LabelSelector, picked: str
) -> None:
    """Each operator by itself and with others; over more than one page of the listing."""
    pods = {
        "a": {"app": "trainer", "tier": "x"},
        "b": {"app": "trainer", "tier": "y"},
        "c": {"app": "trainer"},
        "d": {"tier": "x"},
        "e": {"empty": ""},
    }
    for name, labels in pods.items():
        world.put_pod(pod_manifest(world.namespace, name, labels))

    assert await found(world, selector) == list(picked)


async def test_pods_that_have_finished_or_are_going_are_left_out(world: ClusterWorld) -> None:
    """They read no file any more."""
    for phase in ("Pending", "Running", "Succeeded", "Failed"):
        world.put_pod(trainer(world, phase.lower()), phase=phase)
    going = trainer(world, "going")
    going["metadata"]["finalizers"] = ["fedid.io/test"]
    world.put_pod(going)
    world.delete_pod("going")

    assert await found(world) == ["pending", "running"]


async def test_pods_of_other_namespaces_are_not_found(world: ClusterWorld) -> None:
    """Nor is it an error if the namespace does not exist."""
    world.put_pod(trainer(world))

    assert await world.cluster.pods("no-such-namespace", TRAINER) == ()
    assert await world.cluster.pods(OPERATOR_NAMESPACE, TRAINER) == ()


async def test_a_nudge_changes_the_annotation_and_nothing_else(world: ClusterWorld) -> None:
    """What others have annotated stays, and the next nudge is another value."""
    manifest = trainer(world, mounts=["a"])
    manifest["metadata"]["annotations"] = {"example.org/mine": "1"}
    before = world.put_pod(manifest)
    (pod,) = await world.cluster.pods(world.namespace, TRAINER)

    assert await world.cluster.nudge_pod(pod, FIRST) is True
    after = world.pod("trainer-1") or {}

    assert after["metadata"]["annotations"] == {"example.org/mine": "1", NUDGE_ANNOTATION: "7-1"}
    assert (after["metadata"]["labels"], after["spec"]) == (before["metadata"]["labels"], before["spec"])
    (pod,) = await world.cluster.pods(world.namespace, TRAINER)
    assert FIRST.is_said_by(pod.nudge)
    assert not SECOND.is_said_by(pod.nudge)
    assert await world.cluster.nudge_pod(pod, SECOND) is True
    assert NUDGE_ANNOTATION in json.dumps(world.pod("trainer-1"))
    (pod,) = await world.cluster.pods(world.namespace, TRAINER)
    assert pod.nudge == "7-2"


async def test_a_pod_that_is_gone_is_nothing(world: ClusterWorld) -> None:
    """Also when another of the same name has taken its place, which is left alone."""
    world.put_pod(trainer(world))
    (pod,) = await world.cluster.pods(world.namespace, TRAINER)
    world.delete_pod("trainer-1")

    assert await world.cluster.nudge_pod(pod, FIRST) is False

    world.put_pod(trainer(world))
    assert await world.cluster.nudge_pod(pod, FIRST) is False
    assert NUDGE_ANNOTATION not in ((world.pod("trainer-1") or {})["metadata"].get("annotations") or {})


async def test_a_selector_that_means_nothing_is_rejected(stack: Stack) -> None:
    """The API server's own sentence is passed on."""
    access = await load_cluster_access(kubeconfig=str(stack.paths.operator_kubeconfig), namespace=OPERATOR_NAMESPACE)
    cluster = KubernetesCluster(access, SystemClock())

    with pytest.raises(BackendRejectedError, match="to list pods in namespace default"):
        await cluster.pods("default", LabelSelector({"app": "not a value"}, ()))

    await cluster.aclose()
    await access.aclose()


async def test_without_the_right_the_message_says_what_to_give(stack: Stack) -> None:
    """A 403 is the operator's own lack, unless the namespace is on its way out."""
    access = await load_cluster_access(kubeconfig=str(stack.paths.operator_kubeconfig), namespace=OPERATOR_NAMESPACE)
    cluster = KubernetesCluster(access, SystemClock())
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/fedid"
    rules = stack.kube("GET", role)["rules"]
    lesser = [rule for rule in rules if "pods" not in rule["resources"]]
    try:
        stack.kube("PATCH", role, {"rules": lesser}, headers=MERGE_PATCH)
        with pytest.raises(BackendDeniedError, match=r"may not list pods in namespace default: give .*helm upgrade"):
            await _until_denied(cluster)
    finally:
        stack.kube("PATCH", role, {"rules": rules}, headers=MERGE_PATCH)
        await cluster.aclose()
        await access.aclose()


async def _until_denied(cluster: KubernetesCluster) -> None:
    for _ in range(100):
        await cluster.pods("default", TRAINER)
