"""Finds what has our owner mark and no object, tells it, and removes it where the Federation says so.

Clients and users are met by the sweep of the realm, which reads them anyway; entries in Vault by a walk over the
folders of the prefix that looks into those whose names belong to no object. Whatever is met is held against the API
server, and then against the backend once more: an object that goes takes its things along before it goes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fedid.domain.conditions import instant_in
from fedid.domain.naming import ObjectKey, owner_mark
from fedid.domain.orphans import LISTED, Orphan, OrphanKind, due, orphan_fields
from fedid.domain.resources import BOT_CLIENT, FEDERATION_USER, POD_IDENTITY, Body, meta_of
from fedid.domain.token_entries import delivered_to
from fedid.engine import Outcome, Priority
from fedid.errors import BackendUnavailableError
from fedid.reconcile.gate import backends_of
from fedid.reconcile.status import newest_of, write_status
from fedid.reconcile.world import Backends, World

__all__ = ["ORPHAN_WATCH", "Orphans", "orphan_key"]

ORPHAN_WATCH: Final = "OrphanWatch"
"""Kind of the keys; the rest of such a key is that of the Federation."""
_FOLDERS: Final = {"bots": BOT_CLIENT, "users": FEDERATION_USER, "pods": POD_IDENTITY}
_AT_ONCE: Final = 20
"""Folders that one pass lists before others have their turn."""
_SHORTEST_SECONDS: Final = 60.0
"""Between two attempts at what is due."""


@dataclass(slots=True)
class _Search:
    """What is known of one Federation since its last sweep."""

    strays: tuple[Orphan, ...]
    """Met in Keycloak."""
    folders: deque[str] = field(default_factory=deque)
    """Yet to be listed in Vault."""
    entries: list[Orphan] = field(default_factory=list)
    """Met in Vault."""


class Orphans:
    """The orphans of all Federations."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._searches: dict[str, _Search] = {}
        self._counts: dict[str, Counter[str]] = {}

    def swept(self, federation: str, prefix: str, strays: Iterable[Orphan]) -> None:
        """Take over what a complete sweep of the realm has met, and begin to walk through Vault."""
        self._searches[federation] = _Search(tuple(strays), deque([prefix]))
        self._world.wake(orphan_key(federation), Priority.DRIFT, look=False)

    def forget(self, federation: str) -> None:
        """Drop what is kept of a Federation that is gone."""
        self._searches.pop(federation, None)
        self._counts.pop(federation, None)

    async def reconcile(self, body: Body) -> Outcome:
        """Go on with the walk; at its end tell what was found, and remove what is due.

        Raises:
            Error: A backend or the API server does not answer, or refuses; the same piece is tried again.
        """
        name, clock = meta_of(body).key.name, self._world.clock
        search, backends = self._searches.get(name), backends_of(self._world, name)
        if search is None or backends is None or meta_of(body).deleting:
            return Outcome()  # the next sweep begins it again
        for _ in range(_AT_ONCE):
            if not search.folders:
                break
            await self._list(search.folders[0], backends, search)
            search.folders.popleft()
        if search.folders:
            return Outcome(clock.monotonic(), Priority.DRIFT)
        alive = self._alive()
        met = [one for one in (*search.strays, *search.entries) if one.uid not in alive]
        found = [one for one in met if await self._is_orphan(one, backends)]
        body = newest_of(self._world, body)
        before, settings = (body.get("status") or {}).get("orphans"), backends.federation.orphans
        ripe = due(found, before, clock.now()) if settings.remove else []
        for one in ripe:
            await self._remove(one, body, backends)
        left = [one for one in found if one not in ripe]
        fields = orphan_fields(left, before, settings, clock.now())
        await self._tell_new(body, left, before)
        written = await write_status(self._world, newest_of(self._world, body), None, {"orphans": fields})
        self._count(name, left)
        return self._again(written)

    async def _list(self, folder: str, backends: Backends, search: _Search) -> None:
        """Look at one folder: go on below it, and read what lies there if no object has that name."""
        prefix, store = backends.federation.vault.path_prefix, backends.secret_store
        parts = folder.removeprefix(prefix).strip("/").split("/") if folder != prefix else []
        for below in await store.folders(folder):
            path = [*parts, below]
            if _leads_to_orphans(path, self._world.directory.get) and not below.startswith("."):
                search.folders.append(f"{folder}/{below}")
        if len(parts) <= len(("namespace", "bots")):
            return
        of = ObjectKey(_FOLDERS[parts[1]], parts[0], parts[2])
        for entry_name in await store.names(folder):
            path_of = f"{folder}/{entry_name}"
            entry = await store.read(path_of, owner_mark(self._world.installation_id, ""))
            if entry is not None and self._is_ours(entry.owner):
                search.entries.append(Orphan(OrphanKind.ENTRY, path_of, path_of, entry.owner or "", str(of)))

    def _alive(self) -> set[str]:
        """Return the uids of all objects, whichever Federation they name."""
        directory = self._world.directory
        bodies = (directory.get(key) for kind in _FOLDERS.values() for key in directory.keys(kind))
        return {body["metadata"]["uid"] for body in bodies if body is not None}

    def _is_ours(self, owner: str | None) -> bool:
        return (owner or "").startswith(owner_mark(self._world.installation_id, ""))

    async def _is_orphan(self, one: Orphan, backends: Backends) -> bool:
        """Tell whether the API server knows no object of that uid, and then whether it is there all the same."""
        if one.object is not None:
            found = await self._world.cluster.read(one.object.kind, one.object.namespace, one.object.name)
            if found is not None and meta_of(found).uid == one.uid:
                return False
        return await self._owner(one, backends) == one.owner

    async def _owner(self, one: Orphan, backends: Backends) -> str | None:
        provider, store = backends.identity_provider, backends.secret_store
        match one.kind:
            case OrphanKind.CLIENT:
                client = await provider.read_client(one.id)
                return client.owner if client is not None else None
            case OrphanKind.USER:
                user = await provider.read_user(one.id)
                return user.owner if user is not None else None
            case OrphanKind.ENTRY:
                entry = await store.read(one.id, one.owner)
                return entry.owner if entry is not None else None

    async def _remove(self, one: Orphan, body: Body, backends: Backends) -> None:
        """End it as its object's own teardown would have, see that it is gone, and tell so."""
        ways: dict[OrphanKind, Callable[[Orphan, Backends], Awaitable[None]]] = {
            OrphanKind.CLIENT: self._remove_client,
            OrphanKind.USER: self._remove_user,
            OrphanKind.ENTRY: self._remove_entry,
        }
        key = meta_of(body).key
        with self._world.audit.attempt("RemoveOrphan", key=key):
            await ways[one.kind](one, backends)
        if await self._owner(one, backends) == one.owner:
            message = f"{one} is still there after it was removed; removing it again"
            raise BackendUnavailableError(message, backend=one.kind.backend)
        self._world.audit("RemoveOrphan", key=key, federation=key.name, what=str(one), owner=one.owner)
        message = f"Removed {one}: it was made for {one.object_name}, which is gone"
        await self._world.cluster.emit(body, reason="OrphanRemoved", message=message, warning=True, action="Remove")

    async def _remove_client(self, one: Orphan, backends: Backends) -> None:
        await backends.identity_provider.delete_client(one.id)
        # A later client of this id must not make tokens of this one good again.
        self._world.note_deletion(one.name, backends.identity_provider)

    async def _remove_user(self, one: Orphan, backends: Backends) -> None:
        await backends.identity_provider.end_sessions(one.id)
        await backends.identity_provider.delete_user(one.id)

    async def _remove_entry(self, one: Orphan, backends: Backends) -> None:
        """Remove the copy that the entry tells of before it: nothing else knows where that lies."""
        store = backends.secret_store
        entry = await store.read(one.id, one.owner)
        copy = delivered_to(entry.data) if entry is not None else None
        if copy is not None:
            await store.at(copy.mount).destroy(copy.path, one.owner)
        await store.destroy(one.id, one.owner)

    async def _tell_new(self, body: Body, found: list[Orphan], before: Mapping[str, Any] | None) -> None:
        """Tell an Event if there are more than were told."""
        if len(found) <= (before or {}).get("count", 0):
            return
        some = ", ".join(f"{one} of {one.object_name}" for one in found[:LISTED])
        message = f"{len(found)} things carry a mark of this installation and no object's: {some}"
        await self._world.cluster.emit(
            body, reason="OrphansFound", message=message[:1000], warning=True, action="Sweep"
        )

    def _count(self, federation: str, found: list[Orphan]) -> None:
        self._counts[federation] = Counter(one.kind.backend for one in found)
        for backend in ("keycloak", "vault"):
            self._world.meter.orphans(backend, sum(counts[backend] for counts in self._counts.values()))

    def _again(self, written: Body | None) -> Outcome:
        """Come again when the first removal is due; the next sweep brings news."""
        told = ((written or {}).get("status") or {}).get("orphans") or {}
        instants = [at for one in told.get("first") or () if (at := instant_in(one.get("removeAt"))) is not None]
        if not instants:
            return Outcome()
        clock = self._world.clock
        wait = max((min(instants) - clock.now()).total_seconds(), _SHORTEST_SECONDS)
        return Outcome(clock.monotonic() + wait, Priority.DRIFT)


def orphan_key(federation: str) -> ObjectKey:
    """Return the key under which the orphans of a Federation are looked for."""
    return ObjectKey(ORPHAN_WATCH, "", federation)


def _leads_to_orphans(path: list[str], known: Callable[[ObjectKey], Body | None]) -> bool:
    """Tell whether what lies below `<namespace>/<folder>/<name>/…`, or a part of that, may belong to no object."""
    if len(path) == 1:
        return True
    if path[1] not in _FOLDERS:
        return False
    return len(path) == len(("namespace", "bots")) or known(ObjectKey(_FOLDERS[path[1]], path[0], path[2])) is None
