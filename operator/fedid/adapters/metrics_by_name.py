"""Metrics of single identities, with their names as labels: only where somebody switched them on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fedid.domain.exposure import credentials_in_use, unproven_since
from fedid.domain.resources import Body

__all__ = ["WithNames"]


class WithNames(Collector):
    """What the registry has, and what is told of objects by name."""

    def __init__(self, registry: CollectorRegistry, named: Iterable[Body], now: datetime) -> None:
        """Look at these objects at that instant (aware UTC)."""
        self._registry, self._named, self._now = registry, named, now

    def collect(self) -> Iterator[Metric]:
        """Return everything."""
        yield from self._registry.collect()
        yield from _by_name(self._named, self._now)


def _by_name(bodies: Iterable[Body], now: datetime) -> Iterator[Metric]:
    """Return how long the credentials of each object last, and how long each end has been waited for.

    The labels are not called `namespace` and `name`: Prometheus puts the namespace of the pod that it asked there.
    """
    whose = ["kind", "identity_namespace", "identity_name"]
    expiry = GaugeMetricFamily(
        "fedid_identity_expiry_seconds",
        "Time until the first credential of an identity expires; below 0 if it has",
        labels=[*whose, "credential"],
    )
    unproven = GaugeMetricFamily(
        "fedid_identity_revocation_unproven_age_seconds",
        "For how long the proven end of an identity has been waited for",
        labels=whose,
    )
    for body in bodies:
        key = _key_of(body)
        soonest: dict[str, float] = {}
        for life in credentials_in_use(body):
            if life.expires_at is not None:
                left = (life.expires_at - now).total_seconds()
                soonest[life.kind] = min(left, soonest.get(life.kind, left))
        for kind, left in soonest.items():
            expiry.add_metric([*key, kind], left)
        if (since := unproven_since(body)) is not None:
            unproven.add_metric(list(key), (now - since).total_seconds())
    yield expiry
    yield unproven


def _key_of(body: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = body["metadata"]
    return body["kind"], metadata.get("namespace") or "", metadata["name"]
