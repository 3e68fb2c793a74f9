"""Conditions and their closed list of reasons; the public vocabulary of every status.

Source: Kubernetes API conventions, "Typical status properties" (`metav1.Condition`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from fedid.errors import Error

__all__ = [
    "Condition",
    "ConditionType",
    "Reason",
    "condition_of",
    "instant_in",
    "is_told",
    "merged_conditions",
    "reason_of",
    "rfc3339",
]

_LONGEST_MESSAGE = 4096
"""Characters; the API server takes 32,768, a reader far fewer."""
_STATUS = {True: "True", False: "False", None: "Unknown"}


class ConditionType(StrEnum):
    """What a condition is about."""

    READY = "Ready"
    KEYCLOAK_READY = "KeycloakReady"
    VAULT_READY = "VaultReady"
    EXCLUSIVE = "Exclusive"
    ORPHANS = "Orphans"
    OPENFGA_READY = "OpenFgaReady"
    GRANTED = "Granted"
    KEYCLOAK_SYNCED = "KeycloakSynced"
    OPENFGA_SYNCED = "OpenFgaSynced"
    PUBLISHED = "Published"
    REVOKED = "Revoked"
    MOUNTED = "Mounted"


_PLACES = {kind: place for place, kind in enumerate(ConditionType)}


class Reason(StrEnum):
    """Why a condition has its status; docs/guide/8-troubleshooting.md explains every one."""

    READY = "Ready"
    GRANTED = "Granted"
    SYNCED = "Synced"
    EXCLUSIVE = "Exclusive"
    ORPHANS_FOUND = "OrphansFound"
    TAKE_OVER_REQUIRED = "TakeOverRequired"
    NO_CHECK_AND_SET = "NoCheckAndSet"
    OVERLAP_IMPOSSIBLE = "OverlapImpossible"
    PUBLISHED = "Published"
    MOUNTED = "Mounted"
    PROVEN = "Proven"
    PROGRESSING = "Progressing"
    INVALID_SPEC = "InvalidSpec"
    NOT_GRANTED = "NotGranted"
    WAITING_FOR_APPROVAL = "WaitingForApproval"
    SUSPENDED = "Suspended"
    REVOKED_NOW = "RevokedNow"
    EXPIRED = "Expired"
    CONFLICT = "Conflict"
    FEDERATION_MISSING = "FederationMissing"
    FEDERATION_NOT_READY = "FederationNotReady"
    FEDERATION_IN_USE = "FederationInUse"
    ROLE_MISSING = "RoleMissing"
    GROUP_MISSING = "GroupMissing"
    SCOPE_MISSING = "ScopeMissing"
    ATTRIBUTE_MISSING = "AttributeMissing"
    REQUIRED_ACTION_MISSING = "RequiredActionMissing"
    IDENTITY_PROVIDER_MISSING = "IdentityProviderMissing"
    PASSWORD_POLICY_UNMET = "PasswordPolicyUnmet"
    TOKEN_REJECTED = "TokenRejected"
    BOT_MISSING = "BotMissing"
    BOT_DELETING = "BotDeleting"
    REVOKING = "Revoking"
    TOKEN_MISSING = "TokenMissing"
    WAITING_FOR_BOT = "WaitingForBot"
    WAITING_FOR_CONSUMERS = "WaitingForConsumers"
    WAITING_FOR_VERIFIERS = "WaitingForVerifiers"
    MANUAL_REVOCATION_REQUIRED = "ManualRevocationRequired"
    CREDENTIALS_MISSING = "CredentialsMissing"
    BACKEND_UNAVAILABLE = "BackendUnavailable"
    BACKEND_DENIED = "BackendDenied"
    BACKEND_REJECTED = "BackendRejected"
    CERTIFICATE_INVALID = "CertificateInvalid"
    REDIRECTED = "Redirected"
    UNEXPECTED_ANSWER = "UnexpectedAnswer"
    REALM_NOT_FOUND = "RealmNotFound"
    ISSUER_MISMATCH = "IssuerMismatch"
    PERMISSION_MISSING = "PermissionMissing"
    USER_PROFILE_INCOMPLETE = "UserProfileIncomplete"
    VAULT_SEALED = "VaultSealed"
    MOUNT_MISMATCH = "MountMismatch"
    STORE_NOT_FOUND = "StoreNotFound"
    MODEL_NOT_FOUND = "ModelNotFound"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    INTERNAL_ERROR = "InternalError"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition to be told; its transition instant is found by `merged_conditions`."""

    type: ConditionType
    status: bool | None
    """None: Unknown."""
    reason: Reason
    message: str


def rfc3339(instant: datetime) -> str:
    """Return the instant as Kubernetes writes it, whole seconds, `Z`."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def instant_in(text: str | None) -> datetime | None:
    """Return the instant that `rfc3339` wrote (aware UTC), None if it is none."""
    try:
        instant = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return instant.astimezone(UTC) if instant is not None and instant.tzinfo is not None else None


def reason_of(error: Error) -> Reason:
    """Return the condition reason that an error is told with."""
    try:
        return Reason(error.reason)
    except ValueError:
        return Reason.INTERNAL_ERROR


def condition_of(conditions: Iterable[Mapping[str, Any]], wanted: ConditionType) -> Mapping[str, Any] | None:
    """Return the observed condition of a type, as the status holds it."""
    return next((c for c in conditions if c.get("type") == wanted), None)


def is_told(observed: Mapping[str, Any] | None, condition: Condition) -> bool:
    """Tell whether the observed condition says the same."""
    return observed is not None and (observed["status"], observed["reason"], observed["message"]) == (
        _STATUS[condition.status],
        condition.reason,
        condition.message[:_LONGEST_MESSAGE],
    )


def merged_conditions(
    observed: Iterable[Mapping[str, Any]], told: Iterable[Condition], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return the status list: told conditions replace those of their type, others go, instants move on real change.

    They stand in the order of `ConditionType`, so that the same told in another order writes nothing.

    Args:
        observed: `status.conditions` as it stands.
        told: Every condition that holds now.
        generation: What `observedGeneration` is set to.
        now: Aware UTC; used as `lastTransitionTime` where the status flips.
    """
    before = {c["type"]: c for c in observed}
    result = []
    for condition in told:
        status = _STATUS[condition.status]
        old = before.get(condition.type)
        kept = old is not None and old.get("status") == status
        result.append(
            {
                "type": str(condition.type),
                "status": status,
                "reason": str(condition.reason),
                "message": condition.message[:_LONGEST_MESSAGE],
                "lastTransitionTime": old["lastTransitionTime"] if old is not None and kept else rfc3339(now),
                "observedGeneration": generation,
            }
        )
    return sorted(result, key=lambda condition: _PLACES[condition["type"]])
