"""What the grants of a Federation say to one identity, with everything that counts: labels, composites, approvals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fedid.domain.approval import Approval, approval_hint, approved_of, ask_hash, parse_approval
from fedid.domain.bot import asks_of_bot
from fedid.domain.durations import duration_text
from fedid.domain.federation_user import FederationUser, parse_federation_user
from fedid.domain.grants import Ask, AskKind
from fedid.domain.judgement import Standing, Verdict, judge
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import RoleName
from fedid.domain.resources import (
    BOT_CLIENT,
    FEDERATION_USER,
    Body,
    BotClient,
    meta_of,
    parse_bot_client,
)
from fedid.domain.user import asks_of_user
from fedid.errors import InvalidSpecError
from fedid.reconcile.gate import judged_as_before, pinned_federation
from fedid.reconcile.world import Backends, World

__all__ = ["bot_verdict", "bounded", "judged", "judged_otherwise", "judgement_fields", "user_verdict"]

_JUDGED_AT_ONCE = 50
"""Objects that are judged before the loop gets a turn."""


async def judged(world: World, backends: Backends, asks: Iterable[Ask], body: Body) -> Verdict:
    """Return what the Federation's grants say to these asks of an object, with all that is known now.

    Raises:
        BackendError: Keycloak was never asked what a role or group brings along, and does not tell.
    """
    asked, meta = frozenset(asks), meta_of(body)
    namespace, federation = meta.key.namespace, backends.federation.meta.key.name
    labels = world.directory.namespace_labels(namespace)
    matching = [rule for rule in backends.grants if rule.matches(namespace, labels)]
    listed = [ask for ask in asked if any(rule.covers(ask, namespace) for rule in matching)]
    brings = {ask: await _brought(backends, ask) for ask in listed}  # nobody else's asks reach Keycloak
    signatures = {ask.signature for ask in asked.union(*brings.values())}
    approvals = _approvals(world, body)
    recorded = ((body.get("status") or {}).get("approval") or {}).get("asks") or ()
    approved = approved_of(approvals, signatures, recorded, world.clock.now())
    limited = any(rule.max_identities is not None for rule in matching)
    verdict = judge(
        asked,
        backends.grants,
        federation=federation,
        namespace=namespace,
        labels=labels,
        brings=brings,
        standing=Standing(
            expires=bool((body.get("spec") or {}).get("expiresAt")),
            approved=approved,
            older=_older(world, body, federation) if limited else 0,
        ),
    )
    world.audit.note(meta.key, meta.uid, verdict)
    if not verdict.under_approval:
        return verdict
    _wake_at_expiry(world, meta.key, approvals)
    verdict = replace(verdict, asked=tuple(sorted(signatures)), approved=signatures <= (approved or frozenset()))
    if not verdict.waits:
        return verdict
    hint = approval_hint(meta.key, meta.uid, ask_hash(signatures))
    return replace(verdict, message=f"{verdict.message} Who may approve that, does it so: {hint}")


async def bot_verdict(world: World, backends: Backends, spec: BotClient, body: Body) -> Verdict:
    """Return the verdict on a bot, the lifetime of its tokens included.

    Raises:
        InvalidSpecError: The template of a Vault path is wrong.
        BackendError: As `judged`.
    """
    return bounded(await judged(world, backends, asks_of_bot(spec, backends.federation), body), spec)


def bounded(verdict: Verdict, spec: BotClient) -> Verdict:
    """Return the verdict with the asked token lifetime judged too."""
    limit = verdict.max_token_lifetime
    asked = [token.lifetime for token in spec.tokens if token.lifetime is not None]
    if limit is None or not asked or max(asked) <= limit:
        return verdict
    over = Ask(AskKind.TOKEN_LIFETIME, duration_text(max(asked)))
    message = (
        f"spec.tokens asks for a lifetime of {duration_text(max(asked))}; the widest maxTokenLifetime of the rules "
        f"that match the namespace is {duration_text(limit)}. Ask for less, or have the platform team raise it"
    )
    if verdict.denied or not verdict.may_exist:
        message = f"{verdict.message} {message}" if verdict.may_exist else verdict.message
    return replace(verdict, denied=verdict.denied | {over}, message=message, waits=False)


async def user_verdict(world: World, backends: Backends, spec: FederationUser, body: Body) -> Verdict:
    """Return the verdict on a user.

    Raises:
        BackendError: As `judged`.
    """
    return await judged(world, backends, asks_of_user(spec), body)


async def judged_otherwise(world: World, backends: Backends, keys: Iterable[ObjectKey]) -> set[ObjectKey]:
    """Return those bots and users that are judged otherwise now than their status tells.

    Raises:
        BackendError: As `judged`.
    """
    found = set()
    for number, key in enumerate(keys, 1):
        if number % _JUDGED_AT_ONCE == 0:
            await asyncio.sleep(0)
        body = world.directory.get(key)
        if body is None or meta_of(body).deleting:
            continue
        with contextlib.suppress(InvalidSpecError):  # its own pass says so
            if key.kind == BOT_CLIENT:
                verdict = await bot_verdict(world, backends, parse_bot_client(body), body)
            elif key.kind == FEDERATION_USER:
                verdict = await user_verdict(world, backends, parse_federation_user(body), body)
            else:
                continue  # servers and SuperNodes have no roles
            if not judged_as_before(body, verdict):
                found.add(key)
    return found


def judgement_fields(body: Body, verdict: Verdict) -> dict[str, Any]:
    """Return the status fields that tell which rules are used, and what is or has to be approved."""
    fields: dict[str, Any] = {"grants": list(verdict.rules) or None, "approval": None}
    if verdict.under_approval:
        before = ((body.get("status") or {}).get("approval") or {}).get("asks")
        asks = list(verdict.asked) if verdict.approved else before
        fields["approval"] = {"askHash": ask_hash(verdict.asked), **({"asks": asks} if asks else {})}
    return fields


async def _brought(backends: Backends, ask: Ask) -> frozenset[Ask]:
    provider = backends.identity_provider
    match ask.kind:
        case AskKind.REALM_ROLE:
            found = await provider.roles_with_role((None, ask.value))
        case AskKind.CLIENT_ROLE:
            found = await provider.roles_with_role((ask.client_id, ask.value))
        case AskKind.GROUP:
            found = await provider.roles_with_group(ask.value)
        case _:
            return frozenset()
    return frozenset(map(_ask_of, found))


def _ask_of(role: RoleName) -> Ask:
    client_id, name = role
    return Ask(AskKind.REALM_ROLE, name) if client_id is None else Ask(AskKind.CLIENT_ROLE, name, client_id)


def _approvals(world: World, body: Body) -> list[Approval]:
    """Return the approvals that name this very object; one that cannot be read approves nothing."""
    meta, found = meta_of(body), []
    for one in world.directory.approvals_of(meta.uid):
        with contextlib.suppress(InvalidSpecError):
            found.append(parse_approval(one))
    return [one for one in found if (one.identity, one.uid) == (meta.key, meta.uid)]


def _wake_at_expiry(world: World, key: ObjectKey, approvals: Iterable[Approval]) -> None:
    """Have the object judged again when the next of its approvals expires."""
    now = world.clock.now()
    ahead = [one.expires_at for one in approvals if one.expires_at is not None and one.expires_at > now]
    if ahead:
        seconds = (min(ahead) - now).total_seconds()
        world.wake(key, look=False, at=world.clock.monotonic() + seconds)


def _older(world: World, body: Body, federation: str) -> int:
    """Return how many identities of the namespace and the Federation come before this one; 0 for what is none."""
    meta = meta_of(body)
    keys = world.directory.identities_in(meta.key.namespace)
    if meta.key not in keys:
        return 0
    others = (other for key in keys if key != meta.key and (other := world.directory.get(key)) is not None)
    own = _age(body)
    return sum(1 for other in others if _age(other) < own and pinned_federation(world, other) == federation)


def _age(body: Body) -> tuple[str, bool, str]:
    """Return what identities are ordered by; instants of the API server are compared as texts.

    Those are whole seconds. Of one second, who was begun comes first: who has a place never loses it to a newcomer.
    """
    meta = meta_of(body)
    return str(body["metadata"].get("creationTimestamp") or ""), not meta.has_finalizer, meta.uid
