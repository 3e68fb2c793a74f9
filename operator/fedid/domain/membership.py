"""Whom OpenFGA is to let into a SuperLink (Flower up to 1.33), and what fedid wrote there for that.

A tuple of OpenFGA carries no mark of who wrote it, so the status of the PodIdentity is the record of ours. A tuple is
recorded only after it was seen to be absent, and before it is written: what is there and not recorded is a stranger's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from fedid.domain.acceptance import Accepts
from fedid.domain.fields import Body
from fedid.domain.grants import Ask, AskKind
from fedid.domain.naming import ObjectKey
from fedid.domain.openfga import RelationTuple
from fedid.domain.resources import BOT_CLIENT, FEDERATION_USER

__all__ = [
    "HAS_ACCESS",
    "Changes",
    "Entry",
    "Membership",
    "Place",
    "Record",
    "TupleState",
    "changes",
    "record_in",
    "tuple_of",
]

HAS_ACCESS: Final = "has_access"
"""The relation of Flower's own model."""
_ACCOUNT: Final = "flwr_aid"
"""Flower's type for an account; its id is the `sub` of the account's tokens."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What a SuperLink's manifest says of its members."""

    store_id: str
    """Where the SuperLink asks."""
    object: str
    relation: str
    bots: Accepts | None
    """None: no bots."""
    users: Accepts | None
    """None: no people."""

    @property
    def ask(self) -> Ask:
        """What the Federation has to grant: the object, with its relation unless that is Flower's own."""
        named = self.object if self.relation == HAS_ACCESS else f"{self.object}#{self.relation}"
        return Ask(AskKind.OPENFGA_OBJECT, named)

    def selects(self, namespace: str, member: Body) -> bool:
        """Tell whether a SuperLink of this namespace wants the bot or user, and its owner lets it."""
        chosen = {BOT_CLIENT: self.bots, FEDERATION_USER: self.users}.get(member["kind"])
        return chosen is not None and chosen.matches(namespace, member)


class TupleState(StrEnum):
    """How far a tuple of ours is."""

    WRITING = "Writing"
    """It was absent and is being written: it may be there or not."""
    WRITTEN = "Written"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member, as the status records it."""

    subject: str
    """`sub` of its tokens."""
    member: ObjectKey
    uid: str
    state: TupleState = TupleState.WRITING


@dataclass(frozen=True, slots=True)
class Place:
    """Where the tuples of one PodIdentity are; all that a removal needs to know."""

    federation: str
    url: str
    store_id: str
    object: str
    relation: str

    def holds_what(self, other: Place) -> bool:
        """Tell whether tuples here are those of the other place; a server may move, and its stores with it."""
        return replace(self, url=other.url) == other


@dataclass(frozen=True, slots=True)
class Record:
    """What a PodIdentity's status says that fedid wrote."""

    place: Place
    entries: tuple[Entry, ...] = ()

    def fields(self) -> dict[str, Any]:
        """Return it as a part of `status.openFga`."""
        place = self.place
        return {
            "federation": place.federation,
            "url": place.url,
            "storeId": place.store_id,
            "object": place.object,
            "relation": place.relation,
            "count": sum(one.state is TupleState.WRITTEN for one in self.entries),
            "members": [
                {"subject": one.subject, "member": str(one.member), "uid": one.uid, "state": str(one.state)}
                for one in self.entries
            ],
        }

    def without(self, gone: Collection[str]) -> Record:
        """Return it without the entries of these subjects."""
        return replace(self, entries=tuple(one for one in self.entries if one.subject not in gone))


@dataclass(frozen=True, slots=True)
class Changes:
    """What leads from the record and what OpenFGA holds to the members that are wanted."""

    record: Record
    """To be written to the status before anything is written to OpenFGA."""
    write: tuple[Entry, ...] = ()
    """Tuples that are missing."""
    fresh: frozenset[str] = frozenset()
    """Subjects of those that nobody has sent yet: one that is there all the same is a stranger's."""
    foreign: tuple[Entry, ...] = field(default=())
    """Members whose tuple is there and is not ours."""


def tuple_of(place: Place, subject: str) -> RelationTuple:
    """Return the tuple that lets an account in."""
    return RelationTuple(f"{_ACCOUNT}:{subject}", place.relation, place.object)


def record_in(status: Mapping[str, Any]) -> Record | None:
    """Return what the status of a PodIdentity records, None if there is nothing."""
    told = status.get("openFga") or {}
    if not told.get("object"):
        return None
    place = Place(told["federation"], told["url"], told["storeId"], told["object"], told["relation"])
    return Record(place, tuple(_entry(one) for one in told.get("members") or ()))


def changes(record: Record, wanted: Iterable[Entry], seen: frozenset[str]) -> Changes:
    """Return what has to be recorded and written so that the wanted members are let in; nothing is taken away here.

    Args:
        record: What is recorded; entries that are not wanted have ended already.
        wanted: One entry per subject.
        seen: The users of all tuples of that object and relation.
    """
    known = {one.subject: one for one in record.entries}
    kept, write, fresh, foreign = [], [], set(), []
    for one in wanted:
        there, ours = tuple_of(record.place, one.subject).user in seen, known.get(one.subject)
        if ours is None and there:
            foreign.append(one)
            continue
        if there:
            kept.append(replace(one, state=TupleState.WRITTEN))
            continue
        if ours is None:
            fresh.add(one.subject)
        kept.append(one)
        write.append(one)
    return Changes(replace(record, entries=tuple(kept)), tuple(write), frozenset(fresh), tuple(foreign))


def _entry(told: Mapping[str, Any]) -> Entry:
    kind, namespace, name = str(told["member"]).split("/", 2)
    return Entry(told["subject"], ObjectKey(kind, namespace, name), told["uid"], TupleState(told["state"]))
