"""The side effects of a bot's plan, and what the plan is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fedid.domain.bot_keys import HeldKeys, KeySlot
from fedid.domain.handover import Handover
from fedid.domain.realm import ClientRecord, ClientScope, RealmScopes, Role, RoleMappings, SecretPolicy
from fedid.domain.stored import StoredEntry
from fedid.domain.token_entries import OpaqueToken
from fedid.domain.tokens import TokenClaims

__all__ = [
    "AddRoles",
    "AddScopes",
    "AdoptClient",
    "BotStep",
    "CreateClient",
    "DeliverToken",
    "EndKeys",
    "EndPreviousSecret",
    "EndPreviousToken",
    "KeepSecret",
    "MakeToken",
    "MintToken",
    "ObservedBot",
    "PromoteToken",
    "ProveSecret",
    "PublishKey",
    "PublishSecret",
    "PublishToken",
    "Recorded",
    "RemoveRoles",
    "RemoveScopes",
    "StageKey",
    "StageToken",
    "UpdateClient",
    "WithdrawCopy",
    "WithdrawToken",
]


@dataclass(frozen=True, slots=True)
class CreateClient:
    """Create the client, with the secret that Vault still holds or a fresh one."""

    keep_secret: bool
    keys: tuple[KeySlot, ...] = ()
    """Whose public parts it lists, if it authenticates with a key."""


@dataclass(frozen=True, slots=True)
class AdoptClient:
    """Make a client that nobody owns wholly ours, and end everything that it was used with; then look at it."""

    client: ClientRecord


@dataclass(frozen=True, slots=True)
class AddScopes:
    """Give client scopes to the client."""

    scopes: frozenset[ClientScope]


@dataclass(frozen=True, slots=True)
class RemoveScopes:
    """Take client scopes from the client."""

    scopes: frozenset[ClientScope]


@dataclass(frozen=True, slots=True)
class KeepSecret:
    """Have Keycloak keep the secret in use as the previous one, good too; the one in its place is nobody's yet."""


@dataclass(frozen=True, slots=True)
class UpdateClient:
    """Make the client equal to what is desired; `fields` differ."""

    fields: tuple[str, ...]
    replace_secret: bool
    rotation: bool = False
    """Whether the secret is replaced because its time has come, not because somebody changed it."""
    keys: tuple[KeySlot, ...] = ()
    """Whose public parts it lists, if it authenticates with a key."""


@dataclass(frozen=True, slots=True)
class EndPreviousSecret:
    """End the secret before and see it refused."""


@dataclass(frozen=True, slots=True)
class StageKey:
    """Make a key and put it into Vault as the pending one, over version `version` (None: nothing is there)."""

    version: int | None


@dataclass(frozen=True, slots=True)
class EndKeys:
    """See every key refused that the client lists no more."""


@dataclass(frozen=True, slots=True)
class PublishKey:
    """Write the key in use to Vault, and the one before while it is good too, over what was written or found last."""

    keys: tuple[KeySlot, ...]
    """Which of them the client lists: the pending one comes into use."""
    rotation: bool = False
    """Whether its time has come."""


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
    """Request a token only to see that the bot secret or the key is accepted.

    Where only pods can get one, read the client back.
    """


@dataclass(frozen=True, slots=True)
class MintToken:
    """Mint and prove a jwt, and end the published one first if that says more than the new one."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class MakeToken:
    """Make an opaque token; the one before stays good for the overlap, unless it is not trusted."""

    name: str
    why: str
    keep_previous: bool


@dataclass(frozen=True, slots=True)
class StageToken:
    """Make an opaque token that is to take the place of the one in use, and that servers are to take before clients."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class PromoteToken:
    """Put the pending opaque token in the place of the one in use, which stays good for the overlap."""

    name: str


@dataclass(frozen=True, slots=True)
class EndPreviousToken:
    """Take the opaque token before off what servers check."""

    name: str


@dataclass(frozen=True, slots=True)
class PublishSecret:
    """Write the bot secret to Vault over version `version` (None: nothing is there)."""

    version: int | None


@dataclass(frozen=True, slots=True)
class PublishToken:
    """Write the token to Vault, just made or with another place of its copy, over `version` (None: nothing)."""

    name: str
    version: int | None


@dataclass(frozen=True, slots=True)
class DeliverToken:
    """Write the copy of a published token where the platform reads it, over version `version`."""

    name: str
    version: int | None


@dataclass(frozen=True, slots=True)
class WithdrawCopy:
    """Remove a copy from where the spec does not want it any more."""

    name: str


@dataclass(frozen=True, slots=True)
class WithdrawToken:
    """Revoke a published token that the spec does not name any more, then remove it and its copy from Vault."""

    name: str


BotStep = (
    StageKey
    | CreateClient
    | AdoptClient
    | KeepSecret
    | UpdateClient
    | EndPreviousSecret
    | EndKeys
    | RemoveScopes
    | AddScopes
    | AddRoles
    | RemoveRoles
    | ProveSecret
    | MintToken
    | MakeToken
    | StageToken
    | PromoteToken
    | EndPreviousToken
    | PublishSecret
    | PublishKey
    | PublishToken
    | DeliverToken
    | WithdrawCopy
    | WithdrawToken
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the status remembers of an earlier pass."""

    secret_version: int | None = None
    secret_issued_at: datetime | None = None
    """When the bot secret was made; None: not known."""
    previous_ends_at: datetime | None = None
    """Until when the secret before stays good too; None: there is none, or nobody knows."""
    key_id: str | None = None
    """Of the private key that was published last."""
    subject: str | None = None
    """User id of the service account."""
    ask_hashes: Mapping[str, str] = field(default_factory=dict)
    """Token name to the ask hash it was made under."""
    token_versions: Mapping[str, int] = field(default_factory=dict)
    """Token name to the version in Vault that was written last."""
    secret_rotated_for: str | None = None
    """The request for which the secret was replaced last."""
    rotated_for: Mapping[str, str] = field(default_factory=dict)
    """Token name to the request for which it was replaced last."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Name of an opaque token to what tells it from another."""
    previous_fingerprints: Mapping[str, str] = field(default_factory=dict)
    """The same of the one before."""
    pending_fingerprints: Mapping[str, str] = field(default_factory=dict)
    """The same of what is to take its place."""
    withdrawn: bool = False
    """Whether a withdrawal was begun: the secret was presented as dead and may not come back."""


@dataclass(frozen=True, slots=True)
class ObservedBot:
    """What Keycloak and Vault hold of a bot."""

    keycloak_seen: bool
    """False on a pass that only renews tokens: client and roles are taken to be right."""
    client: ClientRecord | None = None
    unowned: ClientRecord | None = None
    """A client of the clientId that nobody owns and the spec may take over; `client` is None then."""
    mappings: RoleMappings | None = None
    subject: str | None = None
    """User id of the service account; None: there is none, or nobody looked (`client` is None then)."""
    policy: SecretPolicy | None = None
    """The realm's policy that keeps two secrets for this client; None: there is none."""
    stored_client: StoredEntry | None = None
    """What the bot authenticates with, as it lies in Vault: the secret, or the keys."""
    keys: HeldKeys = field(default_factory=HeldKeys)
    """What of it are keys."""
    stored_tokens: Mapping[str, StoredEntry] = field(default_factory=dict)
    claims: Mapping[str, TokenClaims] = field(default_factory=dict)
    """Token name to verified claims, for those that verify."""
    revoked: frozenset[str] = frozenset()
    """Names of tokens that verify, and that Keycloak refuses; not in `claims`."""
    opaque: Mapping[str, OpaqueToken] = field(default_factory=dict)
    """Token name to what its entry tells, for opaque ones that are well-formed."""
    copies: Mapping[str, StoredEntry | None] = field(default_factory=dict)
    """Token name to what lies where its entry says that the copy is; None: nothing."""
    handover: Handover = field(default_factory=Handover)
    """How far the newest secret, or key, has come to those who mount it."""
    verifiers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Name of an opaque token that servers take, to the fingerprints of it that each of them holds."""
    presented: Mapping[str, bool] = field(default_factory=dict)
    """Name of an opaque token to whether every pod that presents it has the one in use; not there: nobody does."""
    recorded: Recorded = field(default_factory=Recorded)
    realm_scopes: RealmScopes | None = None
    """None: nobody looked; the client's scopes are taken to be right."""

    @property
    def known_subject(self) -> str | None:
        """User id of the service account as far as it is known without asking."""
        return self.subject or self.recorded.subject
