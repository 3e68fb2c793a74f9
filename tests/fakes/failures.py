"""Errors that a fake raises on purpose, before or after the effect of a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


def anything(_target: str) -> bool:
    """Match every target."""
    return True


@dataclass(slots=True)
class Failure:
    """One planned error."""

    operation: str
    """Name of the port's method; `*` for all."""
    error: Exception
    at: str
    """Which point of the call: `before` (nothing happened), `after` (all happened), or one that the fake names."""
    times: int | None
    """How many more calls it meets; None: all."""
    when: Callable[[str], bool]
    """Which targets (path, or `<namespace>/<name>`)."""

    def meets(self, operation: str, at: str, target: str) -> bool:
        """Tell whether this call fails here."""
        return self.operation in {operation, "*"} and self.at == at and self.times != 0 and self.when(target)


@dataclass(slots=True)
class Failures:
    """The plan of one fake."""

    planned: list[Failure] = field(default_factory=list)

    def add(
        self,
        operation: str,
        error: Exception,
        *,
        at: str = "before",
        times: int | None = 1,
        when: Callable[[str], bool] = anything,
    ) -> None:
        """Let the next calls of an operation fail.

        Args:
            operation: Name of the port's method; `*` for all.
            error: What is raised.
            at: `before`, `after`, or a point that the fake names.
            times: How many calls; None: until `clear`.
            when: Which targets.
        """
        self.planned.append(Failure(operation, error, at, times, when))

    def clear(self) -> None:
        """Plan nothing any more."""
        self.planned.clear()

    def strike(self, operation: str, target: str, at: str) -> None:
        """Raise what is planned for this point of this call, if anything is."""
        for failure in self.planned:
            if failure.meets(operation, at, target):
                if failure.times is not None:
                    failure.times -= 1
                raise failure.error
