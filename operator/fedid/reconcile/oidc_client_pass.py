"""What one pass over the clients of a server works with, and what it finds in the status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fedid.domain.acceptance import holds_from
from fedid.domain.bot_steps import Recorded
from fedid.domain.conditions import Condition, ConditionType, Reason, instant_in
from fedid.domain.durations import spread
from fedid.domain.handover import Handover
from fedid.domain.judgement import Verdict
from fedid.domain.oidc_client_record import DesiredOidcClient
from fedid.domain.resources import Body, Meta
from fedid.domain.rotation import RotationRequest, rotation_due_at
from fedid.reconcile.bot_context import BotFacts
from fedid.reconcile.bot_paths import BotPaths
from fedid.reconcile.gate import judged_as_before
from fedid.reconcile.status import kept_conditions, was_taken
from fedid.reconcile.world import Backends

__all__ = ["ClientPass", "recorded_of", "secret_due_at", "synced_condition"]


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
        return was_taken(self.status)

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

    def asks_for_secret(self, remembered: str | None) -> bool:
        """Tell whether a person wants the secret replaced, by what is remembered with it."""
        return self.request is not None and self.request.wants_secret(remembered)

    @property
    def handover(self) -> Handover:
        """How far the newest secret has come to the Secret, and the pods that are told of it, as the status says.

        The Secret has it before the status tells that it was made, and the overlap runs from then on: nobody is late.
        """
        from_ = holds_from(self.body)
        return Handover(missing=bool(self.status.get("delivered")) and (from_ is None or from_ > self.now))


def recorded_of(made: Mapping[str, Any], *, withdrawn: bool = False) -> Recorded:
    """Return what an earlier pass wrote into the status (`made`) about the secret."""
    return Recorded(
        secret_version=made.get("version"),
        secret_issued_at=instant_in(made.get("issuedAt")),
        previous_ends_at=instant_in(made.get("previousEndsAt")),
        secret_rotated_for=made.get("rotatedFor"),
        withdrawn=withdrawn,
    )


def secret_due_at(one: ClientPass, main: DesiredOidcClient, issued_at: datetime | None) -> datetime | None:
    """Return when the secret is to be replaced by schedule (Keycloak's clock), None if never."""
    every = main.rotation.every
    return rotation_due_at(issued_at, every, one.meta.uid) if every is not None and issued_at is not None else None


def synced_condition(one: ClientPass, main: DesiredOidcClient, facts: BotFacts) -> Condition:
    """Return `KeycloakSynced` of a pass that came to its end, with what is in the way of another secret."""
    synced = f"Client {main.client_id} of realm {one.backends.federation.keycloak.realm} is as the spec says"
    if not facts.looked:
        for told in kept_conditions(one.body, (ConditionType.KEYCLOAK_SYNCED,)):
            if told.reason is Reason.OVERLAP_IMPOSSIBLE:
                return told  # a pass that did not look at Keycloak has not seen it go
    if facts.obstacle is None or main.rotation.allow_interruption:
        return Condition(ConditionType.KEYCLOAK_SYNCED, True, Reason.SYNCED, synced)
    message = (
        f"{synced}, but its secret stays as it is, since it cannot be replaced with an overlap: {facts.obstacle}. Or "
        "set spec.oidcClient.secretRotation.allowInterruption to true; the server is refused then until it reads the "
        "new secret"
    )
    return Condition(ConditionType.KEYCLOAK_SYNCED, True, Reason.OVERLAP_IMPOSSIBLE, message)
