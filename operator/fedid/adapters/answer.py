"""What a backend said, as a value."""

from __future__ import annotations

import json as json_codec
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from fedid.errors import BackendRejectedError

AWAY: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""What is answered in place of a backend that is not there; a 500 is about one request."""
LONGEST_PAUSE: Final = timedelta(minutes=5)
"""What a backend may make us wait by Retry-After, so that a broken proxy cannot park us for a day."""


@dataclass(frozen=True, slots=True)
class Call:
    """One finished request, for the metrics: nothing in it tells what was asked."""

    backend: str
    method: str
    status: int | None
    """None: no answer."""
    failure: str | None
    """Why there was no answer: `refused`, `timeout`, `certificate`, `tls`, `dns`, `lost`."""
    seconds: float
    """Wall time from having a slot to the last byte."""

    @property
    def found_it_away(self) -> bool:
        """Whether the backend as a whole was away."""
        return self.status is None or self.status in AWAY


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    """By name, whatever its case."""
    body: bytes = field(repr=False)
    sent: float
    """Monotonic instant (seconds) right before the request was sent."""
    received: float
    """Monotonic instant (seconds) at which the headers were there."""
    origin: str
    """`host:port` for messages."""
    backend: str

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            BackendRejectedError: The body is not JSON, so something else than the backend answered (reason
                `UnexpectedAnswer`).
        """
        try:
            return json_codec.loads(self.body)
        except ValueError:
            # Not chained: JSONDecodeError carries the whole document, which may hold a credential.
            message = f"{self.origin} answered with something else than JSON: check that the URL is {self.backend}'s"
            raise BackendRejectedError(message, backend=self.backend, reason="UnexpectedAnswer") from None

    def retry_after(self, now: datetime) -> timedelta | None:
        """Return the pause that the answer asks for, bounded by `LONGEST_PAUSE`, or None if it asks for none.

        Source: RFC 9110 section 10.2.3 (seconds or an HTTP date).
        """
        asked = self.headers.get("Retry-After", "").strip()
        if asked.isdecimal():
            return timedelta(seconds=min(int(asked), LONGEST_PAUSE.total_seconds()))
        instant = http_date(asked)
        return None if instant is None else min(max(instant - now, timedelta()), LONGEST_PAUSE)


def http_date(text: str) -> datetime | None:
    """Return the instant that an HTTP date tells (aware UTC), or None if it is none.

    Source: RFC 9110 section 5.6.7.
    """
    try:
        instant = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
