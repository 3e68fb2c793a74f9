"""A PodIdentity of a server: its pods mount the tokens of the bots that they must accept, those that are good now.

A bot that is refused leaves the list whatever else is the matter: if the tokens of the others cannot be read, they stay
as the Secret has them, so that nobody waits for Vault to have a revoked one gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedid.domain.acceptance import accepted_of
from fedid.domain.conditions import Condition, ConditionType, Reason, reason_of
from fedid.domain.durations import spread
from fedid.domain.naming import ObjectKey
from fedid.domain.pod_identity import PodIdentity
from fedid.domain.resources import Body, meta_of, parse_bot_client
from fedid.domain.sensitive import Sensitive
from fedid.domain.token_entries import OPAQUE, opaque_in, opaque_tokens
from fedid.engine import Outcome, Priority
from fedid.errors import BackendError, Error, InvalidSpecError, NotReadyError, StaleObjectError
from fedid.platforms.identity import AcceptedBot, ServedIdentity
from fedid.platforms.table import Renderer, residual_window
from fedid.reconcile.acceptance import Acceptance
from fedid.reconcile.bot_paths import BotPaths
from fedid.reconcile.bot_use import refusal_of
from fedid.reconcile.gate import backends_of, federation_name
from fedid.reconcile.nudges import Nudges
from fedid.reconcile.pod_secret import Credential, PodSecrets, Written, changed_at
from fedid.reconcile.server_client import ServerClient, ServerClients
from fedid.reconcile.status import kept_conditions, newest_of, write_status
from fedid.reconcile.world import World

__all__ = ["ServerIdentities"]

_PARTS = (ConditionType.GRANTED, ConditionType.KEYCLOAK_SYNCED, ConditionType.REVOKED)
_MOST_BOTS = 500
"""That one server accepts; the status tells of each, and an object of Kubernetes holds 1.5 MiB at most."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a server takes of one token of one bot."""

    bot: ObjectKey
    uid: str
    token: str
    client_id: str
    subject: str
    tokens: tuple[Sensitive, ...]


class ServerIdentities:
    """Brings PodIdentities of servers in line."""

    def __init__(self, world: World, nudges: Nudges, acceptance: Acceptance) -> None:
        """Work in this world; pods are told by `nudges`."""
        self._world = world
        self._nudges = nudges
        self._acceptance = acceptance
        self._secrets = PodSecrets(world)
        self._clients = ServerClients(world)

    async def make_true(self, body: Body, spec: PodIdentity, render: Renderer) -> Outcome:
        """Have the Secret hold the tokens of all bots that the server accepts.

        Raises:
            Error: The Secret cannot be written, or tokens cannot be read.
        """
        try:
            return await self._make_true(body, spec, render)
        except StaleObjectError:
            raise
        except Error as why:
            # Whatever is the matter: nobody who is refused stays listed because of it.
            await self._withdraw_refused(body, spec, why)
            raise

    async def _make_true(self, body: Body, spec: PodIdentity, render: Renderer) -> Outcome:
        status = body.get("status") or {}
        # A client that was made lives in the realm that it was made in, until it was ended there.
        named = status.get("federation") if status.get("oidcClient") else spec.federation
        name = federation_name(self._world, named, status)
        backends = backends_of(self._world, name)
        if backends is None:
            return Outcome()  # the Federation is looked at first, and wakes this object
        if self._clients.refused(body, spec, backends):
            body = await self._withdraw_all(body, spec)
        own = await self._clients.bring_in_line(body, spec, backends)
        body = newest_of(self._world, body)
        listed, trouble = await self._listed(body, spec)
        identity = ServedIdentity(backends.federation.keycloak.issuer_url, _by_bot(listed), own.client)
        credential = Credential(files=render(identity))
        written = await self._secrets.deliver(body, spec, credential)
        await self._secrets.drop_former(body, spec)
        pods = await self._nudges.first(body, spec, [written])
        await self._settle(body, spec, name, listed, credential, pods, own)
        if (failed := trouble or own.trouble) is not None:
            raise failed
        again_at = (
            self._world.clock.monotonic() + spread(backends.federation.resync_period, spec.meta.uid).total_seconds()
        )
        return Outcome(min(again_at, own.again_at) if own.again_at is not None else again_at)

    async def end(self, body: Body) -> Outcome:
        """Run one pass over a server that is being deleted: nothing is mounted any more, and its client ends.

        Raises:
            Error: A backend does not let us finish.
        """
        if meta_of(body).has_finalizer:  # else its Secret goes with it, at once
            await self._empty(body)
        return await self._clients.end(body)

    async def _withdraw_all(self, body: Body, spec: PodIdentity) -> Body:
        """Set every key of the Secret empty, since the server's client is not granted, and return the object.

        Before the client itself ends: neither waits for the other.
        """
        emptied = await self._empty(body)
        pods = await self._nudges.first(body, spec, emptied) if emptied else {}
        if not (body.get("status") or {}).get("delivered"):
            return body
        message = "The server's client is not granted; nothing of it may be used"
        told = [
            Condition(kind, False, Reason.NOT_GRANTED, message)
            for kind in (ConditionType.READY, ConditionType.PUBLISHED)
        ]
        told += kept_conditions(body, _PARTS)
        fields = {"delivered": False, "secretHash": None, "accepted": None, "acceptedBots": None, **pods}
        return await write_status(self._world, body, told, fields) or body

    async def _empty(self, body: Body) -> list[Written]:
        meta, status = meta_of(body), body.get("status") or {}
        named = (body.get("spec") or {}).get("secretName") or meta.key.name
        names = sorted({status.get("secretName") or named, named})
        return [written for name in names if (written := await self._secrets.empty(meta, name)) is not None]

    async def _listed(self, body: Body, spec: PodIdentity) -> tuple[list[_Listed], Error | None]:
        """Return what is to be listed, and why some of it is not as fresh as it should be."""
        if spec.accepts is None:
            return [], None
        bots = self._accepted_bots(body, spec)
        if len(bots) > _MOST_BOTS:
            message = f"spec.accepts selects {len(bots)} bots; the most is {_MOST_BOTS}: narrow the selector"
            raise InvalidSpecError(message)
        listed: list[_Listed] = []
        trouble: Error | None = None
        for bot in bots:
            for token in _opaque_tokens(bot, spec.accepts.token):
                try:
                    one = await self._read_token(bot, token)
                except (BackendError, NotReadyError, InvalidSpecError) as error:
                    one, trouble = await self._as_mounted(body, spec, bot, token), error
                if one is not None:
                    listed.append(one)
        return listed, trouble

    def _accepted_bots(self, body: Body, spec: PodIdentity) -> list[Body]:
        """Return the bots that are selected, and not refused themselves."""
        if spec.accepts is None:
            return []
        now, namespace = self._world.clock.now(), spec.meta.key.namespace
        bots = self._acceptance.bots_of(body, spec.accepts)
        return [bot for bot in bots if refusal_of(bot, meta_of(bot).key, now, namespace) is None]

    async def _as_mounted(self, body: Body, spec: PodIdentity, bot: Body, token: str) -> _Listed | None:
        """Return a token as the Secret lists it: still good, since its bot is; one that was replaced goes later."""
        meta, status = meta_of(bot), bot.get("status") or {}
        marks = accepted_of(body.get("status") or {}, meta.uid, token)
        if not marks or not status.get("clientId"):
            return None
        mounted = await self._secrets.opaque_tokens(spec.meta, spec.secret_name)
        tokens = tuple(mounted[mark] for mark in sorted(marks) if mark in mounted)
        subject = status.get("serviceAccountSubject") or ""
        return _Listed(meta.key, meta.uid, token, status["clientId"], subject, tokens) if tokens else None

    async def _read_token(self, bot: Body, token: str) -> _Listed | None:
        """Return what of a token in Vault the bot's status tells of; None if there is nothing yet.

        Raises:
            NotReadyError: Its Federation was not looked at yet, or the bot is about to tell of another token.
        """
        meta, status = meta_of(bot), bot.get("status") or {}
        named = ((bot.get("spec") or {}).get("federationRef") or {}).get("name")
        backends = backends_of(self._world, federation_name(self._world, named, status))
        told = next((one for one in status.get("tokens") or () if one.get("name") == token), None)
        subject = status.get("serviceAccountSubject")
        if told is None or subject is None:
            return None
        if backends is None:
            message = f"The Federation of {meta.key} was not looked at yet"
            raise NotReadyError(message, reason=Reason.WAITING_FOR_BOT)
        path = BotPaths(backends.federation.vault.path_prefix, meta.key).token(token)
        owner = self._world.owner(meta.uid)
        entry = await backends.secret_store.read(path, owner)
        known = {told.get(name) for name in ("fingerprint", "previousFingerprint", "pendingFingerprint")}
        data = entry.data if entry is not None and entry.owner == owner else {}
        held = opaque_tokens(data, known) if opaque_in(data) is not None else ()
        # Not by their parts in a rotation: each change of a part would be a signal to the server, or a restart of it.
        tokens = tuple(sorted(held, key=Sensitive.fingerprint))
        if not tokens:
            self._world.wake(meta.key, Priority.DRIFT)  # it believes that it is published: have it look again
            message = f"Token {token} of {meta.key} is not in Vault as the bot made it; its conditions say why"
            raise NotReadyError(message, reason=Reason.WAITING_FOR_BOT)
        return _Listed(meta.key, meta.uid, token, parse_bot_client(bot).client_id, subject, tokens)

    async def _withdraw_refused(self, body: Body, spec: PodIdentity, why: Error) -> None:
        """Empty the Secret if it lists a bot that is not accepted any more: what is to stay could not be made."""
        body = newest_of(self._world, body)
        told = (body.get("status") or {}).get("accepted") or ()
        if {entry.get("uid") for entry in told} <= {bot["metadata"]["uid"] for bot in self._accepted_bots(body, spec)}:
            return
        emptied = await self._secrets.empty(spec.meta, spec.secret_name)
        pods = await self._nudges.first(body, spec, [emptied]) if emptied is not None else {}
        kinds = (ConditionType.READY, ConditionType.PUBLISHED)
        conditions = [Condition(kind, False, reason_of(why), why.message) for kind in kinds]
        fields = {"delivered": False, "secretHash": None, "accepted": None, "acceptedBots": 0, **pods}
        conditions += kept_conditions(body, _PARTS)
        await write_status(self._world, newest_of(self._world, body), conditions, fields)

    async def _settle(  # noqa: PLR0913 - everything that the status tells
        self,
        body: Body,
        spec: PodIdentity,
        federation: str,
        listed: Sequence[_Listed],
        credential: Credential,
        pods: Mapping[str, Any],
        own: ServerClient,
    ) -> None:
        bots = {one.bot for one in listed}
        message = f"Secret {spec.secret_name} holds what the server checks with"
        if spec.accepts is not None:
            count = sum(len(one.tokens) for one in listed)
            message += f": {count} token{'' if count == 1 else 's'} of {len(bots)} bot{'' if len(bots) == 1 else 's'}"
        if own.client is not None:
            message += f", and the secret of its client {own.client.client_id}" if own.client.client_secret else ""
        ready = Condition(ConditionType.READY, True, Reason.READY, message)
        if own.denied:
            ready = Condition(ConditionType.READY, False, Reason.NOT_GRANTED, own.denied)
        told = (ready, Condition(ConditionType.PUBLISHED, True, Reason.PUBLISHED, message), *own.conditions)
        latest = newest_of(self._world, body)
        now = self._world.clock.now()
        fields = {
            "federation": federation,
            "secretName": spec.secret_name,
            "secretHash": credential.digest,
            "changedAt": changed_at(latest, credential, now),
            "keys": sorted(credential.files),
            "delivered": True,
            "residualWindow": residual_window(spec.platform, spec.options, spec.role),
            "acceptedBots": len(bots) if spec.accepts is not None else None,
            "accepted": [_field(one) for one in listed] or None,
            **pods,
            **own.fields,
        }
        before = _bots_told(latest)
        await write_status(self._world, latest, told, fields, generation=spec.meta.generation)
        self._wake_bots({**before, **{str(one.bot): one.bot for one in listed}}, latest, fields)

    def _wake_bots(self, bots: Mapping[str, ObjectKey], before: Body, fields: Mapping[str, Any]) -> None:
        """Wake those who may wait for this server, and the pods that present their tokens."""
        status = before.get("status") or {}
        if all(status.get(name) == fields.get(name, status.get(name)) for name in ("accepted", "changedAt", "pods")):
            return
        for key in bots.values():
            self._world.wake(key, Priority.CHANGE, look=False)
            for pod in self._world.directory.pods_of_bot(key):
                self._world.wake(pod, Priority.CHANGE, look=False)


def _opaque_tokens(bot: Body, wanted: str | None) -> list[str]:
    declared = (bot.get("spec") or {}).get("tokens") or ()
    return [one["name"] for one in declared if one.get("type") == OPAQUE and wanted in {None, one["name"]}]


def _by_bot(listed: Sequence[_Listed]) -> tuple[AcceptedBot, ...]:
    bots: dict[ObjectKey, AcceptedBot] = {}
    for one in listed:
        known = bots.get(one.bot)
        tokens = (*known.tokens, *one.tokens) if known is not None else one.tokens
        bots[one.bot] = AcceptedBot(f"{one.bot.namespace}/{one.bot.name}", one.client_id, one.subject, tokens)
    return tuple(bots.values())


def _field(one: _Listed) -> dict[str, Any]:
    return {
        "bot": f"{one.bot.namespace}/{one.bot.name}",
        "uid": one.uid,
        "token": one.token,
        "fingerprints": [token.fingerprint() for token in one.tokens],
    }


def _bots_told(body: Body) -> dict[str, ObjectKey]:
    accepted = (body.get("status") or {}).get("accepted") or ()
    keys = (entry["bot"].partition("/") for entry in accepted)
    return {str(key): key for key in (ObjectKey("BotClient", namespace, name) for namespace, _, name in keys)}
