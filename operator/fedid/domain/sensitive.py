"""A value that must never be seen: it has no useful `repr`, `str` or `format`, and cannot be pickled or put in JSON."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NoReturn, final

REDACTED: Final = "[redacted]"


@final
class Sensitive:
    """Hold a credential so that only `reveal` shows it.

    A traceback, a log call, an f-string or a dataclass `repr` prints `[redacted]`. Comparison takes constant time and
    works between two `Sensitive` values only, so a test for equality with a plain string is always False.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        """Take over the plain text."""
        self.__value = value

    def reveal(self) -> str:
        """Return the plain text: for the wire and for what pods mount, for nothing else."""
        return self.__value

    def fingerprint(self) -> str:
        """Return 12 hex digits that tell two long random values apart without showing either.

        Only for values of at least 128 random bits: a short password could be guessed from it.
        """
        return hashlib.sha256(self.__bytes()).hexdigest()[:12]

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, Sensitive):
            return NotImplemented
        return hmac.compare_digest(self.__bytes(), other.__bytes())

    def __hash__(self) -> int:
        """Hash like the value, so that equal values meet in a set."""
        return hash(("Sensitive", self.__value))

    def __bool__(self) -> bool:
        """Tell whether there is anything in it."""
        return bool(self.__value)

    def __repr__(self) -> str:
        """Show nothing."""
        return REDACTED

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        """Show nothing, whatever the format."""
        return REDACTED

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied into another process."""
        message = "a Sensitive value cannot be serialised"
        raise TypeError(message)

    __getstate__ = __reduce__

    def __bytes(self) -> bytes:
        # JSON can hold lone surrogates, which plain UTF-8 refuses with an error that carries the whole text.
        return self.__value.encode(errors="surrogatepass")
