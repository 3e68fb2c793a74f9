"""The plan of one client of a server: client, its scopes, proof of its secret, Vault; the former secret ends last.

With the steps of a bot, of which a server's client is one without roles and tokens, as far as its secret goes.
"""

from __future__ import annotations

from datetime import datetime

from fedid.domain.bot_plan import NOT_BEFORE, not_before_lies_ahead
from fedid.domain.bot_record import client_differences
from fedid.domain.bot_steps import (
    AddScopes,
    BotStep,
    CreateClient,
    ObservedBot,
    ProveSecret,
    PublishSecret,
    RemoveScopes,
    UpdateClient,
)
from fedid.domain.oidc_client_record import DesiredOidcClient, oidc_client_record
from fedid.domain.realm import scope_changes
from fedid.domain.rotation import RotationRequest
from fedid.domain.secret_plan import kept_secret, secret_change, secret_publication_due, steps_of_change

__all__ = ["plan_oidc_client"]


def plan_oidc_client(
    desired: DesiredOidcClient,
    observed: ObservedBot,
    uid: str,
    now: datetime,
    request: RotationRequest | None = None,
) -> tuple[BotStep, ...]:
    """Return the steps, in order; empty when nothing differs and nothing is due.

    Args:
        desired: The granted part of the spec.
        observed: What the backends hold; Keycloak was looked at.
        uid: Of the object; spreads rotations.
        now: Keycloak's clock (aware UTC).
        request: What a person asks to be replaced now.
    """
    scopes = _scope_steps(desired, observed)
    if desired.public:
        return (*_client_steps(desired, observed, now), *scopes)
    client_steps = _confidential_steps(desired, observed, uid, now, request)
    if not secret_publication_due(desired.as_bot, observed, client_steps):
        return (*client_steps, *scopes)
    version = observed.stored_client.version if observed.stored_client is not None else None
    return (*client_steps, *scopes, ProveSecret(), PublishSecret(version))


def _client_steps(desired: DesiredOidcClient, observed: ObservedBot, now: datetime) -> tuple[BotStep, ...]:
    if observed.client is None:
        return (CreateClient(keep_secret=False),)
    fields = _differences(desired, observed, now)
    return (UpdateClient(fields, replace_secret=False),) if fields else ()


def _confidential_steps(
    desired: DesiredOidcClient, observed: ObservedBot, uid: str, now: datetime, request: RotationRequest | None
) -> tuple[BotStep, ...]:
    if observed.client is None:
        return (CreateClient(keep_secret=kept_secret(observed)),)
    fields = _differences(desired, observed, now)
    return steps_of_change(secret_change(desired.as_bot, observed, request, uid, now), fields)


def _differences(desired: DesiredOidcClient, observed: ObservedBot, now: datetime) -> tuple[str, ...]:
    client = observed.client
    if client is None:
        return ()
    fields = client_differences(oidc_client_record(desired, secret=None), client)
    return (*fields, NOT_BEFORE) if not_before_lies_ahead(client, now) else fields


def _scope_steps(desired: DesiredOidcClient, observed: ObservedBot) -> tuple[BotStep, ...]:
    if observed.realm_scopes is None:
        return ()
    realm = desired.scopes_of(observed.realm_scopes)
    removed, added = scope_changes(desired.default_scopes, desired.optional_scopes, observed.client, realm)
    # In this order: a client that has a scope in one way is not given it in the other.
    return (*((RemoveScopes(removed),) if removed else ()), *((AddScopes(added),) if added else ()))
