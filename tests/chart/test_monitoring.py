"""ServiceMonitor and alerts are about metrics that the operator really has."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fedid.adapters.metrics import Metrics
from tests.chart.render import Manifest, of_kind, rendered
from tests.testbed.stack import Stack

SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
LABEL = re.compile(r'(\w+)(?:=~|!~|!=|=)"')
OF_THE_TARGET = {"job", "namespace"}


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
    """Every metric and label of an expression is one that the operator exposes, or one of the target's."""
    exposed = _exposed()
    used = {
        (name, label)
        for rule in rules
        for name, labels in SELECTOR.findall(rule["expr"])
        for label in LABEL.findall(labels)
    }

    assert {name for name, _ in used} >= {"fedid_bugs_total", "fedid_objects", "fedid_backend_calls_total"}
    for name, label in used:
        assert name in exposed | {"up": set()}, f"{name} is no metric of the operator"
        assert label in OF_THE_TARGET | exposed.get(name, set()), f"{name} has no label {label}"


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


def _exposed() -> dict[str, set[str]]:
    """Return the labels of every sample that the operator can expose."""
    metrics = Metrics()
    metrics.calls.labels("vault", "GET", "200").inc()
    metrics.passes.labels("BotClient", "ok").inc()
    metrics.pass_seconds.labels("BotClient").observe(1)
    metrics.queue_depth.labels("change").set(1)
    metrics.objects.labels("BotClient", "True", "Ready").set(1)
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}
