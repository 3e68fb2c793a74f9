"""The watchman of a Federation's realm: finds what was changed by hand in Keycloak, without asking for each object.

Two ways lead to an object. Where the realm records admin events and the operator may read them, one call per interval
tells what others changed, and whose that is. And a sweep reads everything in pages: regularly where there are no
events, rarely where there are, for those that were lost. Either only wakes objects; their own passes look, repair and
tell. The watchman has one key in the queue per Federation, and one pass makes a call or a few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fedid.domain.drift import AdminEvent, Part, changes_what_comes_along, touched
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import Body, Federation, meta_of
from fedid.engine import Outcome, Priority
from fedid.errors import BackendDeniedError
from fedid.reconcile.judging import judged_otherwise
from fedid.reconcile.orphans import Orphans
from fedid.reconcile.sweep import Sweep
from fedid.reconcile.world import Backends, World

__all__ = ["REALM_WATCH", "RealmWatch", "sweep_period", "watch_key"]

REALM_WATCH = "RealmWatch"
"""Kind of the keys of watchmen; the rest of such a key is that of the Federation."""
_RARELY = timedelta(hours=6)
"""Between sweeps where admin events tell what changed; what users change by themselves is no such event."""
_EVENTS_AT_ONCE = 500
_COMPARED_AT_ONCE = 1000
"""Objects that are held against events before the loop gets a turn."""
_OVERLAP = timedelta(seconds=30)
"""An event appears when its change is committed, with the instant at which it began; and nodes' clocks differ."""
_LONGEST_GAP_SECONDS = 600.0
"""After so long without a look at the events a sweep is as cheap as reading them, and misses nothing."""
_WITHIN = 0.8
"""The part of the period in which the pages of a sweep are spread."""
_REMEMBERED_SECONDS = 60.0
"""For how long an event is known after it was read; longer than the overlap."""


@dataclass(slots=True)
class _Watch:
    """What is remembered of one realm."""

    access_digest: str
    by_events: bool
    sweep_due: float
    """Monotonic seconds, as all instants here."""
    sweep: Sweep | None = None
    last_pieces: int = 0
    """How many the last complete sweep had; 0: there was none, or nothing to sweep."""
    role_names: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    """Paths by id, as the last sweep found them."""
    events_due: float = 0.0
    since: datetime | None = None
    """From when on events are read (Keycloak's clock)."""
    began: datetime | None = None
    """When the first page of the current reading was asked for (Keycloak's clock)."""
    first: int = 0
    read_at: float = 0.0
    known: dict[str, float] = field(default_factory=dict)
    """Id of an event to when it was read."""


class RealmWatch:
    """Watches the realms of all Federations."""

    def __init__(self, world: World, orphans: Orphans) -> None:
        """Work in this world; tell of what a sweep met and no object explains."""
        self._world = world
        self._orphans = orphans
        self._watches: dict[str, _Watch] = {}

    async def reconcile(self, body: Body) -> Outcome:
        """Do the piece of work that is due, and say when to come again.

        Raises:
            Error: Keycloak did not answer, or refused; the same piece is tried again.
        """
        name = meta_of(body).key.name
        backends = self._world.backends.get(name)
        if backends is None or backends.keycloak_ready is not True:
            return Outcome()  # the Federation's own pass starts it again
        watch = self._watch(name, backends)
        now = self._world.clock.monotonic()
        if watch.by_events and watch.events_due <= now:
            await self._read_events(watch, backends)
        elif watch.sweep_due <= now:
            await self._sweep(watch, backends)
        due = min(watch.sweep_due, watch.events_due) if watch.by_events else watch.sweep_due
        return Outcome(due, Priority.DRIFT)

    def forget(self, federation: str) -> None:
        """Drop what is kept of a Federation that is gone."""
        self._watches.pop(federation, None)

    def _watch(self, name: str, backends: Backends) -> _Watch:
        now, watch = self._world.clock.monotonic(), self._watches.get(name)
        if watch is None or watch.access_digest != backends.access_digest:
            watch = self._watches[name] = _Watch(backends.access_digest, backends.admin_events, now)
        if watch.by_events != backends.admin_events:
            # What happened between the two ways, neither would tell.
            watch.by_events, watch.since, watch.sweep_due = backends.admin_events, None, now
        if watch.sweep is None:  # the period may have been shortened
            watch.sweep_due = min(watch.sweep_due, now + sweep_period(backends).total_seconds())
        watch.events_due = min(watch.events_due, now + backends.federation.drift.events_interval.total_seconds())
        return watch

    async def _read_events(self, watch: _Watch, backends: Backends) -> None:
        provider, now = backends.identity_provider, self._world.clock.monotonic()
        if watch.since is None or now - watch.read_at > _LONGEST_GAP_SECONDS:
            watch.since, watch.began, watch.first = provider.server_now() - _OVERLAP, None, 0
            watch.sweep_due = min(watch.sweep_due, now)
        watch.began = watch.began or provider.server_now()
        try:
            page = await provider.admin_events(watch.since, watch.first, _EVENTS_AT_ONCE)
        except BackendDeniedError:
            backends.admin_events = False
            watch.events_due = now + backends.federation.drift.events_interval.total_seconds()
            return  # the Federation's next pass says so
        watch.read_at = now
        news = [event for event in page.items if event.event_id not in watch.known]
        changed = await self._objects_of(news, watch, backends.federation)
        if any(map(changes_what_comes_along, news)):
            provider.forget_brought_roles()
            identities = self._world.directory.identities_of(backends.federation.meta.key.name)
            changed |= await judged_otherwise(self._world, backends, identities)
        watch.known |= {event.event_id: now for event in page.items}
        self._world.meter.events(len(news))
        self._wake("events", changed)
        if page.seen == _EVENTS_AT_ONCE:
            watch.first += page.seen
            return  # at once: there is more
        watch.since, watch.began, watch.first = watch.began - _OVERLAP, None, 0
        watch.events_due = now + backends.federation.drift.events_interval.total_seconds()
        watch.known = {one: at for one, at in watch.known.items() if now - at <= _remembered(backends.federation)}

    async def _sweep(self, watch: _Watch, backends: Backends) -> None:
        now = self._world.clock.monotonic()
        if watch.sweep is None:
            begun = Sweep(self._world, backends, now)
            await begun.begin()
            watch.sweep = begun
        sweep, period = watch.sweep, sweep_period(backends).total_seconds()
        if not sweep.done:
            self._wake("sweep", await sweep.step())
        if not sweep.done:
            # The first one at once: what changed while no operator ran is waiting to be found. The others by what the
            # last one had to read; where there is more by now, the rest of it follows without a pause.
            left = max(watch.last_pieces - sweep.pieces_done, sweep.pieces_left)
            until = sweep.started + _WITHIN * period
            watch.sweep_due = now + (max(until - now, 0.0) / left if watch.last_pieces else 0.0)
            return
        self._world.meter.swept(self._world.clock.monotonic() - sweep.started)
        watch.last_pieces, watch.sweep = sweep.pieces_done, None
        watch.role_names, watch.groups = sweep.role_names, sweep.groups
        self._orphans.swept(backends.federation.meta.key.name, backends.federation.vault.path_prefix, sweep.strays)
        watch.sweep_due = max(sweep.started + period, now)

    async def _objects_of(self, events: Iterable[AdminEvent], watch: _Watch, federation: Federation) -> set[ObjectKey]:
        """Return whose these changes are: whose client or user was changed, and who uses a role or group that was."""
        parts = {part for event in events if (part := touched(event)) is not None}
        for kind, name in tuple(parts):
            if kind is Part.ROLE and name in watch.role_names:
                parts |= {(of, watch.role_names[name]) for of in (Part.REALM_ROLE, Part.CLIENT_ROLE)}
            elif kind is Part.GROUP and name in watch.groups:
                parts.add((Part.GROUP, watch.groups[name]))
        if not parts:
            return set()
        directory, found = self._world.directory, set()
        ids = {name for kind, name in parts if kind in {Part.CLIENT, Part.USER}}
        used = {(kind, name) for kind, name in parts if kind not in {Part.CLIENT, Part.USER}}
        for number, key in enumerate(directory.identities_of(federation.meta.key.name), 1):
            if number % _COMPARED_AT_ONCE == 0:
                await asyncio.sleep(0)
            body = directory.get(key)
            if body is None:
                continue
            status = body.get("status") or {}
            own: Mapping[str, str] = status.get("oidcClient") or {}
            made = {status.get("clientUuid"), status.get("serviceAccountSubject"), status.get("userId")}
            made |= {own.get("clientUuid"), own.get("publicClientUuid")}
            if not ids.isdisjoint(made) or (used and not used.isdisjoint(_uses(body))):
                found.add(key)
        return found

    def _wake(self, found_by: str, keys: Iterable[ObjectKey]) -> None:
        woken = sorted(keys, key=str)
        for key in woken:
            self._world.wake(key, Priority.DRIFT)
        if woken:
            self._world.meter.woken(found_by, len(woken))


def watch_key(federation: str) -> ObjectKey:
    """Return the key of a Federation's watchman."""
    return ObjectKey(REALM_WATCH, "", federation)


def sweep_period(backends: Backends) -> timedelta:
    """Return how often everything is read in pages."""
    federation = backends.federation
    usual = max(_RARELY, federation.resync_period) if backends.admin_events else federation.resync_period
    return federation.drift.sweep_period or usual


def _remembered(federation: Federation) -> float:
    return _REMEMBERED_SECONDS + federation.drift.events_interval.total_seconds()


def _uses(body: Body) -> set[tuple[Part, str]]:
    """Return the roles and groups that an object's manifest names."""
    spec = body.get("spec") or {}
    found = {(Part.REALM_ROLE, role) for role in spec.get("realmRoles") or ()}
    found |= {(Part.CLIENT_ROLE, role) for roles in (spec.get("clientRoles") or {}).values() for role in roles}
    # A group that was renamed or moved takes those below it along.
    steps = [path.split("/") for path in spec.get("groups") or ()]
    return found | {(Part.GROUP, "/".join(step[:depth])) for step in steps for depth in range(2, len(step) + 1)}
