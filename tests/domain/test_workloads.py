"""Tests of what controls pods, as values: when a rollout is done, and what a template mounts."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.workloads import Owner, owner_of, workload_from

TEMPLATE = {"spec": {"volumes": [{"name": "v", "secret": {"secretName": "server"}}]}}
DEPLOYMENT = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
DAEMON_SET = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}


def body(status: dict[str, Any], spec: dict[str, Any] | None = None, template: Any = TEMPLATE) -> dict[str, Any]:
    """Return a workload of generation 3."""
    metadata = {"namespace": "site-a", "name": "server", "uid": "u", "resourceVersion": "7", "generation": 3}
    return {"metadata": metadata, "spec": {"template": template, **(spec or {})}, "status": status}


@pytest.mark.parametrize(
    ("kind", "spec", "status", "done"),
    [
        pytest.param("Deployment", {"replicas": 2}, DEPLOYMENT, True, id="a Deployment that is done"),
        pytest.param("StatefulSet", {"replicas": 2}, DEPLOYMENT, True, id="a StatefulSet that is done"),
        pytest.param("DaemonSet", {}, DAEMON_SET, True, id="a DaemonSet that is done"),
        pytest.param("Deployment", {"replicas": 0}, {}, True, id="scaled to nothing"),
        pytest.param("DaemonSet", {}, {}, True, id="a DaemonSet without a node"),
        pytest.param("Deployment", {}, DEPLOYMENT, False, id="one wanted, two there"),
        pytest.param("Deployment", {"replicas": 3}, DEPLOYMENT, False, id="fewer than wanted"),
        pytest.param("Deployment", {"replicas": 2}, DEPLOYMENT | {"replicas": 3}, False, id="a former pod is left"),
        pytest.param("Deployment", {"replicas": 2}, DEPLOYMENT | {"updatedReplicas": 1}, False, id="half way"),
        pytest.param("Deployment", {"replicas": 2}, DEPLOYMENT | {"availableReplicas": 1}, False, id="not available"),
        pytest.param("DaemonSet", {}, DAEMON_SET | {"updatedNumberScheduled": 1}, False, id="a DaemonSet half way"),
        pytest.param("DaemonSet", {}, DAEMON_SET | {"numberAvailable": 1}, False, id="a DaemonSet not available"),
    ],
)
def test_when_a_rollout_is_done(kind: str, spec: dict[str, Any], status: dict[str, Any], *, done: bool) -> None:
    """Every pod is of the newest template, available, and none is left of the former."""
    assert workload_from(kind, body({"observedGeneration": 3, **status}, spec)).rolled_out is done


@pytest.mark.parametrize("seen", [{}, {"observedGeneration": 2}], ids=["never seen", "seen before it changed"])
def test_what_its_controller_has_not_seen_is_not_rolled_out(seen: dict[str, Any]) -> None:
    """The counts are those of the former template."""
    assert not workload_from("Deployment", body({**seen, **DEPLOYMENT}, {"replicas": 2})).rolled_out


@pytest.mark.parametrize(
    ("annotations", "mounts"),
    [
        pytest.param({}, {"server"}, id="its volumes"),
        pytest.param({"fedid.io/identity": "a"}, {"server", "a"}, id="what admission adds"),
        pytest.param({"fedid.io/identity": "a", "fedid.io/secret": "b"}, {"server", "b"}, id="under another name"),
    ],
)
def test_what_a_template_mounts(annotations: dict[str, str], mounts: set[str]) -> None:
    """By itself, and by what it asks for."""
    template = {**TEMPLATE, "metadata": {"annotations": annotations}}
    assert workload_from("Deployment", body({}, template=template)).mounts == mounts


@pytest.mark.parametrize(
    ("references", "owner"),
    [
        pytest.param([], None, id="nobody"),
        pytest.param([{"kind": "Node", "name": "n", "uid": "u"}], None, id="an owner that controls nothing"),
        pytest.param(
            [
                {"kind": "Node", "name": "n", "uid": "u"},
                {"kind": "Job", "name": "j", "uid": "v", "controller": True},
            ],
            Owner("Job", "j", "v"),
            id="a controller among owners",
        ),
    ],
)
def test_who_controls_an_object(references: list[dict[str, Any]], owner: Owner | None) -> None:
    """The one reference that says so."""
    assert owner_of({"ownerReferences": references}) == owner
    assert owner_of({}) is None
