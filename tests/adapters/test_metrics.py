"""The metrics as Prometheus reads them: in both formats, and without a name that nobody asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from fedid.adapters.metrics import BackendLoad, Metrics, QueueLoad
from fedid.domain.conditions import rfc3339
from fedid.domain.exposure import CredentialKind, WorstCredentials, WorstRevocations
from fedid.engine import BreakerState

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OPEN_METRICS = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"


def bot(*, ends: bool = False) -> dict[str, Any]:
    """Return a bot whose tokens expire in 60 and 90 s, or one that was deleted 30 s ago."""
    metadata: dict[str, Any] = {"name": "trainer", "namespace": "site-a", "finalizers": ["fedid.io/revoke"]}
    tokens = [{"name": str(s), "expiresAt": rfc3339(NOW + timedelta(seconds=s))} for s in (90, 60)]
    if ends:
        metadata["deletionTimestamp"] = rfc3339(NOW - timedelta(seconds=30))
    return {"kind": "BotClient", "metadata": metadata, "status": {"tokens": tokens}}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return one sample."""
    found: float | None = metrics.registry.get_sample_value(name, labels)
    return found


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        pytest.param("", "text/plain; version=0.0.4; charset=utf-8", prometheus, id="who says nothing"),
        pytest.param("text/html,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8", prometheus, id="a browser"),
        pytest.param(OPEN_METRICS, "application/openmetrics-text; version=1.0.0", open_metrics, id="Prometheus"),
    ],
)
def test_the_client_chooses_the_format(accept: str, content_type: str, parse: Any) -> None:
    """What it accepts is what it gets, and says so; counters have the same name in both."""
    metrics = Metrics()
    metrics.bugs.inc()
    text, told = metrics.exposition(accept)
    assert told.startswith(content_type)
    assert text.endswith(b"# EOF\n") is (parse is open_metrics)
    samples = {sample.name: sample.value for family in parse(text.decode()) for sample in family.samples}
    assert samples["fedid_bugs_total"] == 1.0


def test_objects_are_shown_as_of_now_and_hidden_by_who_does_not_lead() -> None:
    """Ages and times left follow from the instants; what is gone leaves no series behind."""
    metrics, now = Metrics(), NOW.timestamp()
    worst = {
        CredentialKind.JWT: WorstCredentials(2, issued=now - 100, due=now - 7, expires=now + 50),
        CredentialKind.BOT_SECRET: WorstCredentials(1, issued=now - 900, due=None, expires=None),
        CredentialKind.OPAQUE: WorstCredentials(1, issued=now, due=now + 5, expires=now - 3),
    }
    metrics.orphans("vault", 2)
    assert value(metrics, "fedid_orphans", backend="vault") is None
    metrics.show_objects({("BotClient", "True", "Ready"): 3}, worst, {"BotClient": WorstRevocations(1, now - 30)}, NOW)
    assert value(metrics, "fedid_objects", kind="BotClient", ready="True", reason="Ready") == 3
    assert value(metrics, "fedid_credentials", credential="jwt") == 2
    assert value(metrics, "fedid_credential_oldest_age_seconds", credential="bot_secret") == 900
    assert value(metrics, "fedid_credential_overdue_seconds", credential="jwt") == 7
    assert value(metrics, "fedid_credential_overdue_seconds", credential="opaque") == 0
    assert value(metrics, "fedid_credential_overdue_seconds", credential="bot_secret") is None
    assert value(metrics, "fedid_credential_soonest_expiry_seconds", credential="opaque") == -3
    assert value(metrics, "fedid_revocations_unproven", kind="BotClient") == 1
    assert value(metrics, "fedid_revocation_unproven_oldest_age_seconds", kind="BotClient") == 30
    assert value(metrics, "fedid_orphans", backend="vault") == 2

    metrics.show_objects({}, {}, {}, NOW)
    assert value(metrics, "fedid_revocations_unproven", kind="BotClient") is None
    metrics.hide_objects()
    assert value(metrics, "fedid_orphans", backend="vault") is None


def test_load_is_shown_and_the_queue_of_who_does_not_lead_is_not() -> None:
    """Breakers are counted by state, and backends that nobody waits for say 0."""
    metrics = Metrics()
    load = BackendLoad(limit=8, in_flight=3, waiting=2)
    load.breakers[BreakerState.OPEN] += 1
    metrics.show_load(QueueLoad({"change": 4}, {"change": 1.5}, 3, 9, 1, {"keycloak": 5}), {"keycloak": load})
    assert value(metrics, "fedid_leader") == 1
    assert value(metrics, "fedid_queue_oldest_age_seconds", priority="change") == 1.5
    assert value(metrics, "fedid_queue_parked", backend="keycloak") == 5
    assert value(metrics, "fedid_queue_parked", backend="vault") == 0
    assert value(metrics, "fedid_backend_waiting", backend="keycloak") == 2
    assert value(metrics, "fedid_backend_breakers", backend="keycloak", state="open") == 1
    assert value(metrics, "fedid_backend_breakers", backend="keycloak", state="closed") == 0
    metrics.show_load(None, {})
    assert value(metrics, "fedid_leader") == 0
    assert value(metrics, "fedid_queue_depth", priority="change") is None
    assert value(metrics, "fedid_backend_limit", backend="keycloak") is None


def test_identities_are_named_only_where_that_was_asked_for() -> None:
    """Without it no name is in the text, in neither format; with it each has the end of its first credential."""
    metrics = Metrics()
    for accept in ("", OPEN_METRICS):
        text, _ = metrics.exposition(accept)
        assert b"trainer" not in text
        assert b"site-a" not in text
    text, _ = metrics.exposition(OPEN_METRICS, [bot(), {**bot(ends=True), "kind": "FederationUser"}], NOW)
    samples = [sample for family in open_metrics(text.decode()) for sample in family.samples]
    named = {(sample.name, sample.labels["kind"]): sample for sample in samples if "identity_name" in sample.labels}
    whose = {"identity_namespace": "site-a", "identity_name": "trainer"}
    expiry = named["fedid_identity_expiry_seconds", "BotClient"]
    assert (expiry.value, expiry.labels) == (60.0, {"kind": "BotClient", "credential": "jwt", **whose})
    unproven = named["fedid_identity_revocation_unproven_age_seconds", "FederationUser"]
    assert (unproven.value, unproven.labels) == (30.0, {"kind": "FederationUser", **whose})
    assert len(named) == 2
    assert all(sample.exemplar is None for sample in samples)
