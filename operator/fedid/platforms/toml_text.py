"""TOML of one level, written so that no value can be read as anything but itself."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fedid.errors import InvalidSpecError

__all__ = ["toml_text"]


def toml_text(values: Mapping[str, str | int]) -> str:
    """Return one `key = value` in each line.

    Args:
        values: By bare key (letters, digits, `-`, `_`), which the caller writes and no tenant.

    Raises:
        InvalidSpecError: A text holds half of a surrogate pair, which no file can hold; the message names the key.

    Source: TOML 1.0.0, "String" (basic strings) and "Integer".
    """
    return "".join(f"{key} = {_value(key, value)}\n" for key, value in values.items())


def _value(key: str, value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        message = f"{key} holds half of a surrogate pair, which is no letter; write it anew"
        raise InvalidSpecError(message)
    # JSON escapes as TOML does, save for DEL; letters beyond ASCII stay, since JSON would write two halves for some.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
