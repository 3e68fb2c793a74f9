"""What reconcilers count as it happens; what statuses tell is read from them when somebody asks."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Meter"]


class Meter(Protocol):
    """Counts what happens; nothing that it is told names an identity."""

    def events(self, count: int) -> None:
        """Count admin events of others that were read."""

    def page(self, objects: int) -> None:
        """Count one page of a sweep and the objects on it."""

    def swept(self, seconds: float) -> None:
        """Count a sweep that is complete, and how long it took."""

    def woken(self, found_by: str, count: int) -> None:
        """Count objects that are looked at because of `events` or of a `sweep`."""

    def orphans(self, backend: str, count: int) -> None:
        """Tell how many things in a backend carry our owner mark and have no object, as the last search found."""

    def renewed(self, credential: str, place: str, seconds: float) -> None:
        """Count a credential that was replaced when it was due.

        Args:
            credential: Its kind, as `CredentialKind` has it.
            place: Where it is now: in `vault`, or in the `secret` of one PodIdentity.
            seconds: How long after it was due.
        """

    def revoked(self, kind: str, seconds: float) -> None:
        """Count an object whose end is proven.

        Args:
            kind: Of the object.
            seconds: How long after its end was asked for.
        """
