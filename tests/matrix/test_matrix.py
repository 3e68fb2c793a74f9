"""The matrix itself: it leaves no step out, shares cells out without a loss, and freezes what waits for a kill."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field

from tests.matrix import steps
from tests.matrix.attribution import Call
from tests.matrix.bots import Bots
from tests.matrix.lives import Operation
from tests.matrix.matrix import Reference, batches
from tests.matrix.people import People
from tests.matrix.results import NOT_MET, Cell, Place, Results
from tests.matrix.stage import Column, Row, Stage
from tests.testbed.faults import CutAfter, Hang, HoldAnswer, Spoken

WRITE = Row("vault", "POST secret/data/bots/<name>/client", 1)
READ = Row("vault", "GET secret/data/bots/<name>/client", 1, effect=False)


def test_every_step_of_a_plan_is_in_the_matrix_or_said_to_be_elsewhere() -> None:
    """A new step fails here until somebody says which requests carry it out."""
    assert steps.unknown_steps() == set()


def test_a_request_that_nobody_knows_is_told() -> None:
    """An effect; what is only read changes nothing that a crash could lose."""
    strange = Row("keycloak", "POST users/<id>/impersonation", 1)
    assert steps.unforeseen([WRITE, READ, strange]) == {strange.what}


def test_a_step_without_a_row_and_one_that_was_never_taken_are_told() -> None:
    """Both sides must know of a step: the operator's audit, and the rows."""
    taken = ["PublishSecret", "CreateClient"]
    lines = [_audited(step, "BotClient/here/one") for step in taken] + [_audited("UpdateClient", "BotClient/here/two")]
    gaps = steps.uncovered([WRITE], "\n".join(lines), ["one"])
    assert "PublishSecret" not in gaps
    assert {"CreateClient", "UpdateClient"} <= gaps, "no row; not of these objects"


def _audited(step: str, about: str) -> str:
    return json.dumps({"logger": "fedid.audit", "message": step, "details": {"step": step, "object": about}})


def reference() -> Reference:
    """Return one of two kinds with many requests."""
    rows = [Row(backend, f"POST {n}", 1) for backend in ("keycloak", "vault", "kubernetes") for n in range(9)]
    reads = [Row("vault", f"GET {n}", 1, effect=False) for n in range(9)]
    at = ((Bots, Operation.CREATE), (People, Operation.CREATE), (Bots, Operation.DELETE))
    return Reference({one: [*rows, *reads] for one in at})


def test_every_cell_is_shared_out_once_and_kills_come_first() -> None:
    """No lifetime has too many objects, and the calls of those without a kill are not counted among kills of others."""
    cells = reference().every_cell()
    shares = batches(cells, at_once=10)
    for at, wanted in cells.items():
        assert Counter(cell for share in shares for cell in share.get(at, ())) == Counter(wanted)
        assert all(len(share.get(at, ())) <= 10 for share in shares)
        in_turn = [column.kills for share in shares for _, column in share.get(at, ())]
        assert in_turn == sorted(in_turn, reverse=True)


def test_a_sample_has_each_request_once_and_every_column() -> None:
    """Of each kind, in one of the operations that it occurs in; what is only read is never killed."""
    sample = reference().sample(random.Random(1))  # noqa: S311 - not for a secret
    found = [(kind, row, column) for (kind, _), cells in sample.items() for row, column in cells]
    every = {(kind, row.what) for (kind, _), rows in reference().rows.items() for row in rows}
    assert Counter((kind, row.what) for kind, row, _ in found) == Counter(every)
    assert {column for _, _, column in found} == set(Column)
    assert all(column in row.columns for _, row, column in found)


@dataclass(slots=True)
class Known:
    """Takes the path for the request, and the body for the name of the object."""

    names: set[str] = field(default_factory=set)

    def of(self, backend: str, spoken: Spoken) -> Call:
        """Return what a request says of itself."""
        del backend
        return Call(spoken.sent.decode(), spoken.path, effect=True)


def test_an_object_stays_frozen_at_the_request_that_waits_for_the_kill() -> None:
    """Its further requests hang and are not counted; other objects go on, and after the kill it does too."""
    stage = Stage(Known())  # type: ignore[arg-type]
    second = Row("vault", "/write", 2)
    stage.arm({("one", second): Column.KILL_AFTER, ("two", second): Column.CUT}, ["one", "two"])

    def ask(name: str, path: str = "/write") -> object:
        rule = stage.take("vault", Spoken("POST", path, {}, name.encode(), b""))
        return rule.fault if rule is not None else None

    assert [ask("one"), ask("one"), ask("one"), ask("one", "/read")] == [None, HoldAnswer(), Hang(), Hang()]
    assert [ask("two"), ask("two"), ask("two")] == [None, CutAfter(), None]
    assert stage.rows == {
        "one": [Row("vault", "/write", 1), second],
        "two": [Row("vault", "/write", n) for n in (1, 2, 3)],
    }
    assert stage.met == {("one", second), ("two", second)}
    waiting = stage.frozen["one"]
    assert stage.waiting() == set(), "the request is on its way to the server"
    waiting.cut.waits = True
    assert stage.waiting() == {"one"}
    stage.mend()
    assert waiting.cut.lifted
    assert waiting.rest.lifted
    assert ask("one") is None


def test_few_wait_for_a_kill_at_a_time_and_none_for_long() -> None:
    """Else the operator has no place left for the others, or gives up."""
    stage, write = Stage(Known()), Row("vault", "/write", 1)  # type: ignore[arg-type]
    names = [f"bot-{number}" for number in range(6)]
    stage.arm({(name, write): Column.KILL_BEFORE for name in names}, names)
    for name in names:
        assert not stage.crowded(at_once=12, per_backend=6, seconds=60)
        stage.take("vault", Spoken("POST", "/write", {}, name.encode(), b""))
    assert stage.crowded(at_once=12, per_backend=6, seconds=60)
    stage.mend()
    assert not stage.crowded(at_once=12, per_backend=6, seconds=60)
    stage.arm({("one", write): Column.KILL_BEFORE}, ["one"])
    stage.take("vault", Spoken("POST", "/write", {}, b"one", b""))
    assert not stage.crowded(at_once=12, per_backend=6, seconds=60)
    assert stage.crowded(at_once=1, per_backend=6, seconds=60)
    assert stage.crowded(at_once=12, per_backend=6, seconds=0)


def test_the_table_tells_what_failed_and_what_did_not_come() -> None:
    """A cell that was not met is none that is good, and no failure of the operator either."""
    results = Results()
    place = Place("BotClient", Operation.CREATE, WRITE)
    results.add(place, Column.CUT, Cell(7))
    results.add(place, Column.DELAY, Cell(0, NOT_MET))
    results.add(place, Column.TRUNCATE, Cell(3, "two clients"))
    results.add(Place("BotClient", Operation.CREATE, READ), Column.CUT, Cell(-1))
    assert f"| `{WRITE}` |  |  | ok (+7) | not met | two clients |" in results.markdown()
    assert f"| `{READ}` | (a read) | (a read) | ok (+0) |  |  |" in results.markdown()
    assert results.failures() == [f"BotClient, create, {WRITE}, truncate: two clients"]
    assert "2 rows (1 side effects), 4 cells, 2 ok, 1 not met, 1 failed" in results.summary()
