"""The plan of a BotClient: which side effects lead from what was observed to what is desired, in their one order.

Client, then roles, then proof, then Vault: a credential is never published before it was proven, and what Vault holds
is never older than what Keycloak takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fedid.domain.bot import (
    DesiredBot,
    client_differences,
    client_entry,
    desired_client,
    renewal_due_at,
    token_entry,
)
from fedid.domain.realm import ClientRecord, Role, RoleMappings, role_changes
from fedid.domain.stored import StoredEntry
from fedid.domain.tokens import MintedToken, TokenClaims, token_faults

__all__ = [
    "NOT_BEFORE",
    "AddRoles",
    "BotStep",
    "CreateClient",
    "MintToken",
    "ObservedBot",
    "ProveSecret",
    "PublishSecret",
    "PublishToken",
    "Recorded",
    "RemoveRoles",
    "UpdateClient",
    "WithdrawToken",
    "not_before_lies_ahead",
    "plan_bot",
]


NOT_BEFORE = "notBefore"
_CLOCK_TOLERANCE_SECONDS = 5
"""How far what is known of Keycloak's clock may lag behind it."""


@dataclass(frozen=True, slots=True)
class CreateClient:
    """Create the client, with the secret that Vault still holds or a fresh one."""

    keep_secret: bool


@dataclass(frozen=True, slots=True)
class UpdateClient:
    """Make the client equal to what is desired; `fields` differ."""

    fields: tuple[str, ...]
    replace_secret: bool


@dataclass(frozen=True, slots=True)
class AddRoles:
    """Map roles to the service account."""

    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class RemoveRoles:
    """Unmap roles from the service account."""

    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class ProveSecret:
    """Request a token only to see that the bot secret is accepted."""


@dataclass(frozen=True, slots=True)
class MintToken:
    """Mint and prove a token, and end the published one first if that says more than the new one."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class PublishSecret:
    """Write the bot secret to Vault over version `version` (None: nothing is there)."""

    version: int | None


@dataclass(frozen=True, slots=True)
class PublishToken:
    """Write the token just minted to Vault over version `version` (None: nothing is there)."""

    name: str
    version: int | None


@dataclass(frozen=True, slots=True)
class WithdrawToken:
    """Revoke a published token that the spec does not name any more, then remove it from Vault."""

    name: str


BotStep = (
    CreateClient
    | UpdateClient
    | AddRoles
    | RemoveRoles
    | ProveSecret
    | MintToken
    | PublishSecret
    | PublishToken
    | WithdrawToken
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the status remembers of an earlier pass."""

    secret_version: int | None = None
    ask_hashes: Mapping[str, str] = field(default_factory=dict)
    """Token name to the ask hash it was minted under."""
    withdrawn: bool = False
    """Whether a withdrawal was begun: the secret was presented as dead and may not come back."""


@dataclass(frozen=True, slots=True)
class ObservedBot:
    """What Keycloak and Vault hold of a bot."""

    keycloak_seen: bool
    """False on a pass that only renews tokens: client and roles are taken to be right."""
    client: ClientRecord | None = None
    mappings: RoleMappings | None = None
    subject: str | None = None
    """User id of the service account; None: there is none, or nobody looked (`client` is None then)."""
    stored_client: StoredEntry | None = None
    stored_tokens: Mapping[str, StoredEntry] = field(default_factory=dict)
    claims: Mapping[str, TokenClaims] = field(default_factory=dict)
    """Token name to verified claims, for those that verify."""
    recorded: Recorded = field(default_factory=Recorded)


def plan_bot(
    desired: DesiredBot, observed: ObservedBot, roles: frozenset[Role], uid: str, now: datetime
) -> tuple[BotStep, ...]:
    """Return the steps, in order; empty when nothing differs and nothing is due.

    Args:
        desired: The granted part of the spec.
        observed: What the backends hold.
        roles: The roles that `desired` names, with their ids.
        uid: Of the object; spreads renewals.
        now: Keycloak's clock (aware UTC), since it set the tokens' instants.
    """
    client_steps = _client_steps(desired, observed, now) if observed.keycloak_seen else ()
    role_steps = _role_steps(observed, roles) if observed.keycloak_seen else ()
    mints = tuple(
        MintToken(name, why)
        for name in desired.tokens
        if (why := _why_due(name, desired, observed, uid, now, remade=_remakes(client_steps)))
    )
    publish_secret = _secret_due(desired, observed, client_steps) if observed.keycloak_seen else False
    proof = (ProveSecret(),) if publish_secret and not mints else ()
    secret = (PublishSecret(_version(observed.stored_client)),) if publish_secret else ()
    published = tuple(PublishToken(m.name, _version(observed.stored_tokens.get(m.name))) for m in mints)
    withdrawn = tuple(WithdrawToken(name) for name in sorted(set(observed.stored_tokens) - set(desired.tokens)))
    return (*client_steps, *role_steps, *proof, *mints, *secret, *published, *withdrawn)


def _client_steps(desired: DesiredBot, observed: ObservedBot, now: datetime) -> tuple[BotStep, ...]:
    if observed.client is None:
        keep = bool(_stored_secret(observed)) and not observed.recorded.withdrawn and not _vault_moved(observed)
        return (CreateClient(keep_secret=keep),)
    fields = client_differences(desired_client(desired, secret=None), observed.client)
    if not_before_lies_ahead(observed.client, now):
        # By hand: until that instant every token would be refused, the next one too.
        fields = (*fields, NOT_BEFORE)
    # A withdrawal that was begun and called off has presented the secret as dead, and may have revoked the tokens.
    replace = _changed_behind_our_back(observed) or not observed.client.secret or observed.recorded.withdrawn
    return (UpdateClient(fields, replace),) if fields or replace else ()


def not_before_lies_ahead(client: ClientRecord, now: datetime) -> bool:
    """Tell whether somebody set the client's `notBefore` to later than now (Keycloak's clock)."""
    return client.not_before > now.timestamp() + _CLOCK_TOLERANCE_SECONDS


def _vault_moved(observed: ObservedBot) -> bool:
    """Tell whether Vault holds another version than we wrote last: a stranger's secret must not become the bot's."""
    recorded, stored = observed.recorded.secret_version, observed.stored_client
    return recorded is not None and stored is not None and stored.version != recorded


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


def _role_steps(observed: ObservedBot, roles: frozenset[Role]) -> tuple[BotStep, ...]:
    removed, added = role_changes(observed.mappings, roles)
    return (*((RemoveRoles(removed),) if removed else ()), *((AddRoles(added),) if added else ()))


def _remakes(steps: tuple[BotStep, ...]) -> bool:
    return any(isinstance(step, CreateClient) for step in steps)


def _secret_due(desired: DesiredBot, observed: ObservedBot, client_steps: tuple[BotStep, ...]) -> bool:
    if any(isinstance(s, CreateClient) or (isinstance(s, UpdateClient) and s.replace_secret) for s in client_steps):
        return True
    if observed.client is None or observed.client.secret is None or observed.stored_client is None:
        return True
    return dict(observed.stored_client.data) != client_entry(desired, observed.client.secret)


def _why_due(  # noqa: PLR0913 - one decision over everything that is known of a token
    name: str, desired: DesiredBot, observed: ObservedBot, uid: str, now: datetime, *, remade: bool
) -> str | None:
    """Return why the token must be minted anew, or None."""
    stored, claims = observed.stored_tokens.get(name), observed.claims.get(name)
    if stored is None or not stored.data:
        return "it is not in Vault"
    if claims is None:
        return "what lies in Vault is no token of this client"
    if remade:
        return "the client was made anew"
    if observed.client is not None and claims.subject != observed.subject:  # None: switched on again, it is another one
        return "the service account was made anew"
    if observed.recorded.withdrawn:
        return "a withdrawal was begun and called off"
    if faults := token_faults(claims, desired.expectation):
        return "; ".join(faults)
    if dict(stored.data) != token_entry(MintedToken(stored.data["token"], claims)):
        return "the entry in Vault was changed"
    if observed.client is not None and claims.issued_at.timestamp() < observed.client.not_before:
        return "the client's notBefore refuses it"
    if observed.recorded.ask_hashes.get(name) != desired.ask_hash:
        return "roles, audiences or lifetime changed"
    if now >= renewal_due_at(claims.issued_at, claims.expires_at, uid):
        return "its renewal is due"
    return None


def _stored_secret(observed: ObservedBot) -> object | None:
    stored = observed.stored_client
    return stored.data.get("client_secret") if stored is not None else None


def _version(entry: StoredEntry | None) -> int | None:
    return entry.version if entry is not None else None
