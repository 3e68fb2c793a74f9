"""What the operator tells of itself, read again and again, and the lines through such readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression

from prometheus_client.parser import text_string_to_metric_families

from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

_CALLS = "fedid_backend_calls_total"
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the metrics."""

    memory_mib: float
    """Resident memory of the process."""
    files: int
    """Open files and sockets."""
    calls: float
    """Requests to Keycloak so far."""
    failures: float
    """Those of them that had no answer, or one of 429 or 5xx."""
    bugs: float
    """Passes that ended in an unexpected exception."""

    @classmethod
    def of(cls, stack: Stack) -> Reading:
        """Ask the operator that the stack runs."""
        text = Rest(stack.operator_url).answer("GET", "/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        single = {sample.name: sample.value for sample in samples if not sample.labels}
        calls = [one for one in samples if one.name == _CALLS and one.labels["backend"] == "keycloak"]
        return cls(
            memory_mib=single["process_resident_memory_bytes"] / MIB,
            files=int(single["process_open_fds"]),
            calls=sum(one.value for one in calls),
            failures=sum(one.value for one in calls if not _is_answer(one.labels["status"])),
            bugs=single["fedid_bugs_total"],
        )


def _is_answer(status: str) -> bool:
    """Tell whether it is one of HTTP (else why there was none), and no refusal for now."""
    return status.isdigit() and int(status) < 500 and int(status) != 429


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line of least squares through points (x, y): y per x; 0 for fewer than two."""
    return linear_regression(*zip(*points, strict=True)).slope if len(points) > 1 else 0.0
