"""The composition root: the one place that names concrete adapters and puts the operator together."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from fedid.adapters.answer import Call
from fedid.adapters.clock import SystemClock
from fedid.adapters.health_server import HealthServer
from fedid.adapters.keycloak import KeycloakRealm
from fedid.adapters.kubernetes import ClusterAccess, KubernetesCluster, load_cluster_access
from fedid.adapters.kubernetes.access import SERVICE_ACCOUNT
from fedid.adapters.kubernetes.failures import BACKEND as CLUSTER
from fedid.adapters.logs import BOT_SECRET_PREFIX
from fedid.adapters.metrics import Metrics
from fedid.adapters.node_keys import new_node_key, readable_node_key
from fedid.adapters.projected_token import token_subject
from fedid.adapters.sidecars import PodSidecars
from fedid.adapters.signing_keys import new_signing_key, readable_key
from fedid.adapters.superlink import SuperLinkRegistry
from fedid.adapters.superlink.refusals import BACKEND as SUPERLINK
from fedid.adapters.transport import Transport
from fedid.adapters.vault import AppRoleLogin, JwtLogin, LoginMethod, StaticToken, VaultSecretStore
from fedid.domain.access import (
    AppRole,
    JwtAuth,
    KeycloakAccess,
    KeycloakCredentials,
    KubernetesAuth,
    ServiceAccountTokenAuth,
    VaultAccess,
    VaultCredentials,
    VaultToken,
)
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import FEDERATION, KINDS, Body
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import SuperLinkAccess
from fedid.domain.tokens import AssertionFile
from fedid.engine import (
    AdaptiveLimiter,
    Breaker,
    BreakerState,
    LimiterBounds,
    Outcome,
    PassReport,
    Priority,
    RetryPolicy,
    Workers,
    WorkQueue,
)
from fedid.errors import Error
from fedid.ports import IdentityProvider, NodeRegistry, SecretStore
from fedid.reconcile.directory import Directory, key_of
from fedid.reconcile.dispatch import Dispatch, retry_for
from fedid.reconcile.world import World
from fedid.settings import Settings

__all__ = ["Operator", "build_operator"]

_log = logging.getLogger("fedid")

_CONNECTIONS = 32
"""To each backend; no more than this is in flight, so no request waits for a connection while its time runs."""
_audit_log = logging.getLogger("fedid.audit")


class ConcreteBackends:
    """Makes the adapters of a Federation, each with its own limiter and breaker."""

    def __init__(
        self, settings: Settings, on_call: Callable[[Call], None], on_turn: Callable[[str, BreakerState], None]
    ) -> None:
        """Make adapters for this process."""
        self._settings, self._on_call, self._on_turn = settings, on_call, on_turn

    def identity_provider(self, access: KeycloakAccess, credentials: KeycloakCredentials) -> IdentityProvider:
        """Return the adapter of a realm."""
        transport = self._transport("keycloak", access.url, access.ca_bundle)
        if isinstance(credentials, ServiceAccountTokenAuth):
            credentials = AssertionFile(self._settings.keycloak_token_path, credentials.client_id)
        return KeycloakRealm(transport, access.realm, access.issuer_url, credentials)

    def secret_store(self, access: VaultAccess, credentials: VaultCredentials) -> SecretStore:
        """Return the adapter of a mount."""
        transport = self._transport("vault", access.url, access.ca_bundle)
        login = self._login(credentials)
        return VaultSecretStore(transport, mount=access.mount, kv_version=access.kv_version, login=login)

    def node_registry(self, access: SuperLinkAccess) -> NodeRegistry:
        """Return the adapter of a SuperLink."""
        return SuperLinkRegistry(self._transport(SUPERLINK, access.url, access.ca_bundle))

    def _login(self, credentials: VaultCredentials) -> LoginMethod:
        token_file = self._settings.vault_token_path
        match credentials:
            case JwtAuth(mount=mount, role=role):
                return JwtLogin(role, token_file, mount)
            case KubernetesAuth(mount=mount, role=role):
                bindings = "audience, bound_service_account_names and bound_service_account_namespaces"
                return JwtLogin(role, token_file, mount, bindings)
            case AppRole(mount=mount, role_id=role_id, secret_id=secret_id):
                return AppRoleLogin(role_id, secret_id, mount)
            case VaultToken(token=token):
                return StaticToken(token)

    def _transport(self, backend: str, url: str, ca_bundle: str | None) -> Transport:
        breaker = Breaker(backend)
        breaker.on_change(lambda state: self._on_turn(backend, state))
        return Transport(
            backend,
            url,
            ca_bundle=ca_bundle,
            connections=_CONNECTIONS,
            limiter=AdaptiveLimiter(LimiterBounds(maximum=_CONNECTIONS)),
            breaker=breaker,
            on_call=self._on_call,
        )


@dataclass(slots=True)
class Operator:
    """Everything that runs in one process."""

    settings: Settings
    world: World
    queue: WorkQueue[ObjectKey]
    workers: Workers[ObjectKey]
    metrics: Metrics
    health: HealthServer
    access: ClusterAccess
    cluster: KubernetesCluster
    synced: bool = False
    cluster_troubled: bool = False
    """Whether the API server was away at the last request to it."""

    def news(self, key: ObjectKey, priority: Priority = Priority.CHANGE, *, look: bool = True) -> None:
        """Ask for a pass over an object."""
        self.world.wake(key, priority, look=look)

    async def prepare(self) -> None:
        """Learn the installation id and what exists; may be repeated until it succeeds.

        Raises:
            Error: The API server does not answer, or refuses.
        """
        self.world.installation_id = await self.cluster.installation_id()
        await self.relist()

    async def relist(self) -> None:
        """List everything, take over what is new, and ask for passes over it.

        Raises:
            Error: The API server does not answer, or refuses.
        """
        directory = self.world.directory
        for kind in ("Namespace", *KINDS):
            known = directory.keys(kind)
            listed = await self.cluster.listing(kind)
            changed = directory.replace_all(kind, [body for body in listed if self._is_watched(body)], known)
            for key in changed:
                if key.kind == "Namespace":
                    for identity in directory.identities_in(key.name):
                        self.news(identity, Priority.DRIFT)
                else:
                    priority = Priority.CHANGE if key.kind == FEDERATION else self._priority_of(key)
                    # What only came back with a listing is looked at if its pass finds a reason.
                    self.news(key, priority, look=priority is not Priority.DRIFT)
        self.synced = True

    def note_cluster_call(self, call: Call) -> None:
        """Remember whether the API server is away; once it answers again, wake all that wait for it.

        Else each of them would come back by itself, late after a long outage.
        """
        if self.cluster_troubled and not call.found_it_away:
            self.queue.wake(CLUSTER)
        self.cluster_troubled = call.found_it_away

    async def look_for_cluster(self) -> None:
        """Ask the API server something small if it was away at the last request.

        Raises:
            Error: It still is.
        """
        if self.cluster_troubled:
            await self.cluster.read(FEDERATION, None, "none")  # 404 is an answer too

    def _is_watched(self, body: Body) -> bool:
        namespace, watched = body["metadata"].get("namespace"), self.settings.watch_namespaces
        return namespace is None or not watched or namespace in watched

    def _priority_of(self, key: ObjectKey) -> Priority:
        body = self.world.directory.get(key)
        if body is not None and "deletionTimestamp" in body["metadata"]:
            return Priority.DELETION
        return Priority.DRIFT if body is not None and (body.get("status") or {}) else Priority.CHANGE

    def why_not_ready(self) -> str | None:
        """Return why the operator is not ready to work, None if it is."""
        if not self.synced:
            return "the first listing of the custom resources is not done"
        return None

    def exposition(self) -> bytes:
        """Return the metrics as of now."""
        for priority, depth in self.queue.depth().items():
            self.metrics.queue_depth.labels(priority.name.lower()).set(depth)
        self.metrics.queue_age_seconds.set(self.queue.oldest_age_seconds())
        self.metrics.objects.clear()
        for labels, count in self.world.directory.readiness().items():
            self.metrics.objects.labels(*labels).set(count)
        return self.metrics.exposition()

    async def aclose(self) -> None:
        """Let running passes finish, then close every connection."""
        await self.workers.stop(self.settings.stop_grace.total_seconds())
        for backends in self.world.backends.values():
            await asyncio.gather(
                backends.identity_provider.aclose(), backends.secret_store.aclose(), return_exceptions=True
            )
        await self.world.sidecars.aclose()
        for super_link in self.world.super_links.values():
            await super_link.aclose()
        await self.health.aclose()
        await self.cluster.aclose()
        await self.access.aclose()


async def build_operator(settings: Settings) -> Operator:
    """Put the operator together; connects to nothing yet."""
    metrics, clock, directory = Metrics(), SystemClock(), Directory()
    access = await load_cluster_access(namespace=settings.namespace)

    def count(call: Call) -> None:
        metrics.calls.labels(call.backend, call.method, str(call.status or call.failure)).inc()

    def count_of_cluster(call: Call) -> None:
        count(call)
        operator.note_cluster_call(call)

    cluster = KubernetesCluster(access, clock, on_call=count_of_cluster)
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

    def audit(step: str, **details: object) -> None:
        metrics.steps.labels(step).inc()
        _audit_log.info(step, extra={"details": {"step": step, **details}})

    world = World(
        cluster=cluster,
        clock=clock,
        factory=ConcreteBackends(settings, count, turned),
        directory=directory,
        wake=wake,
        installation_id="",
        fresh_secret=lambda: Sensitive(BOT_SECRET_PREFIX + secrets.token_urlsafe(32)),
        fresh_token=lambda: Sensitive(secrets.token_hex(32)),
        fresh_key=new_signing_key,
        read_key=readable_key,
        fresh_node_key=new_node_key,
        read_node_key=readable_node_key,
        own_subject=lambda: token_subject(
            (settings.keycloak_token_path, settings.vault_token_path, SERVICE_ACCOUNT / "token")
        ),
        audit=audit,
        meter=metrics,
        sidecars=PodSidecars(),
    )
    dispatch = Dispatch(world)

    async def process(key: ObjectKey, priority: Priority) -> Outcome:
        return await dispatch(key, priority)

    workers = Workers(queue, process, RetryPolicy(retry_for), _reporter(metrics), count=settings.workers)
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
            metrics=lambda: operator.exposition(),  # noqa: PLW0108
        ),
        access=access,
        cluster=cluster,
    )
    return operator


def _reporter(metrics: Metrics) -> Callable[[PassReport[ObjectKey]], None]:
    def report(done: PassReport[ObjectKey]) -> None:
        key, error = done.item.key, done.error
        result = "ok" if error is None else error.reason if isinstance(error, Error) else "bug"
        metrics.passes.labels(key.kind, result).inc()
        metrics.pass_seconds.labels(key.kind).observe(done.took_seconds)
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
