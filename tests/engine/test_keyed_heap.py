"""Tests of the heap that can move and drop its keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.engine.keyed_heap import SLACK, KeyedHeap


def drained(heap: KeyedHeap[str]) -> list[str]:
    """Take out everything in order."""
    return [heap.pop() for _ in range(len(heap))]


def test_pops_by_rank_then_by_age() -> None:
    """The lowest rank comes first, and of equal ranks the one that was put first."""
    heap: KeyedHeap[str] = KeyedHeap()
    for key, rank in [("c", 2.0), ("b", 1.0), ("a", 1.0)]:
        heap.put(key, rank)
    assert drained(heap) == ["b", "a", "c"]


def test_a_key_that_moves_leaves_nothing_behind() -> None:
    """A key put again counts once, at its new rank, whether that is lower or higher."""
    heap: KeyedHeap[str] = KeyedHeap()
    for key, rank in [("a", 1.0), ("b", 2.0), ("c", 9.0), ("a", 3.0), ("c", 0.0)]:
        heap.put(key, rank)
    assert len(heap) == 3
    assert heap.first_rank() == 0.0
    assert drained(heap) == ["c", "b", "a"]
    assert heap.first_rank() is None


def test_a_discarded_key_is_gone() -> None:
    """A discarded key is neither counted nor popped, and discarding an unknown one does nothing."""
    heap: KeyedHeap[str] = KeyedHeap()
    heap.put("a", 1.0)
    heap.put("b", 2.0)
    heap.discard("a")
    heap.discard("unknown")
    assert heap.first_rank() == 2.0
    assert drained(heap) == ["b"]


def test_popping_an_empty_heap_fails() -> None:
    """An empty heap has nothing to pop, also if stale entries are left in it."""
    heap: KeyedHeap[str] = KeyedHeap()
    heap.put("a", 1.0)
    heap.discard("a")
    with pytest.raises(IndexError):
        heap.pop()


def test_memory_follows_the_live_keys() -> None:
    """A key that is put off a thousand times, or comes and goes, does not pile up behind a far horizon."""
    heap: KeyedHeap[str] = KeyedHeap()
    heap.put("first", 0.0)
    for number in range(1000):
        heap.put("again and again", 1e6 + number)
    assert len(heap._heap) <= 2 * 2 + SLACK  # noqa: SLF001 - memory has no public face
    for number in range(1000):
        heap.put(f"short-lived {number}", 1e6)
        heap.discard(f"short-lived {number}")
    assert len(heap) == 2
    assert len(heap._heap) <= 2 * 2 + SLACK  # noqa: SLF001 - memory has no public face
    assert drained(heap) == ["first", "again and again"]


def test_order_survives_a_rebuild() -> None:
    """After so many discards that the heap is rebuilt, what is left still comes in order."""
    heap: KeyedHeap[str] = KeyedHeap()
    ranks = {f"{number}": (number * 7919) % 1000 for number in range(1000)}
    for key, rank in ranks.items():
        heap.put(key, float(rank))
    for key in [key for key, rank in ranks.items() if rank % 5]:
        heap.discard(key)
        del ranks[key]
    assert drained(heap) == sorted(ranks, key=ranks.__getitem__)


@given(st.lists(st.tuples(st.integers(0, 40), st.one_of(st.none(), st.integers(0, 5)))))
def test_behaves_like_a_sorted_table(changes: list[tuple[int, int | None]]) -> None:
    """After any puts (a rank) and discards (None), keys come out in the order of a plain sorted table."""
    heap: KeyedHeap[int] = KeyedHeap()
    table: dict[int, tuple[int, int]] = {}
    for serial, (key, rank) in enumerate(changes):
        if rank is None:
            heap.discard(key)
            table.pop(key, None)
        else:
            heap.put(key, rank)
            table[key] = (rank, serial)
    assert [heap.pop() for _ in range(len(heap))] == sorted(table, key=table.__getitem__)
