"""Carries out the plan of a bot, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from fedid.domain.bot import DesiredBot, client_entry, corrected, desired_client, token_entry
from fedid.domain.bot_plan import (
    CLOCK_TOLERANCE_SECONDS,
    NOT_BEFORE,
    AddRoles,
    AddScopes,
    AdoptClient,
    BotStep,
    CreateClient,
    MintToken,
    ObservedBot,
    ProveSecret,
    PublishSecret,
    PublishToken,
    RemoveRoles,
    RemoveScopes,
    UpdateClient,
    WithdrawToken,
)
from fedid.domain.conditions import ConditionType, Reason, condition_of
from fedid.domain.realm import SERVICE_ACCOUNTS, ClientRecord
from fedid.domain.resources import Body, meta_of
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import VaultMark
from fedid.domain.tokens import ClientCredentials, MintedToken, TokenClaims, outlives, token_faults, wider_than
from fedid.errors import BackendRejectedError, BackendUnavailableError, NotReadyError
from fedid.reconcile.bot_paths import SECRET_RETENTION, BotPaths, token_retention
from fedid.reconcile.roles import role_names, scope_names
from fedid.reconcile.world import Backends, World

__all__ = ["BotApplication", "BotFacts", "TokenFact"]


@dataclass(frozen=True, slots=True)
class TokenFact:
    """One token as it lies in Vault after the pass."""

    claims: TokenClaims
    version: int
    ask_hash: str


@dataclass(slots=True)
class BotFacts:
    """What is true after the plan was carried out; grows with every step."""

    client_uuid: str
    secret: Sensitive | None = None
    secret_version: int | None = None
    subject: str | None = None
    tokens: dict[str, TokenFact] = field(default_factory=dict)
    minted: dict[str, MintedToken] = field(default_factory=dict)
    published: bool = False
    """Whether Vault holds something else than before the pass."""


class BotApplication:
    """Applies plans to one bot."""

    def __init__(
        self, world: World, body: Body, desired: DesiredBot, backends: Backends, *, tell_repairs: bool
    ) -> None:
        """Work on this bot; with `tell_repairs`, what has to be changed was changed by hand."""
        self._world = world
        self._body = body
        self._tell_repairs = tell_repairs
        self._key = meta_of(body).key
        self._desired = desired
        self._provider = backends.identity_provider
        self._store = backends.secret_store
        self._backends = backends
        self._paths = BotPaths(backends.federation.vault.path_prefix, self._key)
        self._mark = VaultMark(desired.owner, desired.object_name)

    async def apply(self, plan: tuple[BotStep, ...], observed: ObservedBot) -> BotFacts | None:
        """Carry out the steps; None if the client to be created was there already, or was adopted.

        Then what is to be done with it is known after another look: observe, then plan again.

        Raises:
            Error: A step failed; what was done before it stays and is found again by the next pass.
        """
        if observed.client is not None:
            # An adopted one keeps its id.
            self._desired = replace(self._desired, client_uuid=observed.client.client_uuid)
        facts = self._facts_before(observed)
        for step in plan:
            if not await self._take(step, facts, observed):
                return None
        facts.published = any(isinstance(step, PublishSecret | PublishToken | WithdrawToken) for step in plan)
        await self._tell_repair(plan, observed)
        return facts

    async def _take(self, step: BotStep, facts: BotFacts, observed: ObservedBot) -> bool:
        match step:
            case CreateClient() | AdoptClient():
                return await self._begin_client(step, facts, observed)
            case UpdateClient():
                await self._update_client(step, facts, observed)
            case RemoveScopes() | AddScopes():
                await self._change_scopes(step)
            case AddRoles(roles):
                await self._provider.add_roles(await self._subject(facts), roles)
                self._audit("AddRoles", roles=role_names(roles))
            case RemoveRoles(roles):
                await self._provider.remove_roles(await self._subject(facts), roles)
                self._audit("RemoveRoles", roles=role_names(roles))
            case ProveSecret():
                await self._mint(facts, observed)
            case MintToken():
                await self._mint_token(step, facts, observed)
            case PublishSecret(version):
                await self._publish_secret(version, facts)
            case PublishToken():
                await self._publish_token(step, facts)
            case WithdrawToken(name):
                await self._withdraw_token(name, facts, observed)
            case _:
                assert_never(step)
        return True

    def _facts_before(self, observed: ObservedBot) -> BotFacts:
        hashes = observed.recorded.ask_hashes
        stored = observed.stored_client
        secret = observed.client.secret if observed.client is not None else None
        if secret is None and stored is not None:
            secret = stored.data.get("client_secret")
        return BotFacts(
            client_uuid=self._desired.client_uuid,
            secret=secret,
            secret_version=stored.version if stored is not None and stored.data else None,
            subject=observed.subject,
            tokens={
                name: TokenFact(claims, observed.stored_tokens[name].version, hashes.get(name, ""))
                for name, claims in observed.claims.items()
                if name in self._desired.tokens
            },
        )

    async def _begin_client(self, step: CreateClient | AdoptClient, facts: BotFacts, observed: ObservedBot) -> bool:
        if isinstance(step, CreateClient):
            return await self._create_client(step, facts, observed)
        await self._adopt_client(step.client)
        return False

    async def _create_client(self, step: CreateClient, facts: BotFacts, observed: ObservedBot) -> bool:
        kept = observed.stored_client.data.get("client_secret") if observed.stored_client is not None else None
        facts.secret = kept if step.keep_secret and kept else self._world.fresh_secret()
        now = self._provider.server_now()
        last = self._world.last_deletions.get(self._desired.client_id)
        if self._had_another_client():
            last = self._world.note_absence(self._desired.client_id, self._provider)
        if last is not None and now <= last:
            # notBefore must lie behind every token of the former client of this id, or they would be good again.
            message = f"Client {self._desired.client_id} was deleted within this second; creating it in the next"
            raise NotReadyError(message, reason=Reason.PROGRESSING)
        client = desired_client(self._desired, secret=facts.secret, not_before=int(now.timestamp()))
        created = await self._provider.create_client(client)
        if created:
            facts.subject = None
            self._audit("CreateClient", client_id=self._desired.client_id)
        return created

    async def _adopt_client(self, client: ClientRecord) -> None:
        """Make it ours in one write: mark, flags, mappers, addresses, secret, and an end to the tokens of before.

        Whoever put its service account into groups gave it their roles, so it leaves them before; that is repeated if
        a crash comes in between, which it could not be once the client is ours.
        """
        provider = self._provider
        if client.flags.get(SERVICE_ACCOUNTS):
            account = await provider.service_account_id(client.client_uuid)
            for group_id in (await provider.user_groups(account)).values():
                await provider.leave_group(account, group_id)
        # The next second: tokens of this one are not to be told apart from those that were there.
        after = int(provider.server_now_at_most().timestamp()) + 1
        wanted = desired_client(self._desired, secret=self._world.fresh_secret(), not_before=after)
        await provider.update_client(corrected(replace(wanted, client_uuid=client.client_uuid), client))
        self._audit("AdoptClient", client_id=client.client_id, client_uuid=client.client_uuid)
        message = f"Client {client.client_id} had no owner and was taken over; its secret and its tokens ended"
        await self._world.cluster.emit(
            self._body, reason="ClientAdopted", message=message, warning=False, action="Adopt"
        )

    def _had_another_client(self) -> bool:
        """Tell whether a client of this id was there and is not any more, by no deletion of ours."""
        status = self._body.get("status") or {}
        synced = condition_of(status.get("conditions") or (), ConditionType.KEYCLOAK_SYNCED)
        taken = synced is not None and synced["reason"] == Reason.CONFLICT
        return taken or status.get("clientUuid") is not None

    async def _update_client(self, step: UpdateClient, facts: BotFacts, observed: ObservedBot) -> None:
        fresh = self._world.fresh_secret() if step.replace_secret else None
        not_before = int(self._provider.server_now().timestamp()) if NOT_BEFORE in step.fields else 0
        client = desired_client(self._desired, secret=fresh, not_before=not_before)
        await self._provider.update_client(corrected(client, observed.client) if observed.client else client)
        if fresh is not None:
            facts.secret = fresh
        self._audit("UpdateClient", fields=[*step.fields, *(["secret"] if fresh is not None else [])])

    async def _change_scopes(self, step: RemoveScopes | AddScopes) -> None:
        removes = isinstance(step, RemoveScopes)
        change = self._provider.remove_client_scope if removes else self._provider.add_client_scope
        for scope in sorted(step.scopes):
            await change(self._desired.client_uuid, scope)
        self._audit("RemoveScopes" if removes else "AddScopes", scopes=scope_names(step.scopes))

    async def _subject(self, facts: BotFacts) -> str:
        if facts.subject is None:
            facts.subject = await self._provider.service_account_id(self._desired.client_uuid)
        return facts.subject

    async def _mint(self, facts: BotFacts, observed: ObservedBot) -> MintedToken:
        """Mint a token with the bot secret and check it against the spec; that proves the secret too."""
        if facts.secret is None:
            self._world.freshness.expire(self._key)
            message = f"The bot secret of {self._key} is not in Vault; looking at Keycloak again"
            raise BackendUnavailableError(message, backend="vault")
        self._require_not_before_passed(observed)
        client_id = self._desired.client_id
        minted = await self._provider.mint(ClientCredentials(client_id, facts.secret))
        faults = token_faults(minted.claims, self._desired.expectation) if minted is not None else ()
        if minted is None or (faults and not observed.keycloak_seen):
            # On a pass that only renews, somebody changed the client since the last look: look at everything.
            self._world.freshness.expire(self._key)
            wrong = f"gives a token that is not good ({'; '.join(faults)})" if faults else "refuses the bot secret"
            message = f"Keycloak {wrong} for client {client_id}; looking at the client again"
            raise BackendUnavailableError(message, backend="keycloak", reason=Reason.TOKEN_REJECTED)
        if faults:
            message = f"A token of client {client_id} was minted and is not published: {'; '.join(faults)}"
            raise BackendRejectedError(message, backend="keycloak", reason=Reason.TOKEN_REJECTED)
        facts.subject = minted.claims.subject
        return minted

    def _require_not_before_passed(self, observed: ObservedBot) -> None:
        """Wait for the second from which on the client's tokens are good; one far ahead is being put back."""
        if observed.client is None:
            return
        ahead = observed.client.not_before - self._provider.server_now().timestamp()
        if 0 < ahead <= CLOCK_TOLERANCE_SECONDS:
            message = f"Tokens of client {self._desired.client_id} are good from the next second on; minting one then"
            raise NotReadyError(message, reason=Reason.PROGRESSING)

    async def _mint_token(self, step: MintToken, facts: BotFacts, observed: ObservedBot) -> None:
        minted = await self._mint(facts, observed)
        facts.minted[step.name] = minted
        self._audit("MintToken", token=step.name, why=step.why, token_id=minted.claims.token_id)
        old = observed.claims.get(step.name)
        if old is None or facts.secret is None or old.expires_at <= self._provider.server_now():
            return
        # Asked otherwise: a claim may be gone from the spec and come from elsewhere now, with another value.
        asked_otherwise = observed.recorded.ask_hashes.get(step.name) != self._desired.ask_hash
        declared = minted.claims.extra if asked_otherwise else self._desired.claims
        if wider_than(old, minted.claims, declared=declared) or outlives(old, self._desired.lifetime_limit):
            # Before the new one is published: a withdrawn right ends now, and a crash here is found again by the hash.
            credentials = ClientCredentials(self._desired.client_id, facts.secret)
            await self._provider.revoke(observed.stored_tokens[step.name].data["token"], credentials)
            self._audit("RevokeToken", token=step.name, why="it says more than the spec", token_id=old.token_id)

    async def _publish_secret(self, version: int | None, facts: BotFacts) -> None:
        if facts.secret is None:
            message = f"The bot secret of {self._key} is not known; looking at Keycloak again"
            raise BackendUnavailableError(message, backend="keycloak")
        data = client_entry(self._desired, facts.secret)
        facts.secret_version = await self._store.write(
            self._paths.client, data, self._mark, version=version, retention=SECRET_RETENTION
        )
        self._audit("PublishSecret", path=self._paths.client, version=facts.secret_version)

    async def _publish_token(self, step: PublishToken, facts: BotFacts) -> None:
        minted = facts.minted[step.name]
        written = await self._store.write(
            self._paths.token(step.name),
            token_entry(minted),
            self._mark,
            version=step.version,
            retention=token_retention(self._desired.lifetime),
        )
        facts.tokens[step.name] = TokenFact(minted.claims, written, self._desired.ask_hash)
        self._audit("PublishToken", path=self._paths.token(step.name), version=written)

    async def _withdraw_token(self, name: str, facts: BotFacts, observed: ObservedBot) -> None:
        claims = observed.claims.get(name)
        if claims is not None and facts.secret is not None and claims.expires_at > self._provider.server_now():
            token = observed.stored_tokens[name].data["token"]
            await self._provider.revoke(token, ClientCredentials(self._desired.client_id, facts.secret))
            if await self._provider.token_accepted(token):
                message = f"Token {name} of client {self._desired.client_id} was revoked and is still accepted"
                raise BackendUnavailableError(message, backend="keycloak")
        await self._store.destroy(self._paths.token(name), self._desired.owner)
        self._audit("WithdrawToken", token=name, token_id=claims.token_id if claims is not None else None)

    async def _tell_repair(self, plan: tuple[BotStep, ...], observed: ObservedBot) -> None:
        """Tell an Event about what somebody changed by hand; a change of the spec is no repair."""
        status = self._body.get("status") or {}
        if not self._tell_repairs or not observed.keycloak_seen or observed.recorded.withdrawn:
            return
        if status.get("observedGeneration") != meta_of(self._body).generation:
            return
        if any(asked != self._desired.ask_hash for asked in observed.recorded.ask_hashes.values()):
            return  # the Federation's defaults changed
        # A client that was deleted took its roles along.
        made_anew = [step for step in plan if isinstance(step, CreateClient)]
        repaired = [text for step in made_anew or plan if (text := _repair(step)) is not None]
        if not repaired or status.get("clientUuid") is None:
            return
        message = f"Changed by hand and put back: {', '.join(repaired)}"
        await self._world.cluster.emit(
            self._body, reason="DriftRepaired", message=message, warning=True, action="Repair"
        )

    def _audit(self, step: str, **details: object) -> None:
        self._world.audit(step, key=str(self._key), federation=self._backends.federation.meta.key.name, **details)


def _repair(step: BotStep) -> str | None:
    match step:
        case CreateClient():
            return "the client (deleted)"
        case UpdateClient(fields, replace_secret):
            return ", ".join([*fields, *(["secret"] if replace_secret else [])])
        case AddScopes(scopes):
            return f"client scopes removed ({', '.join(scope_names(scopes))})"
        case RemoveScopes(scopes):
            return f"client scopes added ({', '.join(scope_names(scopes))})"
        case AddRoles(roles):
            return f"roles removed ({', '.join(role_names(roles))})"
        case RemoveRoles(roles):
            return f"roles added ({', '.join(role_names(roles))})"
        case MintToken(name, why) if "Vault" in why:
            return f"token {name} ({why})"
        case PublishSecret():
            return "the bot secret in Vault"
        case _:
            return None
