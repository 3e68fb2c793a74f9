"""One time line for everything, and machines on it, each with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

EPOCH = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""True time at instant 0."""

_MOST_TURNS, _TURNS_SECONDS = 100_000, 10.0
"""Callbacks of one machine within so many seconds beyond which it is taken to spin; the busiest have some hundreds."""


_TICK_SECONDS = 1e-7
"""By how much a timer fires late, so that it never fires early by a rounding error."""
_LAST_WORDS = 8
"""How often a coroutine that awaits in a `finally` is closed."""


class Timeline:
    """True time (seconds from 0), and all that is to happen at an instant; equal instants in the order of asking."""

    def __init__(self) -> None:
        """Start at 0 with nothing to happen."""
        self.now = 0.0
        self.halted = False
        """Whether nothing is to happen any more."""
        self.machines: list[Machine] = []
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._shown = (0.0, EPOCH)
        """The instant that was asked for last, and what the clocks show then."""

    def at(self, instant: float, what: Callable[[], object]) -> None:
        """Have something happen."""
        heapq.heappush(self._agenda, (instant, next(self._order), what))

    def after(self, seconds: float, what: Callable[[], object]) -> None:
        """Have something happen in so many seconds."""
        self.at(self.now + seconds, what)

    def true_time(self) -> datetime:
        """Return the wall clock of the servers, which are right (aware UTC)."""
        if self._shown[0] != self.now:
            self._shown = (self.now, EPOCH + timedelta(seconds=self.now))
        return self._shown[1]

    def run(self, until: float) -> None:
        """Let everything happen up to an instant."""
        agenda = self._agenda
        while not self.halted:
            worked = False
            for machine in self.machines:
                worked = machine.run_ready() or worked
            if worked:
                continue  # one may have given another something to do
            if not agenda or agenda[0][0] > until:
                break
            instant, _, what = heapq.heappop(agenda)
            self.now = max(self.now, instant)
            what()
        self.now = until


class Machine(asyncio.AbstractEventLoop):
    """An event loop that can be paused, put to sleep and killed, with the clocks of a machine."""

    def __init__(self, timeline: Timeline, name: str) -> None:
        """Start with nothing to do."""
        self.timeline, self.name = timeline, name
        self.wall_offset = 0.0
        """By how much its wall clock is wrong (seconds)."""
        self.dead = False
        self.crashes: list[dict[str, Any]] = []
        """What was left to the loop's exception handler."""
        self.signals: dict[int, Callable[[], object]] = {}
        self._slept = 0.0
        self._frozen = False
        self._ready: deque[asyncio.Handle] = deque()
        self._turns = (0.0, 0)
        self._left: list[asyncio.Task[Any]] = []
        timeline.machines.append(self)

    # --- what happens to it

    @property
    def frozen(self) -> bool:
        """Whether nothing of it runs."""
        return self._frozen

    def freeze(self) -> None:
        """Stop running anything; its clocks go on."""
        self._frozen = True

    def thaw(self, slept: float) -> None:
        """Go on; its monotonic clock stood still for so many seconds."""
        self._frozen = False
        self._slept += slept

    def kill(self) -> None:
        """Never run anything again, not even a `finally`."""
        self.dead = True
        self._ready.clear()
        self.timeline.machines.remove(self)
        self._left = list(asyncio.all_tasks(self))

    def bury(self) -> None:
        """Close the coroutines that a killed machine left behind; whatever they want to do still, they may not."""
        events._set_running_loop(self)  # noqa: SLF001 - as below
        try:
            for task in self._left:
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - it is meant to be so
                for _ in range(_LAST_WORDS):
                    with contextlib.suppress(BaseException):
                        task.get_coro().close()  # type: ignore[union-attr]
                        break
        finally:
            events._set_running_loop(None)  # noqa: SLF001 - as below
        self._left.clear()
        self._ready.clear()

    def run_ready(self) -> bool:
        """Run all that can run at this instant; False if that is nothing."""
        ready = self._ready
        if not ready or self._frozen or self.dead:
            return False
        since, turns = self._turns
        if self.timeline.now - since > _TURNS_SECONDS:
            since, turns = self.timeline.now, 0
        events._set_running_loop(self)  # noqa: SLF001 - documented as the way for who implements a loop
        try:
            while ready and not self._frozen:
                turns += 1
                handle = ready.popleft()
                if not handle._cancelled:  # type: ignore[attr-defined]  # noqa: SLF001 - as asyncio's own loops do
                    handle._run()  # noqa: SLF001 - likewise
        finally:
            events._set_running_loop(None)  # noqa: SLF001 - as above
            self._turns = (since, turns)
        if turns > _MOST_TURNS:
            message = f"{self.name} spins: {turns} callbacks from {since} to {self.timeline.now}"
            raise AssertionError(message)
        return True

    # --- its clocks

    def time(self) -> float:
        """Return monotonic seconds, in which sleep does not count."""
        return self.timeline.now - self._slept

    def boot_time(self) -> float:
        """Return seconds that count sleep too."""
        return self.timeline.now

    def wall_time(self) -> datetime:
        """Return its wall clock (aware UTC)."""
        return self.timeline.true_time() + timedelta(seconds=self.wall_offset)

    # --- what asyncio needs of a loop

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Run it at this instant, after what waits already."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run it in so many seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        """Run it at that instant of its monotonic clock."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._arm(timer)
        return timer

    def _arm(self, timer: asyncio.TimerHandle) -> None:
        self.timeline.at(timer.when() + self._slept + _TICK_SECONDS, lambda: self._fire(timer))

    def _fire(self, timer: asyncio.TimerHandle) -> None:
        if timer.cancelled() or self.dead:
            return
        if self.time() < timer.when():
            self._arm(timer)  # it slept meanwhile
        else:
            self._ready.append(timer)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer fires for nothing."""

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        """Return a task of this loop."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        """Remember what a signal does."""
        self.signals[sig] = lambda: self.call_soon(callback, *args)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody caught."""
        self.crashes.append(context)

    def get_debug(self) -> bool:
        """Return False."""
        return False

    def is_running(self) -> bool:
        """Return whether it lives."""
        return not self.dead

    def is_closed(self) -> bool:
        """Return whether it was killed."""
        return self.dead


def chance(purpose: str) -> Random:
    """Return a source of random numbers that are the same each time."""
    return Random(purpose)  # noqa: S311 - it has to be


def this_machine() -> Machine:
    """Return the machine that runs the caller."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Machine)
    return loop
