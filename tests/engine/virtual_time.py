"""An event loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import functools
import selectors
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

P = ParamSpec("P")

MOST_ROUNDS_PER_INSTANT = 100_000
"""Rounds of the loop at one instant beyond which a test is taken to spin."""


class _JumpingSelector(selectors.SelectSelector):
    """Turns the time that the loop would wait into time that has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            message = "everything waits for something that will never come"
            raise RuntimeError(message)
        self.rounds = 0 if timeout > 0 else self.rounds + 1
        if self.rounds > MOST_ROUNDS_PER_INSTANT:
            message = "something runs for ever without time passing"
            raise RuntimeError(message)
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs in no real time and in the same order every time; a deadlock or a livelock raises instead of hanging."""

    def __init__(self) -> None:
        """Start at 0 s."""
        self._jumping = _JumpingSelector()
        self.complaints: list[Mapping[str, Any]] = []
        """What was reported to the loop's exception handler; a test that expects something takes it out."""
        super().__init__(self._jumping)
        self.set_exception_handler(lambda _, context: self.complaints.append(context))

    def time(self) -> float:
        """Return virtual monotonic seconds."""
        return self._jumping.now

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this the running loop for synchronous calls that set timers, without running anything."""
        asyncio._set_running_loop(self)  # noqa: SLF001 - documented as the way for who implements a loop
        try:
            yield
        finally:
            asyncio._set_running_loop(None)  # noqa: SLF001 - as above


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a loop of its own, and fail it if anything was left to the loop's exception handler."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))
            loop = runner.get_loop()
            assert isinstance(loop, VirtualTimeLoop)
            assert loop.complaints == []

    return run


def complaints() -> list[Mapping[str, Any]]:
    """Return the running virtual loop's complaints, to be inspected and cleared."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop.complaints


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(8):
        await asyncio.sleep(0)


class HandClock:
    """A clock that only the test moves."""

    def __init__(self, now: float = 0.0) -> None:
        """Start at `now` (seconds)."""
        self.now = now

    def __call__(self) -> float:
        """Return the seconds it was set to."""
        return self.now
