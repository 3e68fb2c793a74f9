"""Errors of the testbed; each message is a sentence for a person."""


class StackError(Exception):
    """Something a person must know; shown without a traceback."""


class CancelledError(StackError):
    """The bring-up was interrupted, or another part of it failed first."""


class AnswerError(StackError):
    """A server answered with a status that the call did not expect.

    Attributes:
        status: The HTTP status code.
        body: The answer's text, as far as it was kept (2,000 characters).
    """

    def __init__(self, method: str, url: str, status: int, body: str) -> None:
        """Tell the call and the answer in one sentence."""
        super().__init__(f"{method} {url} was answered with {status}: {body[:300]}")
        self.status = status
        self.body = body


class TooLateError(StackError):
    """Something that was waited for did not come in time."""
