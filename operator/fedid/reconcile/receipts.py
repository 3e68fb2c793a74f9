"""Leaves a receipt of an end: as an object that outlives the identity, as a line of the log, and as an Event.

The line of the log is the copy that leaves the cluster. So what refuses the object for good (a right that is missing,
a CRD that is not installed) never holds up a revocation: it is told, and the line says so. An API server that is away
holds it up as with any other write.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from fedid.domain.conditions import reason_of
from fedid.domain.receipt import Cause, Presented, Receipt, ReceiptLimits, prunable, receipt_of
from fedid.domain.resources import REVOCATION_RECEIPT, Body, meta_of
from fedid.errors import BackendDeniedError, BackendRejectedError
from fedid.ports import Clock, Cluster
from fedid.reconcile.audit import DONE, FAILED
from fedid.reconcile.world import Backends, World

__all__ = ["gone_from_vault", "leave_receipt", "leave_receipt_of_credential", "prune_receipts", "withdrawal_of"]

_STEP: Final = "RevocationReceipt"
_LONGEST: Final = 1000


async def leave_receipt(  # noqa: PLR0913 - the receipt, and what its Event says
    world: World,
    body: Body,
    receipt: Receipt,
    *,
    message: str,
    reason: str = "RevocationProven",
    warning: bool = False,
    action: str = "Revoke",
) -> None:
    """Write the receipt, and tell it in the log and in an Event about the object.

    Args:
        world: Collaborators.
        body: The object.
        receipt: What is told; left again after a crash, it is the same one.
        message: Of the Event, which names the receipt too.
        reason: Of the Event.
        warning: Whether the Event is one.
        action: Of the Event.

    Raises:
        BackendUnavailableError: The API server is away; to be repeated.
    """
    refused: BackendDeniedError | BackendRejectedError | None = None
    try:
        await world.cluster.create_receipt(receipt.body())
    except (BackendDeniedError, BackendRejectedError) as error:
        refused = error
    spec = {_snake(name): value for name, value in receipt.spec().items() if name not in {"object", "federation"}}
    told: dict[str, Any] = {"receipt": receipt.name, **spec}
    if refused is not None:
        told |= {"reason": str(reason_of(refused)), "error": refused.message}
    result = FAILED if refused is not None else DONE
    world.audit(_STEP, key=receipt.object, federation=receipt.federation, result=result, **told)
    named = f"receipt {receipt.name}" if refused is None else "the operator's log has the receipt"
    room = _LONGEST - len(named) - len("; ")
    await world.cluster.emit(body, reason=reason, message=f"{message[:room]}; {named}", warning=warning, action=action)
    if refused is not None:
        problem = f"No RevocationReceipt could be written, and only the operator's log tells of this: {refused.message}"
        await world.cluster.emit(body, reason="ReceiptRefused", message=problem, warning=True, action="Record")


async def leave_receipt_of_credential(  # noqa: PLR0913 - which one, and what was seen
    world: World, body: Body, seen: Sequence[Presented], *, what: str, cause: Cause = Cause.ROTATED, note: str = ""
) -> None:
    """Leave a receipt of a credential that ended while its identity goes on.

    Args:
        world: Collaborators.
        body: The identity.
        seen: What was presented, and what answered.
        what: Tells it from every other credential of the identity, also after a crash.
        cause: Why it ended.
        note: What remains, in a sentence; empty: nothing.

    Raises:
        BackendUnavailableError: The API server is away; to be repeated.
    """
    receipt = receipt_of(body, cause, what=what, seen=seen, notes=[note], proven_at=world.clock.now(), recorded=False)
    told = "; ".join(f"{one.credential}: {one.answer}" for one in seen)
    message = f"Ended and seen so: {told}{f'; {note}' if note else ''}"
    await leave_receipt(world, body, receipt, message=message, reason="CredentialEnded")


def withdrawal_of(body: Body) -> str:
    """Return what tells this end of an identity from an earlier one: a deletion is the only one of its object."""
    if meta_of(body).deleting:
        return ""
    return str(((body.get("status") or {}).get("revocation") or {}).get("startedAt", ""))


def gone_from_vault(backends: Backends, at: datetime) -> Presented:
    """Return that Vault, read back, held nothing of ours any more.

    Args:
        backends: With the Vault.
        at: When it was read (aware UTC).
    """
    vault = backends.federation.vault
    return Presented("entries with our owner mark", f"Vault {vault.url}, mount {vault.mount}", "gone (404)", at)


async def prune_receipts(cluster: Cluster, clock: Clock, limits: ReceiptLimits) -> int:
    """Delete the receipts that are too old or too many, and return how many that were.

    Raises:
        Error: The API server is away, or refuses.
    """
    surplus = prunable(await cluster.listing(REVOCATION_RECEIPT), limits, clock.now())
    for receipt in surplus:
        await cluster.delete_receipt(receipt["metadata"]["name"], receipt["metadata"]["uid"])
    return len(surplus)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
