"""What Vault refuses, as `fedid.errors`: the one place where an hvac exception ends.

Transport has dealt with no answer, 429 and 5xx before; here come the other refusals. Vault's own sentence is passed on
for a login only (it names the claim that does not match) and only if nothing of the token is in it.
"""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized, VaultError

from fedid.errors import (
    BackendDeniedError,
    BackendError,
    BackendRejectedError,
    BackendUnavailableError,
    Error,
    StaleObjectError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedid.adapters.answer import Answer
    from fedid.domain.sensitive import Sensitive

BACKEND: Final = "vault"
MOUNT_MISMATCH: Final = "MountMismatch"
_CAPABILITIES: Final = {"get": "read", "list": "list", "post": "create or update", "put": "update", "delete": "delete"}
_LONGEST_QUOTE: Final = 200
"""Characters of a refused login's reason."""


class LostVersionError(BackendUnavailableError):
    """A version is listed in the metadata and its data is gone: a deletion was cut off between the two.

    Vault removes the versions first and the metadata last, and stops when the client that asked for it is gone.
    """


@contextmanager
def translated() -> Iterator[None]:
    """Let no hvac exception out.

    Raises:
        StaleObjectError: Check-and-set did not match.
        BackendDeniedError: Our token lacks a capability, which the message names.
        BackendRejectedError: Anything else that Vault refuses.
    """
    try:
        yield
    except VaultError as error:
        translation = _translation(error)
        # Not chained: hvac's exception carries Vault's own words, which may repeat what was sent.
        raise translation from None


def _translation(error: VaultError) -> Error:
    text = " ".join(error.errors or ())
    match error:
        case InvalidRequest() if "check-and-set parameter did not match" in text:
            return StaleObjectError(f"{error.url} in Vault was written by somebody else in between; reading it again")
        case Forbidden() | Unauthorized():
            missing = f"{_CAPABILITIES.get(error.method, error.method)} on {error.url}"
            message = f"Vault does not let the operator {missing}: add it to the policy of the operator's role"
            return BackendDeniedError(message, backend=BACKEND)
        case InvalidPath():
            message = f"Vault has nothing mounted that serves {error.url}: check mount and kvVersion of the Federation"
            return BackendRejectedError(message, backend=BACKEND, reason=MOUNT_MISMATCH)
        case _:
            message = f"Vault refuses {error.method} on {error.url}: see its audit log, and the kvVersion of the mount"
            return BackendRejectedError(message, backend=BACKEND)


def is_absent(error: InvalidPath) -> bool:
    """Tell whether a 404 means that nothing lies there, and not that the mount is missing or of the other version.

    Source: Vault's router answers an unknown mount with `no handler for route`; a KV v2 mount answers a path of KV v1
    with a warning. Only a KV mount that has no such entry answers with no error and no warning.
    """
    return not error.errors and not (error.json or {}).get("warnings")


def login_refused(error: VaultError, *, where: str, check: str, credential: Sensitive) -> BackendDeniedError:
    """Return why Vault does not let us in, with what to check.

    Args:
        error: What hvac raised.
        where: Path of the auth method, and the role if there is one.
        check: What to look at.
        credential: What we presented; a sentence that holds a part of it is not passed on.
    """
    said = " ".join(" ".join(error.errors or ()).split())[:_LONGEST_QUOTE]
    quote = "" if not said or _shares_text(said, credential.reveal()) else f" ({said})"
    return BackendDeniedError(f"Vault refuses the login at {where}{quote}: check {check}", backend=BACKEND)


def _shares_text(sentence: str, credential: str) -> bool:
    """Tell whether any word of the sentence is a part of the credential that is long enough to matter."""
    words = sentence.replace('"', " ").replace("'", " ").split()
    return any(len(part) > 15 and part in credential for word in words for part in word.split("."))  # noqa: PLR2004 - shorter pieces of base64 tell nothing


def explain(answer: Answer) -> BackendError | None:
    """Return the exact error for an answer of 5xx or 429, or None if Transport's own sentence says it all.

    Source: https://developer.hashicorp.com/vault/api-docs/system/health (sealed 503, not initialised 501).
    """
    if answer.status == HTTPStatus.NOT_IMPLEMENTED:
        message = f"Vault at {answer.origin} is not initialised: run `vault operator init` there, then unseal it"
        return BackendUnavailableError(message, backend=BACKEND)
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and b"sealed" in answer.body:
        message = f"Vault at {answer.origin} is sealed: run `vault operator unseal` there; fedid goes on by itself"
        return BackendUnavailableError(message, backend=BACKEND, reason="VaultSealed")
    if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR and b"could not find version data" in answer.body:
        message = f"Vault at {answer.origin} lists a version whose data is gone: delete that entry's metadata there"
        return LostVersionError(message, backend=BACKEND)
    return None
