"""Which accounts OpenFGA is to let into which SuperLinks, and whose tuples are there: as specs and statuses tell."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fedid.domain.conditions import Reason
from fedid.domain.federation_user import parse_federation_user
from fedid.domain.membership import Entry, Membership, Record, record_in
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION_USER, TUPLES_FINALIZER, Body, meta_of
from fedid.domain.user import user_suspension
from fedid.engine import Priority
from fedid.errors import InvalidSpecError, NotReadyError
from fedid.platforms.flower_accounts import membership
from fedid.reconcile.bot_use import refusal_of
from fedid.reconcile.directory import key_of
from fedid.reconcile.gate import pinned_federation
from fedid.reconcile.world import World

__all__ = ["POD_MEMBERS", "Members", "has_members", "members_key", "require_tuples_gone", "subject_of"]

POD_MEMBERS: Final = "PodMembers"
"""Kind of the keys under which tuples are written; the rest of such a key is that of the PodIdentity."""
_NAMED: Final = 3


def members_key(server: ObjectKey) -> ObjectKey:
    """Return the key under which the members of a server are brought in line."""
    return ObjectKey(POD_MEMBERS, server.namespace, server.name)


def has_members(server: Body) -> bool:
    """Tell whether OpenFGA is to let anybody into what a PodIdentity is about, or may do so by what fedid wrote."""
    if (server.get("status") or {}).get("openFga") or TUPLES_FINALIZER in meta_of(server).finalizers:
        return True
    try:
        return membership(server.get("spec") or {}) is not None
    except InvalidSpecError:
        return False  # its own condition says so


def subject_of(member: Body, federation: str | None, now: datetime) -> str | None:
    """Return the `sub` of the tokens of a bot or user, None if it is refused, of another realm, or not made yet.

    Args:
        member: As last read.
        federation: Whose realm the server is of.
        now: The operator's clock (aware UTC).
    """
    meta, status = meta_of(member), member.get("status") or {}
    if status.get("federation") != federation:
        return None
    if meta.key.kind == BOT_CLIENT:
        refused = refusal_of(member, meta.key, now, meta.key.namespace) is not None
        return None if refused else status.get("serviceAccountSubject")
    refused = meta.deleting or status.get("revocation") or _is_disabled(member, now)
    return None if refused else status.get("userId")


def _is_disabled(user: Body, now: datetime) -> bool:
    try:
        spec = parse_federation_user(user)
    except InvalidSpecError:
        return False  # its own condition says so; what it had before stays
    return not spec.enabled or user_suspension(spec, now) is not None


class Members:
    """Looks at SuperLinks and at those who are to be let in."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._parsed: dict[ObjectKey, tuple[str, int, Membership | None]] = {}

    def wanted(self, server: Body, of: Membership, federation: str) -> dict[str, Entry]:
        """Return the members that a server selects and that may be let in, by their subject."""
        directory, namespace = self._world.directory, server["metadata"]["namespace"]
        found = {}
        for key in sorted(directory.keys(BOT_CLIENT) + directory.keys(FEDERATION_USER)):
            member = directory.get(key)
            if member is None or not of.selects(namespace, member):
                continue
            subject = subject_of(member, federation, self._world.clock.now())
            if subject is not None:
                found[subject] = Entry(subject, key, meta_of(member).uid)
        return found

    def still_wanted(self, server: Body, record: Record) -> dict[str, Entry]:
        """Return those of the recorded members who are not refused nor, if the manifest can be read, deselected."""
        namespace, now = server["metadata"]["namespace"], self._world.clock.now()
        try:
            of = membership(server.get("spec") or {})
        except InvalidSpecError:
            of = None
        found = {}
        for one in record.entries:
            member = self._world.directory.get(one.member)
            if member is None or (of is not None and not of.selects(namespace, member)):
                continue
            if subject_of(member, record.place.federation, now) == one.subject:
                found[one.subject] = one
        return found

    def follow(self, member: Body) -> None:
        """Wake the servers where a bot or user has a tuple and should have none, or should have one."""
        uid = meta_of(member).uid
        for server in self._world.directory.servers():
            of = self._membership(server)
            federation = pinned_federation(self._world, server) if of is not None else None
            wanted = of is not None and of.selects(server["metadata"]["namespace"], member)
            subject = subject_of(member, federation, self._world.clock.now()) if wanted else None
            told = {one.subject for one in _entries(server) if one.uid == uid}
            if told != ({subject} if subject is not None else set()):
                self._world.wake(members_key(key_of(server)), Priority.DELETION, look=False)

    def wake_recording(self, gone: ObjectKey) -> None:
        """Wake the servers that let in a bot or user of a name that is gone, whoever took its finalizer off."""
        for server in self._world.directory.servers():
            if any(one.member == gone for one in _entries(server)):
                self._world.wake(members_key(key_of(server)), Priority.DELETION, look=False)

    def forget(self, key: ObjectKey) -> None:
        """Drop what is kept of a server that is gone."""
        self._parsed.pop(key, None)

    def _membership(self, server: Body) -> Membership | None:
        meta = meta_of(server)
        known = self._parsed.get(meta.key)
        if known is not None and known[:2] == (meta.uid, meta.generation):
            found = known[2]
        else:
            try:
                found = membership(server.get("spec") or {})
            except InvalidSpecError:
                found = None  # its own condition says so
            self._parsed[meta.key] = (meta.uid, meta.generation, found)
        return None if meta.deleting else found


def require_tuples_gone(world: World, uid: str) -> None:
    """Let no bot or user go while OpenFGA may hold a tuple that fedid wrote for it.

    Raises:
        NotReadyError: It may; says which PodIdentity waits for what. Those are woken, and wake the object when it is
            gone.
    """
    holding = [server for server in world.directory.servers() if any(one.uid == uid for one in _entries(server))]
    if not holding:
        return
    for server in holding:
        world.wake(members_key(key_of(server)), Priority.DELETION, look=False)
    names = ", ".join(str(key_of(server)) for server in holding[:_NAMED])
    wrong = (((holding[0].get("status") or {}).get("openFga") or {}).get("problem") or {}).get("message")
    message = f"Everything is revoked at the authority; OpenFGA may still hold tuples of it, written for {names}"
    raise NotReadyError(f"{message}: {wrong}" if wrong else message, reason=Reason.WAITING_FOR_VERIFIERS)


def _entries(server: Body) -> tuple[Entry, ...]:
    record = record_in(server.get("status") or {})
    return record.entries if record is not None else ()
