"""What all these programs share: requests come in on stdin, answers go out on stdout, one JSON object per line."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]

# Whatever the software under test prints goes to the log, and cannot be taken for an answer.
_answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def say(answer: Answer) -> None:
    """Send one answer."""
    _answers.write(json.dumps(answer) + "\n")
    _answers.flush()


def converse(**commands: Callable[..., Answer]) -> None:
    """Answer requests until there are no more; a request is `{"do": <command>, ...}`, the rest are its arguments.

    An exception is an answer too: `error` is its class, `text` what it says. `heed` is answered with nothing by all of
    them, once every signal that was sent before has been handled: Python does that between two lines of stdin.
    """
    commands["heed"] = dict
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = commands[request.pop("do")](**request)
        except Exception as error:  # noqa: BLE001 - what the software raised is what the test asks about
            answer = {"error": type(error).__name__, "text": str(error)}
        say(answer)
