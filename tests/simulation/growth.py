"""Whether the operator keeps anything of identities that are gone: how much its containers hold, by where they are."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from types import FunctionType, MethodType
from typing import Any

from tests.simulation.scene import Site
from tests.simulation.story import Action, Story

LIFE_SECONDS = 200.0
_OURS = ("fedid", "collections", "asyncio", "prometheus_client")
_BOUNDED = ("._heap", ".last_deletions", ".Metrics.")
"""Heaps that are rebuilt when half of them is stale, ten thousand deletions, and what no identity is a label of."""


def lives(count: int) -> Story:
    """Return a story in which identities of all kinds come and go, each with a name of its own."""
    actions = [action for number in range(count) for action in _life(number, 30.0 + number * LIFE_SECONDS)]
    length = 30.0 + count * LIFE_SECONDS
    return Story(0, 1, tuple(actions), length, 0.02, lifetime=600.0, lease=60.0, events=True)


def _life(number: int, at: float) -> Iterator[Action]:
    namespace = ("site-a", "site-b")[number % 2]
    bot, user, portal, server = (f"{namespace}/{kind}-{number}" for kind in ("bot", "user", "portal", "server"))
    yield from (Action(at, "create_bot", bot, 0), Action(at, "create_user", user, 1))
    yield from (Action(at, "create_portal", portal, 0), Action(at, "create_server", server))
    yield from (Action(at + 40, "rotate", bot, f"all-{number}"), Action(at + 60, "revoke_now", bot, f"now-{number}"))
    yield from (Action(at + 100, "delete_bot", bot), Action(at + 100, "delete_pod", bot))
    yield from (Action(at + 100, "delete_user", user), Action(at + 120, "delete_pod", portal))
    yield Action(at + 120, "delete_pod", server)


def held(site: Site) -> Counter[str]:
    """Return how many elements the leader's containers have, by where these are, as far as nothing else bounds them."""
    leader = next(one for one in site.replicas if one.leads)
    found: Counter[str] = Counter()
    seen: set[int] = set()
    ahead: deque[tuple[Any, str]] = deque([(leader.operator, "")])
    while ahead:
        one, path = ahead.popleft()
        if id(one) in seen or any(part in path for part in _BOUNDED):
            continue
        seen.add(id(one))
        if isinstance(one, (dict, list, tuple, set, frozenset, deque)):
            found[path] += len(one)
        ahead.extend(_within(one, path))
    return found


def _within(one: Any, path: str) -> Iterable[tuple[Any, str]]:
    if isinstance(one, dict):
        return [*((value, f"{path}[]") for value in one.values()), *((key, f"{path}[key]") for key in one)]
    if isinstance(one, (list, tuple, set, frozenset, deque)):
        return [(value, f"{path}[]") for value in one]
    if isinstance(one, MethodType):
        return [(one.__self__, path)]
    if isinstance(one, FunctionType):
        return [(cell.cell_contents, f"{path}.{one.__name__}") for cell in one.__closure__ or ()]
    if not type(one).__module__.startswith(_OURS):
        return ()
    path = f"{path}.{type(one).__name__}"
    slots = (name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ()))
    names = {*slots, *getattr(one, "__dict__", ())}
    return [(getattr(one, name), f"{path}.{name}") for name in sorted(names) if hasattr(one, name)]
