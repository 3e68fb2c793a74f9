"""Tests of the default clock."""

from __future__ import annotations

import asyncio

import pytest

from fedid.engine.clock import loop_time

from .virtual_time import in_virtual_time


@in_virtual_time
async def test_the_default_clock_is_the_loops_own() -> None:
    """Instants and timers agree, since both come from the running loop."""
    await asyncio.sleep(2.5)
    assert loop_time() == 2.5


def test_without_a_loop_there_is_no_time() -> None:
    """Outside a loop the default clock fails instead of inventing a time."""
    with pytest.raises(RuntimeError):
        loop_time()
