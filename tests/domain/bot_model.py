"""The smallest world that a bot's plan can act on: one client, one path in Vault per credential, one status.

It carries out each step as the application of a plan does, refuses what the real backends would refuse (a wrong
check-and-set version, a token published that was never minted), and can stop after any step, as a crash would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from fedid.domain.bot import DesiredBot, client_entry
from fedid.domain.bot_plan import NOT_BEFORE, plan_bot
from fedid.domain.bot_record import corrected, desired_client
from fedid.domain.bot_steps import (
    AddRoles,
    BotStep,
    CreateClient,
    DeliverToken,
    EndPreviousSecret,
    EndPreviousToken,
    KeepSecret,
    MakeToken,
    MintToken,
    ObservedBot,
    ProveSecret,
    PublishSecret,
    PublishToken,
    Recorded,
    RemoveRoles,
    UpdateClient,
    WithdrawCopy,
    WithdrawToken,
)
from fedid.domain.handover import Handover
from fedid.domain.realm import SERVICE_ACCOUNTS, ClientRecord, Role, RoleMappings, SecretPolicy
from fedid.domain.rotation import RotationRequest
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import StoredEntry
from fedid.domain.token_entries import (
    Location,
    copy_of,
    delivered_to,
    opaque_entry,
    opaque_in,
    token_entry,
    with_location,
)
from fedid.domain.tokens import MintedToken, TokenClaims, token_faults
from tests.domain.samples import NOW, OWNER, UID, claims, roles_of


@dataclass
class BotWorld:
    """Keycloak, Vault and the status of one bot, as they stand."""

    desired: DesiredBot
    now: datetime = NOW
    client: ClientRecord | None = None
    subject: str = "service-account-0"
    """User id of the service account, if the client has one."""
    held: frozenset[Role] = frozenset()
    stored_client: StoredEntry | None = None
    stored_tokens: dict[str, StoredEntry] = field(default_factory=dict)
    signed: dict[str, TokenClaims] = field(default_factory=dict)
    """Every token that the realm ever signed, by its text."""
    copies: dict[Location, StoredEntry] = field(default_factory=dict)
    recorded: Recorded = field(default_factory=Recorded)
    request: RotationRequest | None = None
    two_secrets: bool = True
    """Whether the realm lets a client have two secrets."""
    consumers_hold: bool = True
    made: int = 0
    """Counts fresh secrets and tokens, so that each has a text of its own."""

    def observe(self, *, look: bool = True) -> ObservedBot:
        """Return what a pass sees; without `look` nothing of Keycloak."""
        found = {name: self.signed.get(_token(entry)) for name, entry in self.stored_tokens.items()}
        account = look and self.client is not None and bool(self.client.flags.get(SERVICE_ACCOUNTS))
        return ObservedBot(
            keycloak_seen=look,
            client=self.client if look else None,
            mappings=RoleMappings(self.held, frozenset()) if account else None,
            subject=self.subject if account else None,
            stored_client=self.stored_client,
            stored_tokens=dict(self.stored_tokens),
            claims={
                name: one
                for name, one in found.items()
                if one is not None and one.authorized_party == self.desired.client_id
            },
            opaque={
                name: one for name, entry in self.stored_tokens.items() if (one := opaque_in(entry.data)) is not None
            },
            policy=SecretPolicy("p", timedelta(days=3650), timedelta(days=365)) if look and self.two_secrets else None,
            copies={
                name: self.copies.get(place)
                for name, entry in self.stored_tokens.items()
                if (place := delivered_to(entry.data)) is not None
            },
            handover=Handover(missing=not self.consumers_hold),
            recorded=self.recorded,
        )

    def plan(self, *, look: bool = True) -> tuple[BotStep, ...]:
        """Return the plan of a pass now."""
        return plan_bot(self.desired, self.observe(look=look), roles_of(self.desired), UID, self.now, self.request)

    def run(self, *, look: bool = True, steps: int | None = None) -> tuple[BotStep, ...]:
        """Run one pass and return its plan; with `steps` it stops after so many and never writes its status."""
        observed, plan = self.observe(look=look), self.plan(look=look)
        at_hand = _AtHand(observed)
        for step in plan[:steps]:
            self._take(step, at_hand)
        if steps is None:
            self._settle(at_hand)
        return plan

    def fresh(self, kind: str) -> Sensitive:
        """Return a secret or token text that was never there before."""
        self.made += 1
        return Sensitive(f"{kind}-{self.made}")

    def mint(self, issued_at: datetime | None = None, **changes: Any) -> MintedToken:
        """Sign a token as Keycloak would."""
        token = self.fresh("token")
        told: dict[str, Any] = {"subject": self.subject, **changes}
        minted = MintedToken(token, claims(self.desired, issued_at or self.now, **told))
        self.signed[token.reveal()] = minted.claims
        return minted

    def _take(self, step: BotStep, at_hand: _AtHand) -> None:  # noqa: PLR0912, PLR0915 - one branch for each kind of step
        match step:
            case CreateClient(keep_secret):
                assert self.client is None, "a client that is there is not created"
                at_hand.secret = at_hand.secret if keep_secret else self.fresh("secret")
                assert at_hand.secret is not None, "a secret that nobody knows cannot be kept"
                at_hand.previous, at_hand.issued_at = None, self.now
                self.client = desired_client(self.desired, secret=at_hand.secret, not_before=int(self.now.timestamp()))
                self._new_service_account()
            case KeepSecret():
                assert self.client is not None
                assert self.two_secrets, "Keycloak would end the former secret at once"
                at_hand.previous, at_hand.secret = self.client.secret, None
                self.client = replace(
                    self.client, secret=self.fresh("nobodys"), previous_secret=at_hand.previous, previous_since=self.now
                )
            case UpdateClient(fields, replace_secret):
                self._update_client(fields, at_hand, replace_secret=replace_secret)
            case EndPreviousSecret():
                assert self.client is not None
                at_hand.previous = None
                self.client = replace(self.client, previous_secret=None, previous_since=None)
            case AddRoles(roles):
                assert self.client is not None
                self.held |= roles
            case RemoveRoles(roles):
                assert self.client is not None
                self.held -= roles
            case ProveSecret():
                self._authenticate(at_hand.secret)
            case MintToken(name):
                self._authenticate(at_hand.secret)
                minted = self.mint()
                at_hand.made[name] = token_entry(minted)
                assert token_faults(minted.claims, self.desired.expectation(self.desired.token(name))) == ()
            case MakeToken() | EndPreviousToken():
                self._make(step, at_hand)
            case PublishSecret(version):
                assert at_hand.secret is not None
                entry = client_entry(self.desired, at_hand.secret, at_hand.previous)
                self.stored_client = _written(self.stored_client, version, entry)
            case PublishToken(name, version):
                made = at_hand.made.get(name) or dict(self.stored_tokens[name].data)
                entry = with_location(made, self._location(name))
                self.stored_tokens[name] = _written(self.stored_tokens.get(name), version, entry)
            case DeliverToken(name, version):
                self._deliver(name, version)
            case WithdrawCopy(name):
                self._withdraw_copy(name)
            case WithdrawToken(name):
                self._withdraw_copy(name)
                del self.stored_tokens[name]
            case _:
                assert_never(step)

    def _update_client(self, fields: tuple[str, ...], at_hand: _AtHand, *, replace_secret: bool) -> None:
        assert self.client is not None
        fresh = self.fresh("secret") if replace_secret else None
        if not self.client.flags.get(SERVICE_ACCOUNTS):
            self._new_service_account()
        not_before = int(self.now.timestamp()) if NOT_BEFORE in fields else 0
        wanted = desired_client(self.desired, secret=fresh, not_before=not_before)
        self.client = _put(self.client, corrected(wanted, self.client))
        if fresh is not None:
            at_hand.secret, at_hand.issued_at = fresh, self.now

    def _make(self, step: MakeToken | EndPreviousToken, at_hand: _AtHand) -> None:
        token, former = self.desired.token(step.name), self.stored_tokens.get(step.name)
        assert token is not None
        held = opaque_in(former.data) if former is not None else None
        if isinstance(step, EndPreviousToken):
            assert former is not None
            assert held is not None
            entry = opaque_entry(
                former.data["token"], issued_at=held.issued_at, lifetime=held.expires_at - held.issued_at
            )
        else:
            previous = None
            if step.keep_previous:
                assert former is not None, "there is nothing to keep"
                previous = (former.data["token"], self.now + token.overlap)
            self.made += 1
            made = Sensitive(f"{self.made:064x}")
            entry = opaque_entry(made, issued_at=self.now, lifetime=token.lifetime, previous=previous)
        at_hand.made[step.name] = entry

    def _location(self, name: str) -> Location | None:
        token = self.desired.token(name)
        assert token is not None
        return token.delivery.location(self.subject) if token.delivery is not None else None

    def _deliver(self, name: str, version: int | None) -> None:
        token, data = self.desired.token(name), self.stored_tokens[name].data
        place = delivered_to(data)
        assert token is not None
        assert token.delivery is not None
        assert place is not None, "the entry tells of the copy before it is written"
        copy = self.copies.get(place)
        if version is not None:
            # Two entries may name one place, by hand: then the one that went took the copy along.
            assert copy is None or version == copy.version, "check-and-set refuses the write"
        version = copy.version if copy is not None else 0
        self.copies[place] = StoredEntry(copy_of(data, token.delivery.key), version + 1, OWNER)

    def _withdraw_copy(self, name: str) -> None:
        place = delivered_to(self.stored_tokens[name].data)
        if place is not None:
            self.copies.pop(place, None)

    def _new_service_account(self) -> None:
        self.subject, self.held = self.fresh("service-account").reveal(), frozenset()

    def _authenticate(self, secret: Sensitive | None) -> None:
        assert secret is not None, "nothing to authenticate with"
        if self.client is not None:
            assert secret == self.client.secret, "Keycloak refuses the secret"
            assert self.client.flags.get(SERVICE_ACCOUNTS), "there is no service account"
            assert self.client.enabled, "the client is disabled"

    def _settle(self, at_hand: _AtHand) -> None:
        known = {name: one for name, one in self.recorded.ask_hashes.items() if name in self.desired.token_names}
        asked = {name: self.desired.ask_hash(token) for token in self.desired.tokens if (name := token.name)}
        opaque = {name: opaque_in(entry.data) for name, entry in self.stored_tokens.items()}
        self.recorded = Recorded(
            secret_version=self.stored_client.version if self.stored_client is not None else None,
            secret_issued_at=at_hand.issued_at or self.recorded.secret_issued_at or self.now,
            subject=self.subject,
            ask_hashes=known | {name: asked[name] for name in at_hand.made},
            token_versions={name: entry.version for name, entry in self.stored_tokens.items()},
            fingerprints={name: one.fingerprint for name, one in opaque.items() if one is not None},
            withdrawn=False,
        )


@dataclass
class _AtHand:
    """What a pass knows from one step to the next."""

    secret: Sensitive | None
    previous: Sensitive | None
    issued_at: datetime | None
    made: dict[str, dict[str, Sensitive]]

    def __init__(self, observed: ObservedBot) -> None:
        client, stored = observed.client, observed.stored_client
        self.secret, self.previous = (client.secret, client.previous_secret) if client is not None else (None, None)
        if self.secret is None and stored is not None:
            self.secret = stored.data.get("client_secret")
        self.issued_at, self.made = None, {}


def settled(desired: DesiredBot, *, now: datetime = NOW, age: timedelta = timedelta()) -> BotWorld:
    """Return the world after a bot was made `age` ago and nothing has happened since."""
    world = BotWorld(desired, now=now - age)
    world.run()
    world.now = now
    return world


def _put(found: ClientRecord, record: ClientRecord) -> ClientRecord:
    """Return a client after Keycloak took a PUT: what is not named stays, what is empty goes."""
    attributes, uris = {**found.attributes, **record.attributes}, {**found.uris, **record.uris}
    return replace(
        record,
        secret=record.secret if record.secret is not None else found.secret,
        flags={**found.flags, **record.flags},
        attributes={name: value for name, value in attributes.items() if value},
        uris={name: values for name, values in uris.items() if values},
        previous_secret=found.previous_secret,
        previous_since=found.previous_since,
        not_before=record.not_before or found.not_before,
    )


def _token(entry: StoredEntry) -> str:
    token = entry.data.get("token")
    return token.reveal() if token is not None else ""


def _written(before: StoredEntry | None, version: int | None, data: Mapping[str, Sensitive]) -> StoredEntry:
    assert version == (before.version if before is not None else None), "check-and-set refuses the write"
    return StoredEntry(data, (version or 0) + 1, OWNER)
