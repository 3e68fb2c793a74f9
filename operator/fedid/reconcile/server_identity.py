"""A PodIdentity of a server: its pods mount the tokens of the bots that they must accept, those that are good now.

A bot that is refused leaves the list whatever else is the matter: if the tokens of the others cannot be read, they stay
as the Secret has them, so that nobody waits for Vault to have a revoked one gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason, reason_of
from fedid.domain.durations import spread
from fedid.domain.naming import ObjectKey
from fedid.domain.openfga import with_openfga
from fedid.domain.pod_identity import PodIdentity
from fedid.domain.resources import FEDERATION, Body, meta_of, parse_federation
from fedid.engine import Outcome, Priority
from fedid.errors import Error, InvalidSpecError, StaleObjectError
from fedid.platforms.identity import ServedIdentity
from fedid.platforms.table import Renderer, residual_window
from fedid.reconcile.acceptance import Acceptance, accepted_bots
from fedid.reconcile.accepted_tokens import AcceptedToken, AcceptedTokens, by_bot
from fedid.reconcile.bot_use import refusal_of
from fedid.reconcile.gate import backends_of, federation_name, realm_now
from fedid.reconcile.nudges import Nudges
from fedid.reconcile.pod_secret import Credential, PodSecrets, Written, changed_at, names_of
from fedid.reconcile.server_client import ServerClient, ServerClients, parse_client
from fedid.reconcile.status import kept_conditions, newest_of, write_status
from fedid.reconcile.world import World

__all__ = ["ServerIdentities"]

_PARTS = (ConditionType.GRANTED, ConditionType.KEYCLOAK_SYNCED, ConditionType.REVOKED)
_MOST_BOTS = 500
"""That one server accepts; the status tells of each, and an object of Kubernetes holds 1.5 MiB at most."""


class ServerIdentities:
    """Brings PodIdentities of servers in line."""

    def __init__(self, world: World, nudges: Nudges, acceptance: Acceptance) -> None:
        """Work in this world; pods are told by `nudges`."""
        self._world = world
        self._nudges = nudges
        self._acceptance = acceptance
        self._secrets = PodSecrets(world)
        self._tokens = AcceptedTokens(world, self._secrets)
        self._clients = ServerClients(world)

    async def make_true(self, body: Body, spec: PodIdentity, render: Renderer) -> Outcome:
        """Have the Secret hold the tokens of all bots that the server accepts.

        Raises:
            Error: The Secret cannot be written, or tokens cannot be read.
        """
        try:
            outcome, trouble = await self._make_true(body, spec, render)
        except StaleObjectError:
            raise
        except Error as why:
            # Whatever is the matter: nobody who is refused stays listed because of it.
            await self._leave_out_refused(body, spec, render, why)
            raise
        if trouble is not None:  # what could be read is mounted
            raise trouble
        return outcome

    async def _make_true(self, body: Body, spec: PodIdentity, render: Renderer) -> tuple[Outcome, Error | None]:
        """Return when to look again, and what could not be read although the Secret could be made."""
        status = body.get("status") or {}
        # A client that was made lives in the realm that it was made in, until it was ended there.
        named = status.get("federation") if status.get("oidcClient") else spec.federation
        name = federation_name(self._world, named, status)
        backends = backends_of(self._world, name)
        if backends is None:
            return Outcome(), None  # the Federation is looked at first, and wakes this object
        if await self._clients.refused(body, spec, backends):
            # Before the client itself ends: neither waits for the other.
            message = "The server's client is not granted; nothing of it may be used"
            body = await self._withdraw(body, spec, Reason.NOT_GRANTED, message)
        own = await self._clients.bring_in_line(body, spec, backends)
        body = newest_of(self._world, body)
        listed, trouble = await self._listed(body, spec)
        identity = ServedIdentity(backends.federation.keycloak.issuer_url, by_bot(listed), own.client)
        credential = Credential(files=render(identity))
        self._acceptance.begin(spec.meta.key, [one.field() for one in listed])
        written = await self._secrets.deliver(body, spec, credential)
        await self._secrets.drop_former(body, spec)
        pods = await self._nudges.first(body, spec, [written])
        await self._settle(body, spec, name, listed, credential, pods, own)
        again_at = (
            self._world.clock.monotonic() + spread(backends.federation.resync_period, spec.meta.uid).total_seconds()
        )
        outcome = Outcome(min(again_at, own.again_at) if own.again_at is not None else again_at)
        return outcome, trouble or own.trouble

    async def end(self, body: Body) -> Outcome:
        """Run one pass over a server that is being deleted: nothing is mounted any more, and its client ends.

        Raises:
            Error: A backend does not let us finish.
        """
        if meta_of(body).is_held:  # else its Secret goes with it, at once
            await self._empty(body)
        return await self._clients.end(body)

    async def _withdraw(self, body: Body, spec: PodIdentity, reason: Reason, message: str) -> Body:
        """Set every key of the Secret empty, since what it holds may not be used any more, and return the object."""
        emptied = await self._empty(body)
        pods = await self._nudges.first(body, spec, emptied) if emptied else {}
        body = newest_of(self._world, body)
        if not (body.get("status") or {}).get("delivered"):
            return body
        told = [Condition(kind, False, reason, message) for kind in (ConditionType.READY, ConditionType.PUBLISHED)]
        told += kept_conditions(body, _PARTS)
        counted = 0 if spec.accepts is not None else None
        fields = {"delivered": False, "secretHash": None, "accepted": None, "acceptedBots": counted, **pods}
        return await write_status(self._world, body, told, fields) or body

    async def _empty(self, body: Body) -> list[Written]:
        meta = meta_of(body)
        emptied = [written for name in names_of(body) if (written := await self._secrets.empty(meta, name)) is not None]
        self._acceptance.told(meta.key)  # that it may list more than its status tells is over
        return emptied

    async def _listed(self, body: Body, spec: PodIdentity) -> tuple[list[AcceptedToken], Error | None]:
        if spec.accepts is None:
            return [], None
        bots = self._accepted_bots(body, spec)
        if len(bots) > _MOST_BOTS:
            message = f"spec.accepts selects {len(bots)} bots; the most is {_MOST_BOTS}: narrow the selector"
            raise InvalidSpecError(message)
        return await self._tokens.of(body, spec, bots, spec.accepts.token)

    def _accepted_bots(self, body: Body, spec: PodIdentity) -> list[Body]:
        """Return the bots that are selected, and not refused themselves."""
        if spec.accepts is None:
            return []
        now, namespace = self._world.clock.now(), spec.meta.key.namespace
        bots = self._acceptance.bots_of(body, spec.accepts)
        return [bot for bot in bots if refusal_of(bot, meta_of(bot).key, now, namespace) is None]

    async def _leave_out_refused(self, body: Body, spec: PodIdentity, render: Renderer, why: Error) -> None:
        """Have the Secret list no bot that is not accepted any more, although it cannot be made as it is to be.

        The others stay as it lists them; if nobody is left, or it holds more than a list, it is emptied.
        """
        body = newest_of(self._world, body)
        told, bots = self._acceptance.may_list(body), self._accepted_bots(body, spec)
        in_order = {entry.get("uid") for entry in told} <= {bot["metadata"]["uid"] for bot in bots}
        if in_order and not await self._secrets.hold_more(body, self._acceptance.marks(body)):
            return
        try:
            kept = await self._kept(body, spec, render, bots)
        except InvalidSpecError:
            kept = None
        if kept is None:
            await self._withdraw(body, spec, reason_of(why), why.message)
            return
        listed, credential = kept
        pods = await self._nudges.first(body, spec, [await self._secrets.deliver(body, spec, credential)])
        body = newest_of(self._world, body)
        fields = {**pods, **self._fields_of(body, spec, listed, credential)}
        await write_status(self._world, body, None, fields)
        self._acceptance.told(spec.meta.key)
        self._acceptance.wake({*accepted_bots(body), *(one.bot for one in listed)}, Priority.CHANGE)

    async def _kept(
        self, body: Body, spec: PodIdentity, render: Renderer, bots: Sequence[Body]
    ) -> tuple[list[AcceptedToken], Credential] | None:
        """Return what the Secret lists of those bots, with nothing asked of Keycloak or Vault; None if that is not all.

        Raises:
            InvalidSpecError: It cannot be made of them either.
        """
        if spec.accepts is None or parse_client(body, spec) is not None:
            return None
        listed = await self._tokens.as_mounted(body, spec, bots, spec.accepts.token)
        name = federation_name(self._world, spec.federation, body.get("status") or {})
        federation = self._world.directory.get(ObjectKey(FEDERATION, "", name))
        if not listed or federation is None:
            return None
        issuer_url = parse_federation(federation).keycloak.issuer_url
        return listed, Credential(files=render(ServedIdentity(issuer_url, by_bot(listed), None)))

    def _fields_of(
        self, body: Body, spec: PodIdentity, listed: Sequence[AcceptedToken], credential: Credential
    ) -> dict[str, Any]:
        """Return what a status tells of the content of the Secret."""
        return {
            "secretHash": credential.digest,
            "changedAt": changed_at(body, credential, self._world.clock.now()),
            "acceptedBots": len({one.bot for one in listed}) if spec.accepts is not None else None,
            "accepted": [one.field() for one in listed] or None,
        }

    async def _settle(  # noqa: PLR0913 - everything that the status tells
        self,
        body: Body,
        spec: PodIdentity,
        federation: str,
        listed: Sequence[AcceptedToken],
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
            reasons = [one.reason for one in own.conditions if one.type is ConditionType.GRANTED]
            ready = Condition(ConditionType.READY, False, reasons[0], own.denied)
        latest = newest_of(self._world, body)
        for about in with_openfga((), ConditionType.OPENFGA_SYNCED, (latest.get("status") or {}).get("openFga")):
            if about.status is False:  # what is mounted is good all the same
                ready = Condition(ConditionType.READY, False, about.reason, about.message)
        told = (ready, Condition(ConditionType.PUBLISHED, True, Reason.PUBLISHED, message), *own.conditions)
        fields = {
            "federation": federation,
            "secretName": spec.secret_name,
            "keys": sorted(credential.files),
            "delivered": True,
            "residualWindow": residual_window(spec.platform, spec.options, spec.role),
            **self._fields_of(latest, spec, listed, credential),
            **pods,
            **own.fields,
        }
        before = accepted_bots(latest)
        self._world.rotation_lag.mounted(latest, fields, realm_now(self._world, latest))
        await write_status(self._world, latest, told, fields, generation=spec.meta.generation)
        self._acceptance.told(spec.meta.key)
        if _tells_of_more(latest, fields):
            self._acceptance.wake({*before, *bots}, Priority.CHANGE)


def _tells_of_more(before: Body, fields: Mapping[str, Any]) -> bool:
    """Tell whether bots that wait for this server, or pods that present their tokens, can learn from its status."""
    status = before.get("status") or {}
    return any(status.get(name) != fields.get(name, status.get(name)) for name in ("accepted", "changedAt", "pods"))
