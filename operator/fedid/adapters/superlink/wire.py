"""The part of protobuf's wire format that three small messages need.

Written by hand because it is smaller than what the `protobuf` package would need to be told (descriptors without a
compiler, untyped classes), brings no native parser before bytes of a server that a tenant names, and leaves the choice
of protobuf's version to whoever installs Flower beside us.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["MalformedMessageError", "fields", "length_delimited", "varint_field"]

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT: Final = 10
"""Bytes of a 64-bit number at seven bits each."""
_UINT64: Final = 2**64 - 1


class MalformedMessageError(Exception):
    """The bytes are no message."""


def varint_field(number: int, value: int) -> bytes:
    """Return a field of type `uint64`; nothing if it has its default, as proto3 does.

    Args:
        number: Of the field.
        value: 0 to 2**64 - 1.
    """
    return _varint(number << 3 | _VARINT) + _varint(value) if value else b""


def length_delimited(number: int, value: bytes) -> bytes:
    """Return a field of type `bytes`, `string` or of a message; nothing if it is empty."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(value)) + value if value else b""


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field in order: an int for numbers, bytes for the rest.

    Raises:
        MalformedMessageError: It ends too early, or holds what proto3 does not have.
    """
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if kind == _LENGTH_DELIMITED:
            length, at = _read_varint(message, at)
        elif kind in {_FIXED32, _FIXED64}:
            length = 4 if kind == _FIXED32 else 8
        else:
            text = f"wire type {kind}"
            raise MalformedMessageError(text)
        if at + length > len(message):
            text = "it ends within a field"
            raise MalformedMessageError(text)
        yield number, message[at : at + length]
        at += length


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * count)
        if not byte & 0x80:
            return value & _UINT64, at + count + 1
    text = "it ends within a number, or the number is too long"
    raise MalformedMessageError(text)
