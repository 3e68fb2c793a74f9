"""One sweep over a realm: page by page everything of ours is compared with its manifest, and what differs is named.

It is made of small pieces of work, one page each. A piece that fails is repeated and nothing before it is lost. What
comes, goes or changes while the sweep is under way may be named without need: that costs one look and writes nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fedid.domain.bot import desired_bot, has_secret, suspension_of
from fedid.domain.drift import client_differs
from fedid.domain.federation_user import parse_federation_user
from fedid.domain.naming import ObjectKey, owner_mark
from fedid.domain.orphans import Orphan, OrphanKind
from fedid.domain.realm import ClientRecord, RealmScopes, Role, UserRecord
from fedid.domain.resources import BOT_CLIENT, Body, parse_bot_client
from fedid.domain.user import (
    applied_in,
    desired_user,
    user_as_wanted,
    user_differences,
    user_suspension,
)
from fedid.errors import InvalidSpecError, StaleObjectError
from fedid.reconcile.judging import bot_verdict, user_verdict
from fedid.reconcile.world import Backends, World

__all__ = ["Sweep"]

_AT_ONCE = 10
"""Objects that are compared before the loop gets a turn; about 3 ms."""
_LISTED_AT_ONCE = 1000
"""Likewise where there is little to do for each."""
_MOST_GROUPS = 200
"""In a realm with more groups only those that some manifest names are asked for their members."""
_ADMINISTRATIVE = "realm-management"
"""The client whose roles make administrators of a realm: nobody of ours holds one, unless by hand."""

_Record = TypeVar("_Record", ClientRecord, UserRecord)
Membership = tuple[str, str]
"""What somebody may hold: `role` and its id, or `group` and its path."""


@dataclass(slots=True)
class _Wanted:
    """What one object holds, if nobody changed it."""

    roles: frozenset[tuple[str | None, str]] = frozenset()
    """By client id (None: the realm's own) and name."""
    groups: frozenset[str] = frozenset()
    """By path."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One page to read."""

    what: str
    """`clients`, `users`, `rosters`, `role` or `group`."""
    first: int = 0
    role: Role | None = None
    group: tuple[str, str] = ("", "")
    """Path and id."""


@dataclass(slots=True)
class Sweep:
    """A sweep that is under way; `step` until it is `done`."""

    world: World
    backends: Backends
    started: float
    """Monotonic seconds."""
    pieces_done: int = 0
    groups: dict[str, str] = field(default_factory=dict)
    """Path by id."""
    role_names: dict[str, str] = field(default_factory=dict)
    """Name by role id."""
    strays: list[Orphan] = field(default_factory=list)
    """What was met of which no object is known."""
    _by_owner: dict[str, ObjectKey] = field(default_factory=dict)
    _by_subject: dict[str, ObjectKey] = field(default_factory=dict)
    _unmet: set[ObjectKey] = field(default_factory=set)
    _realm_scopes: RealmScopes | None = None
    _wanted: dict[ObjectKey, _Wanted] = field(default_factory=dict)
    _held: defaultdict[ObjectKey, set[Membership]] = field(default_factory=lambda: defaultdict(set))
    _tracked_roles: dict[tuple[str | None, str], str] = field(default_factory=dict)
    _named: set[ObjectKey] = field(default_factory=set)
    _pieces: deque[_Piece] = field(default_factory=deque)

    async def begin(self) -> None:
        """Take note of what there is to be found."""
        directory, kinds = self.world.directory, set()
        self.backends.identity_provider.forget_brought_roles()  # nothing else would tell that a composite has grown
        for number, key in enumerate(directory.identities_of(self.backends.federation.meta.key.name), 1):
            if number % _LISTED_AT_ONCE == 0:
                await asyncio.sleep(0)
            body = directory.get(key)
            if body is None or not self._is_settled(key):
                continue
            status = body["status"]
            self._by_owner[self.world.owner(body["metadata"]["uid"])] = key
            if subject := status.get("serviceAccountSubject") or status.get("userId"):
                self._by_subject[subject] = key
            self._unmet.add(key)
            kinds.add(key.kind)
        # Both in any case: what has no object any more is met here alone.
        self._pieces += [_Piece("clients"), _Piece("users")]
        if kinds:
            self._pieces.append(_Piece("rosters"))

    @property
    def done(self) -> bool:
        """Whether every page was read."""
        return not self._pieces

    @property
    def pieces_left(self) -> int:
        """How many more pieces there are at least."""
        return len(self._pieces)

    async def step(self) -> list[ObjectKey]:
        """Read one page; return what has to be looked at, nothing twice in one sweep.

        Raises:
            Error: Keycloak did not answer, or refused; the same page is read again by the next step.
        """
        piece, size = self._pieces[0], self.backends.federation.drift.page_size
        provider, prefix = self.backends.identity_provider, owner_mark(self.world.installation_id, "")
        found: set[ObjectKey] = set()
        more = False
        match piece:
            case _Piece("clients"):
                self._realm_scopes = await provider.realm_scopes(frozenset())
                clients = await provider.clients_page(prefix, piece.first, size)
                found, more = await self._differing(clients.items, self._client_differs), clients.seen == size
                self.world.meter.page(len(clients.items))
            case _Piece("users"):
                users = await provider.users_page(prefix, piece.first, size)
                found, more = await self._differing(users.items, self._user_differs), users.seen == size
                self.world.meter.page(len(users.items))
            case _Piece("rosters"):
                found = set(filter(self._is_settled, self._unmet))
                await self._find_rosters()
            case _:
                members = await self._members(piece, size)
                held = ("role", piece.role.role_id) if piece.role is not None else ("group", piece.group[0])
                ours = [key for member in members if (key := self._by_subject.get(member)) is not None]
                if piece.role is None:
                    ours = [key for key in ours if key.kind != BOT_CLIENT]
                for key in ours:
                    self._held[key].add(held)
                more = len(members) == size
                self.world.meter.page(len(ours))
        self._pieces.popleft()
        self.pieces_done += 1
        if more:
            self._pieces.appendleft(_Piece(piece.what, piece.first + size, piece.role, piece.group))
        if self.done:
            found |= await self._holding_others()
        fresh = found - self._named
        self._named |= fresh
        return sorted(fresh, key=str)

    async def _differing(
        self, page: Iterable[_Record], differs: Callable[[ObjectKey, Body, _Record], Awaitable[bool]]
    ) -> set[ObjectKey]:
        found = set()
        for number, record in enumerate(page, 1):
            key = self._by_owner.get(record.owner or "")
            body = self.world.directory.get(key) if key is not None else None
            if key is None:
                self.strays.append(_stray(record))
            if key is None or body is None or not self._is_settled(key):
                continue  # gone, or a pass of its own is under way
            self._unmet.discard(key)
            if await differs(key, body, record):
                found.add(key)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    async def _client_differs(self, key: ObjectKey, body: Body, client: ClientRecord) -> bool:
        try:
            spec = parse_bot_client(body)
            verdict = await bot_verdict(self.world, self.backends, spec, body)
        except InvalidSpecError:
            return False
        if suspension_of(spec, self.world.clock.now()) is not None:
            return False
        desired = desired_bot(spec, self.backends.federation, verdict, owner=client.owner or "")
        roles: set[tuple[str | None, str]] = {(None, name) for name in desired.realm_roles}
        roles |= {(of, name) for of, names in desired.client_roles.items() for name in names}
        self._wanted[key] = _Wanted(frozenset(roles))
        same_secret = not has_secret(desired) or self.world.sightings.in_keycloak(key, client.secret)
        secret = (body.get("status") or {}).get("secret") or {}
        key_ids = [secret[name] for name in ("keyId", "previousKeyId") if secret.get(name)]
        # An adopted client has an id of its own.
        moved = client.client_uuid != ((body.get("status") or {}).get("clientUuid") or desired.client_uuid)
        now = self.backends.identity_provider.server_now()
        if moved or not same_secret:
            return True
        return client_differs(desired, client, now, self._realm_scopes, key_ids=key_ids)

    async def _user_differs(self, key: ObjectKey, body: Body, user: UserRecord) -> bool:
        try:
            spec = parse_federation_user(body)
        except InvalidSpecError:
            return False
        moved = user.user_id != body["status"].get("userId")
        if user_suspension(spec, self.world.clock.now()) is not None:
            return moved or user.enabled
        verdict = await user_verdict(self.world, self.backends, spec, body)
        desired = desired_user(spec, verdict, owner=user.owner or "")
        roles: set[tuple[str | None, str]] = {(None, name) for name in desired.realm_roles}
        roles |= {(of, name) for of, names in desired.client_roles.items() for name in names}
        self._wanted[key] = _Wanted(frozenset(roles), desired.groups)
        wanted = user_as_wanted(desired, user, applied_in(body["status"]))
        return moved or bool(user_differences(wanted, user))

    async def _find_rosters(self) -> None:
        """Find out whose members have to be asked for."""
        provider = self.backends.identity_provider
        roles = list(await provider.all_roles(None))
        named = {client for wanted in self._wanted.values() for client, _ in wanted.roles if client is not None}
        for client_id in sorted(named | {_ADMINISTRATIVE}):
            roles += await provider.all_roles(client_id)
        self._tracked_roles = {(role.client_id, role.name): role.role_id for role in roles}
        self.role_names = {role.role_id: role.name for role in roles}
        self._pieces += [_Piece("role", role=role) for role in roles]
        if any(key.kind != BOT_CLIENT for key in self._wanted):
            paths = frozenset(path for wanted in self._wanted.values() for path in wanted.groups)
            groups = await provider.all_groups(_MOST_GROUPS)
            if len(groups) > _MOST_GROUPS:
                groups = await provider.group_ids(paths)
            self.groups = {group_id: path for path, group_id in groups.items()}
            self._pieces += [_Piece("group", group=(path, group_id)) for path, group_id in groups.items()]

    async def _members(self, piece: _Piece, size: int) -> tuple[str, ...]:
        provider = self.backends.identity_provider
        try:
            if piece.role is not None:
                return await provider.role_members(piece.role, piece.first, size)
            return await provider.group_members(piece.group[1], piece.first, size)
        except StaleObjectError:
            return ()  # it went meanwhile: nobody holds it

    async def _holding_others(self) -> set[ObjectKey]:
        """Return who holds other roles or is in other groups than the manifest says, as far as they were asked for."""
        groups = frozenset(self.groups.values())
        found = set()
        for number, (key, wanted) in enumerate(self._wanted.items(), 1):
            roles = {("role", tracked) for one in wanted.roles if (tracked := self._tracked_roles.get(one)) is not None}
            of_groups = {("group", path) for path in wanted.groups & groups}
            if self._held.get(key, set()) != roles | of_groups:
                found.add(key)
            if number % _LISTED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return set(filter(self._is_settled, found))

    def _is_settled(self, key: ObjectKey) -> bool:
        """Tell whether an object was made in this realm and no pass of its own is about to change it."""
        body = self.world.directory.get(key)
        status: Mapping[str, Any] = (body or {}).get("status") or {}
        if body is None or status.get("federation") != self.backends.federation.meta.key.name:
            return False
        if status.get("revocation") or not (status.get("clientUuid") or status.get("userId")):
            return False
        metadata = body["metadata"]
        return "deletionTimestamp" not in metadata and status.get("observedGeneration") == metadata.get("generation")


def _stray(record: ClientRecord | UserRecord) -> Orphan:
    owner, object_name = record.owner or "", record.object_name or ""
    if isinstance(record, ClientRecord):
        return Orphan(OrphanKind.CLIENT, record.client_uuid, record.client_id, owner, object_name)
    return Orphan(OrphanKind.USER, record.user_id or "", record.username, owner, object_name)
