"""File templates of the generic platform: a closed list of placeholders, nothing else.

A template comes from an untrusted author, so it is parsed here and never given to `str.format`, which would evaluate
attribute access.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError

__all__ = ["PLACEHOLDERS", "Placeholder", "parse_template", "render_template", "token_names"]

PLACEHOLDERS = (
    "token",
    "tokens",
    "clientId",
    "clientSecret",
    "privateKey",
    "keyId",
    "subject",
    "issuerUrl",
    "tokenUrl",
    "introspectionUrl",
    "jwksUrl",
    "tokenExpiresAt",
)
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_TOKEN_NAME = re.compile(r"token:([a-z0-9]([a-z0-9-]*[a-z0-9])?)")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One placeholder of a template; `{token:x}` has name `token` and argument `x`."""

    name: str
    argument: str | None = None

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{{{self.name}{':' + self.argument if self.argument else ''}}}"


def parse_template(text: str, field: str) -> tuple[str | Placeholder, ...]:
    """Return the template as literal texts and placeholders.

    Raises:
        InvalidSpecError: A brace stands alone or holds something unknown; the message lists what is known.
    """
    pieces: list[str | Placeholder] = []
    for match in _PIECE.finditer(text):
        piece, inner = match.group(0), match.group(1)
        if piece in {"{{", "}}"}:
            pieces.append(piece[0])
        elif inner is not None:
            pieces.append(_placeholder(inner, field))
        elif piece in {"{", "}"}:
            message = f"{field} has a lone {piece!r}; write {piece * 2!r} for a literal brace"
            raise InvalidSpecError(message)
        else:
            pieces.append(piece)
    return tuple(pieces)


def token_names(template: tuple[str | Placeholder, ...]) -> frozenset[str | None]:
    """Return the tokens that the template mounts; None stands for the default one."""
    return frozenset(
        piece.argument
        for piece in template
        if isinstance(piece, Placeholder) and piece.name in {"token", "tokenExpiresAt"}
    )


def render_template(template: tuple[str | Placeholder, ...], values: Mapping[Placeholder, Sensitive]) -> Sensitive:
    """Return the file's text; every placeholder must have a value."""
    return Sensitive(
        "".join(piece if isinstance(piece, str) else values[piece].reveal() for piece in template),
    )


def _placeholder(inner: str, field: str) -> Placeholder:
    if inner in PLACEHOLDERS:
        return Placeholder(inner)
    if match := _TOKEN_NAME.fullmatch(inner):
        return Placeholder("token", match.group(1))
    known = ", ".join(f"{{{name}}}" for name in (*PLACEHOLDERS, "token:<name>"))
    message = f"{field} has {{{inner[:40]}}}, which is no placeholder; known are {known}; {{{{ is a literal brace"
    raise InvalidSpecError(message)
