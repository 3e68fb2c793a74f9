"""A heap that holds each key once and can move or drop any of them."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

SLACK = 64
"""Stale entries that are tolerated beyond the number of live ones, so that a small heap is not rebuilt all the time."""


class KeyedHeap(Generic[K]):
    """Keys ordered by rank, lowest first, then by when they were put.

    A key that moves or goes leaves its old entry behind, which is skipped when it surfaces. What a long horizon keeps
    from surfacing (a look in thirty days, put off every ten minutes) would pile up, so the heap is rebuilt as soon as
    stale entries outnumber live ones: every operation costs amortised O(log n), and memory is O(live keys).

    Source: docs.python.org, `heapq`, "Priority Queue Implementation Notes" (lazy deletion).
    """

    def __init__(self) -> None:
        """Start empty."""
        self._heap: list[tuple[float, int, K]] = []
        self._live: dict[K, int] = {}
        self._serials = itertools.count()

    def __len__(self) -> int:
        """Return the number of live keys."""
        return len(self._live)

    def put(self, key: K, rank: float) -> None:
        """Place the key at this rank, wherever it was before."""
        serial = next(self._serials)
        self._live[key] = serial
        # The serial is unique, so the comparison never reaches the keys, which need no order.
        heapq.heappush(self._heap, (rank, serial, key))
        self._rebuild_if_stale()

    def discard(self, key: K) -> None:
        """Drop the key, if it is here."""
        self._live.pop(key, None)
        self._rebuild_if_stale()

    def first_rank(self) -> float | None:
        """Return the lowest rank, or None when empty."""
        while self._heap and self._is_stale(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self) -> K:
        """Take out the key of the lowest rank; of several, the one that was put first.

        Raises:
            IndexError: Empty.
        """
        self.first_rank()
        _, _, key = heapq.heappop(self._heap)
        del self._live[key]
        return key

    def _is_stale(self, entry: tuple[float, int, K]) -> bool:
        _, serial, key = entry
        return self._live.get(key) != serial

    def _rebuild_if_stale(self) -> None:
        if len(self._heap) > 2 * len(self._live) + SLACK:
            self._heap = [entry for entry in self._heap if not self._is_stale(entry)]
            heapq.heapify(self._heap)
