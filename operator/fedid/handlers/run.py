"""Runs the operator until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fedid.app import build_operator
from fedid.errors import Error
from fedid.handlers.watching import watch
from fedid.settings import Settings

if TYPE_CHECKING:
    from fedid.app import Operator

__all__ = ["run"]

_log = logging.getLogger("fedid")


_CLUSTER_LOOK_SECONDS = 1.0
_PRUNE_SECONDS = 3600.0
"""Between looks at the receipts, each a listing in pages."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0


async def run(settings: Settings) -> None:
    """Run the operator; returns after SIGTERM or SIGINT, when running passes have finished.

    A replica that loses the lease begins anew with nothing of what it knew, as after a crash: others have worked since.
    """
    stop = asyncio.Event()
    _heed_signals(stop)
    while not stop.is_set():
        await _run_once(settings, stop)


async def _run_once(settings: Settings, stop: asyncio.Event) -> None:
    """Stand by, then lead; returns when told to stop, or when the lease is lost."""
    operator = await build_operator(settings)
    await operator.health.start()
    over, prepared = asyncio.Event(), asyncio.Event()
    working = asyncio.create_task(_work(operator, over, prepared))
    leading = asyncio.create_task(_lead(operator, over, prepared))
    waiting = asyncio.create_task(stop.wait())
    try:
        ended, _ = await asyncio.wait({working, leading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        _log.info("stopping" if stop.is_set() else "beginning anew")
        over.set()
        waiting.cancel()
        # The lease is renewed until nothing is under way any more; without it, nothing may finish.
        grace = settings.stop_grace.total_seconds() if operator.elector.leads else 0.0
        await operator.workers.stop(grace)
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        await operator.elector.release()
        try:
            await working
        finally:
            await operator.aclose()


async def _work(operator: Operator, over: asyncio.Event, prepared: asyncio.Event) -> None:
    """Prepare, then watch and relist until it is over."""
    if not await _patiently(operator.prepare, over):
        return
    prepared.set()
    _log.info("started", extra={"details": {"installation": operator.world.installation_id}})
    background = [
        asyncio.create_task(_relist_regularly(operator, over)),
        asyncio.create_task(_look_for_cluster(operator, over)),
    ]
    try:
        while not over.is_set():
            await watch(operator, over)
            await _pause(over, _FIRST_PAUSE_SECONDS)
            await _patiently(operator.relist, over)  # what was missed meanwhile
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


async def _lead(operator: Operator, over: asyncio.Event, prepared: asyncio.Event) -> None:
    """Wait for the lease, work as long as it lasts, and return when it is lost."""
    await prepared.wait()
    elector = operator.elector
    await elector.acquire()
    _log.info("leading", extra={"details": {"replica": elector.identity}})
    keeping = asyncio.create_task(elector.keep())
    pruning: asyncio.Task[None] | None = None
    try:
        await _patiently(operator.relist, over)  # what the former leader did last
        if not over.is_set():
            operator.workers.start()
            pruning = asyncio.create_task(_prune_regularly(operator, over))
        await keeping
        _log.warning("another replica leads", extra={"details": {"replica": elector.identity}})
    finally:
        keeping.cancel()
        if pruning is not None:
            pruning.cancel()
            await asyncio.gather(pruning, return_exceptions=True)


def _heed_signals(stop: asyncio.Event) -> None:
    """Stop at SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _relist_regularly(operator: Operator, stop: asyncio.Event) -> None:
    """Find what a broken watch lost: kopf does not tell what vanished while its stream was down."""
    while not stop.is_set():
        await _pause(stop, operator.settings.relist_period.total_seconds())
        await _patiently(operator.relist, stop)


async def _prune_regularly(operator: Operator, stop: asyncio.Event) -> None:
    """Delete receipts beyond their number and age, at once and now and then: nobody waits for it."""
    while not stop.is_set():
        try:
            await operator.prune_receipts()
        except Error as error:
            _log.warning("old receipts cannot be deleted", extra={"details": {"error": error.message}})
        await _pause(stop, _PRUNE_SECONDS)


async def _look_for_cluster(operator: Operator, stop: asyncio.Event) -> None:
    """While the API server is away, ask for it every second for all that wait."""
    while not stop.is_set():
        await _pause(stop, _CLUSTER_LOOK_SECONDS)
        with contextlib.suppress(Error):
            await operator.look_for_cluster()


async def _patiently(attempt: Callable[[], Awaitable[None]], stop: asyncio.Event) -> bool:
    """Repeat the attempt until it succeeds; False if told to stop before."""
    pause_seconds = _FIRST_PAUSE_SECONDS
    while not stop.is_set():
        try:
            await attempt()
        except Error as error:
            _log.warning("the API server does not let us list", extra={"details": {"error": error.message}})
        else:
            return True
        await _pause(stop, pause_seconds)
        pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
    return False


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    # Not `wait_for`: before Python 3.12 it swallows a cancellation at the instant at which what it waits for comes.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
