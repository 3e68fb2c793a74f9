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
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0


async def run(settings: Settings) -> None:
    """Run the operator; returns after SIGTERM or SIGINT, when running passes have finished."""
    stop = asyncio.Event()
    _heed_signals(stop)
    operator = await build_operator(settings)
    await operator.health.start()
    working = asyncio.create_task(_work(operator, stop))
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        _log.info("stopping")
        stop.set()
        waiting.cancel()
        await operator.workers.stop(settings.stop_grace.total_seconds())
        with contextlib.suppress(asyncio.CancelledError):
            await working
        await operator.aclose()


async def _work(operator: Operator, stop: asyncio.Event) -> None:
    """Prepare, then watch and relist until told to stop."""
    if not await _patiently(operator.prepare, stop):
        return
    operator.workers.start()
    _log.info("started", extra={"details": {"installation": operator.world.installation_id}})
    background = [
        asyncio.create_task(_relist_regularly(operator, stop)),
        asyncio.create_task(_look_for_cluster(operator, stop)),
    ]
    try:
        while not stop.is_set():
            await watch(operator, stop)
            await _pause(stop, _FIRST_PAUSE_SECONDS)
            await _patiently(operator.relist, stop)  # what was missed meanwhile
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


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
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
