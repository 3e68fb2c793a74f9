"""The smallest world that a bot's plan can act on: one client, one path in Vault per credential, one status.

It carries out each step as the application of a plan does, refuses what the real backends would refuse (a wrong
check-and-set version, a token published that was never minted), and can stop after any step, as a crash would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from fedid.domain.bot import DesiredBot, client_entry, corrected, desired_client, token_entry
from fedid.domain.bot_plan import (
    NOT_BEFORE,
    AddRoles,
    BotStep,
    CreateClient,
    MintToken,
    ObservedBot,
    ProveSecret,
    PublishSecret,
    PublishToken,
    Recorded,
    RemoveRoles,
    UpdateClient,
    WithdrawToken,
    plan_bot,
)
from fedid.domain.realm import SERVICE_ACCOUNTS, ClientRecord, Role, RoleMappings
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import StoredEntry
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
    recorded: Recorded = field(default_factory=Recorded)
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
            recorded=self.recorded,
        )

    def plan(self, *, look: bool = True) -> tuple[BotStep, ...]:
        """Return the plan of a pass now."""
        return plan_bot(self.desired, self.observe(look=look), roles_of(self.desired), UID, self.now)

    def run(self, *, look: bool = True, steps: int | None = None) -> tuple[BotStep, ...]:
        """Run one pass and return its plan; with `steps` it stops after so many and never writes its status."""
        observed, plan = self.observe(look=look), self.plan(look=look)
        minted: dict[str, MintedToken] = {}
        secret = self._secret_before(observed)
        for step in plan[:steps]:
            secret = self._take(step, secret, minted)
        if steps is None:
            self._settle(minted)
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

    def _secret_before(self, observed: ObservedBot) -> Sensitive | None:
        if observed.client is not None and observed.client.secret is not None:
            return observed.client.secret
        return observed.stored_client.data.get("client_secret") if observed.stored_client is not None else None

    def _take(self, step: BotStep, secret: Sensitive | None, minted: dict[str, MintedToken]) -> Sensitive | None:
        match step:
            case CreateClient(keep_secret):
                assert self.client is None, "a client that is there is not created"
                secret = secret if keep_secret else self.fresh("secret")
                assert secret is not None, "a secret that nobody knows cannot be kept"
                self.client = desired_client(self.desired, secret=secret, not_before=int(self.now.timestamp()))
                self._new_service_account()
            case UpdateClient(fields, replace_secret):
                assert self.client is not None
                fresh = self.fresh("secret") if replace_secret else None
                if not self.client.flags.get(SERVICE_ACCOUNTS):
                    self._new_service_account()
                not_before = int(self.now.timestamp()) if NOT_BEFORE in fields else 0
                wanted = desired_client(self.desired, secret=fresh, not_before=not_before)
                self.client = _put(self.client, corrected(wanted, self.client))
                secret = fresh or secret
            case AddRoles(roles):
                assert self.client is not None
                self.held |= roles
            case RemoveRoles(roles):
                assert self.client is not None
                self.held -= roles
            case ProveSecret():
                self._authenticate(secret)
            case MintToken(name):
                self._authenticate(secret)
                minted[name] = self.mint()
                assert token_faults(minted[name].claims, self.desired.expectation) == ()
            case PublishSecret(version):
                assert secret is not None
                self.stored_client = _written(self.stored_client, version, client_entry(self.desired, secret))
            case PublishToken(name, version):
                entry = token_entry(minted[name])
                self.stored_tokens[name] = _written(self.stored_tokens.get(name), version, entry)
            case WithdrawToken(name):
                del self.stored_tokens[name]
            case _:
                assert_never(step)
        return secret

    def _new_service_account(self) -> None:
        self.subject, self.held = self.fresh("service-account").reveal(), frozenset()

    def _authenticate(self, secret: Sensitive | None) -> None:
        assert secret is not None, "nothing to authenticate with"
        if self.client is not None:
            assert secret == self.client.secret, "Keycloak refuses the secret"
            assert self.client.flags.get(SERVICE_ACCOUNTS), "there is no service account"
            assert self.client.enabled, "the client is disabled"

    def _settle(self, minted: Mapping[str, MintedToken]) -> None:
        hashes = {name: known for name, known in self.recorded.ask_hashes.items() if name in self.desired.tokens}
        self.recorded = Recorded(
            secret_version=self.stored_client.version if self.stored_client is not None else None,
            ask_hashes=hashes | dict.fromkeys(minted, self.desired.ask_hash),
            withdrawn=False,
        )


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
        not_before=record.not_before or found.not_before,
    )


def _token(entry: StoredEntry) -> str:
    token = entry.data.get("token")
    return token.reveal() if token is not None else ""


def _written(before: StoredEntry | None, version: int | None, data: Mapping[str, Sensitive]) -> StoredEntry:
    assert version == (before.version if before is not None else None), "check-and-set refuses the write"
    return StoredEntry(data, (version or 0) + 1, OWNER)
