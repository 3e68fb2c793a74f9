"""What leadership means to this process: how long a Lease is good, and what a replica without one may not do."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fedid.adapters.kubernetes.failures import BACKEND as CLUSTER
from fedid.engine import (
    Elector,
    LeaseTiming,
    NotLeadingError,
)
from fedid.errors import BackendUnavailableError, Error
from fedid.settings import Settings

__all__ = ["fence_of", "lease_timing", "lease_trouble"]

_log = logging.getLogger("fedid")


def lease_timing(settings: Settings) -> LeaseTiming:
    """Return the lease's timing: a leader stops after two thirds of it, and renews often enough to fail a few times."""
    seconds = settings.lease.total_seconds()
    pause = min(2.0, seconds / 6)
    return LeaseTiming(seconds, fence_after_seconds=seconds * 2 / 3, retry_seconds=pause, request_seconds=pause)


def fence_of(elector: Elector) -> Callable[[], None]:
    """Return what adapters call right before each write; it raises BackendUnavailableError where this may not begin."""

    def fence() -> None:
        try:
            elector.check()
        except NotLeadingError as error:
            message = "this replica of the operator does not lead any more; the one that does goes on"
            raise BackendUnavailableError(message, backend=CLUSTER) from error

    return fence


def lease_trouble(error: Exception) -> None:
    """Log why the Lease could not be read or written."""
    if isinstance(error, Error):
        _log.warning("the Lease cannot be read or written", extra={"details": {"error": error.message}})
    elif isinstance(error, TimeoutError):
        _log.warning("the API server did not answer about the Lease in time")
    else:
        _log.error("unexpected exception about the Lease", exc_info=error)
