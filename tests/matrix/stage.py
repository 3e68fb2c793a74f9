"""Where requests are counted by object and row, and cut off where a cell says so."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from tests.matrix.attribution import Attribution, Call
from tests.testbed.faults import CutAfter, DelayAnswer, Fault, Hang, HoldAnswer, Rule, Spoken, Truncate, any_request
from tests.testbed.proxy import Proxy

DELAY_SECONDS = 3.0
"""Long enough for everything else to happen meanwhile, and within the patience of the operator (15 s)."""


class Column(StrEnum):
    """What happens to a request."""

    KILL_BEFORE = "kill before"
    KILL_AFTER = "kill after"
    CUT = "cut"
    DELAY = "delay"
    TRUNCATE = "truncate"

    @property
    def kills(self) -> bool:
        """Whether the operator dies."""
        return self in KILLS


KILLS = frozenset({Column.KILL_BEFORE, Column.KILL_AFTER})
FAULTS: Mapping[Column, Fault] = {
    Column.KILL_BEFORE: Hang(),
    Column.KILL_AFTER: HoldAnswer(),
    Column.CUT: CutAfter(),
    Column.DELAY: DelayAnswer(DELAY_SECONDS),
    Column.TRUNCATE: Truncate(),
}


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One request of an operation."""

    backend: str
    what: str
    number: int
    """Which of such requests about the object, from 1."""
    effect: bool = True
    """Whether somebody keeps what it changes; what is only read is cut, delayed and truncated."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """What can happen to it."""
        return tuple(column for column in Column if self.effect or not column.kills)

    def __str__(self) -> str:
        """Return it as a table names it."""
        return f"{self.what}{f' ({self.number})' if self.number > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Frozen:
    """An object at the request that waits for the kill."""

    backend: str
    cut: Rule
    """What keeps the request."""
    rest: Rule
    """What keeps everything else about the object."""
    since: float
    """Monotonic seconds."""


@dataclass(slots=True)
class Stage:
    """Looks at every request on its way, and breaks those that are meant.

    An object whose request waits for the kill is frozen: nothing about it passes any more, while others come to theirs.
    So the kill finds it at this very request, also when the operator gave up on it and tried another.
    """

    attribution: Attribution
    cells: dict[tuple[str, Row], Column] = field(default_factory=dict)
    met: set[tuple[str, Row]] = field(default_factory=set)
    """Cells whose request came."""
    rows: dict[str, list[Row]] = field(default_factory=dict)
    """By object, what was asked about it since it was armed."""
    frozen: dict[str, Frozen] = field(default_factory=dict)
    """By object, what waits for the kill."""
    heard: dict[str, float] = field(default_factory=dict)
    """By object, when something about it passed last (monotonic seconds)."""
    _seen: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def attach(self, doors: Mapping[str, Proxy]) -> None:
        """Look at what passes through these from now on."""
        for backend, proxy in doors.items():
            proxy.direct(partial(self.take, backend))

    @staticmethod
    def detach(doors: Mapping[str, Proxy]) -> None:
        """Let everything pass."""
        for proxy in doors.values():
            proxy.direct(None)

    def arm(self, cells: Mapping[tuple[str, Row], Column], names: Iterable[str]) -> None:
        """Forget what was, and break these requests of these objects from now on."""
        with self._lock:
            self.cells, self.met, self.frozen = dict(cells), set(), {}
            self.rows = {name: [] for name in names}
            self._seen.clear()

    def mend(self) -> None:
        """Let go what waits; the dead hear nothing of it."""
        with self._lock:
            for one in self.frozen.values():
                one.cut.lift()
                one.rest.lift()
            self.frozen = {}

    def waiting(self) -> set[str]:
        """Return the objects that a kill would find exactly where it is to find them."""
        return {name for name, one in dict(self.frozen).items() if one.cut.waits}

    def crowded(self, at_once: int, per_backend: int, seconds: float) -> bool:
        """Tell whether no more objects should wait for the kill than do now.

        Args:
            at_once: As many as leave the operator workers for the others.
            per_backend: As many as leave it room for requests to each backend.
            seconds: As long as it is patient with an answer, and a bit less.
        """
        frozen = list(self.frozen.values())
        kept = Counter(one.backend for one in frozen)
        oldest = min((one.since for one in frozen), default=math.inf)
        return (
            len(frozen) >= at_once
            or max(kept.values(), default=0) >= per_backend
            or time.monotonic() - oldest >= seconds
        )

    def quiet(self, name: str, seconds: float) -> bool:
        """Tell whether nothing about an object passed for a while."""
        return time.monotonic() - self.heard.get(name, 0.0) >= seconds

    def take(self, backend: str, spoken: Spoken) -> Rule | None:
        """Count a request, and return what is to be done to it."""
        call = self.attribution.of(backend, spoken)
        if call is None:
            return None
        with self._lock:
            return self._rule(backend, call)

    def _rule(self, backend: str, call: Call) -> Rule | None:
        if call.name in self.frozen:
            return self.frozen[call.name].rest
        self.heard[call.name] = time.monotonic()
        self._seen[call.name, backend, call.what] += 1
        row = Row(backend, call.what, self._seen[call.name, backend, call.what], call.effect)
        self.rows.setdefault(call.name, []).append(row)
        column = self.cells.get((call.name, row))
        if column is None:
            return None
        self.met.add((call.name, row))
        rule = Rule(FAULTS[column], any_request, None)
        if column.kills:
            rest = Rule(Hang(), any_request, None)
            self.frozen[call.name] = Frozen(backend, rule, rest, time.monotonic())
        return rule
