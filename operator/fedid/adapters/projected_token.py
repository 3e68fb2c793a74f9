"""The operator's own projected ServiceAccount tokens: a file per audience, replaced by kubelet before it ends."""

from __future__ import annotations

from pathlib import Path

from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError


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
