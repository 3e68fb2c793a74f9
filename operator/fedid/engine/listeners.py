"""Tell an injected callback something without letting its bugs reach the one who tells."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

News = TypeVar("News")


def tell(listener: Callable[[News], None], news: News) -> None:
    """Call `listener(news)`; what it raises goes to the running loop's exception handler instead of the caller.

    A listener counts or logs. Were its bug to escape, it would end the worker, or fail the innocent request, that
    happened to have something to tell.

    Source: docs.python.org, asyncio event loop, "Error Handling API" (`call_exception_handler`).
    """
    try:
        listener(news)
    except Exception as error:  # noqa: BLE001 - any bug of the listener, and it is handed on, not swallowed
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"listener {listener!r} failed", "exception": error}
        )
