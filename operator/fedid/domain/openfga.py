"""OpenFGA as a Federation names it, and the relationship tuples that are kept there.

Source: OpenFGA documentation, "Concepts" (stores, authorization models, relationship tuples).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason, reason_of, rfc3339
from fedid.domain.fields import Body, section, text, text_or_none
from fedid.errors import Error, InvalidSpecError

__all__ = ["OpenFgaAccess", "RelationTuple", "parse_openfga_access", "problem", "with_openfga"]


@dataclass(frozen=True, slots=True)
class RelationTuple:
    """One relationship tuple: the user has the relation with the object."""

    user: str
    """`<type>:<id>`."""
    relation: str
    object: str
    """`<type>:<id>`."""

    def __str__(self) -> str:
        """Return it as OpenFGA's own messages do."""
        return f"{self.object}#{self.relation}@{self.user}"


@dataclass(frozen=True, slots=True)
class OpenFgaAccess:
    """Where an OpenFGA store is, and how the operator gets in."""

    url: str
    store_id: str
    model_id: str | None
    """Authorization model that tuples are written by; None: the store's latest."""
    ca_bundle: str | None
    secret_name: str | None
    """Secret in the operator's namespace with the key `preshared-key`; None: the server asks for no key."""


def parse_openfga_access(spec: Body) -> OpenFgaAccess | None:
    """Return what `spec.openFga` of a Federation says, None if it is missing.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    path = "spec.openFga"
    if spec.get("openFga") is None:
        return None
    told = section(spec, path)
    return OpenFgaAccess(
        url=text(told, f"{path}.url").rstrip("/"),
        store_id=text(told, f"{path}.storeId"),
        model_id=text_or_none(told, f"{path}.modelId"),
        ca_bundle=text_or_none(told, f"{path}.caBundle"),
        secret_name=_secret_name(section(told, f"{path}.auth"), f"{path}.auth"),
    )


def problem(error: Error, before: Mapping[str, Any] | None, now: datetime) -> dict[str, str]:
    """Return `status.openFga.problem`: what is wrong, and since when.

    Args:
        error: What is wrong.
        before: What was; the instant stays as long as the reason does.
        now: The operator's clock (aware UTC).
    """
    reason = str(reason_of(error))
    same = before is not None and before.get("reason") == reason
    since = before["since"] if before is not None and same else rfc3339(now)
    return {"reason": reason, "message": error.message, "since": since}


def with_openfga(told: Iterable[Condition], about: ConditionType, fields: Mapping[str, Any] | None) -> list[Condition]:
    """Return the conditions with the one about OpenFGA as `status.openFga` has it; without it if there is no such part.

    That part is written by a pass of its own, which holds up no other and is held up by none. So the condition is
    derived from it whenever the status is written, and neither pass writes over what the other one told.

    Args:
        told: All other conditions.
        about: `OpenFgaReady` of a Federation, or `OpenFgaSynced` of a PodIdentity.
        fields: `status.openFga`.
    """
    others = [one for one in told if one.type is not about]
    if fields is None:
        return others
    wrong = fields.get("problem")
    if wrong is not None:
        known = wrong["reason"] in Reason.__members__.values()  # another version of us may have written it
        reason = Reason(wrong["reason"]) if known else Reason.PROGRESSING
        return [*others, Condition(about, False, reason, f"{wrong['message']} (since {wrong['since']})")]
    if about is ConditionType.OPENFGA_READY:
        return [*others, Condition(about, True, Reason.READY, f"Store {fields.get('store', '')} of OpenFGA answers")]
    count = fields.get("count", 0)
    told_of = f"{count} account{'' if count == 1 else 's'}"
    message = f"OpenFGA lets {told_of} into {fields.get('object', '')} by tuples of fedid"
    return [*others, Condition(about, True, Reason.SYNCED, message)]


def _secret_name(auth: Body, path: str) -> str | None:
    none, key = auth.get("none") is not None, auth.get("presharedKey") is not None
    if none == key:
        message = (
            f"{path} needs exactly one of presharedKey: {{secretName: <Secret in the operator's namespace>}} and "
            "none: {}, for a server that asks for no key"
        )
        raise InvalidSpecError(message)
    return text(section(auth, f"{path}.presharedKey"), f"{path}.presharedKey.secretName") if key else None
