"""A small synchronous JSON client for the servers of the stack (standard library only)."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from tests.testbed.errors import AnswerError

TIMEOUT_SECONDS = 30.0
"""Longest wait for one answer."""

KEPT_BODY = 2000
"""Characters of an error's body that are kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, whatever the status."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    text: str

    @property
    def body(self) -> Any:
        """The parsed JSON, None if the answer was empty."""
        return json.loads(self.text) if self.text.strip() else None


def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Rest:
    """One server, and who we are to it."""

    url: str
    """Base URL without a trailing slash."""
    authorise: Callable[[], Mapping[str, str]] = field(default=_nothing, repr=False)
    """Gives the headers that carry the credential."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS

    def answer(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and return the answer, also when it is an error.

        Args:
            method: HTTP method.
            path: Begins with a slash; may hold a query.
            body: Sent as JSON unless None.
            form: Sent as a form instead of a body.
            headers: Added to the usual ones, or instead of them.

        Raises:
            OSError: No answer came (refused, cut off, timed out, certificate not trusted).
        """
        sent = {"Accept": "application/json", **self.authorise()}
        data = None
        if form is not None:
            data = urllib.parse.urlencode(form).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        elif body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        request = urllib.request.Request(  # noqa: S310 - the URL is one of our servers
            self.url + path, data=data, method=method, headers={**sent, **(headers or {})}
        )
        # An empty ProxyHandler: what lies on loopback never goes through a web proxy.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.tls is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self.tls))
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(request, timeout=self.timeout_seconds) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read())

    def call(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> Any:
        """Send one request and return the parsed JSON of a good answer.

        Args:
            method: HTTP method.
            path: Begins with a slash; may hold a query.
            body: Sent as JSON unless None.
            form: Sent as a form instead of a body.
            headers: Added to the usual ones, or instead of them.
            accept: Error statuses that are fine too.

        Raises:
            AnswerError: The status is 400 or more and not accepted.
            OSError: No answer came.
        """
        answer = self.answer(method, path, body, form=form, headers=headers)
        if answer.status >= 400 and answer.status not in accept:
            raise AnswerError(method, self.url + path, answer.status, answer.text[:KEPT_BODY])
        return answer.body


def _answer(status: int, headers: Message, data: bytes) -> Answer:
    lower = {name.lower(): value for name, value in headers.items()}
    return Answer(status, lower, data.decode(errors="replace"))
