"""What a bot has to do with the servers that take its tokens: it tells them, and waits for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fedid.domain.conditions import Reason
from fedid.domain.naming import ObjectKey
from fedid.domain.receipt import Cause, Presented
from fedid.domain.resources import Body, Meta, meta_of
from fedid.domain.token_entries import EndingToken, ending_tokens
from fedid.engine import Priority
from fedid.errors import NotReadyError
from fedid.reconcile.acceptance import Acceptance
from fedid.reconcile.bot_context import BotFacts
from fedid.reconcile.directory import key_of
from fedid.reconcile.pod_secret import PodSecrets
from fedid.reconcile.receipts import leave_receipt_of_credential
from fedid.reconcile.world import World

__all__ = ["BotServers"]

_NOT_LISTED = "not listed, and its pods have the list without it"
_ELSEWHERE = "a verifier that is no PodIdentity of this cluster may take it until it reads Vault again"
_NO_SERVER = "no PodIdentity accepts it; whoever else verifies it may take it until it reads Vault again"


class BotServers:
    """Tells servers of tokens, and tells of what waits for them."""

    def __init__(self, world: World, acceptance: Acceptance) -> None:
        """Work in this world."""
        self._world = world
        self._acceptance = acceptance
        self._secrets = PodSecrets(world)

    def wake(self, body: Body, published: Mapping[str, Any]) -> None:
        """Wake the servers that take the bot's tokens once the status tells of them, by which they go."""
        told = (body.get("status") or {}).get("tokens")
        if told != published.get("tokens"):
            for server in self._acceptance.servers_of(body):
                self._world.wake(meta_of(server).key, Priority.CHANGE)

    def waits(self, body: Body, facts: BotFacts) -> list[str]:
        """Return a sentence about each token that waits for a server which was not seen to have it yet."""
        return [
            f"token {name} stays in use until {', '.join(str(key) for key in one.lagging[:3])} takes the next one"
            for name, one in self._acceptance.taken(body, _pending(facts)).items()
            if one.lagging and one.next_at is None
        ]

    async def end(self, body: Body, facts: BotFacts) -> list[dict[str, str]] | None:
        """Leave a receipt of each opaque token that no server takes any more; return what is still on its way out.

        Raises:
            BackendUnavailableError: The API server is away; to be repeated.
        """
        left = []
        for one in _ending(body, facts):
            servers = self._acceptance.servers_of(body, one.name)
            if not self._has_left(body, one):
                left.append(one.field())
                continue
            what, now = f"opaque token {one.name} ({one.fingerprint})", self._world.clock.now()
            seen = [Presented(what, f"list of {meta_of(server).key}", _NOT_LISTED, now) for server in servers]
            cause = Cause.ROTATED if one.name in facts.tokens else Cause.WITHDRAWN
            note = _ELSEWHERE if servers else _NO_SERVER
            seen = seen or [Presented(what, "Vault", "no more the bot's, and in no server's list", now)]
            await leave_receipt_of_credential(self._world, body, seen, what=what, cause=cause, note=note)
        return left or None

    async def require_unlisted(self, body: Body) -> None:
        """See to it that no server lists a token of a bot that ends.

        By what statuses tell, and by the Secrets themselves: an operator that ended before its status was written has
        told nobody of what it wrote.

        Raises:
            NotReadyError: One lists it, or may; it is woken.
            BackendUnavailableError: The API server is away.
        """
        self._require_none(self._acceptance.listing(meta_of(body).uid))
        servers = self._acceptance.servers_of(body) if _had_opaque_tokens(body) else []
        self._require_none([key_of(server) for server in servers if await self._holds(server)])

    async def _holds(self, server: Body) -> bool:
        """Tell whether a server's Secret holds a token of which nothing that is known tells."""
        return await self._secrets.hold_more(server, self._acceptance.marks(server))

    def _require_none(self, listing: Sequence[ObjectKey]) -> None:
        for key in listing:
            self._world.wake(key, Priority.DELETION)
        if listing:
            names = ", ".join(str(key) for key in listing[:5])
            message = f"Everything is revoked at the authority; the Secrets of {names} still list a token of the bot"
            raise NotReadyError(message, reason=Reason.WAITING_FOR_VERIFIERS)

    def awaited(self, meta: Meta, facts: BotFacts) -> list[datetime]:
        """Return when those who are waited for will have what they need (the operator's clock)."""
        bot = self._world.directory.get(meta.key)
        if bot is None:
            return []
        waited_for = [*_pending(facts), *(one.name for one in _ending(bot, facts))]
        instants = [one.next_at for one in self._acceptance.taken(bot, waited_for).values()]
        marks = {name: fact.fingerprint for name, fact in facts.tokens.items() if fact.fingerprint is not None}
        if any(fact.previous_ends_at is not None for fact in facts.tokens.values()):
            instants.append(self._acceptance.presented(meta, marks)[1])
        return [at for at in instants if at is not None]

    def _has_left(self, body: Body, one: EndingToken) -> bool:
        """Tell whether no server lists it, and the pods of those that take the bot have what these list now."""
        if self._acceptance.still_listed(meta_of(body).uid, one.name, one.fingerprint):
            return False
        taken = self._acceptance.taken(body, [one.name]).get(one.name)
        return taken is None or not taken.lagging


def _had_opaque_tokens(body: Body) -> bool:
    status = body.get("status") or {}
    told = [*(status.get("tokens") or ()), *(status.get("endingTokens") or ())]
    return any(one.get("fingerprint") for one in told)


def _ending(body: Body, facts: BotFacts) -> tuple[EndingToken, ...]:
    held = {
        name: frozenset(mark for mark in (fact.fingerprint, fact.previous_fingerprint) if mark is not None)
        for name, fact in facts.tokens.items()
    }
    return ending_tokens(body.get("status") or {}, held)


def _pending(facts: BotFacts) -> list[str]:
    return [name for name, fact in facts.tokens.items() if fact.pending_fingerprint is not None]
