"""Which bearer token of a bot a platform's file holds, and whether it can travel in a header."""

from __future__ import annotations

import re
from typing import Final

from fedid.domain.conditions import Reason
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import MountedIdentity

__all__ = ["bearer_token", "header_safe"]

_VISIBLE: Final = re.compile(r"[!-~]{1,7168}")
"""Printable ASCII without a blank: what fits one header or one line, and leaves room in gRPC's 8 KiB of metadata."""


def bearer_token(identity: MountedIdentity, name: str | None, path: str) -> Sensitive:
    """Return the token of that name, without one the bot's default token.

    Args:
        identity: The bot.
        name: As the block of the platform names it.
        path: Field that names it.

    Raises:
        InvalidSpecError: The bot has no such token (reason `TokenMissing`), or one that no header can hold.
    """
    wanted = name or identity.default_token
    found = identity.tokens.get(wanted) if wanted is not None else None
    if found is None:
        have = ", ".join(sorted(identity.tokens)) or "none"
        what = f"{path} is {name!r}" if name is not None else f"{path} is not set and none is named default"
        message = f"{what}, and the bot's published tokens are: {have}. Name one of them, or add it to its spec.tokens"
        raise InvalidSpecError(message, reason=Reason.TOKEN_MISSING)
    return header_safe(found.token, f"the token {wanted!r} of the bot")


def header_safe(token: Sensitive, what: str) -> Sensitive:
    """Return the token as it is.

    Args:
        token: One bearer token.
        what: What the message calls it.

    Raises:
        InvalidSpecError: It holds a blank, a line end or a letter beyond ASCII, or is longer than 7168 characters, so
            that it would be another token, or none, once it is read.
    """
    if not _VISIBLE.fullmatch(token.reveal()):
        message = f"{what} is not 1 to 7168 printable ASCII characters without blanks; rotate it (fedid.io/rotate)"
        raise InvalidSpecError(message)
    return token
