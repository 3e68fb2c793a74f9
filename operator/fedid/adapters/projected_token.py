"""The operator's own projected ServiceAccount tokens: a file per audience, replaced by kubelet before it ends."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import jwt

from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError


def token_subject(paths: Iterable[Path]) -> str:
    """Return whose the first token is that can be read, without checking it; empty if none can."""
    for path in paths:
        try:
            claims = jwt.decode(path.read_text(encoding="ascii").strip(), options={"verify_signature": False})
        except (OSError, UnicodeDecodeError, jwt.PyJWTError):
            continue
        if subject := claims.get("sub"):
            return str(subject)
    return ""


def projected_token(path: Path, *, backend: str, of_whom: str, value: str, variable: str) -> Sensitive:
    """Return what the file holds now.

    Args:
        path: Of the file.
        backend: Which backend the token is for.
        of_whom: The backend's name in a sentence.
        value: The chart value that has the pod mount it.
        variable: The environment variable that points to it.

    Raises:
        BackendDeniedError: It cannot be read, or is empty.
    """
    problem: Exception | None = None
    token = ""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = error
    if token:
        return Sensitive(token)
    message = (
        f"the operator's token for {of_whom} cannot be read from {path}: check that the pod mounts it "
        f"(chart value {value}) and that {variable} points to it"
    )
    raise BackendDeniedError(message, backend=backend) from problem
