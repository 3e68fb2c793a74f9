"""What one pass over the clients of a server works with, and what it finds in the status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fedid.domain.acceptance import holds_from
from fedid.domain.bot_steps import Recorded
from fedid.domain.conditions import ConditionType, Reason, condition_of, instant_in
from fedid.domain.durations import spread
from fedid.domain.grants import Verdict
from fedid.domain.resources import Body, Meta
from fedid.domain.rotation import RotationRequest
from fedid.reconcile.bot_paths import BotPaths
from fedid.reconcile.gate import judged_as_before
from fedid.reconcile.world import Backends

__all__ = ["ClientPass", "recorded_of"]


@dataclass(frozen=True, slots=True)
class ClientPass:
    """What one pass over the clients of a server works with."""

    body: Body
    meta: Meta
    backends: Backends
    verdict: Verdict
    request: RotationRequest | None
    fresh: bool
    """Whether a look at Keycloak is not due."""
    now: datetime
    """The operator's clock (aware UTC)."""

    @property
    def status(self) -> Mapping[str, Any]:
        """Of the object, as the pass began."""
        return self.body.get("status") or {}

    @property
    def made(self) -> Mapping[str, Any]:
        """What the status says of the clients."""
        return self.status.get("oidcClient") or {}

    @property
    def was_taken(self) -> bool:
        """Whether somebody else's client was in the way."""
        synced = condition_of(self.status.get("conditions") or (), ConditionType.KEYCLOAK_SYNCED)
        return synced is not None and synced["reason"] == Reason.CONFLICT

    @property
    def path(self) -> str:
        """Where the secret lies in Vault."""
        return BotPaths(self.backends.federation.vault.path_prefix, self.meta.key).client

    @property
    def look_period(self) -> timedelta:
        """How often Keycloak is looked at: servers are few."""
        return spread(self.backends.federation.resync_period, self.meta.uid)

    @property
    def changed_by_hand(self) -> bool:
        """Whether what differs now was changed by somebody else: neither the spec nor a grant did."""
        same = self.status.get("observedGeneration") == self.meta.generation
        return same and judged_as_before(self.body, self.verdict) and not self.status.get("revocation")

    @property
    def consumers_hold(self) -> bool:
        """Whether the Secret, and the pods that are told of it, have the newest secret, as far as the status says."""
        from_ = holds_from(self.body)
        return not self.status.get("delivered") or (from_ is not None and from_ <= self.now)


def recorded_of(made: Mapping[str, Any], *, withdrawn: bool = False) -> Recorded:
    """Return what an earlier pass wrote into the status (`made`) about the secret."""
    return Recorded(
        secret_version=made.get("version"),
        secret_issued_at=instant_in(made.get("issuedAt")),
        previous_ends_at=instant_in(made.get("previousEndsAt")),
        secret_rotated_for=made.get("rotatedFor"),
        withdrawn=withdrawn,
    )
