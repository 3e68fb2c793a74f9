"""What a bot has to do with the servers that take its tokens: it tells them, and waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fedid.domain.resources import Body, Meta, meta_of
from fedid.engine import Priority
from fedid.reconcile.acceptance import Acceptance
from fedid.reconcile.bot_context import BotFacts
from fedid.reconcile.world import World

__all__ = ["BotServers"]


class BotServers:
    """Tells servers of tokens, and tells of what waits for them."""

    def __init__(self, world: World, acceptance: Acceptance) -> None:
        """Work in this world."""
        self._world = world
        self._acceptance = acceptance

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

    def awaited(self, meta: Meta, facts: BotFacts) -> list[datetime]:
        """Return when those who are waited for will have what they need (the operator's clock)."""
        bot = self._world.directory.get(meta.key)
        marks = {name: fact.fingerprint for name, fact in facts.tokens.items() if fact.fingerprint is not None}
        if bot is None or not marks:
            return []
        instants = [one.next_at for one in self._acceptance.taken(bot, _pending(facts)).values()]
        if any(fact.previous_ends_at is not None for fact in facts.tokens.values()):
            instants.append(self._acceptance.presented(meta, marks)[1])
        return [at for at in instants if at is not None]


def _pending(facts: BotFacts) -> list[str]:
    return [name for name, fact in facts.tokens.items() if fact.pending_fingerprint is not None]
