"""What a command has found: lines for a person, and whether all is well."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding", "Report", "report_of"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    well: bool
    text: str
    """A sentence without its full stop; if it is not well, with what to do next."""

    def __str__(self) -> str:
        """Return it as a line of its own, marked in the first column."""
        return f"{'ok  ' if self.well else 'FAIL'}  {self.text}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a command prints, and its exit code."""

    text: str
    well: bool

    @property
    def exit_code(self) -> int:
        """0, or 1 so that Helm goes no further."""
        return 0 if self.well else 1


def report_of(findings: list[Finding]) -> Report:
    """Return the findings line by line, with their sum at the end."""
    failed = sum(not finding.well for finding in findings)
    total = f"{failed} of {len(findings)} checks failed" if failed else f"all {len(findings)} checks passed"
    return Report("\n".join([*map(str, findings), total]), not failed)
