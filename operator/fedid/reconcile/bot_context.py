"""What every step of a bot's plan works with, and what the steps leave behind for the next ones and for the status."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from fedid.domain.bot import PREVIOUS_SECRET, DesiredBot
from fedid.domain.bot_steps import ObservedBot
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import Body, meta_of
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import VaultMark
from fedid.domain.token_entries import Location, delivered_to
from fedid.domain.tokens import ClientCredentials
from fedid.ports import IdentityProvider, SecretStore
from fedid.reconcile.bot_paths import BotPaths
from fedid.reconcile.world import Backends, World

__all__ = ["BotContext", "BotFacts", "TokenFact", "facts_before"]


@dataclass(frozen=True, slots=True)
class TokenFact:
    """One token as it lies in Vault after the pass."""

    issued_at: datetime
    expires_at: datetime
    version: int
    ask_hash: str
    fingerprint: str | None = None
    """Of an opaque one."""
    previous_ends_at: datetime | None = None
    location: Location | None = None


@dataclass(slots=True)
class BotFacts:
    """What is true after the plan was carried out; grows with every step."""

    client_uuid: str
    secret: Sensitive | None = None
    previous_secret: Sensitive | None = None
    """Good too until it is ended."""
    previous_since: datetime | None = None
    secret_issued_at: datetime | None = None
    secret_version: int | None = None
    subject: str | None = None
    tokens: dict[str, TokenFact] = field(default_factory=dict)
    entries: dict[str, dict[str, Sensitive]] = field(default_factory=dict)
    """Token name to the entry that is to be published, or was."""
    made: dict[str, TokenFact] = field(default_factory=dict)
    """Tokens made in this pass, yet to be published; their version is not known yet."""
    obstacle: str | None = None
    """Why the secret cannot be replaced as the spec or a person wants it."""
    looked: bool = False
    """Whether Keycloak was looked at in this pass."""
    rotated: bool = False
    """Whether the secret was replaced in this pass, or in one that did not come to tell it."""
    tokens_wait: bool = False
    """Whether the tokens that a person asks for are made later, when an overlap has ended."""
    published: bool = False
    """Whether Vault holds something else than before the pass."""


@dataclass(frozen=True, slots=True)
class BotContext:
    """One bot and its backends."""

    world: World
    body: Body
    desired: DesiredBot
    backends: Backends

    @property
    def key(self) -> ObjectKey:
        """Which bot."""
        return meta_of(self.body).key

    @property
    def provider(self) -> IdentityProvider:
        """Its realm."""
        return self.backends.identity_provider

    @property
    def store(self) -> SecretStore:
        """The mount of its Federation."""
        return self.backends.secret_store

    @property
    def paths(self) -> BotPaths:
        """Where its credentials lie there."""
        return BotPaths(self.backends.federation.vault.path_prefix, self.key)

    @property
    def mark(self) -> VaultMark:
        """Its owner mark."""
        return VaultMark(self.desired.owner, self.desired.object_name)

    def credentials(self, secret: Sensitive) -> ClientCredentials:
        """Return what the client signs in with."""
        return ClientCredentials(self.desired.client_id, secret)

    async def subject(self, facts: BotFacts) -> str:
        """Return the user id of the service account, asked for if no step has seen it."""
        if facts.subject is None:
            facts.subject = await self.provider.service_account_id(self.desired.client_uuid)
        return facts.subject

    def audit(self, step: str, **details: object) -> None:
        """Log one side effect."""
        self.world.audit(step, key=str(self.key), federation=self.backends.federation.meta.key.name, **details)


def facts_before(desired: DesiredBot, observed: ObservedBot) -> BotFacts:
    """Return what is true before the first step."""
    stored, client, recorded = observed.stored_client, observed.client, observed.recorded
    secret, previous = (client.secret, client.previous_secret) if client is not None else (None, None)
    if secret is None and stored is not None:
        secret, previous = stored.data.get("client_secret"), stored.data.get(PREVIOUS_SECRET)
    facts = BotFacts(
        client_uuid=desired.client_uuid,
        secret=secret,
        previous_secret=previous,
        previous_since=client.previous_since if client is not None else None,
        secret_issued_at=recorded.secret_issued_at,
        secret_version=stored.version if stored is not None and stored.data else None,
        subject=observed.known_subject,
    )
    for token in desired.tokens:
        name, entry = token.name, observed.stored_tokens.get(token.name)
        claims, opaque = observed.claims.get(name), observed.opaque.get(name)
        if entry is None or (claims is None and opaque is None):
            continue
        asked, place = recorded.ask_hashes.get(name, ""), delivered_to(entry.data)
        facts.entries[name] = dict(entry.data)
        if opaque is not None:
            facts.tokens[name] = TokenFact(
                opaque.issued_at,
                opaque.expires_at,
                entry.version,
                asked,
                opaque.fingerprint,
                opaque.previous_ends_at,
                place,
            )
        elif claims is not None:
            facts.tokens[name] = TokenFact(claims.issued_at, claims.expires_at, entry.version, asked, location=place)
    return facts
