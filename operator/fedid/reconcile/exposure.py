"""How old, how late and how unproven the worst of all objects is, whenever somebody asks.

An index, kept as bodies come and go: a scrape would hold up the loop for longer than anything may if it read ten
thousand statuses.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from fedid.domain.exposure import (
    CredentialKind,
    CredentialLife,
    WorstCredentials,
    WorstRevocations,
    credentials_in_use,
    unproven_since,
)
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import Body
from fedid.engine.keyed_heap import KeyedHeap

__all__ = ["Exposure"]

_INSTANTS: Mapping[str, Callable[[CredentialLife], datetime | None]] = {
    "issued": lambda life: life.issued_at,
    "due": lambda life: life.due_at,
    "expires": lambda life: life.expires_at,
}


class Exposure:
    """The index, by object."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._counts: Counter[CredentialKind] = Counter()
        # By kind and instant: the earliest of each object's.
        self._earliest: defaultdict[tuple[CredentialKind, str], KeyedHeap[ObjectKey]] = defaultdict(KeyedHeap)
        self._unproven: defaultdict[str, KeyedHeap[ObjectKey]] = defaultdict(KeyedHeap)
        # Kinds of the credentials of each object: read once, since to take it out is as frequent as to put it in.
        self._kinds: dict[ObjectKey, tuple[CredentialKind, ...]] = {}

    def add(self, key: ObjectKey, body: Body) -> None:
        """Take in what a body tells, after `discard` of an earlier one."""
        lives = credentials_in_use(body)
        if lives:
            self._kinds[key] = kinds = tuple(life.kind for life in lives)
            self._counts.update(kinds)
        for index, instant in _earliest(lives).items():
            self._earliest[index].put(key, instant)
        if (since := unproven_since(body)) is not None:
            self._unproven[key.kind].put(key, since.timestamp())

    def discard(self, key: ObjectKey) -> None:
        """Take out what is known of an object."""
        kinds = self._kinds.pop(key, ())
        self._counts.subtract(kinds)
        for kind in {*kinds}:
            for name in _INSTANTS:
                self._earliest[kind, name].discard(key)
        if key.kind in self._unproven:
            self._unproven[key.kind].discard(key)

    def credentials(self) -> dict[CredentialKind, WorstCredentials]:
        """Return the worst of each kind of which there is any."""
        return {
            kind: WorstCredentials(count, **{name: self._earliest[kind, name].first_rank() for name in _INSTANTS})
            for kind, count in self._counts.items()
            if count
        }

    def revocations(self) -> dict[str, WorstRevocations]:
        """Return the revocations without proof by kind of object, where there are any."""
        worst = {kind: (len(heap), heap.first_rank()) for kind, heap in self._unproven.items()}
        return {kind: WorstRevocations(count, since) for kind, (count, since) in worst.items() if since is not None}


def _earliest(lives: Iterable[CredentialLife]) -> dict[tuple[CredentialKind, str], float]:
    found: dict[tuple[CredentialKind, str], float] = {}
    for life in lives:
        for name, instant_of in _INSTANTS.items():
            if (instant := instant_of(life)) is not None:
                seconds = instant.timestamp()
                found[life.kind, name] = min(seconds, found.get((life.kind, name), seconds))
    return found
