"""Progress: what a person sees while long work runs, and how they stop it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, TypeVar

from tests.testbed.errors import CancelledError, TooLateError

T = TypeVar("T")

HEARTBEAT_SECONDS = 20.0
"""How often running work says that it still runs."""


def spoken(seconds: float) -> str:
    """Return a duration as a person says it: `8 s`, `5 min`, `5 min 20 s`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def print_line(line: str, out: TextIO | None = None) -> None:
    """Print one line at once, also when the output is a pipe; to the standard output if nothing else is said.

    If nobody reads it any more, such as a `tee` that Ctrl-C has ended too, what is under way goes on: a stack that is
    being taken down is taken down.
    """
    with suppress(BrokenPipeError):
        print(line, file=out, flush=True)


class Progress:
    """One bring-up as its parts see it: where to say things, whether to stop.

    Shared by threads. Every line carries the seconds since the start.
    """

    def __init__(self, write: Callable[[str], None] = print_line) -> None:
        """Start counting; `write` gets each finished line."""
        self._write = write
        self._started = time.monotonic()
        self._running: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()
        self.cancelled = threading.Event()
        """Set when work must stop soon; loops look at it several times a second."""

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since this progress was made."""
        return time.monotonic() - self._started

    def say(self, line: str) -> None:
        """Write one line with the time since the start."""
        self._write(f"[{self.elapsed_seconds:6.1f} s] {line}")

    def check(self) -> None:
        """Stop here if the work was cancelled.

        Raises:
            CancelledError: Someone pressed Ctrl-C, or another part failed.
        """
        if self.cancelled.is_set():
            msg = "interrupted; the next `up` continues from here"
            raise CancelledError(msg)

    @contextmanager
    def task(self, title: str, expected_seconds: float) -> Iterator[None]:
        """Announce work that takes long, and its end with the time it took."""
        self.say(f"{title}: building, usually about {spoken(expected_seconds)} on two cores")
        started = time.monotonic()
        with self._lock:
            self._running[title] = (started, expected_seconds)
        try:
            yield
        finally:
            with self._lock:
                del self._running[title]
        self.say(f"{title}: built in {spoken(time.monotonic() - started)}")

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Tell every HEARTBEAT_SECONDS which tasks still run, until the block ends."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(HEARTBEAT_SECONDS):
                now = time.monotonic()
                with self._lock:
                    lines = [
                        f"{title} ({spoken(now - started)} of about {spoken(expected)})"
                        for title, (started, expected) in self._running.items()
                    ]
                if lines:
                    self.say("still building: " + ", ".join(lines))

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def run_together(progress: Progress, *parts: Callable[[], None]) -> None:
    """Run the parts at the same time and return when all have ended.

    The first failure, or Ctrl-C, cancels the others; they are waited for, so
    that nothing goes on behind the caller's back.

    Raises:
        BaseException: What failed first, unchanged.
    """
    failures: list[BaseException] = []

    def guarded(part: Callable[[], None]) -> None:
        try:
            part()
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failures.append(error)
            progress.cancelled.set()

    threads = [threading.Thread(target=guarded, args=(part,), daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            # A join without a timeout could not be interrupted by Ctrl-C.
            while thread.is_alive():
                thread.join(timeout=0.2)
    except BaseException:
        progress.cancelled.set()
        for thread in threads:
            thread.join(timeout=15)
        raise
    if failures:
        raise failures[0]


def wait_until(progress: Progress, what: str, timeout_seconds: float, look: Callable[[], T | None]) -> T:
    """Ask `look` several times a second until it answers something true.

    Args:
        progress: Ends the wait when the work is cancelled.
        timeout_seconds: How long to go on asking.
        look: Quick, and without side effects.
        what: Completes the sentence "… within N s" when it never does.

    Raises:
        CancelledError: The work was cancelled meanwhile.
        TooLateError: Nothing true within `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    pause = 0.05
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            msg = f"{what} within {spoken(timeout_seconds)}"
            raise TooLateError(msg)
        # The wait ends at once when the work is cancelled.
        progress.cancelled.wait(pause)
        progress.check()
        # Asking a server ten times a second would slow down the start that is waited for.
        pause = min(pause * 1.2, 0.5)
