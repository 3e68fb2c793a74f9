"""Prometheus metrics; label values are closed sets, and names of tenants' things only where that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from fedid.adapters.answer import Call
from fedid.adapters.metrics_by_name import WithNames
from fedid.domain.exposure import CredentialKind, WorstCredentials, WorstRevocations
from fedid.domain.resources import Body
from fedid.engine import BreakerState

__all__ = ["BackendLoad", "Metrics", "QueueLoad"]

_BACKENDS = ("keycloak", "vault", "kubernetes", "openfga", "superlink")
_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
_PASS_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
_RETRY_BUCKETS = (0.5, 1, 2.5, 5, 15, 30, 60, 300)
_SWEEP_BUCKETS = (1, 5, 15, 60, 300, 600, 1800, 3600, 21600)
_LAG_BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21600)


@dataclass(slots=True)
class BackendLoad:
    """What is on the way to one backend now, over all servers of the kind that Federations name."""

    limit: int = 0
    """Requests that may be on the way at a time."""
    in_flight: int = 0
    waiting: int = 0
    """Requests that wait for a place."""
    breakers: dict[BreakerState, int] = field(default_factory=lambda: dict.fromkeys(BreakerState, 0))
    """Servers by the state of their breaker."""


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """What waits for a worker, or for its instant; priorities are in lower case."""

    depth: Mapping[str, int]
    oldest_age_seconds: Mapping[str, float]
    active: int
    scheduled: int
    failing: int
    parked: Mapping[str, int]
    """By backend that is waited for."""


class Metrics:
    """The metrics of one operator process.

    What happens is counted as it does; what is true now is `show`n right before somebody asks.
    """

    def __init__(self) -> None:
        """Make them in a registry of their own."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU, memory and open files, under their usual names
        self._orphans_found: dict[str, int] = {}
        self._count_work()
        self._count_search()
        self._gauge_load()
        self._gauge_credentials()

    def _count_work(self) -> None:
        self._calls = self._counter(
            "fedid_backend_calls",
            "Requests by backend, method and status (or why there was no answer)",
            "backend",
            "method",
            "status",
        )
        self._call_seconds = self._histogram(
            "fedid_backend_call_seconds",
            "How long requests took, from having a place to the last byte",
            _CALL_BUCKETS,
            "backend",
        )
        self._of_calls: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        """By backend, method and status: what a request is counted in."""
        self.passes = self._counter("fedid_passes", "Passes by kind and result (ok, or the reason)", "kind", "result")
        self.pass_seconds = self._histogram("fedid_pass_seconds", "How long a pass took", _PASS_BUCKETS, "kind")
        self.retry_seconds = self._histogram(
            "fedid_retry_delay_seconds", "After how long a pass that failed is tried again", _RETRY_BUCKETS, "kind"
        )
        self.steps = self._counter("fedid_steps", "Privileged side effects by step", "step")
        self.bugs = self._counter("fedid_bugs", "Passes that ended in an unexpected exception")
        self._renewals = self._histogram(
            "fedid_rotation_lag_seconds",
            "How long after it was due a credential was replaced in Vault, and in each Secret that mounts it",
            _LAG_BUCKETS,
            "credential",
            "place",
        )
        self._revocations = self._histogram(
            "fedid_revocation_lag_seconds",
            "How long after the end of an identity was asked for it was proven, by kind of object",
            _LAG_BUCKETS,
            "kind",
        )

    def _count_search(self) -> None:
        self._events = self._counter("fedid_admin_events_read", "Admin events of others that were read")
        self._pages = self._counter("fedid_sweep_pages", "Pages that sweeps have read")
        self._compared = self._counter("fedid_sweep_objects", "Clients, users and memberships of ours on those pages")
        self._sweep_seconds = self._histogram("fedid_sweep_seconds", "How long a complete sweep took", _SWEEP_BUCKETS)
        self._woken = self._counter(
            "fedid_drift_woken",
            "Objects looked at because an event or a sweep said that they were changed",
            "found_by",
        )

    def _gauge_load(self) -> None:
        self._leader = self._gauge("fedid_leader", "1 if this replica leads and works, 0 if it stands by")
        self._depth = self._gauge("fedid_queue_depth", "Keys ready to be worked on, by priority", "priority")
        self._age = self._gauge(
            "fedid_queue_oldest_age_seconds", "How long the oldest ready key has waited, by priority", "priority"
        )
        self._active = self._gauge("fedid_queue_active", "Keys that are being worked on")
        self._scheduled = self._gauge("fedid_queue_scheduled", "Keys that wait for an instant, retries included")
        self._failing = self._gauge("fedid_queue_failing", "Keys whose last pass failed")
        self._parked = self._gauge(
            "fedid_queue_parked", "Keys whose last pass found a backend away, and that wait for it", "backend"
        )
        self._limit = self._gauge(
            "fedid_backend_limit", "Requests that may be on the way at a time; adapts to the backend", "backend"
        )
        self._in_flight = self._gauge("fedid_backend_in_flight", "Requests that are on the way", "backend")
        self._waiting = self._gauge("fedid_backend_waiting", "Requests that wait for a place", "backend")
        self._breakers = self._gauge(
            "fedid_backend_breakers", "Servers by the state of their circuit breaker", "backend", "state"
        )

    def _gauge_credentials(self) -> None:
        self._objects = self._gauge(
            "fedid_objects",
            "Custom resources by kind, status of their condition Ready, and its reason",
            "kind",
            "ready",
            "reason",
        )
        self._credentials = self._gauge("fedid_credentials", "Credentials in use, by kind", "credential")
        self._oldest = self._gauge("fedid_credential_oldest_age_seconds", "Age of the oldest credential", "credential")
        self._soonest = self._gauge(
            "fedid_credential_soonest_expiry_seconds",
            "Time until the first credential expires; below 0 if it has",
            "credential",
        )
        self._overdue = self._gauge(
            "fedid_credential_overdue_seconds",
            "For how long the credential that is most overdue should have been replaced",
            "credential",
        )
        self._unproven = self._gauge(
            "fedid_revocations_unproven", "Objects whose end was asked for and is not proven yet", "kind"
        )
        self._unproven_age = self._gauge(
            "fedid_revocation_unproven_oldest_age_seconds", "For how long the first of them has waited", "kind"
        )
        self._orphans = self._gauge(
            "fedid_orphans", "What carries the owner mark and has no object, as the last search found", "backend"
        )

    def call(self, call: Call) -> None:
        """Count one request."""
        answered = (call.backend, call.method, str(call.status or call.failure))
        count, seconds = self._of_calls.get(answered) or self._remember(answered)
        count.inc()
        seconds.observe(call.seconds)

    def _remember(self, answered: tuple[str, str, str]) -> tuple[Counter, Histogram]:
        """Keep the two series of such a request: finding one by its labels costs more than all else of a count."""
        found = self._calls.labels(*answered), self._call_seconds.labels(answered[0])
        self._of_calls[answered] = found
        return found

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

    def orphans(self, backend: str, count: int) -> None:
        """Remember how many orphans the last search found."""
        self._orphans_found[backend] = count

    def renewed(self, credential: str, place: str, seconds: float) -> None:
        """Count a credential that was replaced when it was due."""
        self._renewals.labels(credential, place).observe(seconds)

    def revoked(self, kind: str, seconds: float) -> None:
        """Count an object whose end is proven."""
        self._revocations.labels(kind).observe(seconds)

    def show_load(self, queue: QueueLoad | None, backends: Mapping[str, BackendLoad]) -> None:
        """Show what waits and what is on the way.

        Args:
            queue: None: this replica does not lead, so nothing of its queue is worked on.
            backends: Those that were talked to.
        """
        self._leader.set(queue is not None)
        for gauge in (
            self._depth,
            self._age,
            self._parked,
            self._limit,
            self._in_flight,
            self._waiting,
            self._breakers,
        ):
            gauge.clear()
        queue = queue or QueueLoad({}, {}, 0, 0, 0, {})
        for priority, depth in queue.depth.items():
            self._depth.labels(priority).set(depth)
            self._age.labels(priority).set(queue.oldest_age_seconds[priority])
        self._active.set(queue.active)
        self._scheduled.set(queue.scheduled)
        self._failing.set(queue.failing)
        for backend in _BACKENDS:
            self._parked.labels(backend).set(queue.parked.get(backend, 0))
        for backend, load in backends.items():
            self._limit.labels(backend).set(load.limit)
            self._in_flight.labels(backend).set(load.in_flight)
            self._waiting.labels(backend).set(load.waiting)
            for state, count in load.breakers.items():
                self._breakers.labels(backend, state).set(count)

    def show_objects(
        self,
        readiness: Mapping[tuple[str, str, str], int],
        credentials: Mapping[CredentialKind, WorstCredentials],
        revocations: Mapping[str, WorstRevocations],
        now: datetime,
    ) -> None:
        """Show what the statuses tell, and what was told of orphans.

        Args:
            readiness: Objects by kind, status of `Ready` and its reason.
            credentials: By kind of credential.
            revocations: By kind of object.
            now: Aware UTC.
        """
        self.hide_objects()
        seconds = now.timestamp()
        for labels, count in readiness.items():
            self._objects.labels(*labels).set(count)
        for kind, worst in credentials.items():
            self._credentials.labels(kind).set(worst.count)
            if worst.issued is not None:
                self._oldest.labels(kind).set(seconds - worst.issued)
            if worst.expires is not None:
                self._soonest.labels(kind).set(worst.expires - seconds)
            if worst.due is not None:
                self._overdue.labels(kind).set(max(0.0, seconds - worst.due))
        for ended, unproven in revocations.items():
            self._unproven.labels(ended).set(unproven.count)
            self._unproven_age.labels(ended).set(seconds - unproven.since)
        for backend, count in self._orphans_found.items():
            self._orphans.labels(backend).set(count)

    def hide_objects(self) -> None:
        """Tell nothing of objects: another replica leads and does, and sums over replicas were wrong."""
        for gauge in (
            self._objects,
            self._credentials,
            self._oldest,
            self._soonest,
            self._overdue,
            self._unproven,
            self._unproven_age,
            self._orphans,
        ):
            gauge.clear()

    def exposition(
        self, accept: str = "", named: Iterable[Body] = (), now: datetime | None = None
    ) -> tuple[bytes, str]:
        """Return everything, and its content type; may run in a thread of its own.

        Args:
            accept: What the client takes: OpenMetrics, or Prometheus' text format, which is also for who says nothing.
            named: Objects to be shown one by one, with their names, if `now` is given.
            now: Aware UTC.

        Source: github.com/prometheus/OpenMetrics, specification; RFC 9110 section 12.5.1.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self.registry if now is None else WithNames(self.registry, named, now)), content_type

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, about, labels, buckets=buckets, registry=self.registry)
