"""Which servers take which bots' opaque tokens, and how far what they hold is in step: as statuses and specs tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fedid.domain.acceptance import Accepts, accepted_of, holds_from, may_use, parse_accepts
from fedid.domain.naming import ObjectKey
from fedid.domain.pod_identity import parse_pod_identity
from fedid.domain.resources import BOT_CLIENT, Body, Meta, meta_of
from fedid.engine import Priority
from fedid.errors import InvalidSpecError
from fedid.reconcile.bot_use import refusal_of
from fedid.reconcile.directory import key_of
from fedid.reconcile.world import World

__all__ = ["Acceptance", "Taken", "accepted_bots", "told_entries"]


@dataclass(frozen=True, slots=True)
class Taken:
    """How far the servers that take a token hold what it is now."""

    everywhere: frozenset[str]
    """Fingerprints that every one of them holds, its pods included."""
    lagging: tuple[ObjectKey, ...]
    """Those that were not seen to hold all that they list."""
    next_at: datetime | None
    """When one of them will hold what it lists without anything else happening (the operator's clock)."""


class Acceptance:
    """Looks at servers and at those who present tokens to them."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._parsed: dict[ObjectKey, tuple[str, int, Accepts | None]] = {}
        self._under_way: dict[ObjectKey, tuple[Mapping[str, Any], ...]] = {}

    def bots_of(self, server: Body, accepts: Accepts) -> list[Body]:
        """Return the bots that a server accepts, by name."""
        namespace, directory = server["metadata"]["namespace"], self._world.directory
        bodies = (directory.get(key) for key in directory.keys(BOT_CLIENT))
        return sorted((body for body in bodies if body is not None and accepts.matches(namespace, body)), key=key_of)

    def servers_of(self, bot: Body, token: str | None = None) -> list[Body]:
        """Return the servers that accept a bot, or one token of it; one on its way out takes nothing any more."""
        found = []
        for server in self._world.directory.servers():
            accepts = self._accepts(server)
            if accepts is None or "deletionTimestamp" in server["metadata"]:
                continue
            wanted = token is None or accepts.token in {None, token}
            if wanted and accepts.matches(server["metadata"]["namespace"], bot):
                found.append(server)
        return found

    def begin(self, server: ObjectKey, accepted: Iterable[Mapping[str, Any]]) -> None:
        """Take note, before the Secret of a server is written, of what it may list from now on.

        Until `told`, also if the answer is lost: a bot that ends meanwhile has to wait for it to be taken out again.
        """
        known = self._under_way.get(server, ())
        self._under_way[server] = (*known, *(entry for entry in accepted if entry not in known))

    def told(self, server: ObjectKey) -> None:
        """Take note that the status tells what the Secret lists."""
        self._under_way.pop(server, None)

    def may_list(self, server: Body) -> list[Mapping[str, Any]]:
        """Return what a server's Secret lists, as its status tells, and what it may list besides."""
        return [*told_entries(server), *self._under_way.get(key_of(server), ())]

    def marks(self, server: Body) -> frozenset[str]:
        """Return the fingerprints of the tokens that a server's Secret lists, or may, as far as is known."""
        return frozenset(mark for entry in self.may_list(server) for mark in entry.get("fingerprints") or ())

    def listing(self, bot_uid: str) -> list[ObjectKey]:
        """Return the servers whose Secrets list a token of the bot, or may."""
        return [
            key_of(server)
            for server in self._world.directory.servers()
            if any(entry.get("uid") == bot_uid for entry in self.may_list(server))
        ]

    def out_of_step(self, bot: Body) -> list[ObjectKey]:
        """Return who has something of the bot and should not, or has it not and should, as statuses tell."""
        meta, now = meta_of(bot), self._world.clock.now()
        refused = refusal_of(bot, meta.key, now, meta.key.namespace) is not None
        wanted = {key_of(server) for server in self.servers_of(bot)} if not refused else set()
        listing = set(self.listing(meta.uid))
        made = any(one.get("fingerprint") for one in (bot.get("status") or {}).get("tokens") or ())
        found = (listing - wanted) | ((wanted - listing) if made else set())
        for key in self._world.directory.pods_of_bot(meta.key):
            status = (self._world.directory.get(key) or {}).get("status") or {}
            if key.namespace != meta.key.namespace and may_use(key.namespace, bot) != bool(status.get("delivered")):
                found.add(key)
        return sorted(found)

    def wake_listing(self, gone: ObjectKey) -> None:
        """Wake the servers that list a bot of a name that is gone, whoever took its finalizer off."""
        for server in self._world.directory.servers():
            if gone in accepted_bots(server):
                self._world.wake(key_of(server), Priority.DELETION)

    def wake_waiting(self, pod_identity: Body) -> None:
        """Wake who may have waited for the pods of a PodIdentity: its bot, or those that it accepts and their pods."""
        mounted = parse_pod_identity(pod_identity).bot
        if mounted is not None:
            self._world.wake(mounted, Priority.DRIFT, look=False)
        self.wake(accepted_bots(pod_identity), Priority.DRIFT)

    def wake(self, bots: Iterable[ObjectKey], priority: Priority) -> None:
        """Wake bots, which may wait for a server, and the PodIdentities that present their tokens."""
        for bot in sorted(bots):
            self._world.wake(bot, priority, look=False)
            for pod in self._world.directory.pods_of_bot(bot):
                self._world.wake(pod, priority, look=False)

    def taken(self, bot: Body, tokens: Iterable[str]) -> dict[str, Taken]:
        """Return for those of the tokens that servers take how far these hold them."""
        found = {}
        for name in tokens:
            servers = self.servers_of(bot, name)
            if servers:
                found[name] = self._taken_by(servers, bot["metadata"]["uid"], name)
        return found

    def still_listed(self, bot_uid: str, token: str, fingerprint: str) -> bool:
        """Tell whether a server lists that very token of a bot, whether it should or not."""
        servers = self._world.directory.servers()
        return any(fingerprint in accepted_of(self.may_list(server), bot_uid, token) for server in servers)

    def presented(self, bot: Meta, fingerprints: Mapping[str, str]) -> tuple[dict[str, bool], datetime | None]:
        """Tell of each opaque token whether every pod that presents it has the one in use.

        Args:
            bot: Whose.
            fingerprints: Of the tokens in use, by name.

        Returns:
            Token name to whether they have it, and when that will change without anything else happening.
        """
        now, waits = self._world.clock.now(), []
        result: dict[str, bool] = {}
        for key in self._world.directory.pods_of_bot(bot.key):
            pod = self._world.directory.get(key) or {}
            status: Mapping[str, Any] = pod.get("status") or {}
            held = status.get("bot") or {}
            if not status.get("delivered") or held.get("uid") != bot.uid:
                continue
            # Of pods that nobody is told of only the Secret is known; the overlap has to be long enough for them.
            from_ = holds_from(pod) if (pod.get("spec") or {}).get("pods") else now
            for entry in held.get("tokens") or ():
                name = entry.get("name")
                has_it = entry.get("fingerprint") == fingerprints.get(name)
                result[name] = result.get(name, True) and has_it and from_ is not None and from_ <= now
                if has_it and from_ is not None and from_ > now:
                    waits.append(from_)
        return result, min(waits, default=None)

    def forget(self, key: ObjectKey) -> None:
        """Drop what is kept of a server that is gone."""
        self._parsed.pop(key, None)
        self._under_way.pop(key, None)

    def _taken_by(self, servers: Iterable[Body], uid: str, token: str) -> Taken:
        now, lagging, waits = self._world.clock.now(), [], []
        everywhere: frozenset[str] | None = None
        for server in servers:
            from_, listed = holds_from(server), accepted_of(told_entries(server), uid, token)
            if from_ is None or from_ > now:
                lagging.append(key_of(server))
                if from_ is not None:
                    waits.append(from_)
                listed = frozenset()
            everywhere = listed if everywhere is None else everywhere & listed
        return Taken(everywhere or frozenset(), tuple(lagging), min(waits, default=None))

    def _accepts(self, server: Body) -> Accepts | None:
        meta = meta_of(server)
        known = self._parsed.get(meta.key)
        if known is not None and known[:2] == (meta.uid, meta.generation):
            return known[2]
        try:
            accepts = parse_accepts(server.get("spec") or {})
        except InvalidSpecError:
            accepts = None  # its own condition says so
        self._parsed[meta.key] = (meta.uid, meta.generation, accepts)
        return accepts


def accepted_bots(server: Body) -> frozenset[ObjectKey]:
    """Return the bots of which a server's Secret lists a token, as its status tells."""
    names = (str(entry.get("bot")).partition("/") for entry in told_entries(server))
    return frozenset(ObjectKey(BOT_CLIENT, namespace, name) for namespace, _, name in names)


def told_entries(server: Body) -> Iterable[Mapping[str, Any]]:
    """Return which tokens a server's Secret lists, as its status tells: dicts of bot, uid, token and fingerprints."""
    return (server.get("status") or {}).get("accepted") or ()
