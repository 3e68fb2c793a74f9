"""What lies between the replicas and the servers: delay, loss and outages; effects happen at one instant, or never."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from fedid.errors import BackendUnavailableError, Error
from tests.simulation.timeline import Machine, Timeline

T = TypeVar("T")

CLUSTER, KEYCLOAK, VAULT, SUPERLINK = BACKENDS = ("kubernetes", "keycloak", "vault", "superlink")
_TIMEOUT_SECONDS = 15.0


class NoAnswerError(Exception):
    """Nothing came back."""

    def __init__(self, failure: str, *, sent: bool) -> None:
        """Keep what the transport would call it, and whether the request may have arrived."""
        super().__init__(failure)
        self.failure, self.sent = failure, sent


class PartlyDoneError(NoAnswerError):
    """The connection broke between two requests of one call."""

    def __init__(self) -> None:
        """The first of them has arrived."""
        super().__init__("lost", sent=True)


@dataclass(slots=True)
class Weather:
    """How one server can be reached."""

    away_until: float = 0.0
    silent: bool = False
    """While it is away: no answer comes, instead of a refused connection."""
    loss_until: float = 0.0
    loss: float = 0.0
    """Part of the requests that are lost until then, half of them after their effect."""

    def is_away(self, now: float) -> bool:
        """Tell whether nothing gets through."""
        return now < self.away_until


@dataclass(frozen=True, slots=True)
class Request:
    """One call that a replica sent."""

    machine: Machine
    backend: str
    operation: str
    target: str
    writes: bool
    sent_at: float


@dataclass(slots=True)
class Network:
    """Carries requests and answers."""

    timeline: Timeline
    random: Random
    seconds: float = 0.01
    """Mean delay of one way."""
    weather: dict[str, Weather] = field(default_factory=lambda: {name: Weather() for name in BACKENDS})
    on_sent: Callable[[Request], None] = lambda _request: None
    on_effect: Callable[[Request], None] = lambda _request: None
    """Told right after a request took effect, before its answer leaves."""
    on_heard: Callable[[Request], None] = lambda _request: None
    """Told when a server was reached."""

    async def call(self, request: Request, effect: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Send a request of the running machine and wait for its answer.

        Raises:
            NoAnswerError: It, or its answer, was lost.
            Error: What the server said.
        """
        weather, now = self.weather[request.backend], self.timeline.now
        answer: asyncio.Future[T] = request.machine.create_future()
        self.on_sent(request)
        if weather.is_away(now) and not weather.silent:
            self._reply(request, answer, NoAnswerError("refused", sent=False), self._delay())
            return await answer
        lost = now < weather.loss_until and self.random.random() < weather.loss
        arrives = not (lost and self.random.random() < 0.5)
        if arrives:
            self.timeline.after(self._delay(), lambda: self._arrive(request, effect, answer, lost=lost))
        else:
            self._reply(request, answer, NoAnswerError("timeout", sent=True), _TIMEOUT_SECONDS)
        return await answer

    def _arrive(
        self,
        request: Request,
        effect: Callable[[], Coroutine[Any, Any, T]],
        answer: asyncio.Future[T],
        *,
        lost: bool,
    ) -> None:
        if self.weather[request.backend].is_away(self.timeline.now):
            self._reply(request, answer, NoAnswerError("timeout", sent=True), _TIMEOUT_SECONDS)
            return
        result: Any
        try:
            result = at_once(effect())
        except (Error, NoAnswerError) as error:
            result = error
        self.on_effect(request)
        if lost:
            self._reply(request, answer, NoAnswerError("timeout", sent=True), _TIMEOUT_SECONDS)
        else:
            self._reply(request, answer, result, self._delay())

    def _reply(self, request: Request, answer: asyncio.Future[T], result: Any, seconds: float) -> None:
        machine = request.machine
        self.timeline.after(seconds, lambda: None if machine.dead else _hand_over(machine, answer, result))

    def _delay(self) -> float:
        return self.random.expovariate(1.0) * self.seconds


class PartialFaults:
    """In place of a fake's planned failures: breaks calls of several requests in the middle, while answers get lost."""

    def __init__(self, network: Network, backend: str) -> None:
        """Break calls to this backend."""
        self._network, self._weather = network, network.weather[backend]

    def strike(self, _operation: str, _target: str, at: str) -> None:
        """Break off between the two requests of a first write."""
        if at != "marked" or self._network.timeline.now >= self._weather.loss_until:
            return
        if self._network.random.random() < self._weather.loss:
            raise PartlyDoneError


def at_once(call: Coroutine[Any, Any, T]) -> T:
    """Run a fake's coroutine to its end at this instant: all it waits for is a turn of the loop."""
    try:
        while True:
            call.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


def unavailable(backend: str, error: NoAnswerError, *, writes: bool) -> BackendUnavailableError:
    """Return what a transport makes of a missing answer."""
    message = f"{backend} does not answer ({error.failure})"
    return BackendUnavailableError(message, backend=backend, outcome_unknown=error.sent and writes)


def _hand_over(machine: Machine, answer: asyncio.Future[T], result: Any) -> None:
    def settle() -> None:
        if answer.done():
            return
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    machine.call_soon(settle)
