"""The part of a bot's plan that is about its secret: prove, replace, keep the former for a while, end it.

Keycloak is asked to keep the secret in use as the previous one, then gets one of our own making, which goes to Vault;
the previous one ends last. Everything that the decision needs is found again after a crash: which secret is the
previous one, and since when, is Keycloak's to tell, and which one consumers may hold is Vault's.

Source: Keycloak 26.7.3, feature `client-secret-rotation`. A secret set by PUT leaves the previous one as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fedid.domain.bot import PREVIOUS_SECRET, DesiredBot, client_entry, has_secret
from fedid.domain.bot_steps import BotStep, CreateClient, EndPreviousSecret, KeepSecret, ObservedBot, UpdateClient
from fedid.domain.durations import duration_text
from fedid.domain.rotation import RotationRequest, rotation_due_at
from fedid.domain.sensitive import Sensitive

__all__ = [
    "SecretChange",
    "kept_secret",
    "previous_ends_at",
    "secret_change",
    "secret_obstacle",
    "secret_publication_due",
    "secret_unrecorded",
    "steps_of_change",
]


@dataclass(frozen=True, slots=True)
class SecretChange:
    """What happens to the secret."""

    replace: bool = False
    rotation: bool = False
    """Whether it is replaced because its time has come, not because somebody changed it."""
    keep_former: bool = False
    """Whether the one in use is to stay good as the previous one."""
    end_previous: bool = False


def secret_change(
    desired: DesiredBot, observed: ObservedBot, request: RotationRequest | None, uid: str, now: datetime
) -> SecretChange:
    """Return what has to happen to the secret of a client that exists."""
    client = observed.client
    if client is None or not has_secret(desired):
        return SecretChange()
    stored, previous = _stored_secret(observed), client.previous_secret
    if observed.recorded.withdrawn or not client.secret:
        # A withdrawal that was begun and called off has presented the secret as dead.
        return SecretChange(replace=True, end_previous=previous is not None)
    if stored is not None and previous == stored and client.secret != stored:
        # Begun by us, before a crash, or with the console: either way only Keycloak's administrators know the new one.
        return SecretChange(replace=True, rotation=_due(desired, observed, request, uid, now))
    if _changed_behind_our_back(observed):
        return SecretChange(replace=True, end_previous=previous is not None)
    if previous is not None:
        return SecretChange(end_previous=_has_ended(desired, observed, now))
    if _stored_previous(observed) is not None:
        # Ended in Keycloak; Vault is yet to hear it. Seen refused once more, since nothing tells that it was.
        return SecretChange(end_previous=True)
    if not _due(desired, observed, request, uid, now):
        return SecretChange()
    possible = secret_obstacle(desired, observed) is None
    replace = possible or desired.rotation.allow_interruption
    return SecretChange(replace=replace, rotation=replace, keep_former=possible)


def steps_of_change(change: SecretChange, fields: tuple[str, ...]) -> tuple[BotStep, ...]:
    """Return the steps about a client that exists: what differs and what happens to its secret, in their one order.

    Args:
        change: Of the secret.
        fields: Which of the client's are not as wanted.
    """
    steps: list[BotStep] = []
    if change.keep_former:
        if fields:
            # The policy that keeps two secrets looks at the client as it is: first it has to be what is desired.
            steps.append(UpdateClient(fields, replace_secret=False))
            fields = ()
        steps.append(KeepSecret())
    if fields or change.replace:
        steps.append(UpdateClient(fields, change.replace, change.rotation))
    if change.end_previous:
        steps.append(EndPreviousSecret())
    return tuple(steps)


def secret_obstacle(desired: DesiredBot, observed: ObservedBot) -> str | None:
    """Return why the secret cannot be replaced with an overlap, None if it can."""
    policy, rotation = observed.policy, desired.rotation
    if policy is None:
        return (
            "the realm has no enabled client policy that lets a client of fedid have two secrets at once (executor "
            "secret-rotation); docs/guide/4-rotate.md has the two calls that set it up"
        )
    if policy.previous_lives < rotation.overlap:
        return (
            f"the realm's client policy {policy.name} ends the former secret after "
            f"{duration_text(policy.previous_lives)}, and the overlap asked for is {duration_text(rotation.overlap)}; "
            "raise rotated-expiration-period there, or ask for a shorter overlap"
        )
    if rotation.every is not None and policy.expires_after <= rotation.every:
        return (
            f"the realm's client policy {policy.name} lets secrets expire after {duration_text(policy.expires_after)}, "
            f"which is not beyond secretRotation.every ({duration_text(rotation.every)}); raise expiration-period there"
        )
    return None


def previous_ends_at(desired: DesiredBot, since: datetime, issued_at: datetime | None) -> datetime:
    """Return until when the former secret stays good.

    Args:
        desired: With the overlap.
        since: When Keycloak kept it as the previous one.
        issued_at: When the one in its place was made: later, where a crash or an outage came in between.
    """
    return max(since, issued_at or since) + desired.rotation.overlap


def secret_publication_due(desired: DesiredBot, observed: ObservedBot, steps: tuple[BotStep, ...]) -> bool:
    """Tell whether Vault's entry of the secret is not what it has to be after these steps."""
    if any(isinstance(step, CreateClient | EndPreviousSecret) for step in steps):
        return True
    if any(isinstance(step, UpdateClient) and step.replace_secret for step in steps):
        return True
    client, stored = observed.client, observed.stored_client
    if not has_secret(desired):
        return stored is None or dict(stored.data) != client_entry(desired, None)
    if client is None or client.secret is None or stored is None:
        return True
    return dict(stored.data) != client_entry(desired, client.secret, client.previous_secret)


def kept_secret(observed: ObservedBot) -> bool:
    """Tell whether a client made anew gets the secret that Vault holds."""
    moved = observed.stored_client is not None and observed.recorded.secret_version not in {
        None,
        observed.stored_client.version,
    }
    # Where Vault moved, a stranger's secret must not become the bot's.
    return bool(_stored_secret(observed)) and not observed.recorded.withdrawn and not moved


def secret_unrecorded(desired: DesiredBot, observed: ObservedBot) -> bool:
    """Tell whether a pass made the secret, or replaced and published it, and ended before its status was written."""
    client, stored, recorded = observed.client, observed.stored_client, observed.recorded.secret_version
    if client is None or client.secret is None or not has_secret(desired):
        return False
    if recorded is None:
        return True
    if stored is None or recorded == stored.version:
        return False
    return dict(stored.data) == client_entry(desired, client.secret, client.previous_secret)


def _due(desired: DesiredBot, observed: ObservedBot, request: RotationRequest | None, uid: str, now: datetime) -> bool:
    if secret_unrecorded(desired, observed):
        return False
    if request is not None and request.wants_secret(observed.recorded.secret_rotated_for):
        return True
    issued_at, every = observed.recorded.secret_issued_at, desired.rotation.every
    return every is not None and issued_at is not None and now >= rotation_due_at(issued_at, every, uid)


def _has_ended(desired: DesiredBot, observed: ObservedBot, now: datetime) -> bool:
    """Tell whether the previous secret is to go: its time is over, or it is none that consumers ever had."""
    client = observed.client
    if client is None or client.previous_secret != _stored_previous(observed):
        return True
    if secret_unrecorded(desired, observed):
        return False  # consumers have only now begun to hear of the new one
    since = client.previous_since or observed.recorded.secret_issued_at
    if since is None:
        return True
    ends_at = previous_ends_at(desired, since, observed.recorded.secret_issued_at)
    return observed.handover.lets_end(ends_at, desired.rotation.overlap, now)


def _changed_behind_our_back(observed: ObservedBot) -> bool:
    """Tell whether the secret was changed in Keycloak by someone else.

    Neither value is trusted then: the one in Vault may have been replaced because it leaked, the one in Keycloak is
    known to whoever set it. Where Vault is the side that moved (another version than recorded), Keycloak's stands.
    """
    stored = _stored_secret(observed)
    if stored is None or observed.client is None or observed.stored_client is None:
        return False
    if stored == observed.client.secret:
        return False
    recorded = observed.recorded.secret_version
    return recorded is None or observed.stored_client.version == recorded


def _stored_secret(observed: ObservedBot) -> Sensitive | None:
    stored = observed.stored_client
    return stored.data.get("client_secret") if stored is not None else None


def _stored_previous(observed: ObservedBot) -> Sensitive | None:
    stored = observed.stored_client
    return stored.data.get(PREVIOUS_SECRET) if stored is not None else None
