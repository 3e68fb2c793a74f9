"""The OpenFGA of a Federation: its adapter is made, looked at, and whoever waits for it is woken.

It has a key of its own in the queue (`OpenFgaWatch/…`): an OpenFGA that is away holds up no look at Keycloak and Vault,
and nobody but the servers whose members it lets in.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from fedid.domain.naming import ObjectKey
from fedid.domain.openfga import parse_openfga_access, problem
from fedid.domain.resources import Body, meta_of
from fedid.engine import Outcome, Priority
from fedid.errors import BackendUnavailableError, Error, StaleObjectError
from fedid.reconcile.federation_access import openfga_key
from fedid.reconcile.members import members_key
from fedid.reconcile.status import newest_of, write_status
from fedid.reconcile.world import OpenFga, World

__all__ = ["OPENFGA_WATCH", "OpenFgaWatch", "has_openfga", "openfga_watch_key"]

OPENFGA_WATCH: Final = "OpenFgaWatch"
"""Kind of the keys; the rest of such a key is that of the Federation."""
_LOOK_AGAIN: Final = timedelta(minutes=1)
_LOOK_AGAIN_SOON: Final = timedelta(seconds=2)
"""While it is away: one cheap look that stands for every server that waits."""


def openfga_watch_key(federation: str) -> ObjectKey:
    """Return the key under which the OpenFGA of a Federation is looked at."""
    return ObjectKey(OPENFGA_WATCH, "", federation)


def has_openfga(federation: Body) -> bool:
    """Tell whether a Federation has an OpenFGA, or says something of one that it had."""
    return bool((federation.get("spec") or {}).get("openFga") or (federation.get("status") or {}).get("openFga"))


class OpenFgaWatch:
    """Looks at the OpenFGA of each Federation."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world

    async def reconcile(self, body: Body) -> Outcome:
        """Look at the OpenFGA of a Federation, and tell what was found.

        Raises:
            StaleObjectError: The Federation changed meanwhile.
        """
        name, before = meta_of(body).key.name, (body.get("status") or {}).get("openFga")
        known = self._world.openfgas.get(name)
        try:
            found = await self._connected(body, known)
            store = await found.store.probe() if found is not None else None
        except StaleObjectError:
            raise
        except Error as error:
            wrong = problem(error, (before or {}).get("problem"), self._world.clock.now())
            await self._settle(body, known, {"problem": wrong})
            away = isinstance(error, BackendUnavailableError)
            return self._again(_LOOK_AGAIN_SOON if away else _LOOK_AGAIN)
        if found is None:
            await self._settle(body, known, None)
            return Outcome()
        await self._settle(body, known, {"store": store})
        return self._again(_LOOK_AGAIN)

    async def forget(self, federation: str) -> None:
        """Close what belongs to a Federation that is gone."""
        await _close(self._world.openfgas.pop(federation, None))

    async def _connected(self, body: Body, known: OpenFga | Error | None) -> OpenFga | None:
        """Return the adapter, made anew where anything that it is made of changed; None if there is to be none.

        Raises:
            Error: It cannot be made; kept for those who ask for it.
        """
        name, openfgas = meta_of(body).key.name, self._world.openfgas
        try:
            access = parse_openfga_access(body["spec"])
            key = await openfga_key(self._world.cluster, access) if access is not None else None
            if access is not None and isinstance(known, OpenFga) and (known.access, known.key) == (access, key):
                return known
            made = OpenFga(access, self._world.factory.tuple_store(access, key), key) if access is not None else None
        except BackendUnavailableError:
            raise  # the API server is away, which says nothing about the adapter of before
        except Error as error:
            openfgas[name] = error
            await _close(known)
            raise
        openfgas.pop(name, None)
        if made is not None:
            openfgas[name] = made
        await _close(known)
        return made

    async def _settle(self, body: Body, known: OpenFga | Error | None, fields: dict[str, Any] | None) -> None:
        """Write the status, and wake the servers if it says something else or there is another adapter."""
        body, name = newest_of(self._world, body), meta_of(body).key.name
        news = (body.get("status") or {}).get("openFga") != fields or self._world.openfgas.get(name) is not known
        await write_status(self._world, body, None, {"openFga": fields})
        if not news:
            return
        servers = {meta_of(server).key for server in self._world.directory.servers()}
        for key in servers & {*self._world.directory.identities_of(name)}:
            self._world.wake(members_key(key), Priority.CHANGE, look=False)

    def _again(self, after: timedelta) -> Outcome:
        return Outcome(self._world.clock.monotonic() + after.total_seconds(), Priority.DRIFT)


async def _close(known: OpenFga | Error | None) -> None:
    if isinstance(known, OpenFga):
        await known.store.aclose()
