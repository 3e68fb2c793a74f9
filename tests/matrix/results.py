"""What became of each cell, and the table of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.matrix.lives import Operation
from tests.matrix.stage import Column, Row

NOT_MET = "not met"
"""The request did not come this time, so nothing was cut off."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault at one request of one object."""

    extra: int
    """Calls about the object beyond those of one that nothing happened to."""
    problem: str = ""
    """Empty: the end was what the manifests say, and every invariant held."""

    def __str__(self) -> str:
        """Return it as a table shows it."""
        return self.problem or f"ok (+{max(self.extra, 0)})"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a cell is in the table, but for its column."""

    title: str
    operation: Operation
    row: Row


@dataclass(slots=True)
class Results:
    """Every cell so far."""

    cells: dict[tuple[Place, Column], Cell] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """Of objects that nothing was done to."""

    def add(self, place: Place, column: Column, cell: Cell) -> None:
        """Note what became of a cell; one that was not met before is replaced."""
        self.cells[place, column] = cell

    def not_met(self) -> list[tuple[Place, Column]]:
        """Return the cells whose request never came."""
        return [at for at, cell in self.cells.items() if cell.problem == NOT_MET]

    def failures(self) -> list[str]:
        """Return what went wrong, in sentences; that a request did not come is no failure of the operator."""
        told = [
            f"{place.title}, {place.operation}, {place.row}, {column}: {cell.problem}"
            for (place, column), cell in self.cells.items()
            if cell.problem not in {"", NOT_MET}
        ]
        return [*self.problems, *told]

    def places(self) -> list[Place]:
        """Return every row, in the order of the operations and of the requests."""
        found = dict.fromkeys(place for place, _ in self.cells)
        kinds = list(dict.fromkeys(place.title for place in found))
        return sorted(found, key=lambda place: (kinds.index(place.title), list(Operation).index(place.operation)))

    def summary(self) -> str:
        """Return the figures in one line."""
        good = [cell for cell in self.cells.values() if not cell.problem]
        extra = sorted(max(cell.extra, 0) for cell in good) or [0]
        effects = sum(place.row.effect for place in self.places())
        return (
            f"{len(self.places())} rows ({effects} side effects), {len(self.cells)} cells, {len(good)} ok, "
            f"{len(self.not_met())} not met, {len(self.failures())} failed; "
            f"extra calls per cell: median {extra[len(extra) // 2]}, most {extra[-1]}"
        )

    def markdown(self) -> str:
        """Return the whole as a document."""
        return "\n".join(["# Crash matrix", "", self.summary(), *self._tables(), ""])

    def _tables(self) -> Iterator[str]:
        heading: tuple[str, Operation] | None = None
        for place in self.places():
            if heading != (place.title, place.operation):
                heading = (place.title, place.operation)
                yield from ("", f"## {place.title}: {place.operation}", "")
                yield _line(["request", *Column])
                yield _line(["---"] * (len(Column) + 1))
            yield _line([f"`{place.row}`", *(self._text(place, column) for column in Column)])

    def _text(self, place: Place, column: Column) -> str:
        if column not in place.row.columns:
            return "(a read)"
        cell = self.cells.get((place, column))
        return str(cell) if cell is not None else ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
