"""Runs kopf in a thread with an event loop of its own.

kopf takes SIGTERM and SIGINT for itself when it runs in the main thread, and when it ends it waits for and then cancels
every task of its loop that it did not start: passes that are under way, and the workers themselves. Here it has
neither the signals nor any task but its own.

Its own ending is not used either: after an error in one watch it cancels what the other watches wait for when they
end, and then it waits for them for ever (kopf 1.45: `run_tasks` cancels the scheduler's tasks of each watcher as
"hung"). It writes nothing, so its loop may simply be left.

Source: https://docs.kopf.dev/en/stable/embedding/
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import kopf

from fedid.handlers.watches import kopf_registry, kopf_settings

if TYPE_CHECKING:
    from fedid.app import Operator

__all__ = ["watch"]

_log = logging.getLogger("fedid")


_WINDING_UP_SECONDS = 1.0


async def watch(operator: Operator, stop: asyncio.Event) -> None:
    """Watch until told to stop, or until kopf gives up.

    It gives up at an error within a stream (an API server that shuts down, a CRD that is installed anew); the operator
    lives on, since a restart would throw away all that it knows.
    """
    thread = _KopfThread(operator, asyncio.get_running_loop())
    running = asyncio.create_task(asyncio.to_thread(thread.run))
    told = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
        thread.stop()
        await running
    except Exception:  # noqa: BLE001 - logged with its traceback; kopf raises whatever it met
        _log.exception("watching ended; beginning anew")
    finally:
        told.cancel()


class _KopfThread:
    """kopf from its first to its last task; `home` is the loop in which the operator works."""

    def __init__(self, operator: Operator, home: asyncio.AbstractEventLoop) -> None:
        self._operator, self._home = operator, home
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()

    def run(self) -> None:
        """Run until told to stop; raises what made kopf give up."""
        # It warns that it cannot take the process's signals, which is what it is here for.
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
        self._loop.set_exception_handler(lambda _loop, _context: None)  # of tasks that are left behind, see above
        try:
            self._loop.run_until_complete(self._watch())
        finally:
            self._loop.close()

    def stop(self) -> None:
        """Have it end soon; called from any thread, any number of times."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _watch(self) -> None:
        namespaces = self._operator.settings.watch_namespaces
        roots = await kopf.spawn_tasks(
            registry=kopf_registry(self._operator, self._home),
            settings=kopf_settings(),
            # Else it looks for the name of its user, and in an image there is none. (A NewType of str, not exported.)
            identity="fedid",  # type: ignore[arg-type]
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=self._stop,
        )
        done, _ = await asyncio.wait(roots, return_when=asyncio.FIRST_COMPLETED)
        await self._wind_up()
        for root in done:
            if not root.cancelled():
                root.result()

    async def _wind_up(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=_WINDING_UP_SECONDS)
        await self._operator.access.aclose_elsewhere()
