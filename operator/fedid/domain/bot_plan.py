"""The plan of a BotClient: which side effects lead from what was observed to what is desired, in their one order.

Client, then roles, then proof, then Vault: a credential is never published before it was proven, and what Vault holds
is never older than what Keycloak takes.
"""

from __future__ import annotations

from datetime import datetime

from fedid.domain.bot import DesiredBot, client_differences, desired_client
from fedid.domain.bot_steps import (
    AddRoles,
    AddScopes,
    AdoptClient,
    BotStep,
    CreateClient,
    EndPreviousSecret,
    KeepSecret,
    ObservedBot,
    ProveSecret,
    PublishSecret,
    RemoveRoles,
    RemoveScopes,
    UpdateClient,
)
from fedid.domain.realm import ClientRecord, Role, role_changes, scope_changes
from fedid.domain.rotation import RotationRequest
from fedid.domain.secret_plan import kept_secret, secret_change, secret_publication_due
from fedid.domain.token_plan import token_steps

__all__ = ["CLOCK_TOLERANCE_SECONDS", "NOT_BEFORE", "not_before_lies_ahead", "plan_bot"]

NOT_BEFORE = "notBefore"
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
    role_steps: tuple[BotStep, ...] = ()
    publish_secret = False
    if observed.keycloak_seen:
        client_steps = _client_steps(desired, observed, request, uid, now)
        role_steps = (*_scope_steps(desired, observed), *_role_steps(observed, roles))
        publish_secret = secret_publication_due(desired, observed, client_steps)
    remade = any(isinstance(step, CreateClient) for step in client_steps)
    tokens = token_steps(desired, observed, request, uid, now, remade=remade)
    proof = (ProveSecret(),) if publish_secret and not tokens.mints else ()
    stored = observed.stored_client
    secret = (PublishSecret(stored.version if stored is not None else None),) if publish_secret else ()
    return (*client_steps, *role_steps, *proof, *tokens.made, *secret, *tokens.published, *tokens.last)


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
