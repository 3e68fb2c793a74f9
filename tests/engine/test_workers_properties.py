"""Queue, workers and backoff together, under any script of events and of what passes do.

Each scenario runs on a virtual loop, so its interleaving is fixed by the drawn figures: when events come, how long
each pass takes, how it ends. What must hold is judged from outside, by the log of asks and passes.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from fedid.engine.asks import Priority
from fedid.engine.backoff import Backoff
from fedid.engine.work_queue import WorkQueue
from fedid.engine.workers import Outcome, PassReport, Retry, RetryPolicy, Workers

from .virtual_time import in_virtual_time

SECONDS = st.integers(0, 40).map(lambda quarters: quarters / 4)


@dataclass(frozen=True)
class Event:
    """Something outside asks for a key, or wakes who is parked."""

    after: float
    key: str
    priority: Priority
    delay: float | None
    wakes: bool


@dataclass(frozen=True)
class Ending:
    """How long a pass takes and how it ends."""

    takes: float
    how: str
    delay: float


EVENTS = st.builds(
    Event, SECONDS, st.sampled_from("abcd"), st.sampled_from(Priority), st.none() | SECONDS, st.booleans()
)
ENDINGS = st.builds(
    Ending,
    SECONDS,
    st.sampled_from(["done", "done", "again", "bug", "outage", "parked", "deadline", "stray cancellation"]),
    SECONDS,
)


class OutageError(Exception):
    """A backend is away."""


class ParkedError(Exception):
    """A backend is known to be away."""


def classify(error: Exception) -> Retry:
    """Tell outages from bugs."""
    match error:
        case OutageError():
            return Retry(count_attempt=False)
        case ParkedError():
            return Retry(30.0, count_attempt=False, parked_on="backend")
        case _:
            return Retry(is_bug=True)


@dataclass
class Witness:
    """Notes what was asked and what was begun."""

    queue: WorkQueue[str]
    endings: list[Ending]
    asked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    begun: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    in_work: set[str] = field(default_factory=set)

    async def process(self, key: str, _: Priority) -> Outcome:
        """Run one pass as the script says, and well once the script is over."""
        assert key not in self.in_work, "two workers on one key"
        now = self.queue.now()
        assert any(at <= now for at in self.asked[key]), "nothing was asked, or not for now"
        self.asked[key] = []
        self.in_work.add(key)
        self.begun[key].append(now)
        try:
            return await self.end(key, self.endings.pop() if self.endings else Ending(0.0, "done", 0.0))
        finally:
            self.in_work.remove(key)

    async def end(self, key: str, ending: Ending) -> Outcome:
        """Take the time and end as told."""
        if ending.how == "deadline":
            async with asyncio.timeout(ending.takes):
                await asyncio.sleep(1000)
        await asyncio.sleep(ending.takes)
        match ending.how:
            case "again":
                at = self.queue.now() + ending.delay
                self.asked[key].append(at)
                return Outcome(at)
            case "bug":
                raise KeyError
            case "outage":
                raise OutageError
            case "parked":
                raise ParkedError
            case "stray cancellation":
                raise asyncio.CancelledError
            case _:
                return Outcome()

    def hear(self, report: PassReport[str]) -> None:
        """Note the retry of a failed pass as asked."""
        if report.error is not None:
            assert not isinstance(report.error, AssertionError), report.error
            assert report.next_at is not None
            self.asked[report.item.key].append(report.next_at)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=25), st.lists(ENDINGS, max_size=25), st.integers(1, 4), st.integers())
def test_everything_asked_is_followed_by_a_pass(
    events: list[Event], endings: list[Ending], count: int, seed: int
) -> None:
    """No key runs twice at once, none runs unasked, every ask is followed by a pass, and the queue drains."""

    @in_virtual_time
    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue(promote_after_seconds=5.0)
        witness = Witness(queue, list(endings))
        uniform = random.Random(seed).uniform  # noqa: S311 - jitter, no secret
        policy = RetryPolicy(classify, Backoff(uniform=uniform))
        workers = Workers(queue, witness.process, policy, witness.hear, count=count)
        workers.start()
        last_add: dict[str, float] = {}
        for event in events:
            await asyncio.sleep(event.after)
            if event.wakes:
                # Whoever is parked may run now instead of later.
                for key, asked in witness.asked.items():
                    witness.asked[key] = [min(at, queue.now()) for at in asked]
                queue.wake("backend")
            if event.delay is None:
                queue.add(event.key, event.priority)
                last_add[event.key] = queue.now()
            else:
                queue.add_at(event.key, queue.now() + event.delay, event.priority)
            witness.asked[event.key].append(queue.now() + (event.delay or 0.0))
        await asyncio.sleep(100_000)
        assert not any(witness.asked.values()), "something that was asked was not followed by a pass"
        assert all(witness.begun[key][-1] >= at for key, at in last_add.items())
        assert (len(queue), queue.scheduled(), queue.active(), workers.alive()) == (0, 0, 0, count)
        assert all(queue.attempts(key) == 0 for key in "abcd")
        await workers.stop(0)

    scenario()
