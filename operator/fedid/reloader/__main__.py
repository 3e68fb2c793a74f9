"""Starts the sidecar: `python3 -m fedid.reloader --mount <folder> --process <regular expression>`."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fedid.domain.reload_report import LOADED_PATH, report_of
from fedid.reloader.answers import Answers, listening_socket
from fedid.reloader.processes import ProcessTable
from fedid.reloader.reloader import Reloader, Target

SIGNALS = ("SIGUSR1", "SIGUSR2", "SIGHUP")
"""What programs reload on; whichever is sent, only a process that catches it gets it."""
PORT = 8484
LOOK_SECONDS = 0.25
"""How often volume and process are looked at: a handful of system calls."""
SETTLE_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM and return the exit code; 2 if what was asked means nothing."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        listener = listening_socket(options.host, options.port)
    except OSError as error:
        _say(f"cannot listen at port {options.port}: {error.strerror}; set --port to a free one")
        return 2
    target = Target(options.process, signal.Signals[options.signal], options.settle_seconds)
    reloader = Reloader(options.mount, target, ProcessTable(), _say)
    pages = {
        LOADED_PATH: lambda: ("application/json", json.dumps(report_of(reloader.loaded)) + "\n"),
        "/healthz": lambda: ("text/plain", "ok\n"),
    }
    with listener:
        answers = Answers(listener, pages)
        while True:
            reloader.tick(_since_boot)
            answers.serve(LOOK_SECONDS)


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _say(sentence: str) -> None:
    print(f"fedid-reload: {sentence}", flush=True)  # noqa: T201 - the log of a container


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fedid-reload",
        description="Signal a program of the pod when the Secret that it reads has changed; say what it has read.",
    )
    add = parser.add_argument
    add("--mount", type=Path, required=True, help="folder of the Secret: the volume of the program")
    add("--process", type=_pattern, required=True, help="regular expression that finds the program's command line")
    add("--signal", choices=SIGNALS, default=SIGNALS[0], help="default: %(default)s")
    add("--port", type=int, default=PORT, help="where to answer /loaded and /healthz; default: %(default)s")
    add("--host", default="", help="address to listen on; default: every one")
    settling = "seconds that the program needs to read; default: %(default)s"
    add("--settle-seconds", type=float, default=SETTLE_SECONDS, help=settling)
    return parser


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        message = f"{text!r} is no regular expression: {error}"
        raise argparse.ArgumentTypeError(message) from error


if __name__ == "__main__":
    sys.exit(main())
