"""Lets an object go although its end is not proven, where somebody who may say so does, and tells what stays behind.

The right is the verb `force-release` on the object, which the API server checks for who sets the annotation (see
charts/fedid/templates/grants-policy.yaml). Without that check anybody who may change an identity could leave its
credentials behind, so the operator does not read the annotation then unless the platform switched it on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fedid.domain.conditions import reason_of
from fedid.domain.receipt import Cause, receipt_of
from fedid.domain.resources import FINALIZER, TUPLES_FINALIZER, Body, meta_of
from fedid.errors import Error
from fedid.reconcile.gate import without_finalizer
from fedid.reconcile.receipts import leave_receipt
from fedid.reconcile.status import newest_of
from fedid.reconcile.world import World

__all__ = ["FORCE_RELEASE", "force_released"]

FORCE_RELEASE: Final = "fedid.io/force-release"
_LONGEST_REASON = 200


async def force_released(world: World, body: Body, error: Error) -> bool:
    """Take our finalizers off an object that cannot be ended, if that is asked for; False if it is not.

    Args:
        world: Collaborators.
        body: The object; only one that is being deleted is ever given up.
        error: What its end waits for.

    Raises:
        StaleObjectError: The object changed meanwhile.
    """
    body = newest_of(world, body)
    meta = meta_of(body)
    why = _printable(meta.annotations.get(FORCE_RELEASE, ""))
    if not (world.force_release and meta.deleting and meta.is_held and why):
        return False
    remains = _remains(body)
    message = (
        f"Given up, as the annotation {FORCE_RELEASE} says ({why}), while the end waited: {error.message} What may "
        f"have stayed behind, and is a person's to end now: {'; '.join(remains) or 'nothing that is known of'}"
    )
    notes = [f"given up: {why}", f"the end waited for {reason_of(error)}: {error.message}", *remains]
    receipt = receipt_of(body, Cause.FORCE_RELEASED, notes=notes)
    await leave_receipt(world, body, receipt, message=message, reason="ForceReleased", warning=True, action="Release")
    world.audit(
        "ForceRelease", key=meta.key, why=why, waited_for=str(reason_of(error)), cause=error.message, remains=remains
    )
    await without_finalizer(world, body, FINALIZER, TUPLES_FINALIZER)
    return True


def _printable(text: str) -> str:
    return "".join(one for one in text if one.isprintable()).strip()[:_LONGEST_REASON]


def _remains(body: Body) -> list[str]:
    """Return what the status tells was made outside the cluster."""
    status: Mapping[str, Any] = body.get("status") or {}
    client = status.get("oidcClient") or {}
    paths = [status.get("secret"), client, status.get("initialPassword"), *(status.get("tokens") or ())]
    node = status.get("nodeId")
    found: Iterable[str | None] = (
        _client(status.get("clientId"), status.get("clientUuid")),
        _client(client.get("clientId"), client.get("clientUuid")),
        _client(client.get("publicClientId"), client.get("publicClientUuid")),
        f"user {status['userId']}" if status.get("userId") else None,
        *(f"Vault path {path}" for path in sorted(set(_paths(paths)))),
        f"SuperNode {node}" if node else None,
        *(f"tuple of {one.get('member')}" for one in (status.get("openFga") or {}).get("members") or ()),
    )
    return [one for one in found if one is not None]


def _client(client_id: str | None, uuid: str | None) -> str | None:
    return f"client {client_id} ({uuid or 'of no known id'})" if client_id else None


def _paths(entries: Iterable[Mapping[str, Any] | None]) -> Iterable[str]:
    for entry in entries:
        yield from (str(entry[name]) for name in ("vaultPath", "path") if entry and entry.get(name))
