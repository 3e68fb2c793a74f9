"""What a BotClient becomes: the client, the roles and the tokens that its spec and the grants ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fedid.domain.bot_authentication import (
    BotAuthentication,
    ClientSecret,
    ServiceAccount,
)
from fedid.domain.delivery import Delivery, delivery
from fedid.domain.grants import ADOPT_ASK, RETAIN_ASK, Ask, AskKind
from fedid.domain.judgement import Verdict
from fedid.domain.naming import client_uuid
from fedid.domain.realm import RealmScopes
from fedid.domain.resources import BotClient, Federation, TokenSpec
from fedid.domain.sensitive import Sensitive
from fedid.domain.suspension import Suspension, suspension
from fedid.domain.token_entries import JWT, OPAQUE
from fedid.domain.tokens import TokenExpectation
from fedid.errors import InvalidSpecError

__all__ = [
    "DesiredBot",
    "DesiredSecretRotation",
    "DesiredToken",
    "address_entry",
    "asks_of_bot",
    "client_entry",
    "deliveries",
    "desired_bot",
    "has_secret",
    "is_keyless",
    "suspension_of",
]

PREVIOUS_SECRET = "previous_client_secret"
TWO_SECRETS = "fedid.secret-rotation"
"""Attribute of every client of ours, for the condition of the realm's policy that keeps two secrets."""
OPAQUE_LIFETIME = timedelta(days=30)
"""Of an opaque token for which neither the spec nor the Federation says anything."""


@dataclass(frozen=True, slots=True)
class DesiredToken:
    """One bearer token, made definite."""

    name: str
    type: str = JWT
    lifetime: timedelta = timedelta()
    """Of an opaque one; that of a jwt is set on the client, one for all."""
    renew_before: timedelta | None = None
    """How long before its end it is replaced at the latest; None: a third of its life."""
    overlap: timedelta = timedelta()
    """Of an opaque one: how long the one before it stays good."""
    scopes: frozenset[str] = frozenset()
    delivery: Delivery | None = None
    """Where a copy goes; None: nowhere."""


@dataclass(frozen=True, slots=True)
class DesiredSecretRotation:
    """How the bot secret changes."""

    every: timedelta | None = None
    """None: only when it is asked for."""
    overlap: timedelta = timedelta(hours=1)
    allow_interruption: bool = False


@dataclass(frozen=True, slots=True)
class DesiredBot:
    """The part of a bot's spec that the grants cover, made definite."""

    client_uuid: str
    client_id: str
    owner: str
    object_name: str
    description: str
    realm_roles: frozenset[str]
    client_roles: Mapping[str, frozenset[str]]
    audiences: frozenset[str]
    lifetime: timedelta
    """One for all tokens, since Keycloak's is set on the client."""
    tokens: tuple[DesiredToken, ...]
    issuer_url: str
    rotation: DesiredSecretRotation = DesiredSecretRotation()
    default_scopes: frozenset[str] = frozenset()
    optional_scopes: frozenset[str] = frozenset()
    """Beside those that the realm gives to every client."""
    claims: Mapping[str, str] = field(default_factory=dict)
    adopt: bool = False
    """Whether a client of this clientId that nobody owns is taken over."""
    lifetime_limit: timedelta | None = None
    """The longest life that the grants allow a token; None: any."""
    authentication: BotAuthentication = field(default_factory=ClientSecret)
    assertion_provider: str | None = None
    """Alias of the realm's identity provider for this cluster; None: there is none."""

    @property
    def token_names(self) -> tuple[str, ...]:
        """Names of the tokens, in the order of the spec."""
        return tuple(token.name for token in self.tokens)

    @property
    def declared_scopes(self) -> frozenset[str]:
        """Names of all client scopes that it names, those included that a token asks for with itself."""
        return self.default_scopes | self.optional_scopes | frozenset(s for token in self.tokens for s in token.scopes)

    def optional_beside(self, realm: RealmScopes) -> frozenset[str]:
        """Return the optional scopes of its client: the declared ones, and those that a token has to ask for."""
        return self.optional_scopes | (self.declared_scopes - self.default_scopes - realm.default)

    def token(self, name: str) -> DesiredToken | None:
        """Return a token by name."""
        return next((token for token in self.tokens if token.name == name), None)

    def expectation(self, token: DesiredToken | None = None) -> TokenExpectation:
        """Return what a token of this bot must say; None: one that is only to prove the secret."""
        return TokenExpectation(
            client_id=self.client_id,
            lifetime=self.lifetime,
            audiences=self.audiences,
            realm_roles=self.realm_roles,
            client_roles=self.client_roles,
            scopes=token.scopes if token is not None else frozenset(),
            claims=self.claims,
        )

    def ask_hash(self, token: DesiredToken) -> str:
        """Return a digest of what a token is asked to be; one made under another digest is replaced."""
        if token.type == OPAQUE:
            # Nothing is said by it; where it is known, and for how long, is all that there is.
            return hashlib.sha256(f"{OPAQUE} {int(token.lifetime.total_seconds())}".encode()).hexdigest()[:16]
        parts = [
            f"lifetime {int(self.lifetime.total_seconds())}",
            # Quoted, so that no spelling of a name can look like two names.
            *sorted(f"role {role!r}" for role in self.realm_roles),
            *sorted(f"client {client!r} {role!r}" for client, roles in self.client_roles.items() for role in roles),
            *sorted(f"audience {audience!r}" for audience in self.audiences),
            *sorted(f"scope {name!r}" for name in self.default_scopes | token.scopes),
            *sorted(f"claim {name!r} {value!r}" for name, value in self.claims.items()),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def suspension_of(spec: BotClient, now: datetime) -> Suspension | None:
    """Return why the spec wants nothing of the bot to exist, None if it wants it.

    Args:
        spec: As parsed.
        now: The operator's clock (aware UTC); the very instant of `expiresAt` is too late.
    """
    nothing = "nothing of this bot exists outside the cluster"
    if spec.retain:
        nothing = "nothing of this bot is good any more, and its client was released where a grant lets it stay"
    return suspension(
        suspend=spec.suspend,
        expires_at=spec.expires_at,
        now=now,
        effect=nothing,
        return_for="for a new secret and new tokens",
    )


def asks_of_bot(spec: BotClient, federation: Federation) -> frozenset[Ask]:
    """Return what the spec asks the grants for (its token lifetime is bounded, not asked).

    Raises:
        InvalidSpecError: The template of a Vault path is wrong.
    """
    asks = {Ask(AskKind.REALM_ROLE, role) for role in spec.realm_roles}
    asks |= {Ask(AskKind.CLIENT_ROLE, role, client) for client, roles in spec.client_roles.items() for role in roles}
    asks |= {Ask(AskKind.AUDIENCE, audience) for audience in spec.audiences}
    asks |= {Ask(AskKind.SCOPE, scope) for token in spec.tokens for scope in token.scopes}
    asks |= {Ask(AskKind.VAULT_PATH, place.ask) for place in deliveries(spec, federation).values()}
    asks |= {Ask(AskKind.SCOPE, scope) for scope in spec.default_scopes | spec.optional_scopes}
    asks |= {Ask(AskKind.CLAIM, name) for name in spec.claims}
    if spec.retain:
        asks.add(RETAIN_ASK)
    if spec.adopt:
        asks.add(ADOPT_ASK)
    if not spec.default_named:
        asks.add(Ask(AskKind.CLIENT_ID, spec.client_id))
    return frozenset(asks)


def deliveries(spec: BotClient, federation: Federation) -> dict[str, Delivery]:
    """Return where copies of tokens go, by token name.

    Raises:
        InvalidSpecError: A template is wrong; the message names the field.
    """
    vault, key = federation.vault, spec.meta.key
    known = {"namespace": key.namespace, "name": key.name, "clientId": spec.client_id}
    places = {
        token.name: delivery(
            token.vault_path,
            f"spec.tokens[{number}].vaultPath",
            mount=token.vault_mount or vault.mount,
            key=token.vault_key,
            own_folder=(vault.mount, vault.path_prefix),
            values={**known, "token": token.name},
        )
        for number, token in enumerate(spec.tokens)
        if token.vault_path is not None
    }
    if len({place.ask for place in places.values()}) < len(places):
        message = f"spec.tokens: {', '.join(places)} must not share a vaultPath; put {{token}} into it"
        raise InvalidSpecError(message)
    return places


def desired_bot(spec: BotClient, federation: Federation, verdict: Verdict, *, owner: str) -> DesiredBot:
    """Return the granted part of the spec.

    A lifetime over the limit is cut to it: a limit that is narrowed later must bite without breaking the bot. The
    caller tells the author about it.
    """
    asked = {token.lifetime for token in spec.tokens if token.lifetime is not None and token.type == JWT}
    lifetime = _limited(min(asked) if asked else federation.token_lifetime, verdict)
    denied = verdict.denied
    places = {
        name: place
        for name, place in deliveries(spec, federation).items()
        if Ask(AskKind.VAULT_PATH, place.ask) not in denied
    }
    return DesiredBot(
        client_uuid=client_uuid(spec.meta.uid),
        client_id=spec.client_id,
        owner=owner,
        object_name=str(spec.meta.key),
        description=spec.description,
        realm_roles=frozenset(r for r in spec.realm_roles if Ask(AskKind.REALM_ROLE, r) not in denied),
        client_roles={
            client: kept
            for client, roles in spec.client_roles.items()
            if (kept := frozenset(r for r in roles if Ask(AskKind.CLIENT_ROLE, r, client) not in denied))
        },
        audiences=frozenset(a for a in spec.audiences if Ask(AskKind.AUDIENCE, a) not in denied),
        default_scopes=frozenset(s for s in spec.default_scopes if Ask(AskKind.SCOPE, s) not in denied),
        optional_scopes=frozenset(s for s in spec.optional_scopes if Ask(AskKind.SCOPE, s) not in denied),
        claims={name: value for name, value in spec.claims.items() if Ask(AskKind.CLAIM, name) not in denied},
        adopt=spec.adopt and ADOPT_ASK not in denied,
        lifetime=lifetime,
        tokens=tuple(_token(token, places.get(token.name), federation, verdict) for token in spec.tokens),
        issuer_url=federation.keycloak.issuer_url,
        rotation=_rotation(spec, federation),
        lifetime_limit=verdict.max_token_lifetime,
        authentication=spec.authentication,
        assertion_provider=federation.keycloak.assertion_provider,
    )


def _token(token: TokenSpec, place: Delivery | None, federation: Federation, verdict: Verdict) -> DesiredToken:
    lifetime = _limited(token.lifetime or federation.rotation_period or OPAQUE_LIFETIME, verdict)
    overlap = token.overlap if token.overlap is not None else federation.overlap
    return DesiredToken(
        name=token.name,
        type=token.type,
        lifetime=lifetime if token.type == OPAQUE else timedelta(),
        renew_before=token.renew_before,
        # Else a third token would be due before the first has ended.
        overlap=min(overlap, lifetime / 3) if token.type == OPAQUE else timedelta(),
        scopes=frozenset(scope for scope in token.scopes if Ask(AskKind.SCOPE, scope) not in verdict.denied),
        delivery=place,
    )


def _rotation(spec: BotClient, federation: Federation) -> DesiredSecretRotation:
    asked = spec.secret_rotation
    if isinstance(spec.authentication, ServiceAccount):
        return DesiredSecretRotation()  # there is nothing to replace
    every, overlap = (asked.every, asked.overlap) if asked is not None else (None, None)
    return DesiredSecretRotation(
        every=every if every is not None else federation.rotation_period,
        overlap=overlap if overlap is not None else federation.overlap,
        allow_interruption=asked is not None and asked.allow_interruption,
    )


def _limited(lifetime: timedelta, verdict: Verdict) -> timedelta:
    return lifetime if verdict.max_token_lifetime is None else min(lifetime, verdict.max_token_lifetime)


def has_secret(bot: DesiredBot) -> bool:
    """Tell whether the bot authenticates with a bot secret."""
    return isinstance(bot.authentication, ClientSecret)


def is_keyless(bot: DesiredBot) -> bool:
    """Tell whether only the bot's pods can authenticate: there is neither a secret nor a key."""
    return isinstance(bot.authentication, ServiceAccount)


def address_entry(bot: DesiredBot) -> dict[str, Sensitive]:
    """Return the part of its entry in Vault that says who the bot is and where it gets tokens."""
    return {
        "client_id": Sensitive(bot.client_id),
        "issuer": Sensitive(bot.issuer_url),
        "token_url": Sensitive(f"{bot.issuer_url}/protocol/openid-connect/token"),
    }


def client_entry(bot: DesiredBot, secret: Sensitive | None, previous: Sensitive | None = None) -> dict[str, Sensitive]:
    """Return what lies in Vault at `…/bots/<name>/client`.

    Args:
        bot: What is wanted.
        secret: The bot secret; None: it has none.
        previous: The secret before, while it is good too.
    """
    entry = address_entry(bot)
    if secret is not None:
        entry["client_secret"] = secret
    if previous is not None:
        entry[PREVIOUS_SECRET] = previous
    return entry
