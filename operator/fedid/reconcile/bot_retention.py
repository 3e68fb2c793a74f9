"""A client that outlives its bot: everything that it can be used with ends, and then it is nobody's.

Its secret is replaced by one that is written down nowhere, and its `notBefore` ends the tokens that were minted beside
the operator; the mark goes last, after the proof. That the client stays is recorded before anything ends: from then on
neither a grant nor the spec changes it, and a client without our mark is the one that we released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fedid.domain.bot import RETAIN_ASK
from fedid.domain.bot_authentication import without_authenticator
from fedid.domain.conditions import Condition, ConditionType, Reason, rfc3339
from fedid.domain.realm import CLIENT_SECRET, ClientRecord
from fedid.domain.resources import Body, BotClient, meta_of
from fedid.reconcile.bot_observation import client_of_bot
from fedid.reconcile.gate import judged
from fedid.reconcile.status import kept_conditions, write_status
from fedid.reconcile.world import Backends, World

__all__ = ["BotRetention", "is_retained", "revocation_of"]


def revocation_of(body: Body) -> Mapping[str, Any]:
    """Return how far the revocation has come, as the status tells."""
    revocation: Mapping[str, Any] = (body.get("status") or {}).get("revocation") or {}
    return revocation


def is_retained(body: Body) -> bool:
    """Tell whether it was decided that the client stays."""
    return bool(revocation_of(body).get("retain"))


class BotRetention:
    """Ends and releases clients instead of deleting them."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world

    async def decide(self, body: Body, spec: BotClient, backends: Backends) -> Body | None:
        """Record whether the client stays: where the spec says so and a grant lets it; else it is deleted.

        Returns:
            The newest body; None if that cannot be told yet, because the labels of the namespace are not known.
        """
        if is_retained(body) or not spec.retain:
            return body
        meta = meta_of(body)
        if not self._world.directory.knows_namespace(meta.key.namespace):
            return None
        if not judged(self._world, backends, (RETAIN_ASK,), meta.key.namespace).granted:
            return body
        started = {"startedAt": rfc3339(self._world.clock.now()), **revocation_of(body), "retain": True}
        told = kept_conditions(body, (ConditionType.READY, ConditionType.REVOKED)) if revocation_of(body) else []
        if not told:
            message = "The bot is being revoked; its client will stay"
            told = [
                Condition(ConditionType.READY, False, Reason.REVOKING, message),
                Condition(ConditionType.REVOKED, False, Reason.REVOKING, message),
            ]
        return await write_status(self._world, body, told, {"revocation": started}) or body

    async def end(self, client: ClientRecord, backends: Backends) -> None:
        """End everything that our client can be used with; repeated, it ends it again."""
        provider = backends.identity_provider
        after = int(provider.server_now_at_most().timestamp()) + 1
        ended = replace(
            client,
            secret=self._world.fresh_secret(),
            authenticator=CLIENT_SECRET,
            attributes=without_authenticator(client.attributes),
            flags={**client.flags, "publicClient": False},
            not_before=after,
        )
        await provider.update_client(ended)
        if client.previous_secret is not None:
            await provider.end_previous_secret(client.client_uuid)

    async def release(self, body: Body, client_id: str, backends: Backends) -> None:
        """Take our mark off the client that stays; done, or somebody else's by now, it is left alone."""
        if not is_retained(body):
            return
        meta, owner = meta_of(body), self._world.owner(meta_of(body).uid)
        status = body.get("status") or {}
        client = await client_of_bot(backends, status, uid=meta.uid, client_id=client_id, owner=owner)
        if client is not None and client.owner == owner:
            await backends.identity_provider.update_client(replace(client, owner=None, object_name=None, secret=None))
            self._world.audit("ReleaseClient", key=str(meta.key), client_id=client.client_id)
