"""Hears every credential that is made or published, by the object that it is of, and breaks requests at random."""

from __future__ import annotations

import base64
import json
import random
import threading
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.operating import Proxies
from tests.matrix.attribution import PROTOCOL, Attribution
from tests.testbed.faults import CutAfter, CutBefore, DelayAnswer, Fault, Rule, Spoken, Status, Truncate, any_request

SHARE_BROKEN = 0.04
"""Of the requests about an object; a life takes some hundred."""
DELAY_SECONDS = 2.0
"""At most."""
_SECRETS = frozenset({"client_secret", "previous_client_secret", "secret"})
_TOKENS = frozenset({"token", "access_token"})


@dataclass(slots=True)
class Heard:
    """The credentials of one object that stand or fall with its client."""

    secrets: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    """JWTs, whether or not they were ever published."""

    def add(self, name: str, value: str) -> None:
        """Learn the value of a field of an entry, of a Secret's key or of an answer."""
        if name in _SECRETS and value:
            self.secrets.add(value)
        elif name in _TOKENS and value.startswith("eyJ"):
            self.tokens.add(value)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.secrets) + len(self.tokens)


@dataclass(slots=True)
class Witness:
    """Between the operator and its backends."""

    attribution: Attribution
    chance: random.Random
    heard: dict[str, Heard] = field(default_factory=lambda: defaultdict(Heard), repr=False)
    """By object."""
    broken: Counter[str] = field(default_factory=Counter)
    """Kinds of faults."""
    breaks: bool = False
    """Whether it does."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def attach(self, proxies: Proxies) -> None:
        """Hear what passes these from now on."""
        for backend in ("keycloak", "vault", "kubernetes"):
            getattr(proxies, backend).direct(lambda spoken, backend=backend: self.take(backend, spoken))
        proxies.keycloak.overhear(self.answered, answers=True)

    @staticmethod
    def detach(proxies: Proxies) -> None:
        """Hear nothing more."""
        for proxy in proxies.all():
            proxy.direct(None)
        proxies.keycloak.overhear(lambda _spoken: None, answers=False)

    def take(self, backend: str, spoken: Spoken) -> Rule | None:
        """Learn what is published with a request, and break it perhaps."""
        call = self.attribution.of(backend, spoken)
        if call is None:
            return None
        with self._lock:
            if backend in {"vault", "kubernetes"} and spoken.sent:
                for name, value in _fields(spoken.sent):
                    self.heard[call.name].add(name, value)
            fault = self._fault() if self.breaks and self.chance.random() < SHARE_BROKEN else None
            if fault is None:
                return None
            self.broken[type(fault).__name__] += 1
            return Rule(fault, any_request, None)

    def answered(self, spoken: Spoken) -> None:
        """Learn the tokens that Keycloak gives, also those that the operator never gets."""
        if spoken.path != f"{PROTOCOL}/token":
            return
        client_id = dict(urllib.parse.parse_qsl(spoken.sent.decode())).get("client_id", "")
        name = client_id.partition(".")[2]
        if name in self.attribution.names:
            with self._lock:
                for key, value in _fields(spoken.answered):
                    self.heard[name].add(key, value)

    def of(self, name: str) -> Heard:
        """Return what was heard of an object so far."""
        with self._lock:
            found = self.heard[name]
            return Heard(set(found.secrets), set(found.tokens))

    def _fault(self) -> Fault:
        return self.chance.choice(
            (
                CutBefore(),
                CutAfter(),
                Truncate(),
                DelayAnswer(self.chance.uniform(0, DELAY_SECONDS)),
                Status(503),
                Status(500),
            )
        )


def _fields(body: bytes) -> Iterator[tuple[str, str]]:
    """Return every named text in a document; what is in base64, as in a Secret, decoded."""
    with suppress(ValueError):
        yield from _fields_of(json.loads(body))


def _fields_of(found: Any) -> Iterator[tuple[str, str]]:
    if isinstance(found, list):
        for one in found:
            yield from _fields_of(one)
    elif isinstance(found, Mapping):
        encoded = found.get("kind") == "Secret"
        for name, value in found.items():
            if encoded and name == "data":
                yield from ((key, base64.b64decode(text).decode()) for key, text in (value or {}).items())
            elif isinstance(value, str):
                yield name, value
            else:
                yield from _fields_of(value)
