"""The SuperNode that a PodIdentity is: granted, registered, mounted; unregistered when it, its bot or its grant goes.

What must be found again at the end, where it is registered and in whose Vault its key lies, is in the status before
anything is made. So a finalizer without it stands for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fedid.domain.conditions import Condition, instant_in, rfc3339
from fedid.domain.grants import Ask, AskKind
from fedid.domain.node_plan import DesiredNode
from fedid.domain.pod_identity import PodIdentity
from fedid.domain.resources import Body, Meta, meta_of
from fedid.domain.rotation import rotation_due_at, rotation_request
from fedid.domain.super_node import NodeKey
from fedid.errors import NotGrantedError
from fedid.platforms.flower import BOT
from fedid.reconcile.gate import (
    granted_condition,
    realm_now,
    require_still_there,
    require_usable,
    still_wanted,
    with_finalizer,
)
from fedid.reconcile.judging import judged, judgement_fields
from fedid.reconcile.node_access import NodeAccount, account_of, node_identity, options_of, told_of
from fedid.reconcile.pod_node_end import KEPT, PodNodeEnds, carried_out
from fedid.reconcile.status import kept_conditions, write_status
from fedid.reconcile.super_node import RecordedNode, SuperNode
from fedid.reconcile.world import Backends, World

__all__ = ["PodNode", "PodNodes"]


@dataclass(frozen=True, slots=True)
class PodNode:
    """The SuperNode of one PodIdentity, registered and seen so."""

    key: NodeKey
    granted: Condition
    fields: Mapping[str, Any]
    """What the status tells of it, but for when its Secret got the key."""
    is_new: bool
    """Whether the status does not tell yet that its Secret has the key."""
    again_at: datetime | None
    """When something will be due by itself (aware UTC)."""

    def delivered(self, now: datetime) -> Mapping[str, Any]:
        """Return what the status tells of it once its Secret has the key."""
        if not self.is_new:
            return self.fields
        return {**self.fields, "superNode": {**self.fields["superNode"], "deliveredAt": rfc3339(now)}}


class PodNodes:
    """Brings the SuperNodes of PodIdentities in line."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self.ends = PodNodeEnds(world)

    async def ensure(self, body: Body, spec: PodIdentity, bot: Body, backends: Backends) -> PodNode | None:
        """Have the SuperNode registered; None if the PodIdentity is none.

        Raises:
            NotGrantedError: No rule lets the namespace register one there; whatever there is has to be withdrawn.
            Error: Vault or the SuperLink is away or refuses.
        """
        options = options_of(spec)
        if options is None:
            if told_of(body):
                await self.ends.withdraw(body)  # it was one before
            return None
        world, meta, url = self._world, spec.meta, options.super_link.url
        verdict = await judged(world, backends, [Ask(AskKind.SUPERLINK_URL, url)], body)
        if not verdict.granted:
            raise NotGrantedError(verdict.message, reason=verdict.reason)
        require_usable(backends, meta, vault=True)
        body = await with_finalizer(world, body)
        account = await account_of(world, bot, backends) if options.as_bot else None
        if told_of(body) and not _is_at_home(told_of(body), url, account):
            body = still_wanted(world, meta_of(await self.ends.end(body)))
        if not told_of(body):
            body = await self._announced(body, meta, url, account, backends)
        told = told_of(body)
        desired = DesiredNode("", url, options.every, options.overlap)
        token = account.token if account is not None else None
        node = SuperNode(world, await node_identity(world, body, options.super_link, backends, token), desired)
        now, delivered_at = realm_now(world, bot), instant_in(told.get("deliveredAt"))
        if delivered_at is not None:
            delivered_at = min(delivered_at, now)  # a clock was fast
        recorded = RecordedNode(told.get("keyId"), delivered_at, told.get("rotatedFor"))
        state = await node.ensure(recorded, rotation_request(meta.annotations), now)
        is_new = state.key.key_id != recorded.key_id
        next_at = rotation_due_at(state.issued_at, options.every, meta.uid) if options.every is not None else None
        fields = {
            **_place(url, told["federation"], account),
            "keyId": state.key.key_id,
            "issuedAt": rfc3339(state.issued_at),
            "nextRotationAt": rfc3339(next_at) if next_at is not None else None,
            "rotatedFor": state.rotated_for,
            "deliveredAt": rfc3339(delivered_at) if delivered_at is not None and not is_new else None,
        }
        status = {
            "nodeId": str(state.node_id),
            "superNode": {name: value for name, value in fields.items() if value is not None},
            "revocation": None,
            **judgement_fields(body, verdict),
        }
        return PodNode(state.key, granted_condition(verdict), status, is_new, state.again_at)

    async def _announced(
        self, body: Body, meta: Meta, url: str, account: NodeAccount | None, backends: Backends
    ) -> Body:
        """Tell where the node will be before anything is made: what leads there may be gone when it has to end."""
        await require_still_there(self._world, meta)
        place = _place(url, backends.federation.meta.key.name, account)
        fields = {"superNode": place, **carried_out(meta_of(body))}  # so far there is nothing that could be ended
        return await write_status(self._world, body, kept_conditions(body, KEPT), fields) or body


def _place(url: str, federation: str, account: NodeAccount | None) -> dict[str, str]:
    """Return what has to be known of a node to end it."""
    place = {"url": url, "federation": federation}
    return place if account is None else {**place, "account": BOT, "subject": account.subject}


def _is_at_home(told: Mapping[str, Any], url: str, account: NodeAccount | None) -> bool:
    """Tell whether a node is at this SuperLink, and this account sees it there; nobody else's token shows that."""
    if (told["url"], told.get("account")) != (url, BOT if account is not None else None):
        return False
    return account is None or told.get("subject") in {None, account.subject}
