"""The end of the SuperNode of a PodIdentity: with the object, its bot or its grant, or because somebody asks for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from fedid.domain.conditions import Condition, ConditionType, Reason, rfc3339
from fedid.domain.receipt import Presented, cause_of, receipt_of
from fedid.domain.resources import Body, Meta, meta_of
from fedid.domain.rotation import revocation_request
from fedid.domain.super_node import SuperLinkAccess
from fedid.engine import Priority
from fedid.errors import BackendDeniedError, Error, NotReadyError, StaleObjectError
from fedid.platforms.flower import BOT
from fedid.reconcile.gate import backends_of, still_wanted, without_finalizer
from fedid.reconcile.node_access import account_at_the_end, bot_of, node_identity, options_if_readable, told_of
from fedid.reconcile.pod_secret import PodSecrets
from fedid.reconcile.receipts import gone_from_vault, leave_receipt
from fedid.reconcile.status import kept_conditions, newest_of, write_status
from fedid.reconcile.super_node import SUPERLINK, NodeIdentity, RecordedNode, SuperNode
from fedid.reconcile.waiting import tell_waiting
from fedid.reconcile.world import World

__all__ = ["KEPT", "PodNodeEnds", "carried_out"]

KEPT: Final = (ConditionType.READY, ConditionType.PUBLISHED)
"""Conditions of which the pass of a SuperNode says nothing itself."""


class PodNodeEnds:
    """Ends the SuperNodes of PodIdentities."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._secrets = PodSecrets(world)

    async def withdraw(self, body: Body) -> None:
        """End the SuperNode of a PodIdentity that stays; nothing if it is none.

        Raises:
            Error: What it waits for, told in the status.
        """
        if told_of(body) or options_if_readable(body) is not None:
            body = await self.end(body)
            await without_finalizer(self._world, newest_of(self._world, body))

    async def delete(self, body: Body) -> Body:
        """End the SuperNode of a PodIdentity that is being deleted, and return the object; nothing if it is none.

        Raises:
            Error: What it waits for, told in the status.
        """
        if not told_of(body):
            return body
        return newest_of(self._world, await self.end(await self._empty(body)))

    @staticmethod
    def is_asked_for(body: Body) -> bool:
        """Tell whether `fedid.io/revoke-now` asks for the end of what there is, or did when that was begun."""
        if not told_of(body):
            return False
        asked = revocation_request(meta_of(body).annotations, body["status"].get("revokedNow"))
        return asked is not None or _is_begun(body)

    async def begin(self, body: Body) -> Body:
        """Record that the annotation is being carried out: what was begun is finished, whatever it says by then."""
        if _is_begun(body):
            return body
        asked = revocation_request(meta_of(body).annotations, None)
        begun = {"startedAt": rfc3339(self._world.clock.now()), "reason": str(Reason.REVOKED_NOW), "asked": asked}
        return await write_status(self._world, body, kept_conditions(body, KEPT), {"revocation": begun}) or body

    async def finish(self, body: Body) -> Body:
        """End what was begun so, and return the object, for which another key is to be made.

        Raises:
            StaleObjectError: It was deleted meanwhile: no other is to be made.
            Error: What it waits for, told in the status.
        """
        return still_wanted(self._world, meta_of(await self.end(body)))

    async def end(self, body: Body) -> Body:
        """End the SuperNode of a PodIdentity, and return the object; nothing if it is none.

        Raises:
            Error: What it waits for, told in the status.
        """
        if not told_of(body):
            return body
        try:
            return await self._prove(body)
        except StaleObjectError:
            raise  # an ordinary conflict of writes: read again and repeated, nothing to tell
        except Error as error:
            await tell_waiting(self._world, newest_of(self._world, body), error)
            raise

    async def _empty(self, body: Body) -> Body:
        """Empty the Secret, which goes only with its owner: as long as that waits, nobody gets at the key any more."""
        status = body.get("status") or {}
        if not status.get("delivered"):
            return body
        await self._secrets.empty(meta_of(body), status["secretName"])
        body = await write_status(self._world, body, kept_conditions(body, KEPT), {"delivered": False}) or body
        bot_key, _ = bot_of(self._world, body)
        if bot_key is not None:
            self._world.wake(bot_key, Priority.DELETION, look=False)  # one that is being deleted waits for this
        return body

    async def _prove(self, body: Body) -> Body:
        """Unregister it, see that, take its key out of Vault, and tell the proof; the status forgets it with that."""
        world, told = self._world, told_of(body)
        backends = backends_of(world, told["federation"])
        if backends is None:
            message = f"Federation {told['federation']} is looked at first"
            raise NotReadyError(message)
        options, (bot_key, bot) = options_if_readable(body), bot_of(world, body)
        # What it was registered at, whatever the spec says by now.
        access = replace(options.super_link, url=told["url"]) if options else SuperLinkAccess(told["url"], None)
        has_account = told.get("account") == BOT
        account = await account_at_the_end(world, bot, backends, told.get("subject")) if has_account else None
        identity = await node_identity(world, body, access, backends, account)
        try:
            await SuperNode(world, identity).end(RecordedNode(told.get("keyId")), world.clock.now())
        except BackendDeniedError as error:
            if not has_account or account is not None or error.backend != SUPERLINK:
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
        revoked = Condition(ConditionType.REVOKED, True, Reason.PROVEN, f"Proven at {rfc3339(at)}: {proof}")
        if has_account and bot_key is not None:
            world.wake(bot_key, Priority.DELETION, look=False)  # one that goes waits for this
        return await self._forget(body, revoked)

    async def _leave(self, body: Body, identity: NodeIdentity) -> Body:
        """Take the key out of Vault and say what only a person can end: nobody has the account any more."""
        world, node_id = self._world, (body.get("status") or {}).get("nodeId")
        await identity.store.destroy(identity.path, world.owner(identity.uid))
        message = (
            f"Only a person can end node {node_id} at the SuperLink {identity.url}: its owner was the account of a bot "
            "that is gone, so fedid cannot ask there any more. Its key is gone from Vault; a pod may still have it"
        )
        left = Condition(ConditionType.REVOKED, False, Reason.MANUAL_REVOCATION_REQUIRED, message)
        receipt = receipt_of(body, cause_of(body), what=_which(body), notes=[message])
        await leave_receipt(world, body, receipt, message=message, reason=left.reason, warning=True)
        return await self._forget(body, left)

    async def _forget(self, body: Body, told: Condition) -> Body:
        """Tell how it ended, and forget the node with that."""
        newest = newest_of(self._world, body)
        fields: dict[str, Any] = {"nodeId": None, "superNode": None, "revocation": None}
        if _is_begun(newest):
            asked = {"revokedNow": newest["status"]["revocation"].get("asked")}
            fields |= carried_out(meta_of(newest)) or asked
        return await write_status(self._world, newest, (*kept_conditions(newest, KEPT), told), fields) or newest


def carried_out(meta: Meta) -> dict[str, Any]:
    """Return what the status tells of `fedid.io/revoke-now` once everything of before has ended, or was not there."""
    asked = revocation_request(meta.annotations, None)
    return {"revokedNow": asked} if asked is not None else {}


def _is_begun(body: Body) -> bool:
    """Tell whether the end that is under way is what `fedid.io/revoke-now` asked for."""
    return bool(((body.get("status") or {}).get("revocation") or {}).get("reason") == Reason.REVOKED_NOW)


def _which(body: Body) -> str:
    """Return what tells this node of the PodIdentity from an earlier one, for its receipt."""
    return f"{told_of(body).get('keyId')} {(body.get('status') or {}).get('nodeId')}"
