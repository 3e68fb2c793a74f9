"""What the proxy records, and the ways in which it can break a request."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

Predicate = Callable[[str, str], bool]
"""Tells by method and path (without the query) whether a request is meant."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that reached the proxy."""

    at: datetime
    """Arrival (aware UTC)."""
    method: str
    path: str
    """Without the query."""
    query: str
    user_agent: str
    status: int | None
    """What the client was told; None if it got no answer."""
    forwarded: bool
    """Whether the server behind the proxy saw it."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Everything that was said in one forwarded request; holds credentials."""

    method: str
    path: str
    """Without the query."""
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name."""
    sent: bytes = field(repr=False)
    answered: bytes = field(repr=False)
    """Empty unless the listener asked for answers."""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Delay:
    """Forward the request after a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """Keep the request until the rule is lifted; then forward it, if the client still waits."""


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with a status instead of forwarding."""

    code: int
    body: str = "{}"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CutBefore:
    """Drop the connection without forwarding: the server never saw the request."""


@dataclass(frozen=True, slots=True)
class CutAfter:
    """Forward the request and drop the connection: it was carried out, the answer is lost."""


@dataclass(frozen=True, slots=True)
class HoldAnswer:
    """Forward the request and keep the answer until the rule is lifted: it was carried out, and nobody was told."""


@dataclass(frozen=True, slots=True)
class DelayAnswer:
    """Forward the request and pass the answer on after a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Truncate:
    """Forward the request and drop the connection in the middle of the answer."""


Fault = Delay | Hang | Status | CutBefore | CutAfter | HoldAnswer | DelayAnswer | Truncate


def any_request(_method: str, _path: str) -> bool:
    """Match every request."""
    return True


def requests_to(path: str, method: str = ".*") -> Predicate:
    """Return a predicate for requests whose whole path and method match regular expressions."""
    wanted_path, wanted_method = re.compile(path), re.compile(method)

    def matches(method: str, path: str) -> bool:
        return bool(wanted_path.fullmatch(path) and wanted_method.fullmatch(method))

    return matches


def nth_of_each(when: Predicate, number: int = 1) -> Predicate:
    """Return a predicate for the n-th request to each path by each method that another one matches."""
    seen: Counter[tuple[str, str]] = Counter()

    def matches(method: str, path: str) -> bool:
        if not when(method, path):
            return False
        seen[method, path] += 1
        return seen[method, path] == number

    return matches


class Rule:
    """A fault that is in force for some requests, until lifted or used up."""

    def __init__(self, fault: Fault, when: Predicate, times: int | None) -> None:
        """Put a fault in force.

        Args:
            fault: What to do.
            when: To which requests.
            times: How often; None for every time.
        """
        self.fault = fault
        self.hits = 0
        """Requests that were broken so far."""
        self.lifted = False
        self.waits = False
        """Whether a request is kept by it: that was carried out, if it is one whose answer is held."""
        self._when = when
        self._times = times

    def takes(self, method: str, path: str) -> bool:
        """Tell whether the rule breaks this request, and count it if so.

        Called on the proxy's loop only, so that `times` is exact.
        """
        used_up = self._times is not None and self.hits >= self._times
        if self.lifted or used_up or not self._when(method, path):
            return False
        self.hits += 1
        return True

    def lift(self) -> None:
        """Break no further request, and let those go on that hang."""
        self.lifted = True
