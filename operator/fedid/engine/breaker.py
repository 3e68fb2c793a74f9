"""Stop calling a backend that does not answer, and find out soon when it does again."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fedid.engine.clock import Clock, loop_time
from fedid.engine.listeners import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_bypassed: ContextVar[frozenset[Breaker]] = ContextVar("bypassed_breakers", default=frozenset())


class BreakerState(StrEnum):
    """What a breaker does with a call."""

    CLOSED = "closed"
    """Lets it through."""

    OPEN = "open"
    """Refuses it."""

    HALF_OPEN = "half-open"
    """Has let one through to see, and refuses the others until that one is back."""


class BreakerOpenError(Exception):
    """The backend is taken to be away, so nothing was sent: park what needs it, it spends no attempt."""

    def __init__(self, backend: str, *, retry_at: float, retry_after_seconds: float) -> None:
        """Keep when another call may be let through.

        Args:
            backend: Whose breaker it is.
            retry_at: Monotonic seconds on the breaker's clock.
            retry_after_seconds: The same as a pause from now (seconds), for who knows another clock.
        """
        super().__init__(f"{backend} does not answer; the next attempt is in {retry_after_seconds:.1f} s")
        self.backend = backend
        self.retry_at = retry_at
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens and how long it stays so.

    Raises:
        ValueError: A figure is not above 0, or the cool-down's cap is below its start.
    """

    threshold: int = 5
    """Transport failures in a row that open it."""

    cooldown_seconds: float = 1.0
    """How long it refuses everything at first (seconds); doubles with every probe that fails."""

    cooldown_cap_seconds: float = 30.0
    """What the cool-down does not exceed (seconds)."""

    probe_lease_seconds: float = 30.0
    """After so long (seconds) a probe without a verdict, whose caller was cancelled, makes room for another one."""

    def __post_init__(self) -> None:
        """Refuse figures that would never open it or never close it."""
        if not (self.threshold >= 1 and 0 < self.cooldown_seconds <= self.cooldown_cap_seconds):
            message = f"a breaker needs threshold >= 1 and 0 < cool-down <= cap, not {self}"
            raise ValueError(message)
        if self.probe_lease_seconds <= 0:
            message = f"a breaker needs a probe lease > 0, not {self}"
            raise ValueError(message)


class Breaker:
    """One backend's circuit breaker.

    Every call asks `check` first and reports `succeeded` or `failed`. Only transport counts: any answer, also a
    refusal, is a success here, since the backend is there. A success closes the breaker in whichever state: if a call
    from before it opened still comes through, the backend answers.

    Source: M. Nygard, "Release It!", "Circuit Breaker"; learn.microsoft.com, Azure Architecture Center, "Circuit
    Breaker pattern".
    """

    def __init__(self, backend: str, policy: BreakerPolicy | None = None, *, clock: Clock = loop_time) -> None:
        """Start closed; `clock` reads monotonic seconds."""
        self.backend = backend
        self._policy = policy if policy is not None else BreakerPolicy()
        self._clock = clock
        self._state = BreakerState.CLOSED
        self._failures = 0
        self._cooldown_seconds = self._policy.cooldown_seconds
        # While open the end of the cool-down, while half-open the end of the probe's lease.
        self._next_probe_at = 0.0
        self._listeners: list[Callable[[BreakerState], None]] = []

    @property
    def state(self) -> BreakerState:
        """What it does now; an open one turns half-open only when a call asks."""
        return self._state

    def on_change(self, listener: Callable[[BreakerState], None]) -> None:
        """Have every new state told to `listener`, synchronously; on CLOSED, wake what was parked."""
        self._listeners.append(listener)

    def check(self) -> None:
        """Return if a call may go out now.

        Raises:
            BreakerOpenError: The breaker is open, or half-open with its probe on the way.
        """
        if self._state is BreakerState.CLOSED or self in _bypassed.get():
            return
        now = self._clock()
        if now < self._next_probe_at:
            # Nobody knows how long the probe takes; if it fails, the gate stays shut for at least another cool-down.
            retry_at = min(self._next_probe_at, now + self._cooldown_seconds)
            raise BreakerOpenError(self.backend, retry_at=retry_at, retry_after_seconds=retry_at - now)
        self._next_probe_at = now + self._policy.probe_lease_seconds
        self._turn(BreakerState.HALF_OPEN)

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Let through every call that is made in this context, for a health check; its verdicts count as any."""
        token = _bypassed.set(_bypassed.get() | {self})
        try:
            yield
        finally:
            _bypassed.reset(token)

    def succeeded(self) -> None:
        """Report that the backend answered, whatever it said."""
        self._failures = 0
        self._cooldown_seconds = self._policy.cooldown_seconds
        self._turn(BreakerState.CLOSED)

    def failed(self) -> None:
        """Report that no answer came: connection refused or lost, TLS failure, timeout.

        While open this changes nothing: it is a call from before, or a health check, and must not lengthen the
        cool-down.
        """
        if self._state is BreakerState.CLOSED:
            self._failures += 1
            if self._failures >= self._policy.threshold:
                self._open()
        elif self._state is BreakerState.HALF_OPEN:
            self._cooldown_seconds = min(2 * self._cooldown_seconds, self._policy.cooldown_cap_seconds)
            self._open()

    def _open(self) -> None:
        self._next_probe_at = self._clock() + self._cooldown_seconds
        self._turn(BreakerState.OPEN)

    def _turn(self, state: BreakerState) -> None:
        if state is self._state:
            return
        self._state = state
        for listener in self._listeners:
            tell(listener, state)
