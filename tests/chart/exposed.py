"""Every metric of the operator with every label, as one that has seen everything would expose it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fedid.adapters.answer import Call
from fedid.adapters.metrics import BackendLoad, Metrics, QueueLoad
from fedid.domain.exposure import CredentialKind, WorstCredentials, WorstRevocations

OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
_BOT = {
    "kind": "BotClient",
    "metadata": {"name": "trainer", "namespace": "site-a"},
    "status": {"tokens": [{"name": "default", "expiresAt": "2026-01-01T13:00:00Z"}]},
}
_GOING = {**_BOT, "status": {"revocation": {"startedAt": "2026-01-01T11:00:00Z"}}}


def everything() -> str:
    """Return the metrics of an operator that has met all there is, those included that name identities."""
    metrics = Metrics()
    metrics.call(Call("vault", "GET", 200, None, 0.1))
    metrics.passes.labels("BotClient", "ok").inc()
    metrics.pass_seconds.labels("BotClient").observe(1)
    metrics.retry_seconds.labels("BotClient").observe(1)
    metrics.steps.labels("MintToken").inc()
    metrics.woken("sweep", 1)
    metrics.renewed("jwt", "vault", 1)
    metrics.revoked("BotClient", 1)
    metrics.orphans("vault", 1)
    load = QueueLoad({"change": 1}, {"change": 1}, 1, 1, 1, {"vault": 1})
    metrics.show_load(load, {"vault": BackendLoad()})
    credentials = {CredentialKind.JWT: WorstCredentials(1, 1.0, 1.0, 1.0)}
    revocations = {"BotClient": WorstRevocations(1, 1.0)}
    metrics.show_objects({("BotClient", "True", "Ready"): 1}, credentials, revocations, NOW)
    return metrics.exposition(OPEN_METRICS, [_BOT, _GOING], NOW)[0].decode()


def families(text: str) -> dict[str, tuple[str, set[str]]]:
    """Return each metric of an exposition in OpenMetrics' format: its type, and the labels of its samples."""
    return {
        family.name: (family.type, {label for sample in family.samples for label in sample.labels})
        for family in text_string_to_metric_families(text)
    }


def samples(text: str) -> Mapping[str, set[str]]:
    """Return the labels of each sample of such an exposition, by the name that PromQL selects it by."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found
