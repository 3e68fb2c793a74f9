"""The Bitfount platform: an API key or a modeller's key pair that a person got from the Hub and laid into Vault.

The SDK signs in to hosts of Bitfount's own that are fixed in it, so nothing of Keycloak is any use to it, and the Hub
has no call that ends a key: what is mounted here is copied, and ended by a person.

Sources: `hub/authentication_handlers.py`, `config.py` and `federated/helper.py` (names) of the wheel bitfount 13.0.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fedid.domain.fields import Body, section, text, text_or_none
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import CopiedEntry, CopySource, Identity, ServedIdentity

__all__ = ["Bitfount", "copied_from", "parse", "render", "residual"]

API_KEY: Final = "ApiKey"
MODELLER_KEY: Final = "ModellerKey"
_PATH: Final = "spec.platform.bitfount"
_USERNAME: Final = re.compile(r"[a-z\d](?:[a-z\d]|[-_](?=[a-z\d])){0,38}", re.ASCII)
_POD_NAME: Final = re.compile(r"[a-z\d]+([-_][a-z\d]+)*", re.ASCII)
_LONGEST_POD_ID: Final = 70
"""Of `<username>/<pod name>`."""
_VISIBLE: Final = re.compile(r"[!-~]{1,1024}")
_PEM: Final = re.compile(r"-----BEGIN ([A-Z ]+)-----\n(?:[^\n-][^\n]*\n)+-----END \1-----")
_PRIVATE: Final = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY"})
_PUBLIC: Final = frozenset({"PUBLIC KEY", "RSA PUBLIC KEY"})
_SSH_RSA: Final = re.compile(r"ssh-rsa [A-Za-z0-9+/]+={0,2}( [ -~]*)?")
"""One line of OpenSSH, with or without a comment: what the SDK itself writes as `modeller_rsa.pub.pem`."""
_ID: Final[Mapping[str, str]] = {API_KEY: "api_key_id", MODELLER_KEY: "key_id"}


@dataclass(frozen=True, slots=True)
class Bitfount:
    """Options of the block."""

    flavour: str
    """`ApiKey` or `ModellerKey`."""
    source: CopySource
    username: str | None = None
    """Of the API key's owner in the Hub."""
    pod_name: str | None = None


def parse(options: Body, path: str, role: str) -> Bitfount:
    """Return the options.

    Raises:
        InvalidSpecError: A field is missing, means nothing, or is another flavour's.
    """
    if role != "client":
        message = f"{path} is for role: client; Bitfount's own Access Manager checks what is presented"
        raise InvalidSpecError(message)
    flavour = text(options, f"{path}.flavour")
    if flavour not in _ID:
        message = f"{path}.flavour is {flavour[:40]!r}; write ApiKey or ModellerKey"
        raise InvalidSpecError(message)
    field = f"{path}.credentialsFrom"
    place = section(options, field)
    source = CopySource(
        field=field,
        path=text(place, f"{field}.vaultPath"),
        mount=text_or_none(place, f"{field}.vaultMount"),
        id_key=_ID[flavour],
        authority="the Bitfount Hub",
    )
    username = text_or_none(options, f"{path}.username")
    pod_name = text_or_none(options, f"{path}.podName")
    if flavour == MODELLER_KEY:
        if username is not None or pod_name is not None:
            name = "username" if username is not None else "podName"
            message = f"{path}.{name} is for flavour: ApiKey; a modeller names its user in the task"
            raise InvalidSpecError(message)
        return Bitfount(flavour, source)
    _check_names(path, username, pod_name)
    return Bitfount(flavour, source, username, pod_name)


def copied_from(options: Bitfount) -> CopySource:
    """Return where the credential was laid."""
    return options.source


def residual(_options: Bitfount, _role: str) -> str:
    """Return how far a copied credential goes on being good: nobody here can end it."""
    return "What is copied is good until a person ends it in the Bitfount Hub; the condition Revoked names it by id"


def render(identity: Identity, options: Bitfount) -> dict[str, Sensitive]:
    """Return what every key of the Secret holds: variables for `envFrom`, or the files of a modeller's key.

    Args:
        identity: With the entry that was read from Vault.
        options: The block.

    Raises:
        InvalidSpecError: The entry lacks a key, or holds what the SDK could not read; the message names the key.
    """
    entry = _entry(identity)
    if options.flavour == MODELLER_KEY:
        return {
            "modeller_rsa.pem": _pem(entry, "private_key", _PRIVATE),
            "modeller_rsa.pub.pem": _public_key(entry, "public_key"),
            # Read by `readline()` and never stripped: with a line end it would be another id, and registered anew.
            "modeller_key_id.txt": _word(entry, "key_id"),
        }
    if len(ids := entry.ids("api_key_id")) > len(set(ids)):
        message = f"{_where('previous_api_key_id')} is the id in use; write the one before it, or take it out"
        raise InvalidSpecError(message)
    files = {
        "BITFOUNT_API_KEY_ID": _word(entry, "api_key_id"),
        "BITFOUNT_API_KEY": _word(entry, "api_key"),
        "BITFOUNT_USERNAME": Sensitive(options.username or ""),
    }
    if options.pod_name is not None:
        files["BITFOUNT_POD_NAME"] = Sensitive(options.pod_name)
    return files


def _check_names(path: str, username: str | None, pod_name: str | None) -> None:
    if username is None or not _USERNAME.fullmatch(username):
        message = (
            f"{path}.username is {(username or '')[:40]!r}; write the owner of the API key as the Hub does: 1 to 39 "
            "lower-case letters and digits, with single `-` or `_` between them"
        )
        raise InvalidSpecError(message)
    if pod_name is None:
        return
    if not _POD_NAME.fullmatch(pod_name):
        message = (
            f"{path}.podName is {pod_name[:80]!r}; write lower-case letters and digits, "
            "with single `-` or `_` between them"
        )
        raise InvalidSpecError(message)
    if len(f"{username}/{pod_name}") > _LONGEST_POD_ID:
        message = (
            f"{path}: {username}/{pod_name[:80]} is longer than {_LONGEST_POD_ID} characters; choose a shorter podName"
        )
        raise InvalidSpecError(message)


def _entry(identity: Identity) -> CopiedEntry:
    if isinstance(identity, ServedIdentity) or identity.copied is None:
        message = f"{_PATH} mounts what lies at credentialsFrom, and nothing was read from there"
        raise InvalidSpecError(message)
    return identity.copied


def _word(entry: CopiedEntry, key: str) -> Sensitive:
    """Return a value without the line end that a text file or a terminal leaves at its end."""
    word = entry.values[key].reveal().strip() if key in entry.values else ""
    if not _VISIBLE.fullmatch(word):
        message = (
            f"{_where(key)} must be 1 to 1024 printable ASCII characters without blanks; write it as the Hub shows it"
        )
        raise InvalidSpecError(message)
    return Sensitive(word)


def _pem(entry: CopiedEntry, key: str, kinds: frozenset[str]) -> Sensitive:
    lines = entry.values[key].reveal().strip().splitlines() if key in entry.values else []
    found = _PEM.fullmatch("\n".join(line.strip() for line in lines))
    if found is None or found[1] not in kinds:
        message = f"{_where(key)} must be one PEM block ({' or '.join(sorted(kinds))}), not encrypted"
        raise InvalidSpecError(message)
    return Sensitive(f"{found[0]}\n")


def _public_key(entry: CopiedEntry, key: str) -> Sensitive:
    """Return a public key in either form that the SDK loads, as it is."""
    text = entry.values[key].reveal().strip() if key in entry.values else ""
    if _SSH_RSA.fullmatch(text):
        return Sensitive(f"{text}\n")
    if not text.startswith("-----BEGIN"):
        message = f"{_where(key)} must be one line `ssh-rsa ...`, as the SDK writes it, or one PEM block"
        raise InvalidSpecError(message)
    return _pem(entry, key, _PUBLIC)


def _where(key: str) -> str:
    return f"{_PATH}: {key} in the entry that credentialsFrom names"
