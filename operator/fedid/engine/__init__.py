"""The engine: what any level-triggered operator needs, and nothing that knows an identity.

The layer's rule: standard library only, nothing of fedid above it, no I/O. Keys are opaque and hashable. Whatever needs
the time takes a clock (monotonic seconds, by default the running loop's), whatever draws lots takes its random source,
and what must be logged or counted is told to an injected callback; so every behaviour here can be tested in virtual
time. Nothing is thread-safe: one asyncio loop does all the work.

- `WorkQueue` decides which key is worked on next, `Workers` run the passes, `Backoff` spaces the retries.
- `urgency` has the calls of a deletion overtake all others.
- `AdaptiveLimiter`, `Breaker` and `SingleFlight` stand before a backend: how many calls at a time, whether any at all,
  and never the same one twice at once.
- `Elector` has one of several replicas lead, and stops one that may not any more before it begins a side effect.
"""

from __future__ import annotations

from fedid.engine.asks import Priority
from fedid.engine.backoff import Backoff, backoff_ceiling_seconds
from fedid.engine.breaker import Breaker, BreakerOpenError, BreakerPolicy, BreakerState
from fedid.engine.clock import Clock, loop_time
from fedid.engine.lease import Elector, LeaseRecord, LeaseStore, LeaseTiming, NotLeadingError
from fedid.engine.limiter import AdaptiveLimiter, LimiterBounds
from fedid.engine.single_flight import SharedCallCancelledError, SingleFlight
from fedid.engine.urgency import is_urgent, urgency
from fedid.engine.work_queue import Item, QueueClosedError, WorkQueue
from fedid.engine.workers import Outcome, PassReport, Retry, RetryPolicy, StrayCancellationError, Workers

__all__ = [
    "AdaptiveLimiter",
    "Backoff",
    "Breaker",
    "BreakerOpenError",
    "BreakerPolicy",
    "BreakerState",
    "Clock",
    "Elector",
    "Item",
    "LeaseRecord",
    "LeaseStore",
    "LeaseTiming",
    "LimiterBounds",
    "NotLeadingError",
    "Outcome",
    "PassReport",
    "Priority",
    "QueueClosedError",
    "Retry",
    "RetryPolicy",
    "SharedCallCancelledError",
    "SingleFlight",
    "StrayCancellationError",
    "WorkQueue",
    "Workers",
    "backoff_ceiling_seconds",
    "is_urgent",
    "loop_time",
    "urgency",
]
