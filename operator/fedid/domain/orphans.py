"""Orphans: what carries an owner mark of this installation, and whose object is gone without having taken it along.

A finalizer that a hand took off, an object that an older backup does not know, a release by force: each leaves such
things behind. They are told at once, and removed only where the Federation says so, after they were told for a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason, instant_in, rfc3339
from fedid.domain.durations import duration, duration_text
from fedid.domain.fields import Body, flag, text_or_none
from fedid.domain.naming import ObjectKey
from fedid.errors import InvalidSpecError

__all__ = [
    "LISTED",
    "Orphan",
    "OrphanKind",
    "OrphanSettings",
    "due",
    "orphan_fields",
    "parse_orphan_settings",
    "with_orphans",
]

LISTED = 10
"""How many a status names; the others follow as these go."""
_SHORTEST = timedelta(hours=1)
_KINDS = frozenset({"BotClient", "FederationUser", "PodIdentity"})
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class OrphanSettings:
    """What a Federation wants done about them."""

    remove: bool = False
    after: timedelta = timedelta(hours=24)
    """For how long one is told before it is removed."""


class OrphanKind(StrEnum):
    """What it is, in the order in which a teardown would end it."""

    CLIENT = "client"
    USER = "user"
    ENTRY = "entry"

    @property
    def backend(self) -> str:
        """Where it is."""
        return "vault" if self is OrphanKind.ENTRY else "keycloak"


@dataclass(frozen=True, slots=True)
class Orphan:
    """One thing without an object."""

    kind: OrphanKind
    id: str
    """Keycloak's id, or the path in the Federation's mount."""
    name: str
    """The clientId, the username, or the path."""
    owner: str
    """Its owner mark."""
    object_name: str
    """`<kind>/<namespace>/<name>` of the object that it was made for."""

    @property
    def key(self) -> _Key:
        """What tells it from every other: backend, id and owner mark."""
        return self.kind.backend, self.id, self.owner

    @property
    def uid(self) -> str:
        """The uid of that object."""
        return self.owner.partition("/")[2]

    @property
    def object(self) -> ObjectKey | None:
        """That object; None if the mark does not name one, as when a hand has changed it."""
        kind, _, name = self.object_name.partition("/")
        namespace, _, name = name.partition("/")
        named = kind in _KINDS and namespace and name and "/" not in name
        return ObjectKey(kind, namespace, name) if named else None

    def __str__(self) -> str:
        """Return what it is, for people."""
        return f"{self.kind} {self.name}" + (f" ({self.id})" if self.id != self.name else "")


def parse_orphan_settings(orphans: Body) -> OrphanSettings:
    """Return what `spec.orphans` of a Federation says.

    Raises:
        InvalidSpecError: A field means nothing; the message names it.
    """
    usual, written = OrphanSettings(), text_or_none(orphans, "spec.orphans.after")
    after = duration(written, "spec.orphans.after") if written is not None else usual.after
    if after < _SHORTEST:
        message = f"spec.orphans.after is {duration_text(after)}; write at least {duration_text(_SHORTEST)}"
        raise InvalidSpecError(message)
    return OrphanSettings(flag(orphans, "spec.orphans.remove", default=False), after)


def orphan_fields(
    found: Iterable[Orphan], before: Mapping[str, Any] | None, settings: OrphanSettings, now: datetime
) -> dict[str, Any] | None:
    """Return `status.orphans`, None if there are none; it moves with the set and with the settings alone.

    Args:
        found: All that there are.
        before: What was told: who is listed stays listed, with the instant of its first sight.
        settings: Whether they are to be removed.
        now: The operator's clock (aware UTC).
    """
    orphans = {one.key: one for one in found}
    if not orphans:
        return None
    since = {key: one["since"] for key, one in _listed(before).items()}
    order = sorted(orphans, key=lambda key: (key not in since, list(OrphanKind).index(orphans[key].kind), key))
    first = []
    for key in order[:LISTED]:
        one, seen = orphans[key], since.get(key) or rfc3339(now)
        entry = {"backend": key[0], "what": str(one), "id": one.id, "owner": one.owner, "since": seen}
        entry |= {"object": one.object_name} if one.object_name else {}
        if settings.remove and one.object is not None:
            entry["removeAt"] = rfc3339((instant_in(seen) or now) + settings.after)
        first.append(entry)
    return {"count": len(orphans), "first": first}


def due(found: Iterable[Orphan], told: Mapping[str, Any] | None, now: datetime) -> list[Orphan]:
    """Return those whose removal was told and whose instant has come, in the order of a teardown.

    Args:
        found: All that there are.
        told: `status.orphans` as it was before they were looked for: nothing goes that was not announced.
        now: The operator's clock (aware UTC).
    """
    announced = {key: instant_in(one.get("removeAt")) for key, one in _listed(told).items()}
    ripe = {key for key, at in announced.items() if at is not None and at <= now}
    ready = [one for one in found if one.key in ripe]
    return sorted(ready, key=lambda one: (list(OrphanKind).index(one.kind), one.id))


def _listed(told: Mapping[str, Any] | None) -> dict[_Key, Mapping[str, Any]]:
    """Return what `status.orphans` lists, each under its key."""
    return {(one["backend"], one["id"], one["owner"]): one for one in (told or {}).get("first") or ()}


def with_orphans(told: Iterable[Condition], fields: Mapping[str, Any] | None) -> list[Condition]:
    """Return the conditions with the one about orphans as `status.orphans` has it; without it if there are none.

    That part is written by a pass of its own, and the condition is derived from it at every write of the status.
    """
    others = [one for one in told if one.type is not ConditionType.ORPHANS]
    if not fields or not fields.get("count"):
        return others
    count, first = fields["count"], (fields.get("first") or [{}])[0]
    message = (
        f"{count} thing{'' if count == 1 else 's'} in Keycloak and Vault carr{'ies' if count == 1 else 'y'} a mark of "
        f"this installation and no object's: first {first.get('what')} of {first.get('object', 'an unknown object')}; "
        "see status.orphans. Remove them by hand, or set spec.orphans.remove"
    )
    return [*others, Condition(ConditionType.ORPHANS, True, Reason.ORPHANS_FOUND, message)]
