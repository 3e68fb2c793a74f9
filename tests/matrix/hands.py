"""Many looks at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item, Told = TypeVar("Item"), TypeVar("Told")
_HANDS = 6


def of_each(look: Callable[[Item], Told], items: Sequence[Item]) -> list[Told | str]:
    """Return what is told of each, in their order; where the look fails it is the exception's message."""

    def one(item: Item) -> Told | str:
        try:
            return look(item)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is about this one alone
            return f"{type(error).__name__}: {error}"

    with ThreadPoolExecutor(_HANDS) as pool:
        return list(pool.map(one, items))
