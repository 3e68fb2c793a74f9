"""Tests of pods and nudges as values."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.label_selector import LabelSelector
from fedid.domain.pod_identity import parse_pod_identity
from fedid.domain.pods import NUDGE_ANNOTATION, Nudge, pod_of
from fedid.errors import InvalidSpecError
from tests.domain.samples import body, with_value

METADATA = {"namespace": "site-a", "name": "trainer-1", "uid": "u"}


def test_a_nudge_is_a_version_and_an_ordinal() -> None:
    """Each nudge is another value, and none says anything about the content."""
    assert [str(Nudge("4711", ordinal)) for ordinal in (1, 2)] == ["4711-1", "4711-2"]


@pytest.mark.parametrize(
    ("annotation", "first", "second"),
    [
        pytest.param(None, False, False, id="never nudged"),
        pytest.param("", False, False, id="empty"),
        pytest.param("4711-1", True, False, id="once"),
        pytest.param("4711-2", True, True, id="twice"),
        pytest.param("4710-2", False, False, id="of an older version"),
        pytest.param("14711-2", False, False, id="of a version that ends likewise"),
        pytest.param("4711", False, False, id="without an ordinal"),
        pytest.param("4711-x", False, False, id="changed by hand"),
        pytest.param("4711-²", False, False, id="with a digit that is no number"),
    ],
)
def test_a_pod_says_which_nudges_it_has_had(annotation: str | None, *, first: bool, second: bool) -> None:
    """A second nudge stands for the first one too; another version for none."""
    assert (Nudge("4711", 1).is_said_by(annotation), Nudge("4711", 2).is_said_by(annotation)) == (first, second)


@pytest.mark.parametrize(
    ("spec", "mounts"),
    [
        pytest.param({}, set(), id="no volumes"),
        pytest.param({"volumes": [{"name": "a", "secret": {"secretName": "s"}}]}, {"s"}, id="a Secret volume"),
        pytest.param({"volumes": [{"name": "s", "emptyDir": {}}]}, set(), id="a volume of another kind"),
        pytest.param({"volumes": [{"name": "s", "configMap": {"name": "s"}}]}, set(), id="a ConfigMap of the name"),
        pytest.param(
            {"volumes": [{"projected": {"sources": [{"serviceAccountToken": {}}, {"secret": {"name": "s"}}]}}]},
            {"s"},
            id="a projected source",
        ),
        pytest.param({"volumes": [{"projected": {"defaultMode": 420}}]}, set(), id="a projected volume of nothing"),
        pytest.param(
            {"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}], "imagePullSecrets": [{"name": "p"}]},
            set(),
            id="environment and image pull secrets",
        ),
    ],
)
def test_a_pod_mounts_what_its_volumes_hold(spec: dict[str, Any], mounts: set[str]) -> None:
    """Only volumes change in a pod that runs."""
    assert pod_of({"metadata": METADATA, "spec": spec}).mounts == mounts


@pytest.mark.parametrize(
    ("phase", "finished"),
    [("Pending", False), ("Running", False), ("Unknown", False), ("Succeeded", True), ("Failed", True)],
)
def test_a_pod_has_finished_by_its_phase(phase: str, *, finished: bool) -> None:
    """One whose node is silent may still run."""
    assert pod_of({"metadata": METADATA, "status": {"phase": phase}}).finished is finished


def test_a_pod_that_is_going_has_finished() -> None:
    """Whatever its phase says."""
    metadata = {**METADATA, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert pod_of({"metadata": metadata, "status": {"phase": "Running"}}).finished


def test_a_pod_shows_its_last_nudge() -> None:
    """As the annotation says."""
    assert pod_of({"metadata": {**METADATA, "annotations": {NUDGE_ANNOTATION: "1-2"}}}).nudge == "1-2"
    assert pod_of({"metadata": METADATA}).nudge is None


def test_the_pods_of_a_pod_identity_are_read() -> None:
    """None named: nobody is told."""
    selector = {"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["a"]}]}
    found = parse_pod_identity(with_value("PodIdentity", "spec.pods", {"selector": selector}))
    assert found.pods == LabelSelector({"app": "x"}, (("k", "In", ("a",)),))
    assert str(found.pods) == "app=x,k in (a)"
    assert parse_pod_identity(body("PodIdentity")).pods is None


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        pytest.param({}, "spec.pods.selector is missing", id="no selector"),
        pytest.param("app=x", "spec.pods must be an object", id="a text"),
        pytest.param(
            {"selector": {}}, "spec.pods.selector is empty and would select every pod", id="an empty selector"
        ),
        pytest.param({"selector": {"matchLabels": {}}}, "write matchLabels: {app: <name>}", id="no label"),
        pytest.param(
            {"selector": {"matchExpressions": [{"key": "k", "operator": "Gt", "values": ["1"]}]}},
            "spec.pods.selector.matchExpressions[0].operator is 'Gt'; write one of In, NotIn, Exists, DoesNotExist",
            id="an operator of nodes",
        ),
        pytest.param({"selector": {"matchLabels": {"app": 1}}}, "spec.pods.selector.matchLabels must", id="a number"),
    ],
)
def test_a_selector_of_pods_that_means_nothing_is_refused(pods: object, told: str) -> None:
    """What an older schema let in gets a sentence that says what to write."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_pod_identity(with_value("PodIdentity", "spec.pods", pods))
    assert told in caught.value.message
