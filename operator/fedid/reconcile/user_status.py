"""What the status of a user tells."""

from __future__ import annotations

from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason
from fedid.domain.federation_user import FederationUser
from fedid.domain.judgement import Verdict
from fedid.domain.resources import Body
from fedid.errors import BackendError, Error, NotGrantedError, OwnershipConflictError
from fedid.reconcile.gate import granted_condition
from fedid.reconcile.judging import judgement_fields
from fedid.reconcile.user_convergence import UserFacts
from fedid.reconcile.world import Backends

__all__ = ["PARTS", "about", "conditions_of", "facts_told", "fields_of"]

PARTS = (ConditionType.GRANTED, ConditionType.KEYCLOAK_SYNCED, ConditionType.PUBLISHED)
"""Conditions that go on holding while something else is told."""


def conditions_of(
    spec: FederationUser, verdict: Verdict, backends: Backends, facts: UserFacts
) -> tuple[Condition, ...]:
    """Return what holds after a pass that came to its end."""
    realm, mount = backends.federation.keycloak.realm, backends.federation.vault.mount
    synced = f"User {spec.username} of realm {realm} is as the spec says"
    noted = f"{synced}; the mail to the user was not sent: {facts.mail_failed}" if facts.mail_failed else synced
    ready = (
        Condition(ConditionType.READY, True, Reason.READY, noted)
        if verdict.granted
        else Condition(ConditionType.READY, False, verdict.reason, verdict.message)
    )
    told = (ready, granted_condition(verdict), Condition(ConditionType.KEYCLOAK_SYNCED, True, Reason.SYNCED, synced))
    if facts.initial_password is None:
        return told
    message = f"The initial password was put into Vault at {mount}/{facts.initial_password['path']}; it is good once"
    return (*told, Condition(ConditionType.PUBLISHED, True, Reason.PUBLISHED, message))


def fields_of(body: Body, verdict: Verdict, backends: Backends, facts: UserFacts) -> dict[str, Any]:
    """Return the status fields after a pass that came to its end."""
    return {
        "federation": backends.federation.meta.key.name,
        "userId": facts.user_id,
        "applied": facts.applied,
        "initialPassword": facts.initial_password,
        "notification": facts.notification,
        "revocation": None,
        **judgement_fields(body, verdict),
    }


def facts_told(body: Body) -> UserFacts | None:
    """Return what an earlier pass left in the status, None if none came to its end."""
    status = body.get("status") or {}
    if not status.get("userId"):
        return None
    return UserFacts(status["userId"], status.get("applied"), status.get("initialPassword"), status.get("notification"))


def about(error: Error) -> ConditionType | None:
    """Return the condition that an error is about, besides `Ready`."""
    if isinstance(error, NotGrantedError):
        return ConditionType.GRANTED
    if isinstance(error, (BackendError, OwnershipConflictError)):
        return {"keycloak": ConditionType.KEYCLOAK_SYNCED, "vault": ConditionType.PUBLISHED}.get(error.backend or "")
    return None
