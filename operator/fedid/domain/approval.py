"""IdentityApprovals: a person's yes to exactly what one identity asks for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from fedid.domain.fields import Body, instant_or_none, section, text
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import GROUP_VERSION, IDENTITY_APPROVAL

__all__ = ["Approval", "approval_hint", "approved_of", "ask_hash", "identity_in", "parse_approval"]


@dataclass(frozen=True, slots=True)
class Approval:
    """One IdentityApproval."""

    name: str
    identity: ObjectKey
    uid: str
    """Of the identity: one of its name that is made anew is another one."""
    ask_hash: str
    expires_at: datetime | None
    """From when on it counts no more (aware UTC, the operator's clock); None: it counts until it is deleted."""

    def counts(self, now: datetime) -> bool:
        """Tell whether it has not expired."""
        return self.expires_at is None or now < self.expires_at


def parse_approval(body: Body) -> Approval:
    """Return the approval.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    spec = section(body, "spec")
    identity = section(spec, "spec.identity")
    return Approval(
        name=body["metadata"]["name"],
        identity=ObjectKey(
            text(identity, "spec.identity.kind"),
            text(identity, "spec.identity.namespace"),
            text(identity, "spec.identity.name"),
        ),
        uid=text(identity, "spec.identity.uid"),
        ask_hash=text(spec, "spec.askHash"),
        expires_at=instant_or_none(spec, "spec.expiresAt"),
    )


def identity_in(body: Body) -> tuple[ObjectKey, str]:
    """Return which identity an approval names, and its uid; without a look at the rest."""
    named = (body.get("spec") or {}).get("identity") or {}
    fields = (str(named.get(name) or "") for name in ("kind", "namespace", "name"))
    return ObjectKey(*fields), str(named.get("uid") or "")


def ask_hash(signatures: Iterable[str]) -> str:
    """Return what stands for these asks in an approval: 64 hexadecimal digits (SHA-256), whatever their order."""
    return hashlib.sha256(json.dumps(sorted(set(signatures))).encode()).hexdigest()


def approved_of(
    approvals: Iterable[Approval], asked: Collection[str], recorded: Collection[str], now: datetime
) -> frozenset[str] | None:
    """Return the signatures of the asks that are approved; None if there is no approval that counts.

    Args:
        approvals: Those of the identity.
        asked: Signatures of what it asks for now, what that brings along included.
        recorded: Of what it asked for when it was last seen approved, as its status tells. They count as long as an
            approval has their very hash, so that one that asks for more keeps what was approved, and one that asks for
            less needs no other approval. Whoever could write statuses could not make more of it.
        now: The operator's clock.
    """
    hashes = {approval.ask_hash for approval in approvals if approval.counts(now)}
    approved = [frozenset(some) for some in (asked, recorded) if ask_hash(some) in hashes]
    return frozenset().union(*approved) if approved else None


def approval_hint(identity: ObjectKey, uid: str, digest: str) -> str:
    """Return the command with which a person approves what the identity asks for now."""
    named = {"kind": identity.kind, "namespace": identity.namespace, "name": identity.name, "uid": uid}
    manifest = {
        "apiVersion": GROUP_VERSION,
        "kind": IDENTITY_APPROVAL,
        "metadata": {"generateName": f"{identity.namespace}-{identity.name}-"},
        "spec": {"identity": named, "askHash": digest, "reason": "<why>", "approvedBy": "<you>"},
    }
    you = "'\"$(kubectl auth whoami -o jsonpath={.status.userInfo.username})\"'"
    return f"echo '{json.dumps(manifest).replace('<you>', you)}' | kubectl create -f -"
