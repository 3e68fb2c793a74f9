"""Tests of how pods are brought to use a new content, as values."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.conditions import Reason
from fedid.domain.pod_reload import (
    Reload,
    lag_by_signal,
    lag_without_sidecar,
    mounted_condition,
    parse_reload,
    why_not_held,
)
from fedid.domain.pods import Pod, pod_of
from fedid.domain.reload_report import Loaded, ProcessState
from fedid.errors import InvalidSpecError

NOW, FORMER = "0" * 16, "1" * 16
SELECTOR = {"selector": {"matchLabels": {"app": "server"}}}
PORT = {"name": "fedid-reload", "containerPort": 8484}


@pytest.mark.parametrize(
    ("spec", "reload"),
    [
        ({}, Reload.NONE),
        ({"reload": None}, Reload.NONE),
        ({"reload": "None"}, Reload.NONE),
        ({"reload": "Signal", "pods": SELECTOR}, Reload.SIGNAL),
        ({"reload": "Restart", "pods": SELECTOR}, Reload.RESTART),
    ],
)
def test_what_is_asked(spec: dict[str, Any], reload: Reload) -> None:
    """Nothing, unless it says so."""
    assert parse_reload(spec) is reload


@pytest.mark.parametrize(
    ("spec", "words"),
    [({"reload": "Exec", "pods": SELECTOR}, "None, Signal, Restart"), ({"reload": "Signal"}, "spec.pods.selector")],
)
def test_what_means_nothing(spec: dict[str, Any], words: str) -> None:
    """Also where an older schema let it in."""
    with pytest.raises(InvalidSpecError, match=words):
        parse_reload(spec)


@pytest.mark.parametrize("state", ProcessState)
def test_each_state_has_a_sentence_of_which_the_pod_is_the_subject(state: ProcessState) -> None:
    """And none once the program has it, whatever the sidecar is about to do."""
    assert lag_by_signal(Loaded(NOW, NOW, state), frozenset({NOW})) is None
    said = lag_by_signal(Loaded(FORMER, NOW, state), frozenset({NOW})) or ""
    assert said.partition(" ")[0] in {"runs", "lets", "has", "was"}


@pytest.mark.parametrize("state", [ProcessState.LOADED, ProcessState.SETTLING])
def test_a_pod_that_has_another_content_mounted_is_told_apart(state: ProcessState) -> None:
    """The program has read all that it can."""
    assert "has the former content mounted" in (lag_by_signal(Loaded(FORMER, FORMER, state), frozenset({NOW})) or "")


def pod(spec: dict[str, Any], ip: str | None = "10.0.0.1") -> Pod:
    """Return a pod."""
    metadata = {"namespace": "site-a", "name": "server", "uid": "u"}
    return pod_of({"metadata": metadata, "spec": spec, "status": {"podIP": ip} if ip is not None else {}})


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_a_sidecar_is_found_by_the_name_of_its_port(kind: str) -> None:
    """Wherever it runs, and whatever other ports there are."""
    found = pod({kind: [{"name": "a"}, {"name": "b", "ports": [{"containerPort": 1}, PORT]}]})
    assert found.reload_port == 8484
    assert lag_without_sidecar(found) is None


def test_a_pod_that_cannot_be_asked() -> None:
    """It has no sidecar, or no address yet."""
    assert "port named fedid-reload" in (lag_without_sidecar(pod({})) or "")
    assert "no address yet" in (lag_without_sidecar(pod({"containers": [{"ports": [PORT]}]}, None)) or "")


def identity(reload: str | None, pods: dict[str, Any] | None, **status: Any) -> dict[str, Any]:
    """Return a PodIdentity of generation 2 whose Secret holds the content."""
    spec = {"reload": reload} | ({"pods": SELECTOR} if pods is not None else {})
    told = {"secretHash": NOW, **({"pods": pods} if pods else {}), **status}
    return {"metadata": {"name": "server", "generation": 2}, "spec": spec, "status": told}


SEEN = {"observedGeneration": 2, "nudgedHash": NOW}
LAG = {"lagging": [{"pod": "a", "message": "is not ready yet"}], "reloaded": 1, "mounting": 2}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(identity(None, None), None, id="nobody is asked"),
        pytest.param(identity(None, None, secretHash=FORMER), "does not hold it", id="the Secret holds another"),
        pytest.param(identity(None, {}), "not looked at yet", id="nobody was told yet"),
        pytest.param(identity(None, SEEN), None, id="all were told"),
        pytest.param(identity(None, {**SEEN, "observedGeneration": 1}), "not looked at", id="with another selector"),
        pytest.param(identity(None, {**SEEN, "nudgedHash": FORMER}), "being told", id="of the former"),
        pytest.param(
            identity(None, {**SEEN, "nudgedHash": FORMER, "message": "no right"}),
            "no right",
            id="some could not be told",
        ),
        pytest.param(identity("Signal", SEEN), "not asked yet", id="told and not asked"),
        pytest.param(identity("Signal", {**SEEN, "reloadedHash": FORMER, **LAG}), "1 of 2 pods", id="one lags"),
        pytest.param(identity("Restart", {**SEEN, **LAG}), "pod a is not ready yet", id="the first is named"),
        pytest.param(identity("Restart", {**SEEN, "reloadedHash": NOW}), None, id="all have it"),
    ],
)
def test_who_does_not_hold_it_and_why(body: dict[str, Any], words: str | None) -> None:
    """As the status tells, which is all that others look at."""
    found = why_not_held(body, NOW)
    assert found is None if words is None else words in (found or "")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        pytest.param(identity(None, None, delivered=True), None, "", id="nobody is named"),
        pytest.param(identity(None, {**SEEN, "mounting": 2}), None, "", id="the Secret is empty"),
        pytest.param(identity(None, SEEN, delivered=True, secretHash=None), None, "", id="it was never filled"),
        pytest.param(
            identity(None, {**SEEN, "mounting": 2}, delivered=True), True, "was told of what it holds: 2", id="told"
        ),
        pytest.param(
            identity(None, {**SEEN, "mounting": 0}, delivered=True), True, "No pod that spec.pods selects", id="none"
        ),
        pytest.param(
            identity("Signal", {**SEEN, **LAG, "reloadedHash": NOW}, delivered=True), True, "uses what", id="all use it"
        ),
        pytest.param(identity("Restart", {**SEEN, **LAG}, delivered=True), False, "1 of 2 pods", id="one lags"),
        pytest.param(
            identity(None, {**SEEN, "nudgedHash": FORMER}, delivered=True), False, "The pods of PodId", id="being told"
        ),
    ],
)
def test_what_mounted_says(body: dict[str, Any], status: bool | None, words: str) -> None:  # noqa: FBT001
    """Nothing without pods or content; else one sentence that names who lags."""
    found = mounted_condition(body)
    assert (found.status if found is not None else None) is status
    if found is not None:
        assert words in found.message
        assert found.reason == (Reason.MOUNTED if status else Reason.WAITING_FOR_CONSUMERS)
