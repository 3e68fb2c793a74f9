"""What is mounted: the files of one Secret volume, read as kubelet swaps them, all at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fedid.domain.content_digest import content_digest

__all__ = ["Mounted", "NotMountedError", "mounted_in", "version_in"]

_DATA = "..data"
_ATTEMPTS = 5


class NotMountedError(Exception):
    """There is no Secret volume where one should be."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """One content of the volume."""

    version: str
    """Where `..data` leads: another folder after each change, also if the content is one of before."""
    digest: str


def version_in(folder: Path) -> str:
    """Return the version that is mounted now.

    Raises:
        NotMountedError: There is no Secret volume.
    """
    try:
        return str((folder / _DATA).readlink())
    except OSError as error:
        message = f"{folder} is no mounted Secret: {error.strerror}"
        raise NotMountedError(message) from error


def mounted_in(folder: Path) -> Mounted:
    """Return version and fingerprint of what is mounted; the content itself is not kept.

    Raises:
        NotMountedError: There is no Secret volume.
        PermissionError: A file may not be read.
    """
    for _ in range(_ATTEMPTS):
        version = version_in(folder)
        try:
            files = {entry.name: Path(entry.path).read_bytes() for entry in os.scandir(folder / version)}
        except FileNotFoundError:
            continue  # swapped meanwhile, and the former folder is gone
        return Mounted(version, content_digest(files))
    message = f"{folder} changes faster than it can be read"
    raise NotMountedError(message)
