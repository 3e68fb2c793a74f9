"""Puts the operator together."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from fedid.adapters.answer import Call
from fedid.adapters.clock import SystemClock, awake_or_not
from fedid.adapters.health_server import HealthServer
from fedid.adapters.kubernetes import KubernetesCluster, load_cluster_access
from fedid.adapters.kubernetes.access import SERVICE_ACCOUNT
from fedid.adapters.kubernetes.lease import KubernetesLease
from fedid.adapters.logs import BOT_SECRET_PREFIX
from fedid.adapters.metrics import Metrics
from fedid.adapters.node_keys import new_node_key, readable_node_key
from fedid.adapters.projected_token import token_subject
from fedid.adapters.sidecars import PodSidecars
from fedid.adapters.signing_keys import new_signing_key, readable_key
from fedid.adapters.superlink.refusals import BACKEND as SUPERLINK
from fedid.app.backends import ConcreteBackends
from fedid.app.leading import fence_of, lease_timing, lease_trouble
from fedid.app.process import Operator
from fedid.domain.initial_password import make_password
from fedid.domain.naming import ObjectKey
from fedid.domain.sensitive import Sensitive
from fedid.engine import (
    BreakerState,
    Elector,
    Outcome,
    PassReport,
    Priority,
    RetryPolicy,
    Workers,
    WorkQueue,
)
from fedid.errors import Error
from fedid.reconcile.audit import DONE, Audit
from fedid.reconcile.directory import Directory, key_of
from fedid.reconcile.dispatch import Dispatch, retry_for
from fedid.reconcile.world import World
from fedid.settings import Settings

__all__ = ["build_operator"]

_log = logging.getLogger("fedid")
_RANDOM = secrets.SystemRandom()
_audit_log = logging.getLogger("fedid.audit")


async def build_operator(settings: Settings) -> Operator:
    """Put the operator together; connects to nothing yet."""
    metrics, clock, directory = Metrics(), SystemClock(), Directory()
    access = await load_cluster_access(namespace=settings.namespace)

    def count_of_cluster(call: Call) -> None:
        metrics.call(call)
        operator.note_cluster_call(call)

    lease = KubernetesLease(access, clock, on_call=metrics.call)
    elector = Elector(
        lease, settings.replica, lease_timing(settings), clocks=(awake_or_not, time.time), on_trouble=lease_trouble
    )
    fence = fence_of(elector)
    cluster = KubernetesCluster(access, clock, fence=fence, on_call=count_of_cluster)
    queue: WorkQueue[ObjectKey] = WorkQueue(clock=clock.monotonic)

    def wake(
        key: ObjectKey, priority: Priority = Priority.CHANGE, *, look: bool = True, at: float | None = None
    ) -> None:
        if look:
            world.freshness.expire(key)
        if at is None:
            queue.add(key, priority)
        else:
            queue.add_at(key, at, priority)

    def turned(backend: str, state: BreakerState) -> None:
        if state is BreakerState.CLOSED:
            queue.wake(backend)
        elif state is BreakerState.OPEN and backend != SUPERLINK:  # of which no Federation knows
            # A Federation that knows probes often, for all that wait; and its conditions say so.
            for body in directory.federations():
                queue.add(key_of(body), Priority.CHANGE)

    def write_audit(step: str, line: Mapping[str, Any]) -> None:
        if line["result"] == DONE:
            metrics.steps.labels(step).inc()
        _audit_log.info(step, extra={"details": dict(line)})

    factory = ConcreteBackends(settings, fence, metrics.call, turned)
    world = World(
        cluster=cluster,
        clock=clock,
        factory=factory,
        directory=directory,
        wake=wake,
        installation_id="",
        fresh_secret=lambda: Sensitive(BOT_SECRET_PREFIX + secrets.token_urlsafe(32)),
        fresh_token=lambda: Sensitive(secrets.token_hex(32)),
        fresh_password=lambda policy, username, email: make_password(
            policy, username, email, choose=_RANDOM.choice, shuffle=_RANDOM.shuffle
        ),
        fresh_key=new_signing_key,
        read_key=readable_key,
        fresh_node_key=new_node_key,
        read_node_key=readable_node_key,
        own_subject=lambda: token_subject(
            (settings.keycloak_token_path, settings.vault_token_path, SERVICE_ACCOUNT / "token")
        ),
        audit=Audit(write_audit, directory),
        meter=metrics,
        sidecars=PodSidecars(),
        force_release=settings.force_release,
    )
    dispatch = Dispatch(world)

    async def process(key: ObjectKey, priority: Priority) -> Outcome:
        return await dispatch(key, priority)

    workers = Workers(
        queue,
        process,
        RetryPolicy(retry_for),
        _reporter(metrics),
        count=settings.workers,
        reserved=settings.workers_for_deletions,
    )
    operator = Operator(
        settings=settings,
        world=world,
        queue=queue,
        workers=workers,
        metrics=metrics,
        health=HealthServer(
            settings.health_host,
            settings.health_port,
            ready=lambda: operator.why_not_ready(),  # noqa: PLW0108 - bound only once the operator exists
            metrics=lambda accept: operator.exposition(accept),  # noqa: PLW0108
        ),
        access=access,
        cluster=cluster,
        lease=lease,
        elector=elector,
        backend_loads=factory.loads,
    )
    return operator


def _reporter(metrics: Metrics) -> Callable[[PassReport[ObjectKey]], None]:
    def report(done: PassReport[ObjectKey]) -> None:
        key, error = done.item.key, done.error
        result = "ok" if error is None else error.reason if isinstance(error, Error) else "bug"
        metrics.passes.labels(key.kind, result).inc()
        metrics.pass_seconds.labels(key.kind).observe(done.took_seconds)
        if done.retry_after_seconds is not None:
            metrics.retry_seconds.labels(key.kind).observe(done.retry_after_seconds)
        details = {"key": str(key), "seconds": round(done.took_seconds, 4)}
        if error is None:
            _log.debug("pass done", extra={"details": details})
        elif done.retry is not None and done.retry.is_bug:
            metrics.bugs.inc()
            _log.error("pass ended in an unexpected exception", extra={"details": details}, exc_info=error)
        else:
            details |= {"reason": result, "error": str(error)}
            _log.info("pass waits", extra={"details": details})

    return report
