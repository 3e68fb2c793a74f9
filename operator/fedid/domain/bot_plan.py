"""The plan of a BotClient: which side effects lead from what was observed to what is desired, in their one order.

Client, then roles, then proof, then Vault: a credential is never published before it was proven, and what Vault holds
is never older than what Keycloak takes.
"""

from __future__ import annotations

from datetime import datetime

from fedid.domain.bot import DesiredBot
from fedid.domain.bot_keys import JWKS, KeySlot
from fedid.domain.bot_record import client_differences, desired_client
from fedid.domain.bot_steps import (
    AddRoles,
    AddScopes,
    AdoptClient,
    BotStep,
    CreateClient,
    EndKeys,
    ObservedBot,
    ProveSecret,
    PublishKey,
    PublishSecret,
    RemoveRoles,
    RemoveScopes,
    StageKey,
    UpdateClient,
)
from fedid.domain.key_plan import KeyChange, key_change, signs
from fedid.domain.realm import ClientRecord, Role, role_changes, scope_changes
from fedid.domain.rotation import RotationRequest
from fedid.domain.secret_plan import kept_secret, secret_change, secret_publication_due, steps_of_change
from fedid.domain.token_plan import token_steps

__all__ = ["CLOCK_TOLERANCE_SECONDS", "NOT_BEFORE", "not_before_lies_ahead", "plan_bot"]

NOT_BEFORE = "notBefore"
_LISTED = f"attributes[{JWKS}]"
CLOCK_TOLERANCE_SECONDS = 5
"""How far what is known of Keycloak's clock may lag behind it."""


def plan_bot(  # noqa: PLR0913 - the three states and what decides about time
    desired: DesiredBot,
    observed: ObservedBot,
    roles: frozenset[Role],
    uid: str,
    now: datetime,
    request: RotationRequest | None = None,
) -> tuple[BotStep, ...]:
    """Return the steps, in order; empty when nothing differs and nothing is due.

    Args:
        desired: The granted part of the spec.
        observed: What the backends hold.
        roles: The roles that `desired` names, with their ids.
        uid: Of the object; spreads renewals.
        now: Keycloak's clock (aware UTC), since it set the tokens' instants.
        request: What a person asks to be replaced now.
    """
    if observed.unowned is not None:
        return (AdoptClient(observed.unowned),)
    client_steps: tuple[BotStep, ...] = ()
    published: tuple[BotStep, ...] = ()
    role_steps: tuple[BotStep, ...] = ()
    if observed.keycloak_seen:
        if signs(desired):
            change = key_change(desired, observed, request, uid, now)
            client_steps = _signing_client_steps(desired, observed, change, now)
            published = (PublishKey(change.key_set, change.rotation),) if change.publish else ()
        else:
            client_steps = _client_steps(desired, observed, request, uid, now)
            if secret_publication_due(desired, observed, client_steps):
                published = (PublishSecret(_version(observed)),)
        role_steps = (*_scope_steps(desired, observed), *_role_steps(observed, roles))
    remade = any(isinstance(step, CreateClient) for step in client_steps)
    wanted = {(role.client_id, role.name) for role in roles}  # one that was made anew says the same in a token
    removed = (role for step in role_steps if isinstance(step, RemoveRoles) for role in step.roles)
    taken = frozenset(role for role in removed if (role.client_id, role.name) not in wanted)
    tokens = token_steps(desired, observed, request, uid, now, remade=remade, taken=taken)
    proof = (ProveSecret(),) if published and not tokens.mints else ()
    return (*client_steps, *role_steps, *proof, *tokens.made, *published, *tokens.published, *tokens.last)


def _client_steps(
    desired: DesiredBot, observed: ObservedBot, request: RotationRequest | None, uid: str, now: datetime
) -> tuple[BotStep, ...]:
    if observed.client is None:
        return (CreateClient(keep_secret=kept_secret(observed)),)
    fields = client_differences(desired_client(desired, secret=None), observed.client)
    if not_before_lies_ahead(observed.client, now):
        # By hand: until that instant every token would be refused, the next one too.
        fields = (*fields, NOT_BEFORE)
    change = secret_change(desired, observed, request, uid, now)
    return steps_of_change(change, fields)


def _signing_client_steps(
    desired: DesiredBot, observed: ObservedBot, change: KeyChange, now: datetime
) -> tuple[BotStep, ...]:
    """Return the steps about a client that takes signed assertions; a new key is in Vault before it is listed."""
    steps: list[BotStep] = [StageKey(_version(observed))] if change.stage else []
    if observed.client is None:
        steps.append(CreateClient(keep_secret=False, keys=change.key_set))
    else:
        # A pending one that is to be made is not known yet.
        slots = [slot for slot in change.key_set if not (change.stage and slot == KeySlot.PENDING)]
        held = observed.keys.by_slot
        wanted = desired_client(desired, secret=None, keys=[held[slot].public_key for slot in slots])
        fields = client_differences(wanted, observed.client)
        relisted = change.stage or _LISTED in fields
        if not change.by_hand:
            fields = tuple(name for name in fields if name != _LISTED)
        elif _LISTED not in fields:
            fields = (*fields, _LISTED)
        if not_before_lies_ahead(observed.client, now):
            fields = (*fields, NOT_BEFORE)
        if fields or relisted:
            steps.append(UpdateClient(fields, replace_secret=False, rotation=change.rotation, keys=change.key_set))
    if change.end:
        steps.append(EndKeys())
    return tuple(steps)


def _version(observed: ObservedBot) -> int | None:
    return observed.stored_client.version if observed.stored_client is not None else None


def _scope_steps(desired: DesiredBot, observed: ObservedBot) -> tuple[BotStep, ...]:
    if observed.realm_scopes is None:
        return ()
    realm = observed.realm_scopes
    removed, added = scope_changes(desired.default_scopes, desired.optional_beside(realm), observed.client, realm)
    # In this order: a client that has a scope in one way is not given it in the other.
    return (*((RemoveScopes(removed),) if removed else ()), *((AddScopes(added),) if added else ()))


def not_before_lies_ahead(client: ClientRecord, now: datetime) -> bool:
    """Tell whether somebody set the client's `notBefore` to later than now (Keycloak's clock)."""
    return client.not_before > now.timestamp() + CLOCK_TOLERANCE_SECONDS


def _role_steps(observed: ObservedBot, roles: frozenset[Role]) -> tuple[BotStep, ...]:
    removed, added = role_changes(observed.mappings, roles)
    return (*((RemoveRoles(removed),) if removed else ()), *((AddRoles(added),) if added else ()))
