"""Typed reading of the fields of a custom resource.

The CRD schema has checked types already; an object that another schema let in gets a sentence here and never a crash,
and its values are never guessed at: a text is no list of letters, and `"false"` is not true. A path says where a field
stands (`spec.keycloak.url`); its last part is the field's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from fedid.errors import InvalidSpecError

__all__ = [
    "Body",
    "flag",
    "instant_or_none",
    "items",
    "section",
    "section_or_empty",
    "text",
    "text_by_name",
    "text_or_none",
    "texts",
    "texts_by_name",
]

Body = Mapping[str, Any]


def section(parent: Body, path: str) -> Body:
    """Return the object at `path`.

    Raises:
        InvalidSpecError: It is missing, or no object.
    """
    value = _value(parent, path)
    if value is None:
        _refuse(path, "is missing")
    if not isinstance(value, Mapping):
        _refuse(path, "must be an object")
    return value


def section_or_empty(parent: Body, path: str) -> Body:
    """Return the object at `path`, an empty one if it is missing.

    Raises:
        InvalidSpecError: It is no object.
    """
    return section(parent, path) if _value(parent, path) is not None else {}


def text(parent: Body, path: str) -> str:
    """Return the text at `path`.

    Raises:
        InvalidSpecError: It is missing or empty, or no text.
    """
    value = text_or_none(parent, path)
    if value is None:
        _refuse(path, "is missing")
    return value


def text_or_none(parent: Body, path: str) -> str | None:
    """Return the text at `path`, None if it is missing or empty.

    Raises:
        InvalidSpecError: It is no text.
    """
    value = _value(parent, path)
    if value is not None and not isinstance(value, str):
        _refuse(path, "must be a text")
    return value or None


def flag(parent: Body, path: str, *, default: bool) -> bool:
    """Return the truth value at `path`.

    Raises:
        InvalidSpecError: It is neither true nor false.
    """
    value = _value(parent, path)
    if value is None:
        return default
    if not isinstance(value, bool):
        _refuse(path, "must be true or false")
    return value


def count_or_none(parent: Body, path: str) -> int | None:
    """Return the number at `path`, None if it is missing.

    Raises:
        InvalidSpecError: It is no whole number, or less than one.
    """
    value = _value(parent, path)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _refuse(path, "must be a whole number of 1 or more")
    return value


def instant_or_none(parent: Body, path: str) -> datetime | None:
    """Return the instant at `path` (aware UTC), None if it is missing.

    Raises:
        InvalidSpecError: It is no date and time with an offset.

    Source: RFC 3339 section 5.6 (`T` and `Z` may be small letters).
    """
    written = text_or_none(parent, path)
    if written is None:
        return None
    try:
        instant = datetime.fromisoformat(written.upper())
        in_utc = instant.astimezone(UTC) if instant.tzinfo is not None else None
    except (ValueError, OverflowError):  # OverflowError: an offset that leads out of the years that there are
        in_utc = None
    if in_utc is None:
        _refuse(path, f"is {written!r}; write an instant like 2030-01-31T18:00:00Z")
    return in_utc


def texts(parent: Body, path: str) -> tuple[str, ...]:
    """Return the list of texts at `path`, none if it is missing.

    Raises:
        InvalidSpecError: It is no list of texts.
    """
    value = _value(parent, path)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        _refuse(path, "must be a list of texts")
    return tuple(value)


def texts_by_name(parent: Body, path: str) -> dict[str, tuple[str, ...]]:
    """Return the lists of texts at `path` by their keys.

    Raises:
        InvalidSpecError: It is no object of lists of texts.
    """
    lists = section_or_empty(parent, path)
    for one in lists.values():
        if not isinstance(one, list) or not all(isinstance(entry, str) for entry in one):
            _refuse(path, "must hold a list of texts for each name")
    return {name: tuple(one) for name, one in lists.items()}


def text_by_name(parent: Body, path: str) -> dict[str, str]:
    """Return the texts at `path` by their keys.

    Raises:
        InvalidSpecError: It is no object of texts.
    """
    found = section_or_empty(parent, path)
    if not all(isinstance(one, str) for one in found.values()):
        _refuse(path, "must hold a text for each name")
    return dict(found)


def items(parent: Body, path: str) -> list[tuple[str, Body]]:
    """Return the objects of the list at `path`, each with its own path (`spec.tokens[0]`).

    Raises:
        InvalidSpecError: It is no list of objects.
    """
    value = _value(parent, path)
    if value is None:
        return []
    if not isinstance(value, list):
        _refuse(path, "must be a list of objects")
    for i, one in enumerate(value):
        if not isinstance(one, Mapping):
            _refuse(f"{path}[{i}]", "must be an object")
    return [(f"{path}[{i}]", one) for i, one in enumerate(value)]


def _value(parent: Body, path: str) -> Any:
    return parent.get(path.rpartition(".")[2])


def _refuse(path: str, why: str) -> NoReturn:
    message = f"{path} {why}"
    raise InvalidSpecError(message)
