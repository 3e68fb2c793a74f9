"""Clients that never stop: each request reads its credential anew and presents it at once, and nothing is retried."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.e2e.rotating import Rotating

PERIOD_SECONDS = 0.15
"""Between the requests of one client, unless the last one took longer."""
OF_EACH_KIND = 2
"""Clients; a slow answer to one keeps none of the others."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that did not succeed; tells nothing of the credential."""

    at: float
    """Seconds since the load began."""
    client: str
    bot: str
    why: str


Request = Callable[[Rotating], tuple[str, str | None]]
"""Reads and presents once; returns the credential, and why it was refused or None."""


def present_token(one: Rotating) -> tuple[str, str | None]:
    """Read the bearer token from the mounted Secret and have Keycloak say whether it is good."""
    token = one.mounted("token")
    status = one.authority.admin_api_status(token)
    return token, None if status == 403 else f"Keycloak answers {status}"


def present_listed(one: Rotating) -> tuple[str, str | None]:
    """Read the opaque token from the mounted Secret and look whether the list that a verifier reads has it."""
    token = one.mounted("list")
    listed = one.entry("tokens/list")
    return token, None if token in {listed.get("token"), listed.get("previous_token")} else "it is not on the list"


def use_mounted_secret(one: Rotating) -> tuple[str, str | None]:
    """Read the client secret from the mounted Secret and get a token with it."""
    return _answer(one, one.mounted("secret"))


def use_secret_of_vault(one: Rotating) -> tuple[str, str | None]:
    """Read the client secret from Vault and get a token with it."""
    return _answer(one, str(one.entry("client").get("client_secret")))


def _answer(one: Rotating, secret: str) -> tuple[str, str | None]:
    answer = one.authority.request_token(one.client_id, secret)
    return secret, None if answer.status == 200 else f"{answer.status} {(answer.body or {}).get('error')}"


CLIENTS: tuple[Request, ...] = (present_token, present_listed, use_mounted_secret, use_secret_of_vault)


@dataclass(slots=True)
class Load:
    """Some clients of each kind, each of which takes the bots in turn."""

    bots: Sequence[Rotating]
    refusals: list[Refusal] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    seen: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set), repr=False)
    """What each client has read."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _began: float = 0.0
    seconds: float = 0.0
    """How long it lasted."""

    def __enter__(self) -> Self:
        """Begin."""
        self._began = time.monotonic()
        self._threads = [threading.Thread(target=self._loop, args=(request,)) for request in CLIENTS * OF_EACH_KIND]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, when the requests under way are answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.seconds = time.monotonic() - self._began

    @property
    def per_second(self) -> float:
        """Requests per second, of all clients."""
        return self.done.total() / self.seconds

    def replaced(self, client: Request) -> int:
        """Return how many credentials the client has read beyond the first of each bot."""
        return len(self.seen[client.__name__]) - len(self.bots)

    def _loop(self, request: Request) -> None:
        for one in itertools.cycle(self.bots):
            begun = time.monotonic()
            try:
                credential, why = request(one)
                self.seen[request.__name__].add(credential)
            except Exception as error:  # noqa: BLE001 - a client that dies would refuse nothing any more
                why = f"{type(error).__name__}: {error}"
            if why is not None:
                self.refusals.append(Refusal(begun - self._began, request.__name__, one.name, why))
            self.done[request.__name__] += 1
            if self._stop.wait(max(0.0, begun + PERIOD_SECONDS - time.monotonic())):
                return
