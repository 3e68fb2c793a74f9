"""Tell a cancellation that is meant for us from one that merely came our way."""

from __future__ import annotations

import asyncio


def is_being_cancelled() -> bool:
    """Return whether somebody has asked for the cancellation of the running task.

    A CancelledError in a task that nobody cancelled comes from something it awaited which was cancelled on its own. To
    pass that on would end the task without a trace, as if it had been told to.

    Source: docs.python.org, `asyncio.Task.cancelling` (since 3.11).
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
