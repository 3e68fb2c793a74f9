"""The SuperNode that a PodIdentity is: granted, registered, mounted; unregistered when it, its bot or its grant goes.

What must be found again at the end, where it is registered and in whose Vault its key lies, is in the status before
anything is made. So a finalizer without it stands for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fedid.domain.conditions import Condition, ConditionType, Reason, rfc3339
from fedid.domain.grants import Ask, AskKind
from fedid.domain.naming import ObjectKey
from fedid.domain.node_plan import DesiredNode
from fedid.domain.pod_identity import PodIdentity, parse_pod_identity
from fedid.domain.receipt import Presented, cause_of, receipt_of
from fedid.domain.resources import Body, Meta, meta_of, parse_bot_client
from fedid.domain.rotation import revocation_request, rotation_due_at, rotation_request
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeKey, SuperLinkAccess
from fedid.engine import Priority
from fedid.errors import BackendDeniedError, Error, InvalidSpecError, NotGrantedError, NotReadyError, StaleObjectError
from fedid.platforms import flower
from fedid.platforms.flower import BOT, SuperNodeOptions
from fedid.ports import NodeRegistry
from fedid.reconcile.bot_observation import observe_stored
from fedid.reconcile.gate import (
    backends_of,
    granted_condition,
    require_still_there,
    require_usable,
    still_wanted,
    with_finalizer,
    without_finalizer,
)
from fedid.reconcile.judging import judged, judgement_fields
from fedid.reconcile.pod_secret import PodSecrets
from fedid.reconcile.receipts import gone_from_vault, leave_receipt
from fedid.reconcile.status import kept_conditions, newest_of, write_status
from fedid.reconcile.super_node import NodeIdentity, RecordedNode, SuperNode, node_path
from fedid.reconcile.waiting import tell_waiting
from fedid.reconcile.world import Backends, World

__all__ = ["PodNode", "PodNodes"]

_KEPT: Final = (ConditionType.READY, ConditionType.PUBLISHED)
_MOST_SUPER_LINKS: Final = 64
"""Whose connections are kept; each has a pool and a TLS context of its own."""


@dataclass(frozen=True, slots=True)
class PodNode:
    """The SuperNode of one PodIdentity, registered and seen so."""

    key: NodeKey
    granted: Condition
    fields: Mapping[str, Any]
    """What the status tells of it."""
    again_at: datetime | None
    """When something will be due by itself (aware UTC)."""


class PodNodes:
    """Brings the SuperNodes of PodIdentities in line, and ends them."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._secrets = PodSecrets(world)

    async def ensure(self, body: Body, spec: PodIdentity, bot: Body, backends: Backends) -> PodNode | None:
        """Have the SuperNode registered; None if the PodIdentity is none.

        Raises:
            NotGrantedError: No rule lets the namespace register one there; whatever there is has to be withdrawn.
            Error: Vault or the SuperLink is away or refuses.
        """
        options = _options(spec)
        if options is None:
            return None
        world, meta, federation = self._world, spec.meta, backends.federation.meta.key.name
        url = options.super_link.url
        verdict = await judged(world, backends, [Ask(AskKind.SUPERLINK_URL, url)], body)
        if not verdict.granted:
            raise NotGrantedError(verdict.message, reason=verdict.reason)
        require_usable(backends, meta, vault=True)
        body = await with_finalizer(world, body)
        told = _told(body)
        if not told:
            await require_still_there(world, meta)
            # Before anything is made: the bot, which leads to the Federation, may be gone when it has to end.
            told = {"url": url, "federation": federation} | ({"account": BOT} if options.as_bot else {})
            kept = kept_conditions(body, _KEPT)
            body = await write_status(world, body, kept, {"superNode": told}) or body
        account = await self._account_of(bot, backends) if options.as_bot else None
        desired = DesiredNode("", url, options.every, options.overlap)
        identity = await self._identity(meta.key, meta.uid, options.super_link, backends, account)
        node = SuperNode(world, identity, desired)
        recorded = RecordedNode(told.get("keyId"), told.get("rotatedFor"))
        state = await node.ensure(recorded, rotation_request(meta.annotations), world.clock.now())
        next_at = rotation_due_at(state.issued_at, options.every, meta.uid) if options.every is not None else None
        fields = {
            "url": url,
            "federation": told["federation"],
            "account": BOT if options.as_bot else None,
            "keyId": state.key.key_id,
            "issuedAt": rfc3339(state.issued_at),
            "nextRotationAt": rfc3339(next_at) if next_at is not None else None,
            "rotatedFor": state.rotated_for,
        }
        status = {
            "nodeId": str(state.node_id),
            "superNode": {name: value for name, value in fields.items() if value is not None},
            "revocation": None,
            **_carried_out(spec.meta),
            **judgement_fields(body, verdict),
        }
        return PodNode(state.key, granted_condition(verdict), status, state.again_at)

    @staticmethod
    def is_to_end_now(body: Body) -> bool:
        """Tell whether `fedid.io/revoke-now` asks for the end of what there is, or did when that was begun."""
        asked = revocation_request(meta_of(body).annotations, (body.get("status") or {}).get("revokedNow"))
        return bool(_told(body)) and (asked is not None or _is_ended_now(body))

    async def end_now(self, body: Body) -> Body:
        """End the SuperNode of a PodIdentity that is to have another, and return the object.

        Raises:
            StaleObjectError: It was deleted meanwhile: no other is to be made.
            Error: What it waits for, told in the status.
        """
        if not _is_ended_now(body):
            begun = (body.get("status") or {}).get("revocation") or {}
            begun = {"startedAt": rfc3339(self._world.clock.now()), **begun, "reason": str(Reason.REVOKED_NOW)}
            kept = kept_conditions(body, _KEPT)
            body = await write_status(self._world, body, kept, {"revocation": begun}) or body
        return still_wanted(self._world, meta_of(await self._end(body)))

    async def withdraw(self, body: Body) -> None:
        """End the SuperNode of a PodIdentity that stays; nothing if it is none.

        Raises:
            Error: What it waits for, told in the status.
        """
        if _told(body) or _options_if_readable(body) is not None:
            body = await self._end(body)
            await without_finalizer(self._world, newest_of(self._world, body))

    async def delete(self, body: Body) -> Body:
        """End the SuperNode of a PodIdentity that is being deleted, and return the object; nothing if it is none.

        Raises:
            Error: What it waits for, told in the status.
        """
        if not _told(body):
            return body
        return newest_of(self._world, await self._end(await self._empty(body)))

    async def _empty(self, body: Body) -> Body:
        """Empty the Secret, which goes only with its owner: as long as that waits, nobody gets at the key any more."""
        status = body.get("status") or {}
        if not status.get("delivered"):
            return body
        await self._secrets.empty(meta_of(body), status["secretName"])
        kept = kept_conditions(body, _KEPT)
        body = await write_status(self._world, body, kept, {"delivered": False}) or body
        if (bot_key := _bot_of(body)) is not None:
            self._world.wake(bot_key, Priority.DELETION, look=False)  # one that is being deleted waits for this
        return body

    async def _end(self, body: Body) -> Body:
        if not _told(body):
            return body
        try:
            return await self._prove(body)
        except StaleObjectError:
            raise  # an ordinary conflict of writes: read again and repeated, nothing to tell
        except Error as error:
            await tell_waiting(self._world, newest_of(self._world, body), error)
            raise

    async def _prove(self, body: Body) -> Body:
        """Unregister it, see that, take its key out of Vault, and tell the proof; the status forgets it with that."""
        world, meta, told = self._world, meta_of(body), _told(body)
        backends = backends_of(world, told["federation"])
        if backends is None:
            message = f"Federation {told['federation']} is looked at first"
            raise NotReadyError(message)
        options = _options_if_readable(body)
        access = options.super_link if options is not None else SuperLinkAccess(told["url"], None)
        account = await self._account_at_the_end(body, backends) if told.get("account") == BOT else None
        identity = await self._identity(meta.key, meta.uid, access, backends, account)
        try:
            await SuperNode(world, identity).end(RecordedNode(told.get("keyId")), world.clock.now())
        except BackendDeniedError:
            if told.get("account") != BOT or self._bot(body) is not None:
                raise
            return await self._leave(body, identity)
        node_id = (body.get("status") or {}).get("nodeId")
        what = f"node {node_id}" if node_id else "every node of this PodIdentity"
        proof = f"the SuperLink {access.url} lists {what} as unregistered, or not at all; its key is gone from Vault"
        at = world.clock.now()
        gone = Presented(what, f"SuperLink {access.url}", "unregistered, or not listed at all", at)
        seen = [gone, gone_from_vault(backends, at)]
        receipt = receipt_of(body, cause_of(body), what=_which(body), seen=seen, proven_at=at)
        await leave_receipt(world, body, receipt, message=f"Revocation proven: {proof}")
        now = rfc3339(at)
        revoked = Condition(ConditionType.REVOKED, True, Reason.PROVEN, f"Proven at {now}: {proof}")
        kept = kept_conditions(body, _KEPT)
        if told.get("account") == BOT and (bot_key := _bot_of(body)) is not None:
            world.wake(bot_key, Priority.DELETION, look=False)  # one that goes waits for this
        return await write_status(world, newest_of(world, body), (*kept, revoked), _forgotten(body)) or body

    async def _leave(self, body: Body, identity: NodeIdentity) -> Body:
        """Take the key out of Vault and say what only a person can end: the account went with the bot."""
        world, node_id = self._world, (body.get("status") or {}).get("nodeId")
        await identity.store.destroy(identity.path, world.owner(identity.uid))
        message = (
            f"Only a person can end node {node_id} at the SuperLink {identity.url}: its owner was the account of a bot "
            "that is gone, so fedid cannot ask there any more. Its key is gone from Vault; a pod may still have it"
        )
        left = Condition(ConditionType.REVOKED, False, Reason.MANUAL_REVOCATION_REQUIRED, message)
        receipt = receipt_of(body, cause_of(body), what=_which(body), notes=[message])
        await leave_receipt(world, body, receipt, message=message, reason=left.reason, warning=True)
        told = (*kept_conditions(body, _KEPT), left)
        return await write_status(world, newest_of(world, body), told, _forgotten(body)) or body

    async def _identity(
        self, key: ObjectKey, uid: str, access: SuperLinkAccess, backends: Backends, account: Sensitive | None
    ) -> NodeIdentity:
        path = node_path(backends.federation.vault.path_prefix, key)
        registry = await self._registry(access)
        return NodeIdentity(key, uid, access.url, registry, backends.secret_store, path, account)

    async def _registry(self, access: SuperLinkAccess) -> NodeRegistry:
        known = self._world.super_links
        found = known.pop(access, None) or self._world.factory.node_registry(access)
        known[access] = found  # the last one is the one that was used last
        while len(known) > _MOST_SUPER_LINKS:
            await known.pop(next(iter(known))).aclose()
        return found

    async def _account_of(self, bot: Body, backends: Backends) -> Sensitive:
        """Return the token that the bot presents: the one named `default`, else the only one.

        Raises:
            NotReadyError: It is not there yet.
            InvalidSpecError: The bot has no such token.
        """
        meta, spec = meta_of(bot), parse_bot_client(bot)
        declared = [token["name"] for token in (bot.get("spec") or {}).get("tokens") or ()]
        name = "default" if "default" in declared else declared[0] if len(declared) == 1 else None
        if name is None:
            message = f"superLink.account is Bot, and {meta.key} has no token that is called default or is the only one"
            raise InvalidSpecError(message, reason=Reason.TOKEN_MISSING)
        owner = self._world.owner(meta.uid)
        stored = await observe_stored(backends, meta.key, owner, spec.client_id, spec.authentication)
        if name not in stored.claims:
            message = f"Token {name} of {meta.key}, with which the SuperLink is asked, is not in Vault as a good jwt"
            raise NotReadyError(message, reason=Reason.WAITING_FOR_BOT)
        return stored.tokens[name].data["token"]

    async def _account_at_the_end(self, body: Body, backends: Backends) -> Sensitive | None:
        """Return the token likewise, None if there is none any more: then the SuperLink says what it wants."""
        bot = self._bot(body)
        try:
            return await self._account_of(bot, backends) if bot is not None else None
        except (InvalidSpecError, NotReadyError):
            return None

    def _bot(self, body: Body) -> Body | None:
        key = _bot_of(body)
        return self._world.directory.get(key) if key is not None else None


def _told(body: Body) -> Mapping[str, Any]:
    return (body.get("status") or {}).get("superNode") or {}


def _is_ended_now(body: Body) -> bool:
    """Tell whether the end that was begun is what `fedid.io/revoke-now` asked for."""
    return bool(((body.get("status") or {}).get("revocation") or {}).get("reason") == Reason.REVOKED_NOW)


def _carried_out(meta: Meta) -> dict[str, Any]:
    """Return what the status tells of `fedid.io/revoke-now` once everything of before has ended, or was not there."""
    asked = revocation_request(meta.annotations, None)
    return {"revokedNow": asked} if asked is not None else {}


def _forgotten(body: Body) -> dict[str, Any]:
    """Return what the status tells of a SuperNode that has ended."""
    carried_out = _carried_out(meta_of(body)) if _is_ended_now(body) else {}
    return {"nodeId": None, "superNode": None, "revocation": None, **carried_out}


def _which(body: Body) -> str:
    """Return what tells this node of the PodIdentity from an earlier one, for its receipt."""
    return f"{_told(body).get('keyId')} {(body.get('status') or {}).get('nodeId')}"


def _bot_of(body: Body) -> ObjectKey | None:
    try:
        return parse_pod_identity(body).bot
    except InvalidSpecError:
        return None


def _options(spec: PodIdentity) -> SuperNodeOptions | None:
    if spec.platform != "flower":
        return None
    return flower.parse(spec.options, f"spec.platform.{spec.platform}", spec.role).super_node


def _options_if_readable(body: Body) -> SuperNodeOptions | None:
    try:
        return _options(parse_pod_identity(body))
    except InvalidSpecError:
        return None
