"""The error tree: every message is safe to publish and says what to do next.

This is the lowest layer and imports nothing. An adapter translates what its library raises into one of these at a
single place and chains the cause; nothing else leaves an adapter. "Not found" on a read is None and "already gone" on
a delete is success, so neither has a class here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = [
    "BackendDeniedError",
    "BackendError",
    "BackendRejectedError",
    "BackendUnavailableError",
    "Error",
    "InvalidSpecError",
    "NotGrantedError",
    "NotReadyError",
    "OwnershipConflictError",
    "StaleObjectError",
]


class Error(Exception):
    """Root of everything that fedid raises on purpose.

    The first argument is a sentence that may be shown to the author of a custom resource: it names the field, the
    permission or the backend and the next step, and never holds a credential.
    """

    reason: str = "Error"
    """The condition reason (CamelCase) that this error is told with, unless the raiser knows a better one."""

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        """Keep the publishable sentence and, where the raiser knows one, a more exact reason."""
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason


class InvalidSpecError(Error):
    """The manifest asks for something that cannot be; waits for a new generation."""

    reason = "InvalidSpec"


class NotGrantedError(Error):
    """No grant of the Federation covers what is asked; waits for a change of the spec, the grants or the labels."""

    reason = "NotGranted"


class NotReadyError(Error):
    """Something that this object depends on is not there yet; whatever brings it wakes the object."""

    reason = "Progressing"


class OwnershipConflictError(Error):
    """Something of that name exists and carries no owner mark or another's; it is left untouched."""

    reason = "Conflict"

    def __init__(self, message: str, *, backend: str | None = None, reason: str | None = None) -> None:
        """Keep where (`keycloak`, `vault`, `superlink`, `openfga`, `kubernetes`) the stranger's thing lies."""
        super().__init__(message, reason=reason)
        self.backend = backend


class BackendError(Error):
    """Something about Keycloak, Vault, a SuperLink, OpenFGA or the API server, named in `backend`."""

    def __init__(self, message: str, *, backend: str, reason: str | None = None) -> None:
        """Keep which backend (`keycloak`, `vault`, `superlink`, `openfga` or `kubernetes`) it is about."""
        super().__init__(message, reason=reason)
        self.backend = backend


class BackendRejectedError(BackendError):
    """The backend understood and refused; permanent until something changes, so retries are slow."""

    reason = "BackendRejected"


class BackendDeniedError(BackendError):
    """Our own access is missing or lacks a permission, which the message names; retries are slow."""

    reason = "BackendDenied"


class BackendUnavailableError(BackendError):
    """No answer, or one that says "later".

    After a timeout the outcome is unknown (`outcome_unknown`): read back before anything is repeated.
    """

    reason = "BackendUnavailable"

    def __init__(
        self,
        message: str,
        *,
        backend: str,
        reason: str | None = None,
        retry_after: timedelta | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        """Keep the pause that the backend asked for (`retry_after`), if it did."""
        super().__init__(message, backend=backend, reason=reason)
        self.retry_after = retry_after
        self.outcome_unknown = outcome_unknown


class StaleObjectError(Error):
    """The object in the cluster is not the one that was read (other resourceVersion or uid): read again, then retry."""

    reason = "Stale"
