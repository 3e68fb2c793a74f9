"""What a SuperLink's refusals mean: the one place where an answer of 4xx becomes an error.

A refusal is JSON, `{"code": <ApiErrorCode>, "detail": "<sentence>"}`. The code is passed on, never the sentence, which
is a stranger's text.

Source: flwr 1.41 `supercore/error/base.py` (ApiErrorCode), `supercore/error/catalog.py`.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

from fedid.adapters.answer import Answer
from fedid.errors import BackendDeniedError, BackendError, BackendRejectedError

__all__ = ["BACKEND", "KEY_IN_USE", "NODE_NOT_FOUND", "error_code", "refusal", "unexpected"]

BACKEND: Final = "superlink"

KEY_INVALID: Final = 22
KEY_IN_USE: Final = 23
NODE_NOT_FOUND: Final = 24


def error_code(answer: Answer) -> int | None:
    """Return Flower's own code for the refusal, None if the answer is not a SuperLink's."""
    try:
        told = json.loads(answer.body)
    except ValueError:
        return None
    code = told.get("code") if isinstance(told, dict) else None
    return code if isinstance(code, int) else None


def refusal(answer: Answer, *, with_account: bool) -> BackendError:
    """Return the error that an answer with status 4xx means.

    Args:
        answer: Its status is 400 or above.
        with_account: Whether a token was presented.
    """
    code = error_code(answer)
    if answer.status == HTTPStatus.UNAUTHORIZED:
        how = (
            "refuses the bot's token: is the SuperLink's OIDC client among the bot's audiences?"
            if with_account
            else "wants an account: set spec.platform.flower.superNode.superLink.account to Bot"
        )
        return BackendDeniedError(f"The SuperLink at {answer.origin} {how}", backend=BACKEND)
    if answer.status == HTTPStatus.FORBIDDEN:
        message = f"The SuperLink at {answer.origin} lets this account register no SuperNodes (403, code {code})"
        return BackendDeniedError(message, backend=BACKEND)
    if code is None:
        return unexpected(answer)
    if code == KEY_INVALID:
        message = f"The SuperLink at {answer.origin} takes no key of the curve P-384"
        return BackendRejectedError(message, backend=BACKEND)
    message = f"The SuperLink at {answer.origin} refused ({answer.status}, code {code}): look into its log"
    return BackendRejectedError(message, backend=BACKEND)


def unexpected(answer: Answer) -> BackendRejectedError:
    """Return the error for an answer that is no SuperLink's, or one of another age."""
    message = (
        f"{answer.origin} answered {answer.status} in another form than a SuperLink does: check the address of the "
        "SuperLink; its Control API is served over HTTPS from Flower 1.37 on"
    )
    return BackendRejectedError(message, backend=BACKEND, reason="UnexpectedAnswer")
