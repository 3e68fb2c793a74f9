"""Where the copy of a token goes in Vault: a template by an untrusted author, which can never leave what is granted.

A placeholder stands for one part between slashes, or a piece of one: what is put in holds no slash and is never `.` or
`..`. So a grant of a prefix says how far a template reaches before anything is put in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fedid.domain.token_entries import Location
from fedid.errors import InvalidSpecError

__all__ = ["Delivery", "delivery"]

_KNOWN = ("namespace", "name", "token", "clientId", "subject")
_PIECE = re.compile(r"\{([^{}]*)\}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_SUBJECT = "{subject}"
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where the copy of one token goes, and in which form."""

    mount: str
    template: str
    """Path relative to the mount; may still hold `{subject}`, which is known once the client exists."""
    key: str
    """What the platform reads the token from."""

    @property
    def ask(self) -> str:
        """Return what is asked of the grants: mount and path, with `{subject}` as it is written."""
        return f"{self.mount}/{self.template}"

    def location(self, subject: str | None) -> Location | None:
        """Return the place, None as long as it needs a subject that is not known."""
        if _SUBJECT in self.template and subject is None:
            return None
        if subject is not None and _SUBJECT in self.template:
            _check_part(subject, "{subject}")
        path = self.template.replace(_SUBJECT, subject or "")
        _check(path, self.template, "the template of spec.tokens")
        return Location(self.mount, path)


def delivery(  # noqa: PLR0913 - all that a template can name
    template: str, field: str, *, mount: str, key: str, own_folder: tuple[str, str], values: Mapping[str, str]
) -> Delivery:
    """Return where a template leads.

    Args:
        template: As the spec writes it.
        field: Where it stands, for messages.
        mount: Of Vault.
        key: What the platform reads.
        own_folder: Mount and path prefix of fedid itself, where nobody's copy may lie.
        values: What stands for each placeholder but `{subject}`.

    Raises:
        InvalidSpecError: A placeholder is not known, the path could lead elsewhere, or it leads to fedid's own folder.
    """
    for name in _PIECE.findall(template):
        if name not in _KNOWN:
            known = ", ".join(f"{{{one}}}" for one in _KNOWN)
            message = f"{field} has {{{name[:40]}}}, which is no placeholder; known are {known}"
            raise InvalidSpecError(message)
    filled = template
    for name, value in values.items():
        if f"{{{name}}}" in template:
            _check_part(value, f"{{{name}}} in {field}")
        filled = filled.replace(f"{{{name}}}", value)
    _check(filled.replace(_SUBJECT, "subject"), template, field)
    own_mount, prefix = own_folder
    if mount == own_mount and (filled == prefix or filled.startswith(f"{prefix}/")):
        message = f"{field} leads to {mount}/{prefix}, which is fedid's own; choose a path outside of it"
        raise InvalidSpecError(message)
    return Delivery(mount, filled, key)


def _check_part(value: str, what: str) -> None:
    if not _SEGMENT.fullmatch(value) or value in {".", ".."}:
        message = f"{what} stands for {value[:100]!r}, which cannot be a part of a path in Vault"
        raise InvalidSpecError(message)


def _check(path: str, template: str, field: str) -> None:
    parts = path.split("/")
    if len(path) > _LONGEST or any(not _SEGMENT.fullmatch(part) or part in {".", ".."} for part in parts):
        message = (
            f"{field} is {template[:100]!r}; write parts of letters, digits, `.`, `-` and `_` between single slashes, "
            "none of them `.` or `..`, such as users/{subject}/tokens/{name}"
        )
        raise InvalidSpecError(message)
