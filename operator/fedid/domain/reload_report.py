"""What the sidecar of a pod says of the program beside it: one small JSON object, written there and read here.

Whoever reads it trusts none of it beyond its shape: the pod belongs to a tenant. So what it says is a fingerprint and a
word of a closed list, and no other part of an answer is ever repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["LOADED_PATH", "PORT_NAME", "Loaded", "ProcessState", "loaded_from", "report_of"]

PORT_NAME = "fedid-reload"
"""Name of the container port at which a sidecar answers."""
LOADED_PATH = "/loaded"
_DIGEST = re.compile(r"[0-9a-f]{16}")


class ProcessState(StrEnum):
    """How it stands with the program that the sidecar signals."""

    LOADED = "loaded"
    """It has read what is mounted."""
    SETTLING = "settling"
    """It was signalled a moment ago."""
    STARTING = "starting"
    """It runs and does not take the signal yet, which would end it."""
    ABSENT = "absent"
    """No process has such a command line."""
    ALONE = "alone"
    """The sidecar sees no process but its own."""
    AMBIGUOUS = "ambiguous"
    """Several processes have such a command line."""
    REFUSED = "refused"
    """The kernel lets the sidecar not signal it."""
    UNMOUNTED = "unmounted"
    """Where the Secret should be mounted there is none."""
    UNREADABLE = "unreadable"
    """The sidecar may not read what is mounted."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one sidecar knows."""

    digest: str | None
    """Of the content that the program last read; None: not known."""
    mounted: str | None
    """Of the content that is mounted now."""
    state: ProcessState


def report_of(loaded: Loaded) -> dict[str, str | None]:
    """Return the JSON object that a sidecar answers with."""
    return {"hash": loaded.digest, "mounted": loaded.mounted, "process": loaded.state.value}


def loaded_from(report: object) -> Loaded | None:
    """Return what a decoded answer says, None if it is no such report."""
    if not isinstance(report, Mapping):
        return None
    had, mounted, state = (report.get(name) for name in ("hash", "mounted", "process"))
    fit = all(one is None or (isinstance(one, str) and _DIGEST.fullmatch(one)) for one in (had, mounted))
    if not fit or state not in ProcessState.__members__.values():
        return None
    return Loaded(had, mounted, ProcessState(str(state)))
