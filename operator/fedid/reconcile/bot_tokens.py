"""Carries out the steps of a bot's plan that are about its bearer tokens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from fedid.domain.bot import DesiredToken
from fedid.domain.bot_steps import (
    DeliverToken,
    EndPreviousToken,
    MakeToken,
    MintToken,
    ObservedBot,
    PromoteToken,
    PublishToken,
    StageToken,
)
from fedid.domain.conditions import rfc3339
from fedid.domain.receipt import ADMIN_API, Cause, Presented
from fedid.domain.stored import Retention
from fedid.domain.token_entries import (
    Location,
    copy_of,
    delivered_to,
    opaque_entry,
    opaque_in,
    token_entry,
    with_location,
)
from fedid.domain.tokens import TokenClaims, outlives, wider_than
from fedid.errors import BackendUnavailableError
from fedid.reconcile.bot_context import BotContext, BotFacts, TokenFact, opaque_fact
from fedid.reconcile.bot_paths import token_retention
from fedid.reconcile.bot_secret import SecretSteps
from fedid.reconcile.receipts import leave_receipt_of_credential

__all__ = ["BotTokenSteps"]


class BotTokenSteps:
    """Makes, publishes, copies and withdraws the tokens of one bot."""

    def __init__(self, context: BotContext, secrets: SecretSteps) -> None:
        """Work on this bot; `secrets` mints."""
        self._bot = context
        self._secrets = secrets

    async def mint(self, step: MintToken, facts: BotFacts, observed: ObservedBot) -> None:
        """Mint and prove a jwt; end the published one first if that says more."""
        bot, token = self._bot, self._wanted(step.name)
        minted = await self._secrets.mint(facts, observed, bot.desired.expectation(token))
        facts.entries[step.name] = token_entry(minted)
        asked = bot.desired.ask_hash(token)
        made_for = bot.token_request(observed.recorded.rotated_for.get(step.name))
        instants = (minted.claims.issued_at, minted.claims.expires_at)
        facts.made[step.name] = TokenFact(*instants, 0, asked, rotated_for=made_for)
        bot.audit("MintToken", token=step.name, why=step.why, token_id=minted.claims.token_id)
        old = observed.claims.get(step.name)
        credentials = bot.credentials(facts)
        if old is None or credentials is None or old.expires_at <= bot.provider.server_now():
            return
        # Asked otherwise: a claim may be gone from the spec and come from elsewhere now, with another value.
        asked_otherwise = observed.recorded.ask_hashes.get(step.name) != asked
        declared = minted.claims.extra if asked_otherwise else bot.desired.claims
        if wider_than(old, minted.claims, declared=declared) or outlives(old, bot.desired.lifetime_limit):
            # Before the new one is published: a withdrawn right ends now, and a crash here is found again by the hash.
            published = observed.stored_tokens[step.name].data["token"]
            await bot.provider.revoke(published, credentials)
            if await bot.provider.token_accepted(published):
                message = f"Token {step.name} of client {bot.desired.client_id} was revoked and is still accepted"
                raise BackendUnavailableError(message, backend="keycloak")
            await self._leave_receipt(step.name, old)
            bot.audit("RevokeToken", token=step.name, why="it says more than the spec", token_id=old.token_id)

    def make(self, step: MakeToken, facts: BotFacts, observed: ObservedBot) -> None:
        """Make an opaque token."""
        bot, token = self._bot, self._wanted(step.name)
        now = _whole_second(bot.provider.server_now())
        stored = observed.stored_tokens.get(step.name)
        held = observed.opaque.get(step.name)
        previous = None
        if step.keep_previous and stored is not None and held is not None:
            previous = (stored.data["token"], min(now + token.overlap, held.expires_at))
        facts.entries[step.name] = opaque_entry(
            bot.world.fresh_token(), issued_at=now, lifetime=token.lifetime, previous=previous
        )
        self._note_opaque(token, facts, bot.token_request(observed.recorded.rotated_for.get(step.name)))
        bot.audit("MakeToken", token=step.name, why=step.why, overlap=previous is not None)

    def stage(self, step: StageToken, facts: BotFacts, observed: ObservedBot) -> None:
        """Have the entry with a token that is to take the place of the one in use."""
        token, held = self._wanted(step.name), observed.opaque[step.name]
        facts.entries[step.name] = opaque_entry(
            observed.stored_tokens[step.name].data["token"],
            issued_at=held.issued_at,
            lifetime=held.expires_at - held.issued_at,
            pending=self._bot.world.fresh_token(),
        )
        self._note_opaque(token, facts, self._bot.token_request(observed.recorded.rotated_for.get(step.name)))
        self._bot.audit("StageToken", token=step.name, why=step.why)

    def promote(self, step: PromoteToken, facts: BotFacts, observed: ObservedBot) -> None:
        """Have the entry with the pending token in the place of the one in use."""
        bot, token, held = self._bot, self._wanted(step.name), observed.opaque[step.name]
        data = observed.stored_tokens[step.name].data
        now = _whole_second(bot.provider.server_now())
        # One that has expired while servers were waited for is not kept any longer.
        previous = (data["token"], min(now + token.overlap, held.expires_at)) if held.expires_at > now else None
        facts.entries[step.name] = opaque_entry(
            data["pending_token"], issued_at=now, lifetime=token.lifetime, previous=previous
        )
        before = facts.tokens.get(step.name)
        self._note_opaque(token, facts, before.rotated_for if before is not None else None)
        bot.audit("PromoteToken", token=step.name, overlap=previous is not None)

    def end_previous(self, step: EndPreviousToken, facts: BotFacts, observed: ObservedBot) -> None:
        """Have the entry without the token before."""
        token, held = self._wanted(step.name), observed.opaque[step.name]
        data = observed.stored_tokens[step.name].data
        facts.entries[step.name] = opaque_entry(
            data["token"], issued_at=held.issued_at, lifetime=held.expires_at - held.issued_at
        )
        before = facts.tokens.get(step.name)
        self._note_opaque(token, facts, before.rotated_for if before is not None else None)
        self._bot.audit("EndPreviousToken", token=step.name)

    async def publish(self, step: PublishToken, facts: BotFacts) -> None:
        """Write the entry, with the place of its copy."""
        bot, token = self._bot, self._wanted(step.name)
        place = await self._place(token, facts)
        data = with_location(facts.entries[step.name], place)
        made = facts.made.get(step.name) or facts.tokens[step.name]
        retention = self._retention(token)
        path = bot.paths.token(step.name)
        written = await bot.store.write(path, data, bot.mark, version=step.version, retention=retention)
        facts.entries[step.name] = data
        facts.tokens[step.name] = replace(made, version=written, location=place)
        bot.audit("PublishToken", path=path, version=written)

    async def deliver(self, step: DeliverToken, facts: BotFacts) -> None:
        """Write the copy where the platform reads it."""
        bot, token, data = self._bot, self._wanted(step.name), facts.entries[step.name]
        place = delivered_to(data)
        if token.delivery is None or place is None:
            return
        version = step.version
        entries = bot.store.at(place.mount)
        if version is None:
            # Where it was put by an earlier pass that did not come to tell, it is ours already.
            found = await entries.read(place.path, bot.mark.owner)
            version = found.version if found is not None else None
        written = await entries.write(
            place.path,
            copy_of(data, token.delivery.key),
            bot.mark,
            version=version,
            retention=self._retention(token),
        )
        bot.audit("DeliverToken", token=step.name, mount=place.mount, path=place.path, version=written)

    async def withdraw_copy(self, name: str, observed: ObservedBot) -> None:
        """Remove the copy from where the entry says that it lies."""
        stored = observed.stored_tokens.get(name)
        place = delivered_to(stored.data) if stored is not None else None
        if place is None:
            return
        bot = self._bot
        await bot.store.at(place.mount).destroy(place.path, bot.desired.owner)
        bot.audit("WithdrawCopy", token=name, mount=place.mount, path=place.path)

    async def withdraw(self, name: str, facts: BotFacts, observed: ObservedBot) -> None:
        """Revoke a token, see it refused, and remove it and its copy."""
        bot = self._bot
        claims, credentials = observed.claims.get(name), bot.credentials(facts)
        if claims is not None and credentials is not None and claims.expires_at > bot.provider.server_now():
            token = observed.stored_tokens[name].data["token"]
            await bot.provider.revoke(token, credentials)
            if await bot.provider.token_accepted(token):
                message = f"Token {name} of client {bot.desired.client_id} was revoked and is still accepted"
                raise BackendUnavailableError(message, backend="keycloak")
            await self._leave_receipt(name, claims)
        await self.withdraw_copy(name, observed)
        await bot.store.destroy(bot.paths.token(name), bot.desired.owner)
        bot.audit("WithdrawToken", token=name, token_id=claims.token_id if claims is not None else None)

    async def _leave_receipt(self, name: str, claims: TokenClaims) -> None:
        """Tell of a published jwt that was revoked and seen refused, before Vault forgets it."""
        bot, at = self._bot, self._bot.provider.server_now()
        what, where = f"token {name} ({claims.token_id})", f"{ADMIN_API} {bot.desired.issuer_url}"
        seen = [Presented(what, where, "refused (401)", at)]
        note = f"a verifier that only checks signatures may take it until {rfc3339(claims.expires_at)}"
        await leave_receipt_of_credential(bot.world, bot.body, seen, what=what, cause=Cause.WITHDRAWN, note=note)

    def _wanted(self, name: str) -> DesiredToken:
        token = self._bot.desired.token(name)
        if token is None:
            message = f"a plan names token {name}, which is not wanted"
            raise LookupError(message)
        return token

    def _note_opaque(self, token: DesiredToken, facts: BotFacts, rotated_for: str | None) -> None:
        made = opaque_in(facts.entries[token.name])
        if made is None:
            message = f"the entry made for token {token.name} is not well-formed"
            raise LookupError(message)
        facts.made[token.name] = opaque_fact(made, 0, self._bot.desired.ask_hash(token), rotated_for=rotated_for)

    def _retention(self, token: DesiredToken) -> Retention:
        return token_retention(token.lifetime or self._bot.desired.lifetime)

    async def _place(self, token: DesiredToken, facts: BotFacts) -> Location | None:
        if token.delivery is None:
            return None
        return token.delivery.location(facts.subject) or token.delivery.location(await self._bot.subject(facts))


def _whole_second(instant: datetime) -> datetime:
    return datetime.fromtimestamp(int(instant.timestamp()), UTC)
