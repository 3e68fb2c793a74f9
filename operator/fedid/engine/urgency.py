"""Whether what runs now must not wait behind what need not hurry."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_urgent: ContextVar[bool] = ContextVar("urgent", default=False)


def is_urgent() -> bool:
    """Tell whether the running task, or the one that started it, is in an urgent context."""
    return _urgent.get()


@contextmanager
def urgency(urgent: bool) -> Iterator[None]:  # noqa: FBT001 - the one thing that there is to say
    """Make this context, and every task that is started in it, urgent or not."""
    token = _urgent.set(urgent)
    try:
        yield
    finally:
        _urgent.reset(token)
