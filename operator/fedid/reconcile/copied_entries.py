"""What a person laid into Vault for pods to mount: read where a grant and the entry itself allow it, ended by a person.

A grant of `vaultPaths` says where the copies of bots may lie, and with a `*` it may reach over places that others keep
things in. So it is not enough for reading: the entry must name the namespaces that may have it, and nothing that
carries an owner mark, ours or another's, is ever taken for a person's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fedid.domain.conditions import Condition, ConditionType, Reason, condition_of
from fedid.domain.grants import Ask, AskKind
from fedid.domain.receipt import Cause, receipt_of
from fedid.domain.resources import Body, meta_of
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError, NotGrantedError, NotReadyError, OwnershipConflictError
from fedid.platforms.identity import CopiedEntry, CopySource, Identity, MountedIdentity
from fedid.platforms.table import Renderer
from fedid.reconcile.gate import with_finalizer, without_finalizer
from fedid.reconcile.judging import judged
from fedid.reconcile.receipts import leave_receipt
from fedid.reconcile.status import kept_conditions, write_status
from fedid.reconcile.world import Backends, World

__all__ = ["begin", "farewell", "read_copied", "with_copied"]

_NAMESPACES: Final = "namespaces"
"""Key of the entry: which namespaces may have it, with commas between them."""
_PREVIOUS: Final = "previous_"
_ID: Final = re.compile(r"[!-~]{1,256}")
_PART: Final = re.compile(r"[A-Za-z0-9._-]+")


async def read_copied(world: World, backends: Backends, body: Body, source: CopySource) -> CopiedEntry:
    """Return what a person laid at the place.

    Raises:
        InvalidSpecError: The place cannot be, or is fedid's own.
        NotGrantedError: No grant lists it for the namespace, or the entry does not.
        NotReadyError: Nothing lies there (reason `CredentialsMissing`).
        OwnershipConflictError: What lies there was made by an operator.
    """
    vault, namespace = backends.federation.vault, meta_of(body).key.namespace
    mount, where = source.mount or vault.mount, f"{source.mount or vault.mount}/{source.path}"
    if not all(_PART.fullmatch(part) and part not in {".", ".."} for part in where.split("/")):
        message = (
            f"{source.field} leads to {where[:200]!r}; write parts of letters, digits, `.`, `-` and `_` between slashes"
        )
        raise InvalidSpecError(message)
    if f"{where}/".startswith(f"{vault.mount}/{vault.path_prefix}/"):
        message = f"{source.field} leads to {where}, which is fedid's own; copy from a place outside of it"
        raise InvalidSpecError(message)
    verdict = await judged(world, backends, {Ask(AskKind.VAULT_PATH, where)}, body)
    if not verdict.granted:
        raise NotGrantedError(verdict.message, reason=verdict.reason)
    found = await backends.secret_store.at(mount).read_unmarked(source.path)
    if found is not None and found.owner is not None:
        message = f"What lies at {where} in Vault belongs to {found.owner}, and only what a person laid there is copied"
        raise OwnershipConflictError(message, backend="vault")
    if found is None or not found.data:
        message = f"Nothing lies at {where} in Vault; lay the credential there, with the key namespaces={namespace}"
        raise NotReadyError(message, reason=Reason.CREDENTIALS_MISSING)
    if namespace not in _allowed(found.data):
        message = (
            f"What lies at {where} in Vault is not meant for namespace {namespace}: "
            f"whoever keeps it adds the key namespaces={namespace}, several with commas between them"
        )
        raise NotGrantedError(message)
    return CopiedEntry(
        values={key: value for key, value in found.data.items() if not key.startswith(_PREVIOUS)},
        previous={key.removeprefix(_PREVIOUS): value for key, value in found.data.items() if key.startswith(_PREVIOUS)},
    )


def with_copied(render: Renderer, entry: CopiedEntry) -> Renderer:
    """Return the renderer, given the entry beside what is published of the bot."""

    def rendered(identity: Identity) -> dict[str, Sensitive]:
        return render(replace(identity, copied=entry) if isinstance(identity, MountedIdentity) else identity)

    return rendered


async def begin(world: World, body: Body, entry: CopiedEntry, source: CopySource) -> Body:
    """Say what goes on being good until a person ends it, by its id, before anything of it is mounted.

    Returns:
        The object with our finalizer on it, so that its deletion can say it again.

    Raises:
        StaleObjectError: The object changed or went meanwhile.
    """
    body = await with_finalizer(world, body)
    ids = " and ".join(one for one in entry.ids(source.id_key) if _ID.fullmatch(one))
    message = (
        f"Only a person can end {source.id_key} {ids}, in {source.authority}: it is good until then, "
        "also when it is not mounted any more or this object is deleted"
    )
    ended = Condition(ConditionType.REVOKED, False, Reason.MANUAL_REVOCATION_REQUIRED, message)
    others = kept_conditions(body, ConditionType, but=ConditionType.REVOKED)
    return await write_status(world, body, [*others, ended], {}) or body


async def farewell(world: World, body: Body) -> None:
    """Let a PodIdentity go that copied something, and leave a receipt of what goes on being good without it.

    Raises:
        StaleObjectError: The object changed meanwhile.
    """
    if not meta_of(body).has_finalizer:
        return
    told = condition_of((body.get("status") or {}).get("conditions") or (), ConditionType.REVOKED)
    if told is not None and told["reason"] == Reason.MANUAL_REVOCATION_REQUIRED:
        receipt = receipt_of(body, Cause.DELETED, what="copied", notes=[told["message"]])
        message, reason = told["message"], told["reason"]
        await leave_receipt(world, body, receipt, message=message, reason=reason, warning=True, action="Delete")
    await without_finalizer(world, body)


def _allowed(data: Mapping[str, Sensitive]) -> frozenset[str]:
    listed = data.get(_NAMESPACES)
    return frozenset(name.strip() for name in listed.reveal().split(",")) if listed is not None else frozenset()
