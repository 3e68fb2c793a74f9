"""What a running operator really exposes, after an identity's whole life."""

from __future__ import annotations

from tests.chart.exposed import OPEN_METRICS, everything, families, samples
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant, bot, pod_identity
from tests.e2e.waiting import eventually


def test_the_metrics_are_those_that_rules_dashboard_and_guide_are_held_to(operator: Operator, tenant: Tenant) -> None:
    """In OpenMetrics, of the very names, types and labels; a bot from its creation to its proof is in them, unnamed."""
    tenant.apply(bot("watched", tokens=[{"name": "default"}]), pod_identity("watched"))
    tenant.ready("BotClient", "watched")
    tenant.ready("PodIdentity", "watched")
    told = samples(operator.metrics(OPEN_METRICS))
    assert {"credential"} == told["fedid_credential_soonest_expiry_seconds"] == told["fedid_credential_overdue_seconds"]
    for kind in ("PodIdentity", "BotClient"):
        tenant.delete(kind, "watched")
        tenant.gone(kind, "watched")

    def proven() -> str | None:
        text = operator.metrics(OPEN_METRICS)
        return text if 'fedid_revocation_lag_seconds_count{kind="BotClient"}' in text else None

    text = eventually(proven, "the proof is counted")
    assert "watched" not in text
    assert tenant.namespace not in text
    known, real = families(everything()), families(text)
    unnamed = {name for name in known if name.startswith("fedid_") and not name.startswith("fedid_identity_")}
    assert {name for name in real if name.startswith("fedid_")} == unnamed
    for name in unnamed:
        assert real[name][0] == known[name][0], name
        assert real[name][1] in (known[name][1], set()), name  # none: nothing of it has happened
    seen = {name for name in unnamed if real[name][1]}
    assert seen >= {
        "fedid_backend_calls",
        "fedid_backend_call_seconds",
        "fedid_backend_limit",
        "fedid_backend_breakers",
        "fedid_queue_depth",
        "fedid_queue_parked",
        "fedid_objects",
        "fedid_passes",
        "fedid_steps",
        "fedid_revocation_lag_seconds",
    }
