"""Certificates that a manifest brings along for the pods: passed through, once it is clear that they are no more."""

from __future__ import annotations

import re
from typing import Final

from fedid.domain.fields import Body, text_or_none
from fedid.errors import InvalidSpecError

__all__ = ["ca_bundle_of"]

_BLOCK: Final = re.compile(r"-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,128}\n)+-----END CERTIFICATE-----")


def ca_bundle_of(options: Body, path: str) -> str | None:
    """Return the certificates at `path` with one line end after each, None if there are none.

    Remarks around them are dropped, so that a program with a strict reader takes them too.

    Args:
        options: Block of the platform.
        path: Field that holds them (PEM, RFC 7468 section 5).

    Raises:
        InvalidSpecError: There is no certificate in it, or a private key.
    """
    pem = text_or_none(options, path)
    if pem is None:
        return None
    if "PRIVATE KEY" in pem:
        message = f"{path} takes certificates only and is readable by many; remove the private key and replace that key"
        raise InvalidSpecError(message)
    lines = "\n".join(line.strip() for line in pem.splitlines())
    blocks = _BLOCK.findall(lines)
    if not blocks:
        message = f"{path} holds no certificate; paste its PEM text, from -----BEGIN to END CERTIFICATE-----"
        raise InvalidSpecError(message)
    return "".join(f"{block}\n" for block in blocks)
