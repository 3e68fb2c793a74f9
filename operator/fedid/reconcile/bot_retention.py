"""A client that outlives its bot: everything that it can be used with ends, and then it is nobody's.

Its secret is replaced by one that is written down nowhere, and its `notBefore` ends the tokens that were minted beside
the operator; the mark goes last, after the proof. That the client stays is recorded before anything ends
(`retention`), so a client without our mark is the one that we released.
"""

from __future__ import annotations

from dataclasses import replace

from fedid.domain.bot_authentication import without_authenticator
from fedid.domain.realm import CLIENT_SECRET, ClientRecord
from fedid.domain.resources import Body, meta_of
from fedid.reconcile.bot_observation import client_of_bot
from fedid.reconcile.retention import is_retained
from fedid.reconcile.world import Backends, World

__all__ = ["BotRetention"]


class BotRetention:
    """Ends and releases clients instead of deleting them."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world

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
            self._world.audit("ReleaseClient", key=meta.key, client_id=client.client_id)
