"""What Keycloak's refusals mean: the one place where an answer of 4xx becomes an error.

Keycloak explains itself in `errorMessage` (Admin API), `error_description` (OAuth) or `error`. Only these are passed
on, never the body, and with everything taken out that is long enough to be a credential.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Final

from fedid.adapters.answer import Answer
from fedid.errors import BackendDeniedError, BackendError, BackendRejectedError, StaleObjectError

BACKEND: Final = "keycloak"

ACCEPT_JSON: Final = {"Accept": "application/json"}
"""Without it Keycloak may explain a refusal as a page for people."""

MANAGE_CLIENTS: Final = "manage-clients"
MANAGE_USERS: Final = "manage-users"
VIEW_REALM: Final = "view-realm"
VIEW_EVENTS: Final = "view-events"
"""Not needed, only useful: with it the operator reads the realm's admin events."""
NEEDED_ROLES: Final = (MANAGE_CLIENTS, MANAGE_USERS, VIEW_REALM)
"""Roles of the client `realm-management` that the operator's client needs; no fewer suffice (26.7.3)."""

_PASSWORD_REFUSED: Final = "invalidPassword"
"""What the keys of Keycloak's messages about password policies begin with (messages_en.properties)."""
_CREDENTIAL: Final = re.compile(r"(?![a-z]+(?:-[a-z]+)+(?![\w.~+/=-]))[\w.~+/=-]{32,}", re.ASCII)
"""Long runs, except Keycloak's own keys of the kind `error-person-name-invalid-character`."""
_LONGEST_TEXT: Final = 200


class NotFoundError(StaleObjectError):
    """What a call is about is gone."""

    def __init__(self, message: str, *, what: str) -> None:
        """Keep Keycloak's own word for what it did not find."""
        super().__init__(message)
        self.what = what


class ForbiddenError(BackendDeniedError):
    """Our client may not do that (403)."""


class TakenError(BackendRejectedError):
    """An id, a name or an address is in use (409)."""

    def __init__(self, message: str, *, what: str) -> None:
        """Keep Keycloak's own words about what is taken."""
        super().__init__(message, backend=BACKEND)
        self.what = what


def realm_not_found(realm: str) -> BackendRejectedError:
    """Return the error for a realm that does not exist."""
    message = f"Keycloak has no realm {realm}: check keycloak.realm (its case counts)"
    return BackendRejectedError(message, backend=BACKEND, reason="RealmNotFound")


def no_keycloak(answer: Answer) -> BackendRejectedError:
    """Return the error for an answer that is not Keycloak's: a proxy's own page must not pass for "not found"."""
    message = f"{answer.origin} answered {answer.status} in another form than Keycloak does: check keycloak.url"
    return BackendRejectedError(message, backend=BACKEND)


def needed_role(path: str) -> str:
    """Return the realm-management role that a call below `/admin/realms/<realm>` needs.

    Args:
        path: What follows the realm's name, without a leading slash.
    """
    area = path.partition("/")[0].partition("?")[0]
    needed = {"clients": MANAGE_CLIENTS, "admin-events": VIEW_EVENTS}
    return {**needed, **dict.fromkeys(("roles", "roles-by-id", ""), VIEW_REALM)}.get(area, MANAGE_USERS)


def refusal(answer: Answer, *, realm: str, client_id: str, method: str, path: str) -> BackendError | StaleObjectError:
    """Return the error that an answer of the Admin API with status 4xx means.

    Args:
        answer: Its status is 400 or above.
        realm: The realm that was addressed.
        client_id: The operator's own client.
        method: In capitals.
        path: What follows the realm's name, without a leading slash.
    """
    text = explanation(answer)
    if not text:
        return no_keycloak(answer)
    match answer.status:
        case HTTPStatus.UNAUTHORIZED:
            message = f"Keycloak gave the operator's client {client_id} a token and does not accept it: "
            message += "is keycloak.url the address of the same server that issuerUrl names?"
            return BackendDeniedError(message, backend=BACKEND)
        case HTTPStatus.FORBIDDEN:
            message = f"Keycloak denies {method} {_area(path)}: give the service account of the operator's client "
            message += f"{client_id} the role {needed_role(path)} of the client realm-management"
            if "role-mappings" in path and method != "GET":
                message += ", and ask for no administrative role, which only its holders may give"
            return ForbiddenError(message, backend=BACKEND)
        case HTTPStatus.NOT_FOUND if text.startswith("Realm ") or not path:
            return realm_not_found(realm)
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(f"Keycloak: {text}; looking again", what=text)
        case HTTPStatus.BAD_REQUEST if str(said(answer).get("error")).startswith(_PASSWORD_REFUSED):
            message = f"Keycloak refuses the password: {text}"
            return BackendRejectedError(message, backend=BACKEND, reason="PasswordPolicyUnmet")
        case HTTPStatus.CONFLICT:
            return TakenError(f"Keycloak: {text}", what=text)
        case _:
            message = f"Keycloak refuses {method} {_area(path)} ({answer.status}): {text}"
            return BackendRejectedError(message, backend=BACKEND)


def explanation(answer: Answer) -> str:
    """Return Keycloak's own words, in a form that is safe to publish, or nothing."""
    found = said(answer)
    problems = found.get("errors")
    parts = [found, *problems] if isinstance(problems, list) else [found]
    words = [_words(part) for part in parts if isinstance(part, dict)]
    text = "; ".join(word for word in words if word)
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return _CREDENTIAL.sub("…", printable)[:_LONGEST_TEXT]


def said(answer: Answer) -> dict[str, object]:
    """Return the body as an object, empty if it is none."""
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _words(part: dict[str, object]) -> str:
    """Return one problem in words; the field's value (`params`) is left out."""
    text = next((part[key] for key in ("errorMessage", "error_description", "error") if key in part), "")
    field = part.get("field")
    return f"{field}: {text}" if field else str(text)


def _area(path: str) -> str:
    """Return the kind of thing that a path is about, without ids."""
    return path.partition("/")[0].partition("?")[0] or "the realm"
