"""What every step of a bot's plan works with, and what the steps leave behind for the next ones and for the status."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fedid.domain.bot import PREVIOUS_SECRET, DesiredBot, has_secret
from fedid.domain.bot_authentication import SigningKey
from fedid.domain.bot_keys import KeySlot
from fedid.domain.bot_steps import ObservedBot
from fedid.domain.key_plan import key_published_unrecorded, signs
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import Body, meta_of
from fedid.domain.rotation import RotationRequest
from fedid.domain.secret_plan import previous_ends_at, secret_unrecorded
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import VaultMark
from fedid.domain.token_entries import Location, OpaqueToken, delivered_to
from fedid.domain.token_plan import is_pending, made_unrecorded
from fedid.domain.tokens import ClientAuthentication, ClientCredentials, PrivateKey
from fedid.ports import IdentityProvider, SecretStore
from fedid.reconcile.bot_paths import BotPaths
from fedid.reconcile.world import Backends, World

__all__ = ["BotContext", "BotFacts", "TokenFact", "facts_before", "opaque_fact"]


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
    rotated_for: str | None = None
    """The request for which it was replaced last."""
    previous_fingerprint: str | None = None
    pending_fingerprint: str | None = None
    """Of the one that waits for servers to take it."""


def opaque_fact(
    token: OpaqueToken, version: int, ask_hash: str, *, place: Location | None = None, rotated_for: str | None = None
) -> TokenFact:
    """Return what there is to tell of an opaque token."""
    return TokenFact(
        token.issued_at,
        token.expires_at,
        version,
        ask_hash,
        token.fingerprint,
        token.previous_ends_at,
        place,
        rotated_for,
        token.previous_fingerprint,
        token.pending_fingerprint,
    )


@dataclass(slots=True)
class BotFacts:
    """What is true after the plan was carried out; grows with every step."""

    client_uuid: str
    secret: Sensitive | None = None
    keys: dict[KeySlot, SigningKey] = field(default_factory=dict)
    listed: tuple[KeySlot, ...] = (KeySlot.CURRENT,)
    """Which of them the client lists, or will once the plan was carried out."""
    previous_secret: Sensitive | None = None
    """Good too until it is ended."""
    previous_ends_at: datetime | None = None
    held_from: datetime | None = None
    """When pods have what replaced it, as far as it came to them (Keycloak's clock)."""
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
    secret_rotated_for: str | None = None
    """The request for which the secret was replaced last."""
    published: bool = False
    """Whether Vault holds something else than before the pass."""

    @property
    def former_ends_at(self) -> datetime | None:
        """When the former secret or key can end at the earliest."""
        ends_at, held_from = self.previous_ends_at, self.held_from
        return ends_at if ends_at is None or held_from is None else max(ends_at, held_from)

    @property
    def is_free(self) -> bool:
        """Whether Keycloak was seen to let the secret be replaced right now: nothing is in the way, no overlap runs."""
        return self.looked and self.obstacle is None and self.previous_ends_at is None


@dataclass(frozen=True, slots=True)
class BotContext:
    """One bot and its backends."""

    world: World
    body: Body
    desired: DesiredBot
    backends: Backends
    request: RotationRequest | None = None
    """What a person asks to be replaced."""

    def note_secret_made(self, facts: BotFacts, at: datetime) -> None:
        """Remember that the secret was made, and which request that carries out.

        Where the former one stays good, it was made no earlier than Keycloak kept that: a later look, which counts from
        there, would tell another end.
        """
        if facts.previous_secret is not None:
            at = max(at, self.provider.server_now_at_most())
            facts.previous_ends_at = at + self.desired.rotation.overlap
        facts.secret_issued_at = at
        self.note_request(facts)

    def note_request(self, facts: BotFacts) -> None:
        """Remember that the request of a person for another secret, or key, was carried out, if there is one."""
        if self.request is not None:
            facts.secret_rotated_for = self.request.secret_memory(facts.secret_rotated_for)

    def token_request(self, before: str | None) -> str | None:
        """Return the request that a token made now carries out; `before`: the one for which it was made last."""
        return self.request.token_memory(before) if self.request is not None else before

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

    def credentials(self, facts: BotFacts) -> ClientAuthentication | None:
        """Return what the client signs in with now, the newest that there is; None if that is not known."""
        if signs(self.desired):
            key = facts.keys.get(KeySlot.PENDING) if KeySlot.PENDING in facts.listed else None
            key = key or facts.keys.get(KeySlot.CURRENT)
            return PrivateKey(self.desired.client_id, key.private_key, key.key_id) if key is not None else None
        return self.former_credentials(facts.secret) if facts.secret is not None else None

    def former_credentials(self, secret: Sensitive) -> ClientCredentials:
        """Return what the client signed in with while this was its secret."""
        return ClientCredentials(self.desired.client_id, secret)

    async def subject(self, facts: BotFacts) -> str:
        """Return the user id of the service account, asked for if no step has seen it."""
        if facts.subject is None:
            facts.subject = await self.provider.service_account_id(self.desired.client_uuid)
        return facts.subject

    def audit(self, step: str, **details: Any) -> None:
        """Log one side effect."""
        federation = self.backends.federation.meta.key.name
        self.world.audit(step, key=self.key, federation=federation, **details)


def _previous_ends_at(desired: DesiredBot, observed: ObservedBot) -> datetime | None:
    """Return until when the former secret or key is good; None: there is none."""
    if signs(desired):
        since = observed.keys.issued_at if observed.keys.previous is not None else None
        return since + desired.rotation.overlap if since is not None else None
    client, stored = observed.client, observed.stored_client
    if client is None or client.previous_since is None:
        left = stored is not None and PREVIOUS_SECRET in stored.data
        return observed.recorded.previous_ends_at if left else None  # nobody looked at Keycloak
    return previous_ends_at(desired, client.previous_since, observed.recorded.secret_issued_at)


def _told_of(held: OpaqueToken, observed: ObservedBot, name: str) -> OpaqueToken:
    """Return the token without what only lies in Vault: servers take what the status tells of, and nothing else."""
    recorded = observed.recorded
    former = {recorded.previous_fingerprints.get(name), recorded.fingerprints.get(name)}
    return replace(
        held,
        previous_fingerprint=held.previous_fingerprint if held.previous_fingerprint in former else None,
        pending_fingerprint=held.pending_fingerprint if is_pending(observed, name) else None,
    )


def facts_before(bot: BotContext, observed: ObservedBot) -> BotFacts:
    """Return what is true before the first step."""
    desired = bot.desired
    stored, client, recorded = observed.stored_client, observed.client, observed.recorded
    secret, previous = (client.secret, client.previous_secret) if client is not None else (None, None)
    if not has_secret(desired):
        secret, previous = None, None  # Keycloak keeps one for such clients too; it opens nothing
    elif secret is None and stored is not None:
        secret, previous = stored.data.get("client_secret"), stored.data.get(PREVIOUS_SECRET)
    facts = BotFacts(
        client_uuid=desired.client_uuid,
        secret=secret,
        keys=observed.keys.by_slot,
        previous_secret=previous,
        previous_ends_at=_previous_ends_at(desired, observed),
        held_from=observed.handover.held_from,
        secret_issued_at=observed.keys.issued_at or recorded.secret_issued_at,
        secret_rotated_for=recorded.secret_rotated_for,
        secret_version=stored.version if stored is not None and stored.data else None,
        # One that Keycloak was not seen to have is made anew by it, and is another one.
        subject=observed.subject if observed.keycloak_seen else recorded.subject,
    )
    for token in desired.tokens:
        name, entry = token.name, observed.stored_tokens.get(token.name)
        claims, opaque = observed.claims.get(name), observed.opaque.get(name)
        if entry is None or (claims is None and opaque is None):
            continue
        asked, place = recorded.ask_hashes.get(name, ""), delivered_to(entry.data)
        made_for = recorded.rotated_for.get(name)
        if made_unrecorded(observed, name, entry):
            made_for = bot.token_request(made_for)
        facts.entries[name] = dict(entry.data)
        if opaque is not None:
            opaque = _told_of(opaque, observed, name)
            # Made by a pass that ended before its status, it stays only if it is what is asked for now.
            asked = asked or desired.ask_hash(token)
            facts.tokens[name] = opaque_fact(opaque, entry.version, asked, place=place, rotated_for=made_for)
        elif claims is not None:
            facts.tokens[name] = TokenFact(
                claims.issued_at, claims.expires_at, entry.version, asked, location=place, rotated_for=made_for
            )
    if observed.keycloak_seen and not signs(desired) and secret_unrecorded(desired, observed):
        bot.note_secret_made(facts, bot.provider.server_now())
    if observed.keycloak_seen and signs(desired) and key_published_unrecorded(observed):
        bot.note_request(facts)
    return facts
