"""Structured logs to standard error, with every credential that could slip in blotted out.

The first guard is `Sensitive`, which prints as nothing. This is the second: text from libraries, tracebacks and bodies
passes a filter that knows how the credentials of this field look.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from typing import Any, Final, TextIO

from pythonjsonlogger.json import JsonFormatter

from fedid.domain.sensitive import REDACTED

__all__ = ["BOT_SECRET_PREFIX", "configure_logs", "redacted"]

BOT_SECRET_PREFIX: Final = "fbs_"
"""Bot secrets start with it, so that this filter and every secret scanner recognise one."""

_CREDENTIAL: Final = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"  # JWT (RFC 7519)
    rf"|{BOT_SECRET_PREFIX}[A-Za-z0-9_-]{{16,}}"
    r"|hv[sbr]\.[A-Za-z0-9_-]{8,}"  # Vault tokens
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?<=(?i:bearer) )[^\s'\",]+"
    r"|(?<=(?i:basic) )[A-Za-z0-9+/=]{8,}"
    r"|(?<=client_secret=)[^&\s'\"]+"
    r"|(?:(?<=client_secret['\"]: ['\"])|(?<=client_secret['\"]:['\"]))[^'\"]+",  # a printed dict, JSON
    re.DOTALL,
)


def redacted(text: str) -> str:
    """Return the text with everything that looks like a credential replaced."""
    return _CREDENTIAL.sub(REDACTED, text)


class _RedactingJsonFormatter(JsonFormatter):
    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        # Text by text, since a credential blotted out of finished JSON can take a quote's backslash with it.
        return json.dumps(_blotted(json.loads(super().jsonify_log_record(log_data))))


class _RedactingTextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        details = getattr(record, "details", None)
        text = super().format(record)
        if isinstance(details, dict):
            text += " " + " ".join(f"{name}={value}" for name, value in details.items() if value is not None)
        return redacted(text)


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name in the standard library
        """Tell that a record could not be written; the standard library would print its arguments as they are."""
        kind, _, _ = sys.exc_info()
        place = (record.filename, record.lineno, kind.__name__ if kind is not None else "?")
        message = "a log record made at %s:%d could not be written (%s)"
        lost = logging.LogRecord(record.name, logging.ERROR, record.pathname, record.lineno, message, place, None)
        with contextlib.suppress(OSError, ValueError):  # the stream itself is closed or gone
            self.stream.write(self.format(lost) + self.terminator)
            self.flush()


def _blotted(value: Any) -> Any:
    match value:
        case str():
            return redacted(value)
        case list():
            return [_blotted(one) for one in value]
        case dict():
            return {redacted(name): _blotted(one) for name, one in value.items()}
        case _:
            return value


def configure_logs(level: str, style: str) -> None:
    """Send all logs of the process, libraries included, through the filter to standard error.

    Args:
        level: Lowest level of our own messages; libraries speak from WARNING on.
        style: `json` or `text`.
    """
    handler = _Handler(sys.stderr)
    if style == "json":
        handler.setFormatter(
            _RedactingJsonFormatter(
                ("asctime", "levelname", "name", "message"),
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
                datefmt="%Y-%m-%dT%H:%M:%S%z",
                json_default=str,
            )
        )
    else:
        handler.setFormatter(_RedactingTextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("fedid").setLevel(level)
