"""ServiceMonitor, alerts, dashboard and guide are about metrics that the operator really has."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.chart.exposed import everything, families, samples
from tests.chart.promql import asked_for, remaining_labels
from tests.chart.render import Manifest, of_kind, rendered
from tests.testbed.chart import CHART
from tests.testbed.paths import REPOSITORY
from tests.testbed.stack import Stack

SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
NAMED = re.compile(r"\$labels\.(\w+)")
TABLE_ROW = re.compile(r"^\| `(fedid_\w+)` \| (\w+) \| ([^|]*) \|", re.MULTILINE)
OF_THE_TARGET = {"job", "namespace", "pod"}
FIXED = {"le"}


@pytest.fixture(scope="module")
def rules(stack: Stack) -> list[dict[str, Any]]:
    """The alerts."""
    (rule,) = of_kind(rendered(stack, {"metrics": {"rules": {"enabled": True}}}), "PrometheusRule")
    (group,) = rule["spec"]["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_nothing_of_it_is_made_unless_asked_for(stack: Stack) -> None:
    """A cluster without the Prometheus operator knows neither kind."""
    assert of_kind(rendered(stack), "ServiceMonitor", "PrometheusRule") == []


def test_service_monitor_finds_the_service(stack: Stack) -> None:
    """By labels that the Service has, at the port that it names; with the labels that Prometheus selects it by."""
    chosen = {"enabled": True, "interval": "1m", "labels": {"release": "prometheus"}}
    manifests = rendered(
        stack, {"metrics": {"serviceMonitor": chosen, "rules": {"enabled": True, "labels": {"a": "b"}}}}
    )
    (monitor,), (service,), (rule,) = (
        of_kind(manifests, kind) for kind in ("ServiceMonitor", "Service", "PrometheusRule")
    )

    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"] == [{"port": "health", "path": "/metrics", "interval": "1m"}]
    assert [port["name"] for port in service["spec"]["ports"]] == ["health"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert rule["metadata"]["labels"]["a"] == "b"


def test_alerts_use_metrics_that_exist(rules: list[Manifest]) -> None:
    """Every expression is PromQL, of metrics and labels that the operator exposes, or that the target has."""
    used = {name: labels for rule in rules for name, labels in asked_for(rule["expr"])}
    assert used.keys() >= {"fedid_bugs_total", "fedid_revocation_unproven_oldest_age_seconds", "fedid_orphans"}
    for rule in rules:
        _assert_exposed(rule["alert"], rule["expr"])


def test_alerts_name_labels_that_are_left(rules: list[Manifest]) -> None:
    """What a summary fills in is not summed away."""
    for rule in rules:
        named = {label for text in rule["annotations"].values() for label in NAMED.findall(text)}
        assert named <= remaining_labels(rule["expr"]), rule["alert"]


def test_the_dashboard_is_one_that_grafana_loads(stack: Stack) -> None:
    """A ConfigMap that its sidecar finds, with the file as it is: no template of Helm has touched its braces."""
    assert not [m for m in of_kind(rendered(stack), "ConfigMap") if m["metadata"]["name"].endswith("dashboard")]
    asked = {"metrics": {"dashboard": {"enabled": True, "labels": {"folder": "fl"}}}}
    found = of_kind(rendered(stack, asked), "ConfigMap")
    (config_map,) = [one for one in found if one["metadata"]["name"] == "fedid-dashboard"]
    assert config_map["metadata"]["labels"].items() >= {"grafana_dashboard": "1", "folder": "fl"}.items()
    assert json.loads(config_map["data"]["fedid.json"]) == _dashboard()


def test_panels_use_metrics_that_exist() -> None:
    """Every expression is PromQL of what is exposed, about one installation; each legend names a label that is left."""
    for panel in _panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            expression, legend = target["expr"], target["legendFormat"]
            _assert_exposed(panel["title"], expression)
            assert all({"job", "namespace"} <= labels for _, labels in asked_for(expression)), panel["title"]
            assert {*re.findall(r"\{\{(\w+)\}\}", legend)} == remaining_labels(expression) - FIXED, panel["title"]


def test_panels_have_places_and_ids_of_their_own() -> None:
    """None lies over another, and Grafana tells them apart."""
    dashboard = _dashboard()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken = [
        (column, row)
        for panel in dashboard["panels"]
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(column for column, _ in taken) < 24


def test_every_metric_of_fedid_is_watched_or_explained() -> None:
    """The guide's table names each metric with its type and labels as they are, and none that is not."""
    exposed = {name: entry for name, entry in families(everything()).items() if name.startswith("fedid_")}
    told = {}
    for name, kind, labels in TABLE_ROW.findall((REPOSITORY / "docs/guide/metrics.md").read_text()):
        told[name] = (kind, {label.strip("`") for label in labels.split(", ") if label.strip()})
    real = {
        name + ("_total" if kind == "counter" else ""): (kind, labels - {"le"})
        for name, (kind, labels) in exposed.items()
    }
    assert told == real


@pytest.mark.parametrize(
    "expression",
    ["sum(fedid_leader", "fedid_nothing > 0", 'fedid_leader{pods="a"}', "sum by (reason) (fedid_queue_depth)"],
)
def test_what_these_tests_find(expression: str) -> None:
    """Broken syntax, an unknown metric, an unknown label to select by or to group by."""
    with pytest.raises((AssertionError, ValueError)):
        _assert_exposed("none", expression)


def test_alerts_are_about_this_installation(rules: list[Manifest]) -> None:
    """Two installations in one Prometheus do not alert for each other."""
    for rule in rules:
        for name, labels in SELECTOR.findall(rule["expr"]):
            assert labels.startswith('job="fedid",namespace="fedid-system"'), f"{rule['alert']}: {name}"


def test_each_alert_says_the_next_step(rules: list[Manifest]) -> None:
    """Each says what it means, how bad it is, and what to do."""
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 6
    for rule in rules:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert "Next: " in rule["annotations"]["description"], rule["alert"]
        for text in rule["annotations"].values():
            assert text.count("{{") == text.count("}}")


def _assert_exposed(what: str, expression: str) -> None:
    exposed = samples(everything())
    for name, labels in asked_for(expression):
        assert name in exposed or name == "up", f"{what}: {name} is no metric of the operator"
        assert labels <= OF_THE_TARGET | exposed.get(name, set()), f"{what}: {name} has no label {labels}"


def _dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "files/dashboard.json").read_text())
    return found


def _panels() -> list[dict[str, Any]]:
    return [panel for panel in _dashboard()["panels"] if panel["type"] != "row"]
