"""Prometheus metrics; label values are closed sets, never names of tenants' things."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

__all__ = ["Metrics"]

_PASS_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
_SWEEP_BUCKETS = (1, 5, 15, 60, 300, 600, 1800, 3600, 21600)


class Metrics:
    """The metrics of one operator process."""

    def __init__(self) -> None:
        """Make them in a registry of their own."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU, memory and open files, under their usual names
        self.calls = Counter(
            "fedid_backend_calls",
            "Requests by backend, method and status",
            ["backend", "method", "status"],
            registry=self.registry,
        )
        self.passes = Counter(
            "fedid_passes", "Passes by kind and result (ok, or the reason)", ["kind", "result"], registry=self.registry
        )
        self.pass_seconds = Histogram(
            "fedid_pass_seconds", "How long a pass took", ["kind"], buckets=_PASS_BUCKETS, registry=self.registry
        )
        self.steps = Counter("fedid_steps", "Privileged side effects by step", ["step"], registry=self.registry)
        self.bugs = Counter("fedid_bugs", "Passes that ended in an unexpected exception", registry=self.registry)
        self.queue_depth = Gauge(
            "fedid_queue_depth", "Keys ready to be worked on, by priority", ["priority"], registry=self.registry
        )
        self.queue_age_seconds = Gauge(
            "fedid_queue_oldest_age_seconds", "How long the oldest ready key has waited", registry=self.registry
        )
        self.objects = Gauge(
            "fedid_objects",
            "Custom resources by kind, status of their condition Ready, and its reason",
            ["kind", "ready", "reason"],
            registry=self.registry,
        )

        self._events = Counter(
            "fedid_admin_events_read", "Admin events of others that were read", registry=self.registry
        )
        self._pages = Counter("fedid_sweep_pages", "Pages that sweeps have read", registry=self.registry)
        self._compared = Counter(
            "fedid_sweep_objects", "Clients, users and memberships of ours on those pages", registry=self.registry
        )
        self._sweep_seconds = Histogram(
            "fedid_sweep_seconds", "How long a complete sweep took", buckets=_SWEEP_BUCKETS, registry=self.registry
        )
        self._woken = Counter(
            "fedid_drift_woken",
            "Objects looked at because an event or a sweep said that they were changed",
            ["found_by"],
            registry=self.registry,
        )

    def events(self, count: int) -> None:
        """Count admin events of others that were read."""
        self._events.inc(count)

    def page(self, objects: int) -> None:
        """Count one page of a sweep and the objects on it."""
        self._pages.inc()
        self._compared.inc(objects)

    def swept(self, seconds: float) -> None:
        """Count a sweep that is complete, and how long it took."""
        self._sweep_seconds.observe(seconds)

    def woken(self, found_by: str, count: int) -> None:
        """Count objects that are looked at because of `events` or of a `sweep`."""
        self._woken.labels(found_by).inc(count)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
