"""The opaque tokens that a server takes: as the bots published them, or as the Secret still has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedid.domain.acceptance import accepted_of
from fedid.domain.conditions import Reason
from fedid.domain.naming import ObjectKey
from fedid.domain.pod_identity import PodIdentity
from fedid.domain.resources import Body, meta_of, parse_bot_client
from fedid.domain.sensitive import Sensitive
from fedid.domain.token_entries import OPAQUE, opaque_in, opaque_tokens
from fedid.engine import Priority
from fedid.errors import BackendError, Error, InvalidSpecError, NotReadyError
from fedid.platforms.identity import AcceptedBot
from fedid.reconcile.acceptance import told_entries
from fedid.reconcile.bot_paths import BotPaths
from fedid.reconcile.gate import backends_of, federation_of
from fedid.reconcile.pod_secret import PodSecrets
from fedid.reconcile.world import World

__all__ = ["AcceptedToken", "AcceptedTokens", "by_bot"]


@dataclass(frozen=True, slots=True)
class AcceptedToken:
    """What a server takes of one token of one bot."""

    bot: ObjectKey
    uid: str
    token: str
    client_id: str
    subject: str
    tokens: tuple[Sensitive, ...]
    """In an order that a rotation does not change."""
    in_use: Sensitive

    def field(self) -> dict[str, Any]:
        """Return what the server's status tells of it."""
        fingerprints = [token.fingerprint() for token in self.tokens]
        return {"bot": self.bot.full_name, "uid": self.uid, "token": self.token, "fingerprints": fingerprints}


class AcceptedTokens:
    """Reads them."""

    def __init__(self, world: World, secrets: PodSecrets) -> None:
        """Work in this world."""
        self._world = world
        self._secrets = secrets

    async def of(
        self, body: Body, spec: PodIdentity, bots: Iterable[Body], token: str | None
    ) -> tuple[list[AcceptedToken], Error | None]:
        """Return what a server is to list, and why some of it is not as fresh as it should be.

        Args:
            body: The server's object, for what it was given before.
            spec: What it says.
            bots: That it accepts.
            token: Which of a bot's tokens; None: every opaque one.
        """
        listed: list[AcceptedToken] = []
        trouble: Error | None = None
        mounted: Mapping[str, Sensitive] | None = None
        for bot in bots:
            for name in _opaque_tokens(bot, token):
                one: AcceptedToken | None
                try:
                    one = await self._published(bot, name)
                except (BackendError, NotReadyError, InvalidSpecError) as error:
                    trouble = error
                    if mounted is None:
                        mounted = await self._secrets.opaque_tokens(spec.meta, spec.secret_name)
                    one = _as_mounted(body, mounted, bot, name)
                if one is not None:
                    listed.append(one)
        return listed, trouble

    async def as_mounted(
        self, body: Body, spec: PodIdentity, bots: Iterable[Body], token: str | None
    ) -> list[AcceptedToken]:
        """Return what the Secret of a server lists of some bots, with nothing asked of Vault; the arguments of `of`."""
        mounted = await self._secrets.opaque_tokens(spec.meta, spec.secret_name)
        found = (_as_mounted(body, mounted, bot, name) for bot in bots for name in _opaque_tokens(bot, token))
        return [one for one in found if one is not None]

    async def _published(self, bot: Body, token: str) -> AcceptedToken | None:
        """Return what of a token in Vault the bot's status tells of; None if there is nothing yet.

        Raises:
            NotReadyError: Its Federation was not looked at yet, or the bot is about to tell of another token.
        """
        meta, status = meta_of(bot), bot.get("status") or {}
        backends = backends_of(self._world, federation_of(self._world, bot))
        told = _told_token(bot, token)
        subject = status.get("serviceAccountSubject")
        if told is None or subject is None:
            return None
        if backends is None:
            message = f"The Federation of {meta.key} was not looked at yet"
            raise NotReadyError(message, reason=Reason.WAITING_FOR_BOT)
        path = BotPaths(backends.federation.vault.path_prefix, meta.key).token(token)
        owner = self._world.owner(meta.uid)
        entry = await backends.secret_store.read(path, owner)
        marks = (told.get(name) for name in ("fingerprint", "previousFingerprint", "pendingFingerprint"))
        known = {str(mark) for mark in marks if mark is not None}
        data = entry.data if entry is not None and entry.owner == owner else {}
        held = opaque_tokens(data, known) if opaque_in(data) is not None else ()
        if not held:
            self._world.wake(meta.key, Priority.DRIFT)  # it believes that it is published: have it look again
            message = f"Token {token} of {meta.key} is not in Vault as the bot made it; its conditions say why"
            raise NotReadyError(message, reason=Reason.WAITING_FOR_BOT)
        # Not by their parts in a rotation: each change of a part would be a signal to the server, or a restart of it.
        tokens = tuple(sorted(held, key=Sensitive.fingerprint))
        return AcceptedToken(meta.key, meta.uid, token, parse_bot_client(bot).client_id, subject, tokens, held[0])


def by_bot(listed: Sequence[AcceptedToken]) -> tuple[AcceptedBot, ...]:
    """Return the bots that they are of, each with all of its tokens."""
    bots: dict[ObjectKey, AcceptedBot] = {}
    for one in listed:
        known = bots.get(one.bot)
        tokens, in_use = one.tokens, one.in_use
        if known is not None:
            tokens, in_use = (*known.tokens, *tokens), known.in_use
        bots[one.bot] = AcceptedBot(one.bot.full_name, one.client_id, one.subject, tokens, in_use)
    return tuple(bots.values())


def _as_mounted(server: Body, mounted: Mapping[str, Sensitive], bot: Body, token: str) -> AcceptedToken | None:
    """Return a token as the Secret lists it: still good, since its bot is; one that was replaced goes later."""
    meta, status = meta_of(bot), bot.get("status") or {}
    marks = accepted_of(told_entries(server), meta.uid, token)
    tokens = tuple(mounted[mark] for mark in sorted(marks) if mark in mounted)
    if not tokens or not status.get("clientId"):
        return None
    told = _told_token(bot, token) or {}
    in_use = mounted.get(str(told.get("fingerprint")), tokens[0])
    subject = status.get("serviceAccountSubject") or ""
    return AcceptedToken(meta.key, meta.uid, token, status["clientId"], subject, tokens, in_use)


def _opaque_tokens(bot: Body, wanted: str | None) -> list[str]:
    declared = (bot.get("spec") or {}).get("tokens") or ()
    return [one["name"] for one in declared if one.get("type") == OPAQUE and wanted in {None, one["name"]}]


def _told_token(bot: Body, token: str) -> Mapping[str, Any] | None:
    told = (bot.get("status") or {}).get("tokens") or ()
    return next((one for one in told if one.get("name") == token), None)
