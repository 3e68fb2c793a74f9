"""Everything that runs in one process, put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fedid.adapters.answer import Call
from fedid.adapters.health_server import HealthServer
from fedid.adapters.kubernetes import ClusterAccess, KubernetesCluster
from fedid.adapters.kubernetes.failures import BACKEND as CLUSTER
from fedid.adapters.kubernetes.lease import KubernetesLease
from fedid.adapters.metrics import BackendLoad, Metrics, QueueLoad
from fedid.domain.approval import identity_in
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import FEDERATION, IDENTITY_APPROVAL, WATCHED, Body
from fedid.engine import (
    Elector,
    Priority,
    Workers,
    WorkQueue,
)
from fedid.reconcile.receipts import prune_receipts
from fedid.reconcile.world import OpenFga, World
from fedid.settings import Settings

__all__ = ["Operator"]

_log = logging.getLogger("fedid")


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
    lease: KubernetesLease
    elector: Elector
    synced: bool = False
    cluster_troubled: bool = False
    """Whether the API server was away at the last request to it."""
    backend_loads: Callable[[], Mapping[str, BackendLoad]] = dict
    scraping: asyncio.Lock = field(default_factory=asyncio.Lock)

    def news(self, key: ObjectKey, priority: Priority = Priority.CHANGE, *, look: bool = True) -> None:
        """Ask for a pass over an object."""
        self.world.wake(key, priority, look=look)

    def approval_news(self, approval: Body) -> None:
        """Ask for a pass over the identity that an approval names, which was made, changed or deleted."""
        identity, uid = identity_in(approval)
        body = self.world.directory.get(identity)
        if body is not None and body["metadata"]["uid"] == uid:
            self.news(identity)

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
        for kind in ("Namespace", *WATCHED):
            known = directory.keys(kind)
            listed = await self.cluster.listing(kind)
            former = {key: body for key in known if (body := directory.get(key)) is not None}
            changed = directory.replace_all(kind, [body for body in listed if self._is_watched(body)], known)
            for key in changed:
                if key.kind == "Namespace":
                    for identity in directory.identities_in(key.name):
                        self.news(identity, Priority.DRIFT)
                elif key.kind == IDENTITY_APPROVAL:
                    self.approval_news(directory.get(key) or former[key])
                else:
                    priority = Priority.CHANGE if key.kind == FEDERATION else self._priority_of(key)
                    # What only came back with a listing is looked at if its pass finds a reason.
                    self.news(key, priority, look=priority is not Priority.DRIFT)
        self.synced = True

    async def prune_receipts(self) -> None:
        """Delete the receipts that are too old or too many.

        Raises:
            Error: The API server is away, or refuses.
        """
        pruned = await prune_receipts(self.cluster, self.world.clock, self.settings.receipts)
        if pruned:
            _log.info("receipts beyond their number or age were deleted", extra={"details": {"count": pruned}})

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

    async def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics as of now and their content type, one scrape after the other.

        They become text in a thread: with names, those of ten thousand identities take most of a second.
        """
        leads, now = self.elector.leads, self.world.clock.now()
        async with self.scraping:
            self._show(leads, now)
            if not (leads and self.settings.identity_metrics):
                return await asyncio.to_thread(self.metrics.exposition, accept)
            return await asyncio.to_thread(self.metrics.exposition, accept, self.world.directory.bodies(), now)

    def _show(self, leads: bool, now: datetime) -> None:  # noqa: FBT001 - what the whole of it depends on
        """Bring what is true now into the metrics; of work and objects only the leader tells, or sums were wrong."""
        if not leads:
            self.metrics.show_load(None, self.backend_loads())
            self.metrics.hide_objects()
            return
        queue, directory = self.queue, self.world.directory
        load = QueueLoad(
            depth={priority.name.lower(): depth for priority, depth in queue.depth().items()},
            oldest_age_seconds={priority.name.lower(): age for priority, age in queue.oldest_ages_seconds().items()},
            active=queue.active(),
            scheduled=queue.scheduled(),
            failing=len(queue.failures),
            parked=queue.parking.counts(),
        )
        self.metrics.show_load(load, self.backend_loads())
        exposure = directory.exposure
        self.metrics.show_objects(directory.readiness(), exposure.credentials(), exposure.revocations(), now)

    async def aclose(self) -> None:
        """Let running passes finish, then close every connection."""
        await self.workers.stop(self.settings.stop_grace.total_seconds())
        for backends in self.world.backends.values():
            await asyncio.gather(
                backends.identity_provider.aclose(), backends.secret_store.aclose(), return_exceptions=True
            )
        for openfga in self.world.openfgas.values():
            if isinstance(openfga, OpenFga):
                await openfga.store.aclose()
        await self.world.sidecars.aclose()
        for super_link in self.world.super_links.values():
            await super_link.aclose()
        await self.health.aclose()
        await self.lease.aclose()
        await self.cluster.aclose()
        await self.access.aclose()
