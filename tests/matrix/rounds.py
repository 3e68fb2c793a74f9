"""One life of many identities at once: every operation, with what is to be cut off in each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.authority import Authority
from tests.e2e.estate import estate_of
from tests.e2e.operating import Proxies
from tests.e2e.rotating import policy_disabled
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant, unique
from tests.matrix.attribution import Attribution
from tests.matrix.bots import Bots
from tests.matrix.hands import of_each
from tests.matrix.lives import PARTS, Ground, Life, Operation, merged
from tests.matrix.people import People
from tests.matrix.results import NOT_MET, Cell, Place, Results
from tests.matrix.servers import Servers
from tests.matrix.stage import Column, Row, Stage
from tests.matrix.super_nodes import SuperNodes
from tests.testbed.proxy import Proxy

KINDS: tuple[type[Life], ...] = (Bots, Servers, People, SuperNodes)
PATIENCE_SECONDS = 100.0
"""Without any object that comes to its end, on a machine that has more to do."""
_IDLE_WORKERS = 4
"""Of the operator, while others wait for the kill: the rest is to go on."""
_GLANCE_SECONDS = 0.1
FOLLOWS = {Operation.OVERLAP_ENDS: Operation.ROTATE, Operation.RESUME: Operation.SUSPEND}
"""What is done to exactly those that something else was done to."""
QUIET_SECONDS = 0.5
"""Without any call about an object: nothing of an operation is left over for the next."""
Cells = Mapping[tuple[type[Life], Operation], Sequence[tuple[Row, Column]]]
"""For each kind and operation what is to be cut off, each at an object of its own."""


@dataclass(frozen=True)
class World:
    """What the matrix runs on."""

    tenant: Tenant
    authority: Authority
    operator: Operator
    proxies: Proxies
    ground: Ground
    workers: int = 16
    """Of the operator; so many objects are worked on at a time."""
    kept: int = 6
    """Requests to one backend that can wait for the kill: an operator that has just started sends 8 at a time."""
    kept_seconds: float = 8.0
    """For how long one does: the operator gives up after 15 s, and may take its backend for one that is away."""
    say: Callable[[str], None] = print
    report: Callable[[Results], None] = lambda _results: None
    """Told after each lifetime."""

    def doors(self) -> dict[str, Proxy]:
        """Return the proxies before all that the operator changes anything at."""
        proxies, super_link = self.proxies, self.ground.super_link
        backends = {"keycloak": proxies.keycloak, "vault": proxies.vault, "kubernetes": proxies.kubernetes}
        return {**backends, "superlink": super_link.proxy}


@dataclass(slots=True)
class Lifetime:
    """Some identities of each kind, from their creation to their end."""

    world: World
    cells: Cells
    usual: Mapping[tuple[type[Life], Operation], int] = field(default_factory=dict)
    """How many calls each operation takes if nothing happens."""
    least: int = 1
    """Objects of each kind, if no more are needed."""
    results: Results = field(default_factory=Results)
    stage: Stage = field(init=False)
    lives: tuple[Life, ...] = field(init=False)
    last: dict[str, Operation] = field(default_factory=dict)
    """By object, what was done to it last."""
    broken: set[str] = field(default_factory=set)
    """Objects that failed; nothing can be learned of them any more."""

    def __post_init__(self) -> None:
        """Name the objects."""
        self.lives = tuple(self._life(kind) for kind in KINDS)
        namespace = self.world.tenant.namespace
        names = {name for life in self.lives for name in life.names}
        self.stage = Stage(Attribution(self.world.authority.stack, namespace, names, self.world.ground.super_link))

    def _life(self, kind: type[Life]) -> Life:
        count = max((len(cells) for (of, _), cells in self.cells.items() if of is kind), default=0)
        names = tuple(unique(f"{kind.__name__.lower()}-{number}") for number in range(max(count, self.least)))
        return kind(self.world.tenant, self.world.authority, self.world.ground, names)

    def run(self, after: Callable[[Operation], None] = lambda _operation: None) -> None:
        """Do everything to all of them; `after` each operation the stage still holds what was seen of it."""
        self.stage.attach(self.world.doors())
        try:
            for operation in Operation:
                self._operate(operation)
                after(operation)
        finally:
            self.stage.mend()
            self.stage.detach(self.world.doors())
            for life in self.lives:
                life.clean()
            for life in self.lives:
                for name in life.names:
                    self.world.tenant.gone(life.kind, name, seconds=PATIENCE_SECONDS)

    def _operate(self, operation: Operation) -> None:
        began = time.monotonic()
        pairs, armed = self._pairs(operation), self._armed(operation)
        if not pairs:
            return
        self.stage.arm({(name, row): column for name, (_, row, column) in armed.items()}, [name for _, name in pairs])
        with self._around(operation):
            kills, refused, late = self._carry_through(operation, pairs)
            settled = time.monotonic()
            pairs = [(life, name) for life, name in pairs if name not in refused]
            problems = self._problems(operation, pairs, late) | refused
        met = {name for name, _ in self.stage.met}
        for name, (life, row, column) in armed.items():
            extra = len(self.stage.rows[name]) - self.usual.get((type(life), operation), 0)
            told = problems.get(name) or ("" if name in met else NOT_MET)
            self.results.add(Place(life.owner_of(row.what), operation, row), column, Cell(extra, told))
        for name, problem in problems.items():
            if problem and name not in armed:
                self.results.problems.append(f"{operation}, nothing cut off, {name or 'nobody'}: {problem}")
        self.broken |= {name for name, problem in problems.items() if problem}
        self.world.say(
            f"  {operation}: {len(pairs)} objects, {len(armed)} cells, {len(met)} met, {kills} kills, "
            f"{sum(map(bool, problems.values()))} problems, {settled - began:.0f} s, "
            f"checked in {time.monotonic() - settled:.0f} s"
        )

    def _pairs(self, operation: Operation) -> list[tuple[Life, str]]:
        """Return who takes part: all that anything is cut off of in it, or in what cannot be without it."""
        found: list[tuple[Life, str]] = []
        for life in self.lives:
            names = self._sound(life)
            if operation not in life.operations:
                continue
            if operation in FOLLOWS:
                names = [name for name in names if self.last[name] is FOLLOWS[operation]]
            elif self.cells and operation not in {Operation.CREATE, Operation.DELETE}:
                names = names[: self._needed(life, operation)]
            found += [(life, name) for name in names]
        return found

    def _needed(self, life: Life, operation: Operation) -> int:
        """Return of how many objects a part is needed; what comes later is about those that were changed."""
        if operation is Operation.CHANGE:
            relevant = {*Operation} - {Operation.CREATE}
        else:
            later = {**FOLLOWS, **life.builds_on}
            relevant = {operation, *(after for after, before in later.items() if before is operation)}
        return max(len(self.cells.get((type(life), one), ())) for one in relevant)

    def _armed(self, operation: Operation) -> dict[str, tuple[Life, Row, Column]]:
        """Give each cell an object; one that none is left for is told as not met."""
        armed: dict[str, tuple[Life, Row, Column]] = {}
        taking_part = {name for _, name in self._pairs(operation)}
        for life in self.lives:
            names = iter([name for name in self._sound(life) if name in taking_part])
            for row, column in self.cells.get((type(life), operation), ()):
                name = next(names, None)
                if name is None:
                    self.results.add(Place(life.owner_of(row.what), operation, row), column, Cell(0, NOT_MET))
                else:
                    armed[name] = (life, row, column)
        return armed

    def _sound(self, life: Life) -> list[str]:
        return [name for name in life.names if name not in self.broken]

    def _carry_through(
        self, operation: Operation, pairs: Sequence[tuple[Life, str]]
    ) -> tuple[int, dict[str, str], set[str]]:
        """Do it to some at a time, and kill the operator whenever those that are not done wait for it.

        Returns:
            How often it was killed, why something could not be done to an object, and the objects not done in time.
        """
        to_do, left, refused, kills = list(pairs), dict[str, Life](), dict[str, str](), 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (to_do or left) and time.monotonic() < deadline:
            begun = time.monotonic()
            room = max(self.world.workers - len(left), 0)
            now, to_do = to_do[:room], to_do[room:]
            refused |= {name: str(why) for name, why in self._each(self._act(operation), now).items() if why}
            now = [(life, name) for life, name in now if name not in refused]
            self.last |= dict.fromkeys((name for _, name in now), operation)
            left |= {name: life for life, name in now}
            if self._settle(operation, left):
                deadline = time.monotonic() + PATIENCE_SECONDS
            waiting = self.stage.waiting()
            all_wait = left.keys() <= waiting and (not to_do or len(left) >= self.world.workers)
            if waiting and (all_wait or self._crowded()):
                at_risk = [(life, name) for name, life in left.items() if name in waiting]
                self._each(lambda life, name: life.meanwhile(operation, name), at_risk)
                self.world.operator.kill()
                self.stage.mend()
                self.world.operator.start(wait=False)
                kills += 1
                deadline = time.monotonic() + PATIENCE_SECONDS
            elif left:
                # A look takes as much of the cores as it takes; most are left to what is looked at.
                time.sleep(max(_GLANCE_SECONDS, 2 * (time.monotonic() - begun)))
        return kills, refused, {*left, *(name for _, name in to_do)}

    def _crowded(self) -> bool:
        """Tell whether what waits for the kill may wait no longer, or no more may."""
        world = self.world
        return self.stage.crowded(world.workers - _IDLE_WORKERS, world.kept, world.kept_seconds)

    def _settle(self, operation: Operation, left: dict[str, Life]) -> bool:
        """Take out those that are done; return whether there were any."""
        self._look()
        now = [(life, name) for name, life in left.items() if name not in self.stage.frozen]
        done = self._each(lambda life, name: self._is_done(operation, life, name), now)
        settled = [name for name, is_done in done.items() if is_done is True]
        for name in settled:
            del left[name]
        return bool(settled)

    def _act(self, operation: Operation) -> Callable[[Life, str], None]:
        return lambda life, name: life.act(operation, name)

    @contextmanager
    def _around(self, operation: Operation) -> Iterator[None]:
        """Give an operation what it needs of the realm; the operator learns of it at its start."""
        if operation is not Operation.REPLACE:
            yield
            return
        with policy_disabled(self.world.authority.stack):
            self._restart()
            yield
        self._restart()

    def _restart(self) -> None:
        self.world.operator.kill()
        self.world.operator.start(wait=False)

    def _look(self) -> None:
        found = {
            (kind, body["metadata"]["name"]): body
            for kind in {"PodIdentity", *(life.kind for life in self.lives)}
            for body in self.world.tenant.all_of(kind)
        }
        for life in self.lives:
            life.bodies = found

    def _is_done(self, operation: Operation, life: Life, name: str) -> bool:
        return self.stage.quiet(name, QUIET_SECONDS) and life.settled(operation, name)

    def _problems(self, operation: Operation, pairs: Sequence[tuple[Life, str]], late: set[str]) -> dict[str, str]:
        told = {name: f"not settled: {_condition(life.get(name))}" for life, name in pairs if name in late}

        def check(life: Life, name: str) -> str:
            life.check(operation, name)
            return ""

        self._look()
        told |= self._each(check, [(life, name) for life, name in pairs if name not in late])
        told = {name: str(problem) for name, problem in told.items()}
        for name, problem in self._misplaced().items():
            told[name] = told.get(name) or problem
        return told

    def _misplaced(self) -> dict[str, str]:
        """Return by object what is there and should not be, or the other way round: orphans, duplicates, losses."""
        known = [(life, name) for life in self.lives for name in life.names if name in self.last]
        wanted = merged(life.estate(self.last[name], name) for life, name in known if name not in self.broken)
        found = estate_of(self.world.authority.stack, self.world.tenant.namespace)
        told: dict[str, str] = {}
        for part in PARTS:
            have, want = Counter(getattr(found, part)), Counter(getattr(wanted, part))
            for word, entries in (("too much", have - want), ("missing", want - have)):
                for entry in entries:
                    whose = next((name for _, name in known if name in entry), "")
                    told[whose] = f"{word} in {part}: {entry}"
        return {name: problem for name, problem in told.items() if name not in self.broken}

    @staticmethod
    def _each(look: Callable[[Life, str], object], pairs: Sequence[tuple[Life, str]]) -> dict[str, object]:
        """Ask about each object; what fails is told by its message."""
        answers = of_each(lambda pair: look(*pair), pairs)
        return {name: answer for (_, name), answer in zip(pairs, answers, strict=True)}


def _condition(body: Mapping[str, object]) -> str:
    conditions = (body.get("status") or {}).get("conditions") or []  # type: ignore[attr-defined]
    return "; ".join(f"{one['type']}={one['status']} {one['reason']}: {one['message']}" for one in conditions)
