"""Tests of the row of waiting coroutines."""

from __future__ import annotations

import asyncio

import pytest

from fedid.engine.waiters import Waiters

from .virtual_time import in_virtual_time, settle


class Row:
    """Three named coroutines that wait in one row."""

    def __init__(self) -> None:
        """Let them begin to wait."""
        self.waiters = Waiters()
        self.woken: list[str] = []
        self.lost: list[str] = []
        self.tasks = {name: asyncio.create_task(self._wait(name)) for name in ("a", "b", "c")}

    async def _wait(self, name: str) -> None:
        await self.waiters.wait(on_lost=lambda: self.lost.append(name))
        self.woken.append(name)

    async def cancel(self, name: str) -> None:
        """Cancel one and see that it ends as cancelled."""
        self.tasks[name].cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.tasks[name]


@in_virtual_time
async def test_first_come_first_served() -> None:
    """Each wake-up reaches exactly one, in the order of their coming; with nobody there it says so."""
    row = Row()
    await settle()
    assert len(row.waiters) == 3
    assert row.waiters.wake_one()
    assert row.waiters.wake_one()
    await settle()
    assert row.woken == ["a", "b"]
    assert row.waiters.wake_one()
    assert not row.waiters.wake_one()
    await settle()


@in_virtual_time
async def test_who_was_cancelled_is_passed_over() -> None:
    """A wake-up after a cancellation goes to the next in the row, also if the cancelled one has not run since."""
    row = Row()
    await settle()
    row.tasks["a"].cancel()
    assert row.waiters.wake_one()
    await row.cancel("c")
    await settle()
    assert (row.woken, row.lost, len(row.waiters)) == (["b"], [], 0)


@in_virtual_time
async def test_a_wake_up_that_is_overtaken_by_a_cancellation_is_handed_back() -> None:
    """Who was woken and is cancelled before it could act says that the wake-up was lost."""
    row = Row()
    await settle()
    row.waiters.wake_one()
    await row.cancel("a")
    assert (row.woken, row.lost) == ([], ["a"])
    await row.cancel("b")
    await row.cancel("c")
