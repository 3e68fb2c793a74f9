"""Runs the operator until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable

import kopf

from fedid.app import Operator, build_operator
from fedid.errors import Error
from fedid.handlers.watches import kopf_registry, kopf_settings
from fedid.settings import Settings

__all__ = ["run"]

_log = logging.getLogger("fedid")


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
    relisting = asyncio.create_task(_relist_regularly(operator, stop))
    try:
        while not await _watch(operator, stop):
            _heed_signals(stop)
            await _patiently(operator.relist, stop)  # what was missed meanwhile
    finally:
        relisting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await relisting


async def _watch(operator: Operator, stop: asyncio.Event) -> bool:
    """Watch until told to stop; False if kopf gave up.

    It does so at an error within a stream (an API server that shuts down, a CRD that is installed anew); the operator
    lives on, since a restart would throw away all that it knows.
    """
    try:
        await kopf.operator(
            registry=kopf_registry(operator),
            settings=kopf_settings(),
            standalone=True,
            clusterwide=not operator.settings.watch_namespaces,
            namespaces=operator.settings.watch_namespaces,
            stop_flag=stop,
        )
    except Exception:  # noqa: BLE001 - logged with its traceback; kopf raises whatever it met
        _log.exception("watching ended; beginning anew")
        return stop.is_set()
    return True


def _heed_signals(stop: asyncio.Event) -> None:
    """Stop at SIGTERM and SIGINT; while kopf runs, its own handlers stand in the place of these."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _relist_regularly(operator: Operator, stop: asyncio.Event) -> None:
    """Find what a broken watch lost: kopf does not tell what vanished while its stream was down."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), operator.settings.relist_period.total_seconds())
        await _patiently(operator.relist, stop)


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
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_seconds)
        pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
    return False
