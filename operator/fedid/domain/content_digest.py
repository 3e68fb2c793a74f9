"""The fingerprint of a Secret's content: what the operator wrote and what a pod has mounted are compared by it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

__all__ = ["content_digest"]


def content_digest(files: Mapping[str, bytes]) -> str:
    """Return 16 hexadecimal digits that tell nothing about the content; every file counts, with its name.

    Args:
        files: Key of the Secret, which is the name of the mounted file, to content.
    """
    pairs = (key.encode() + b"\0" + content for key, content in sorted(files.items()))
    return hashlib.sha256(b"\0".join(pairs)).hexdigest()[:16]
