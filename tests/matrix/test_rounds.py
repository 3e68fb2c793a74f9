"""One round of the matrix on objects that are only counted: who is killed, what is told, who is left out later."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from tests.e2e.estate import Estate
from tests.matrix import rounds
from tests.matrix.attribution import Call
from tests.matrix.lives import NOTHING, Life, Operation
from tests.matrix.results import NOT_MET, Place
from tests.matrix.rounds import Lifetime, World
from tests.matrix.stage import Column, Row
from tests.testbed.faults import Spoken

KEPT = 3
WRITE, NEVER = Row("vault", "POST write", 1), Row("vault", "POST never", 1)


@dataclass(slots=True)
class Counted(Life):
    """Settles with the one request that its operation makes; some objects are not as they should be."""

    kind: ClassVar[str] = "BotClient"
    title: ClassVar[str] = "BotClient"
    operations: ClassVar[tuple[Operation, ...]] = (Operation.CREATE, Operation.DELETE)
    wrong: ClassVar[set[int]] = set()
    asked: list[tuple[Operation, str]] = field(default_factory=list)

    def act(self, operation: Operation, name: str) -> None:
        """Let the operator make its request."""
        self.asked.append((operation, name))

    def settled(self, operation: Operation, name: str) -> bool:
        """Make the request, as often as it is looked."""
        del operation
        return self.tenant.write(name)  # type: ignore[attr-defined,no-any-return]

    def check(self, operation: Operation, name: str) -> None:
        """Find what is wrong."""
        assert self.names.index(name) not in self.wrong, f"wrong after {operation}"

    def estate(self, operation: Operation, name: str) -> Estate:
        """Leave nothing."""
        del operation, name
        return NOTHING

    def clean(self) -> None:
        """Have nothing to remove."""


@dataclass(slots=True)
class Backend:
    """The proxies, the operator and the tenant in one: requests go to the stage alone."""

    stage: Any = None
    told: list[str] = field(default_factory=list)
    namespace: str = "here"

    def direct(self, director: Any) -> None:
        """Be watched."""

    def write(self, name: str) -> bool:
        """Make a request, if there is a place for one; tell whether it was let through."""
        if len(self.stage.frozen) == KEPT and name not in self.stage.frozen:
            return False
        rule = self.stage.take("vault", Spoken("POST", "write", {}, name.encode(), b""))
        if rule is not None:
            rule.waits = True
        return rule is None

    def all_of(self, _kind: str) -> list[Any]:
        """Show nothing."""
        return []

    def kill(self) -> None:
        """Note it."""
        self.told.append("kill")

    def start(self, *, wait: bool = True) -> None:
        """Note it."""
        self.told.append(f"start, wait={wait}")

    def gone(self, *_about: object, **_patience: float) -> None:
        """Be gone."""


class Known:
    """Takes the body for the name of the object."""

    def of(self, _backend: str, spoken: Spoken) -> Call:
        """Return what a request says of itself."""
        return Call(spoken.sent.decode(), f"{spoken.method} {spoken.path}", effect=True)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """What the round runs on."""
    monkeypatch.setattr(rounds, "KINDS", (Counted,))
    monkeypatch.setattr(rounds, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(rounds, "policy_disabled", lambda _stack: nullcontext())
    monkeypatch.setattr(rounds, "estate_of", lambda _stack, _namespace: Estate((), (), ("bots/stray/client",), ()))
    return Backend()


def lifetime(backend: Backend, cells: Any) -> Lifetime:
    """Return a life of as many objects as there are cells, and of one more."""
    ground = SimpleNamespace(super_link=SimpleNamespace(proxy=backend))
    proxies = SimpleNamespace(keycloak=backend, vault=backend, kubernetes=backend, all=lambda: (backend,))
    world: Any = World(
        backend, SimpleNamespace(stack=None), backend, proxies, ground, kept=KEPT, say=lambda _line: None
    )  # type: ignore[arg-type]
    made = Lifetime(world, cells, {(Counted, Operation.CREATE): 1}, least=4)
    made.stage.attribution = Known()  # type: ignore[assignment]
    backend.stage = made.stage
    return made


def test_one_kill_for_all_that_wait_and_every_problem_is_told(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody was to cut off may fail too, and what is there of nobody is no less an orphan."""
    monkeypatch.setattr(Counted, "wrong", {1, 3})
    cells = {
        (Counted, Operation.CREATE): [
            (WRITE, Column.KILL_BEFORE),
            (WRITE, Column.KILL_AFTER),
            (NEVER, Column.CUT),
        ]
    }
    made = lifetime(backend, cells)
    made.run()
    first = backend.told[:2]
    assert first == ["kill", "start, wait=False"]
    assert backend.told.count("start, wait=False") == 1
    told = {(place.row, column): cell for (place, column), cell in made.results.cells.items()}
    assert (told[WRITE, Column.KILL_BEFORE].problem, told[WRITE, Column.KILL_BEFORE].extra) == ("", 1)
    assert "wrong after create" in told[WRITE, Column.KILL_AFTER].problem
    assert told[NEVER, Column.CUT].problem == NOT_MET
    (life,) = made.lives
    assert any(life.names[3] in problem and "wrong after create" in problem for problem in made.results.problems)
    assert any("nobody: too much in vault: bots/stray/client" in problem for problem in made.results.problems)
    deleted = {name for operation, name in life.asked if operation is Operation.DELETE}  # type: ignore[attr-defined]
    assert deleted == {life.names[0], life.names[2]}, "what failed goes no further"


def test_the_operator_is_killed_before_too_many_wait(backend: Backend) -> None:
    """Those that come later wait for the next kill; each waits at its own request all the same."""
    wanted = [(WRITE, Column.KILL_AFTER)] * (KEPT + 1)
    made = lifetime(backend, {(Counted, Operation.CREATE): wanted})
    made.run()
    assert backend.told.count("kill") == 2
    assert made.results.cells.keys() == {(Place("BotClient", Operation.CREATE, WRITE), Column.KILL_AFTER)}
    assert len(made.stage.met) == 0, "of the deletion, in which nothing is cut off"
    assert not made.results.not_met()


def test_nobody_takes_part_in_what_nothing_is_cut_off_of(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for its creation and end; and what needs something else is done to those that this was done to."""
    monkeypatch.setattr(Counted, "operations", tuple(Operation))
    made = lifetime(backend, {(Counted, Operation.OVERLAP_ENDS): [(WRITE, Column.CUT)] * 2})
    made.run()
    (life,) = made.lives
    asked = Counter(operation for operation, _ in life.asked)  # type: ignore[attr-defined]
    some = (Operation.CHANGE, Operation.ROTATE, Operation.OVERLAP_ENDS)
    assert asked == {Operation.CREATE: 4, Operation.DELETE: 4, **dict.fromkeys(some, 2)}


def test_one_who_takes_part_has_gone_through_what_the_operation_builds_on(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would not make the requests that are to be cut off: nobody revokes two secrets who has one."""
    monkeypatch.setattr(Counted, "operations", tuple(Operation))
    monkeypatch.setattr(Counted, "builds_on", {Operation.REVOKE_NOW: Operation.ROTATE})
    made = lifetime(backend, {(Counted, Operation.REVOKE_NOW): [(WRITE, Column.CUT)] * 2})
    made.run()
    (life,) = made.lives
    asked = Counter(operation for operation, _ in life.asked)  # type: ignore[attr-defined]
    some = (Operation.CHANGE, Operation.ROTATE, Operation.OVERLAP_ENDS, Operation.REVOKE_NOW)
    assert asked == {Operation.CREATE: 4, Operation.DELETE: 4, **dict.fromkeys(some, 2)}
