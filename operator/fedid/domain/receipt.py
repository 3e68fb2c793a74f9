"""What is told of an end for good: what was presented where, what answered and when, and what remains.

A receipt is derived from what the status recorded while it was seen, so a restart tells the same, and nothing is told
that was not seen. Its name follows from what ended, so that a crash between two steps makes no second one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from fedid.domain.conditions import Reason, instant_in, rfc3339
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import GROUP_VERSION, REVOCATION_RECEIPT, Body, meta_of

__all__ = [
    "ADMIN_API",
    "REFUSED",
    "TOKEN_ENDPOINT",
    "Cause",
    "Presented",
    "Receipt",
    "ReceiptLimits",
    "cause_of",
    "evidence_fields",
    "evidence_in",
    "prunable",
    "receipt_of",
]

ADMIN_API: Final = "Admin API of"
TOKEN_ENDPOINT: Final = "token endpoint of"
"""Where something was presented; the realm's issuer URL follows."""
REFUSED: Final = "refused (invalid_client)"
"""What a token endpoint answers to a credential that is good no more (RFC 6749, section 5.2)."""

_MOST_EVIDENCE: Final = 64
_MOST_NOTES: Final = 32
_LONGEST_CREDENTIAL: Final = 512
_LONGEST_TEXT: Final = 1024
_LONGEST_NAME: Final = 120
"""Characters of the object's name in that of its receipt."""


class Cause(StrEnum):
    """Why something ended."""

    DELETED = "Deleted"
    SUSPENDED = "Suspended"
    EXPIRED = "Expired"
    WITHDRAWN = "Withdrawn"
    ROTATED = "Rotated"
    REVOKED_NOW = "RevokedNow"
    FORCE_RELEASED = "ForceReleased"


_CAUSES: Final = {
    Reason.SUSPENDED: Cause.SUSPENDED,
    Reason.EXPIRED: Cause.EXPIRED,
    Reason.REVOKED_NOW: Cause.REVOKED_NOW,
}


@dataclass(frozen=True, slots=True)
class Presented:
    """One thing that was presented or looked for, and the answer."""

    credential: str
    """By its name or id; never the credential itself."""
    presented_to: str
    answer: str
    at: datetime
    """Aware UTC, of who answered where that is known, else of the operator."""

    def fields(self) -> dict[str, str]:
        """Return it as statuses and receipts hold it."""
        return {
            "credential": self.credential[:_LONGEST_CREDENTIAL],
            "presentedTo": self.presented_to[:_LONGEST_TEXT],
            "answer": self.answer[:_LONGEST_TEXT],
            "at": rfc3339(self.at),
        }


def evidence_fields(seen: Iterable[Presented]) -> list[dict[str, str]]:
    """Return what was seen as `status.revocation.evidence` holds it."""
    return [one.fields() for one in seen][:_MOST_EVIDENCE]


def evidence_in(revocation: Mapping[str, Any]) -> tuple[Presented, ...]:
    """Return what an earlier pass recorded of what it saw."""
    return tuple(
        Presented(one["credential"], one["presentedTo"], one["answer"], at)
        for one in revocation.get("evidence") or ()
        if (at := instant_in(one.get("at"))) is not None
    )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is told of one end."""

    object: ObjectKey
    uid: str
    federation: str | None
    cause: Cause
    what: str
    """Tells this end of the object from others of the same cause; part of the name alone."""
    started_at: datetime | None
    proven_at: datetime | None
    """None: it was never seen, and the notes say what may have stayed."""
    evidence: tuple[Presented, ...] = ()
    latest_expiry: datetime | None = None
    """Of a token that a verifier may take which checks signatures alone; None: there is none that is known of."""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`<namespace>.<name>.<ten hexadecimal digits>`: the same for the same end."""
        told = f"{self.object.kind}|{self.uid}|{self.cause}|{self.what}"
        digest = hashlib.sha256(told.encode()).hexdigest()[:10]
        return f"{self.object.namespace}.{self.object.name[:_LONGEST_NAME].rstrip('-.')}.{digest}"

    def spec(self) -> dict[str, Any]:
        """Return `spec` of the RevocationReceipt; the line of the log has the same fields."""
        key = self.object
        spec: dict[str, Any] = {
            "object": {"kind": key.kind, "namespace": key.namespace, "name": key.name, "uid": self.uid},
            "cause": str(self.cause),
        }
        if self.federation is not None:
            spec["federation"] = self.federation
        for name, instant in (("startedAt", self.started_at), ("provenAt", self.proven_at)):
            if instant is not None:
                spec[name] = rfc3339(instant)
        if self.evidence:
            spec["evidence"] = evidence_fields(self.evidence)
        remains: dict[str, Any] = {}
        if self.latest_expiry is not None:
            remains["latestExpiry"] = rfc3339(self.latest_expiry)
        if notes := self._notes():
            remains["notes"] = notes
        return {**spec, "remains": remains} if remains else spec

    def body(self) -> dict[str, Any]:
        """Return the RevocationReceipt."""
        labels = {
            "fedid.io/object-kind": self.object.kind,
            "fedid.io/object-namespace": self.object.namespace,
            "fedid.io/object-uid": self.uid,
            "fedid.io/cause": str(self.cause),
        }
        return {
            "apiVersion": GROUP_VERSION,
            "kind": REVOCATION_RECEIPT,
            "metadata": {"name": self.name, "labels": labels},
            "spec": self.spec(),
        }

    def _notes(self) -> list[str]:
        notes = list(dict.fromkeys(note[:_LONGEST_TEXT] for note in self.notes if note))
        if (more := len(self.evidence) - _MOST_EVIDENCE) > 0:
            notes.insert(0, f"{more} more answers were seen than a receipt holds")
        if len(notes) > _MOST_NOTES:
            left = len(notes) - _MOST_NOTES + 1
            notes = [*notes[: _MOST_NOTES - 1], f"and {left} more; the log of the operator has them"]
        return notes


def cause_of(body: Body) -> Cause:
    """Return why an identity ends, as its object tells."""
    if meta_of(body).deleting:
        return Cause.DELETED
    reason = ((body.get("status") or {}).get("revocation") or {}).get("reason")
    return next((cause for told, cause in _CAUSES.items() if told == reason), Cause.WITHDRAWN)


def receipt_of(  # noqa: PLR0913 - everything that a receipt tells
    body: Body,
    cause: Cause,
    *,
    what: str = "",
    seen: Sequence[Presented] = (),
    notes: Iterable[str] = (),
    proven_at: datetime | None = None,
    recorded: bool = True,
) -> Receipt:
    """Return the receipt for the end of an identity, or of something of it.

    Args:
        body: The object, with what its status recorded (`status.revocation`) if that is about this end.
        cause: Why.
        what: Tells this end from others of the same cause: when it was begun, or which credential it is about.
        seen: What was seen beyond what the status recorded.
        notes: What remains, one sentence each.
        proven_at: When all of it was seen, where the status does not tell.
        recorded: Whether `status.revocation` is about this end; it is not about the rotation of one credential.
    """
    meta, status = meta_of(body), body.get("status") or {}
    revocation: Mapping[str, Any] = (status.get("revocation") or {}) if recorded else {}
    proven = instant_in(revocation.get("provenAt")) or proven_at
    return Receipt(
        object=meta.key,
        uid=meta.uid,
        federation=status.get("federation"),
        cause=cause,
        what=what,
        started_at=instant_in(revocation.get("startedAt")),
        proven_at=None if cause is Cause.FORCE_RELEASED else proven,
        evidence=(*evidence_in(revocation), *seen),
        latest_expiry=instant_in(revocation.get("latestExpiry")),
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class ReceiptLimits:
    """How many receipts are kept, and how long."""

    keep: int
    max_age: timedelta


def prunable(receipts: Iterable[Body], limits: ReceiptLimits, now: datetime) -> tuple[Body, ...]:
    """Return the receipts that are to be deleted, the oldest first.

    Never one without `provenAt`: what it tells of may still be somewhere, and a person deletes it once it is not.

    Args:
        receipts: All that there are.
        limits: What is kept of those that are proven.
        now: The operator's clock (aware UTC).
    """
    proven = [one for one in receipts if (one.get("spec") or {}).get("provenAt")]
    oldest_first = sorted(proven, key=_made)
    surplus = max(len(oldest_first) - limits.keep, 0)
    return tuple(
        one
        for index, one in enumerate(oldest_first)
        if index < surplus or ((made := instant_in(_made(one)[0])) is not None and now - made > limits.max_age)
    )


def _made(receipt: Body) -> tuple[str, str]:
    """Return when it was made, and its name, so that the order is the same each time."""
    metadata = receipt["metadata"]
    return str(metadata.get("creationTimestamp", "")), str(metadata["name"])
