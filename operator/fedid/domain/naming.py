"""Names of what is made outside the cluster, derived from the custom resource alone.

Ids derive from the uid, so that a create is idempotent and a re-created object (other uid) never meets the former's
things. Every path is built from parts that the Kubernetes API has already bounded to DNS labels or sub-domains.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from fedid.errors import InvalidSpecError

__all__ = ["ObjectKey", "client_uuid", "default_client_id", "owner_mark", "vault_path"]

_NAMESPACE = uuid.UUID("6f0d8f4e-5a0c-5a4b-9d0e-fed1d0000001")
"""Fixed for ever: another value would orphan every client."""
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Which custom resource: what the work queue works on."""

    kind: str
    namespace: str
    """Empty for a cluster-scoped kind."""
    name: str

    def __str__(self) -> str:
        """Return `<kind>/<namespace>/<name>`, as written into `fedid.object`."""
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    @property
    def full_name(self) -> str:
        """Return `<namespace>/<name>`, as a status names an object whose kind is known."""
        return "/".join(part for part in (self.namespace, self.name) if part)


def owner_mark(installation_id: str, uid: str) -> str:
    """Return the owner mark `<installation id>/<CR uid>`."""
    return f"{installation_id}/{uid}"


def client_uuid(uid: str) -> str:
    """Return the Keycloak id of the client that belongs to the object with this uid.

    Source: RFC 9562 section 5.5 (UUID version 5).
    """
    return str(uuid.uuid5(_NAMESPACE, uid))


def default_client_id(namespace: str, name: str) -> str:
    """Return the clientId of a bot that names none; unambiguous, since a namespace holds no dot."""
    return f"{namespace}.{name}"


def vault_path(prefix: str, *segments: str) -> str:
    """Return a path below the prefix, relative to the mount.

    Raises:
        InvalidSpecError: A segment could leave the prefix.
    """
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or ".." in segment:
            message = f"{segment!r} cannot be a part of a Vault path"
            raise InvalidSpecError(message)
    return "/".join((prefix, *segments))
