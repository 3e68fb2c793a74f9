"""The Secret of a PodIdentity: filled, put back, emptied, replaced; a stranger's is never touched."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from fedid.domain.conditions import rfc3339
from fedid.domain.content_digest import content_digest
from fedid.domain.pod_identity import PodIdentity
from fedid.domain.resources import Body, Meta, meta_of
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret
from fedid.errors import BackendUnavailableError, OwnershipConflictError
from fedid.reconcile.gate import require_still_there
from fedid.reconcile.repairs import tell_repair
from fedid.reconcile.world import World

__all__ = ["Credential", "PodSecrets", "Written", "changed_at", "digest", "names_of"]

_PART_OF = "fedid.io/part-of"
_OPAQUE = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_HASH, _ISSUED, _EXPIRES = "fedid.io/credential-hash", "fedid.io/issued-at", "fedid.io/expires-at"


@dataclass(frozen=True, slots=True)
class Credential:
    """What the Secret is to hold."""

    files: Mapping[str, Sensitive]
    bot_uid: str = ""
    """Of a client: whose it is."""
    secret_version: int = 0
    """Of a client: of the bot secret in Vault that the files were made from."""
    expires_at: datetime | None = None
    """When the first of the mounted tokens ends."""
    issued_at: datetime | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    """Of a client: names of the opaque tokens that were there to be mounted, to their fingerprints."""

    @property
    def digest(self) -> str:
        """Fingerprint of the files, which tells nothing about them."""
        return digest(self.files)


@dataclass(frozen=True, slots=True)
class Written:
    """A Secret as it is after a pass."""

    secret: MountedSecret
    changed: bool
    """Whether the pass wrote other data than it found."""
    created: bool = False
    """Whether it found none."""


class PodSecrets:
    """Writes the Secrets of PodIdentities."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world

    async def deliver(self, body: Body, spec: PodIdentity, credential: Credential) -> Written:
        """Make the Secret hold the credential; written only if it differs."""
        cluster, meta = self._world.cluster, spec.meta
        wanted = _wanted_secret(spec, credential)
        found = await self._own_secret(meta, spec.secret_name)
        if found is not None and _same(wanted, found):
            return Written(found, changed=False)
        fixed = found is not None and (found.immutable or found.type != wanted.type)
        if found is not None and fixed:
            await cluster.delete_secret(found.namespace, found.name, found.uid or "")
        if found is None and (body.get("status") or {}).get("delivered"):
            # Its Secret goes with it, and the watches may tell of that one first.
            await require_still_there(self._world, meta, anyway=True)
        if found is None or fixed:
            written = await cluster.create_secret(wanted)
            if written is None:
                message = f"Secret {spec.secret_name} appeared while it was being created; looking again"
                raise BackendUnavailableError(message, backend="kubernetes")
        else:
            written = await cluster.replace_secret(
                replace(
                    wanted,
                    uid=found.uid,
                    resource_version=found.resource_version,
                    labels={**found.labels, **wanted.labels},
                    annotations={**found.annotations, **wanted.annotations},
                )
            )
        self._wrote(written)
        self._world.audit("WriteSecret", key=meta.key, secret=spec.secret_name, keys=sorted(wanted.data))
        if what := _changed_by_hand(body, wanted, found):
            await tell_repair(self._world, body, [what])
        changed = found is None or fixed or dict(wanted.data) != dict(found.data)
        return Written(written, changed=changed, created=found is None)

    async def _own_secret(self, meta: Meta, name: str) -> MountedSecret | None:
        """Return our Secret, None if the name is free.

        Raises:
            OwnershipConflictError: Somebody else's Secret has the name.
        """
        found = await self._world.cluster.read_secret(meta.key.namespace, name)
        if found is not None and found.owner_uid != meta.uid:
            whose = f"belongs to {found.owner_name}" if found.owner_name else "was not made by fedid"
            message = (
                f"Secret {name} in namespace {meta.key.namespace} exists and {whose}; it is left untouched. "
                "Choose another spec.secretName, or have its owner delete it"
            )
            raise OwnershipConflictError(message, backend="kubernetes")
        return found

    async def empty(self, meta: Meta, name: str) -> Written | None:
        """Set every key of our Secret of that name empty; the Secret stays. None if there is none of ours."""
        cluster = self._world.cluster
        found = await cluster.read_secret(meta.key.namespace, name)
        if found is None or found.owner_uid != meta.uid:
            return None
        if not any(found.data.values()):
            return Written(found, changed=False)
        emptied = replace(found, data=dict.fromkeys(found.data, Sensitive("")), annotations=_without_marks(found))
        if found.immutable:
            await cluster.delete_secret(found.namespace, found.name, found.uid or "")
            written = await cluster.create_secret(
                replace(emptied, uid=None, resource_version=None, immutable=False, owner_name=meta.key.name)
            )
        else:
            written = await cluster.replace_secret(emptied)
        if written is not None:
            self._wrote(written)
        self._world.audit("EmptySecret", key=meta.key, secret=name)
        return None if written is None else Written(written, changed=True)

    async def opaque_tokens(self, meta: Meta, name: str) -> dict[str, Sensitive]:
        """Return the opaque tokens that our Secret of that name holds, by fingerprint; none if it is not ours."""
        return _opaque_in(await self._own_data(meta, name))

    async def _own_data(self, meta: Meta, name: str) -> Mapping[str, Sensitive]:
        found = await self._world.cluster.read_secret(meta.key.namespace, name)
        return found.data if found is not None and found.owner_uid == meta.uid else {}

    async def hold_more(self, body: Body, told: Collection[str]) -> bool:
        """Tell whether a Secret of an object holds opaque tokens of none of these fingerprints, and is not as told.

        What merely looks like a token, a text of the spec, is part of what the status tells of.
        """
        content = (body.get("status") or {}).get("secretHash")
        for name in names_of(body):
            found = await self._own_data(meta_of(body), name)
            if digest(found) != content and _opaque_in(found).keys() - set(told):
                return True
        return False

    async def drop_former(self, body: Body, spec: PodIdentity) -> None:
        """Delete the Secret of a former `secretName`; only once the new one is there."""
        former = (body.get("status") or {}).get("secretName")
        if former is None or former == spec.secret_name:
            return
        found = await self._world.cluster.read_secret(spec.meta.key.namespace, former)
        if found is not None and found.owner_uid == spec.meta.uid:
            await self._world.cluster.delete_secret(found.namespace, found.name, found.uid or "")

    def _wrote(self, secret: MountedSecret) -> None:
        self._world.directory.wrote_secret(secret.namespace, secret.name, secret.resource_version)


def names_of(body: Body) -> list[str]:
    """Return under which names an object has, or had, a Secret: the one that it asks for and the one that it told."""
    asked = (body.get("spec") or {}).get("secretName") or meta_of(body).key.name
    return sorted({asked, (body.get("status") or {}).get("secretName") or asked})


def _opaque_in(files: Mapping[str, Sensitive]) -> dict[str, Sensitive]:
    held = (Sensitive(text) for value in files.values() for text in _OPAQUE.findall(value.reveal()))
    return {token.fingerprint(): token for token in held}


def _wanted_secret(spec: PodIdentity, credential: Credential) -> MountedSecret:
    annotations = {_HASH: credential.digest}
    if credential.issued_at is not None and credential.expires_at is not None:
        annotations |= {_ISSUED: rfc3339(credential.issued_at), _EXPIRES: rfc3339(credential.expires_at)}
    return MountedSecret(
        namespace=spec.meta.key.namespace,
        name=spec.secret_name,
        type="Opaque",
        data=credential.files,
        labels={_PART_OF: spec.meta.key.name},
        annotations=annotations,
        owner_uid=spec.meta.uid,
        owner_name=spec.meta.key.name,
    )


def _same(wanted: MountedSecret, found: MountedSecret) -> bool:
    return (
        dict(wanted.data) == dict(found.data)
        and wanted.type == found.type
        and wanted.labels.items() <= found.labels.items()
        and wanted.annotations.items() <= found.annotations.items()
        and not found.immutable
    )


def _changed_by_hand(body: Body, wanted: MountedSecret, found: MountedSecret | None) -> str | None:
    """Return what somebody else did to the Secret, None if it only is what we wrote before."""
    if not (body.get("status") or {}).get("delivered"):
        return None
    name = f"Secret {wanted.name}"
    if found is None:
        # Under a new name there was nothing yet.
        return f"{name} (deleted)" if body["status"].get("secretName") == wanted.name else None
    if found.immutable:
        return f"{name} (made immutable)"
    if digest(found.data) != found.annotations.get(_HASH):
        return f"{name} ({_changed_keys(wanted, found)})"
    ours = wanted.annotations.keys() <= found.annotations.keys() and wanted.labels.items() <= found.labels.items()
    if not ours:
        return f"{name} (labels or annotations)"
    return None  # other instants: a token was renewed that these files do not hold


def _changed_keys(wanted: MountedSecret, found: MountedSecret) -> str:
    keys = {*wanted.data, *found.data}
    changed = sorted(key for key in keys if wanted.data.get(key) != found.data.get(key))
    return ", ".join(changed) or f"annotation {_HASH}"


def digest(files: Mapping[str, Sensitive]) -> str:
    """Return a fingerprint of a Secret's content: 16 hexadecimal digits."""
    return content_digest({key: value.reveal().encode() for key, value in files.items()})


def changed_at(body: Body, credential: Credential, now: datetime) -> str:
    """Return when the Secret last changed, at the latest (RFC 3339); now, if the status does not know."""
    status = body.get("status") or {}
    same = status.get("secretHash") == credential.digest
    return (status.get("changedAt") if same else None) or rfc3339(now)


def _without_marks(secret: MountedSecret) -> dict[str, str]:
    return {k: v for k, v in secret.annotations.items() if k not in {_HASH, _ISSUED, _EXPIRES}}
