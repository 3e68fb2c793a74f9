"""What the status of a bot tells after a pass: conditions, fields, and what consumers should know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from fedid.domain.acceptance import OTHERS_SEE
from fedid.domain.bot import DesiredBot, DesiredToken, is_keyless
from fedid.domain.bot_authentication import ServiceAccount, credential_name
from fedid.domain.bot_keys import KeySlot
from fedid.domain.conditions import Condition, ConditionType, Reason, condition_of, rfc3339
from fedid.domain.durations import duration_text
from fedid.domain.judgement import Verdict
from fedid.domain.resources import Body, BotClient
from fedid.domain.rotation import renewal_due_at, rotation_due_at
from fedid.domain.token_entries import OPAQUE
from fedid.reconcile.bot_context import BotFacts, TokenFact
from fedid.reconcile.bot_paths import BotPaths
from fedid.reconcile.gate import granted_condition
from fedid.reconcile.world import Backends

__all__ = [
    "conditions_of",
    "next_rotations",
    "published_fields",
    "short_overlaps",
    "token_due_at",
]

_ROUNDING = timedelta(seconds=5)
_SEEN_BY_NUDGED = timedelta(seconds=10)
"""What a pod that is told of a change needs to have the new file, with a margin (measured: 1 s at most)."""


def conditions_of(  # noqa: PLR0913 - all that the conditions tell of
    body: Body, desired: DesiredBot, backends: Backends, verdict: Verdict, facts: BotFacts, notes: Iterable[str]
) -> tuple[Condition, ...]:
    """Return the conditions of a bot that was brought in line.

    Args:
        body: The object, for what it told before.
        desired: The granted part of its spec.
        backends: Of its Federation.
        verdict: What the grants say.
        facts: What is true now.
        notes: Sentences of warning that change nothing of the state.
    """
    synced = f"Client {desired.client_id} of realm {backends.federation.keycloak.realm} is as the spec says"
    published = _published(desired)
    notes = [*_capped(desired, facts), *notes]
    obstacle = facts.obstacle if facts.looked else _told_obstacle(body)
    blocked = obstacle is not None and not desired.rotation.allow_interruption
    keycloak = Condition(ConditionType.KEYCLOAK_SYNCED, True, Reason.SYNCED, synced)
    if not verdict.granted:
        ready = Condition(ConditionType.READY, False, verdict.reason, verdict.message)
    elif blocked:
        ready = Condition(ConditionType.READY, False, Reason.OVERLAP_IMPOSSIBLE, str(obstacle))
    else:
        accepted = "" if is_keyless(desired) else "; verifiers accept them"
        ready = Condition(ConditionType.READY, True, Reason.READY, "; ".join((f"{published}{accepted}", *notes)))
    if obstacle is not None:
        keycloak = Condition(ConditionType.KEYCLOAK_SYNCED, not blocked, Reason.OVERLAP_IMPOSSIBLE, obstacle)
    return (
        ready,
        granted_condition(verdict),
        keycloak,
        Condition(ConditionType.PUBLISHED, True, Reason.PUBLISHED, published),
    )


def _published(desired: DesiredBot) -> str:
    if isinstance(desired.authentication, ServiceAccount):
        return (
            f"Client {desired.client_id} reads back as the one of {desired.authentication.subject}; there is no "
            "secret, and only the pods of that ServiceAccount can get tokens"
        )
    what, count = credential_name(desired.authentication), len(desired.tokens)
    return f"The {what} and {count} token{'' if count == 1 else 's'} are proven and in Vault"


def _capped(desired: DesiredBot, facts: BotFacts) -> list[str]:
    """Return a sentence if the realm gives tokens a shorter life than was asked for."""
    lives = [
        fact.expires_at - fact.issued_at
        for token in desired.tokens
        if token.type != OPAQUE and (fact := facts.tokens.get(token.name)) is not None
    ]
    shortest = min(lives, default=desired.lifetime)
    if shortest >= desired.lifetime - _ROUNDING:
        return []
    lived, asked = duration_text(shortest), duration_text(desired.lifetime)
    return [f"tokens live {lived}, not {asked}: SSO Session Max of the realm caps them; raise it, or ask for less"]


def published_fields(spec: BotClient, desired: DesiredBot, backends: Backends, facts: BotFacts) -> dict[str, Any]:
    """Return the status fields that tell what lies in Vault."""
    vault = backends.federation.vault
    paths = BotPaths(vault.path_prefix, spec.meta.key)
    tokens = [
        _token_field(token, fact, f"{vault.mount}/{paths.token(token.name)}", spec.meta.uid)
        for token in desired.tokens
        if (fact := facts.tokens.get(token.name)) is not None
    ]
    fields: dict[str, Any] = {
        "clientUuid": facts.client_uuid,
        "tokens": tokens,
        # What `kubectl get` shows of all credentials together: the instant that comes first.
        "tokenExpiresAt": min((token["expiresAt"] for token in tokens), default=None),
        "nextRotationAt": _earliest(spec, desired, facts),
    }
    if facts.secret_version is not None:
        path = paths.authentication(desired.authentication)
        secret: dict[str, Any] = {"vaultPath": f"{vault.mount}/{path}", "version": facts.secret_version}
        if facts.secret_issued_at is not None:
            secret["issuedAt"] = rfc3339(facts.secret_issued_at)
        due_at, ends_at = _secret_due_at(spec, desired, facts), facts.previous_ends_at
        if due_at is not None:
            secret["nextRotationAt"] = rfc3339(due_at)
        for name, slot in (("keyId", KeySlot.CURRENT), ("previousKeyId", KeySlot.PREVIOUS)):
            if slot in facts.keys:
                secret[name] = facts.keys[slot].key_id
        if ends_at is not None:
            secret["previousEndsAt"] = rfc3339(ends_at)
        if facts.secret_rotated_for is not None:
            secret["rotatedFor"] = facts.secret_rotated_for
        fields["secret"] = secret
    if facts.subject is not None:
        fields["serviceAccountSubject"] = facts.subject
    return fields


def _earliest(spec: BotClient, desired: DesiredBot, facts: BotFacts) -> str | None:
    due = [
        token_due_at(token, fact, spec.meta.uid)
        for token in desired.tokens
        if (fact := facts.tokens.get(token.name)) is not None
    ]
    secret_due = _secret_due_at(spec, desired, facts)
    first = min([*due, *([secret_due] if secret_due is not None else [])], default=None)
    return rfc3339(first) if first is not None else None


def next_rotations(spec: BotClient, desired: DesiredBot, facts: BotFacts) -> list[datetime]:
    """Return when something of the bot is to be replaced or to end (Keycloak's clock)."""
    instants = [
        token_due_at(token, fact, spec.meta.uid)
        for token in desired.tokens
        if (fact := facts.tokens.get(token.name)) is not None
    ]
    instants += [fact.previous_ends_at for fact in facts.tokens.values() if fact.previous_ends_at is not None]
    # What is in the way of a replacement is found gone at the next look, not by asking all the time.
    secret_due = _secret_due_at(spec, desired, facts) if facts.obstacle is None else None
    instants += [at for at in (secret_due, facts.former_ends_at) if at is not None]
    return instants


def token_due_at(token: DesiredToken, fact: TokenFact, uid: str) -> datetime:
    """Return when a token is to be replaced."""
    return renewal_due_at(fact.issued_at, fact.expires_at, uid, token.renew_before)


def short_overlaps(desired: DesiredBot, consumers: Iterable[Body]) -> list[str]:
    """Return a sentence about the periods that are shorter than what a consumer needs to see a new file, if any.

    Args:
        desired: The granted part of the spec.
        consumers: The PodIdentities that mount the bot.
    """
    slow, any_consumer = None, False
    for pod in consumers:
        any_consumer = True
        if not (pod.get("spec") or {}).get("pods"):
            slow = pod["metadata"]["name"]
    if not any_consumer:
        return []
    needed = OTHERS_SEE if slow is not None else _SEEN_BY_NUDGED
    short = {
        f"the overlap of token {token.name}": token.overlap
        for token in desired.tokens
        if token.type == OPAQUE and token.overlap < needed
    }
    for token in desired.tokens:
        left = token.renew_before if token.renew_before is not None else desired.lifetime / 3
        if token.type != OPAQUE and left < needed:
            what = "renewBefore" if token.renew_before is not None else "a third of the lifetime"
            short[f"{what} of token {token.name}"] = left
    if desired.rotation.every is not None and desired.rotation.overlap < needed:
        short["secretRotation.overlap"] = desired.rotation.overlap
    if not short:
        return []
    told = ", ".join(f"{what} is {duration_text(value)}" for what, value in short.items())
    remedy = f"use {duration_text(needed)} or more"
    if slow is not None:
        remedy += f", or give PodIdentity {slow} pods.selector, with which {duration_text(_SEEN_BY_NUDGED)} are enough"
    return [f"{told}, and a pod may take {duration_text(needed)} to see a new file: {remedy}"]


def _token_field(token: DesiredToken, fact: TokenFact, own_path: str, uid: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": token.name,
        "vaultPath": own_path,
        "version": fact.version,
        "issuedAt": rfc3339(fact.issued_at),
        "expiresAt": rfc3339(fact.expires_at),
        "nextRotationAt": rfc3339(token_due_at(token, fact, uid)),
        "askHash": fact.ask_hash,
    }
    marks = {
        "fingerprint": fact.fingerprint,
        "previousFingerprint": fact.previous_fingerprint,
        "pendingFingerprint": fact.pending_fingerprint,
    }
    told |= {name: mark for name, mark in marks.items() if mark is not None}
    if fact.previous_ends_at is not None:
        told["previousEndsAt"] = rfc3339(fact.previous_ends_at)
    if fact.rotated_for is not None:
        told["rotatedFor"] = fact.rotated_for
    if fact.location is not None:
        told["deliveredTo"] = f"{fact.location.mount}/{fact.location.path}"
    return told


def _secret_due_at(spec: BotClient, desired: DesiredBot, facts: BotFacts) -> datetime | None:
    every = desired.rotation.every
    if every is None or facts.secret_issued_at is None:
        return None
    return rotation_due_at(facts.secret_issued_at, every, spec.meta.uid)


def _told_obstacle(body: Body) -> str | None:
    """Return the obstacle that was told before; a pass that did not look at Keycloak has not seen it go."""
    conditions: Iterable[Mapping[str, Any]] = (body.get("status") or {}).get("conditions") or ()
    told = condition_of(conditions, ConditionType.KEYCLOAK_SYNCED)
    return str(told["message"]) if told is not None and told["reason"] == Reason.OVERLAP_IMPOSSIBLE else None
