"""Carries out the steps of a bot's plan that are about its secret."""

from __future__ import annotations

from fedid.domain.bot import PREVIOUS_SECRET, client_entry, has_secret
from fedid.domain.bot_authentication import ServiceAccount, credential_name
from fedid.domain.bot_plan import CLOCK_TOLERANCE_SECONDS
from fedid.domain.bot_record import client_differences, desired_client
from fedid.domain.bot_steps import ObservedBot
from fedid.domain.conditions import Reason, rfc3339
from fedid.domain.receipt import REFUSED, TOKEN_ENDPOINT, Presented
from fedid.domain.tokens import MintedToken, TokenExpectation, token_faults
from fedid.errors import BackendRejectedError, BackendUnavailableError, NotReadyError
from fedid.reconcile.bot_context import BotContext, BotFacts
from fedid.reconcile.bot_paths import SECRET_RETENTION
from fedid.reconcile.receipts import leave_receipt_of_credential

__all__ = ["SecretSteps"]


class SecretSteps:
    """Replaces, proves, publishes and ends the secrets of one bot."""

    def __init__(self, context: BotContext) -> None:
        """Work on this bot."""
        self._bot = context

    async def keep(self, facts: BotFacts) -> None:
        """Have Keycloak keep the secret in use as the previous one."""
        bot = self._bot
        kept = await bot.provider.keep_secret(bot.desired.client_uuid)
        facts.previous_secret = facts.secret if kept else None
        ends_at = bot.provider.server_now() + bot.desired.rotation.overlap
        facts.previous_ends_at = ends_at if kept else None
        facts.secret = None
        bot.audit("KeepSecret", client_id=bot.desired.client_id, kept=kept)
        if not kept:
            # The policy went between the look at it and now.
            message = (
                "Keycloak ended the former bot secret at once: the realm's client policy for two secrets does not hold "
                "for this client any more. Clients are refused until they read the new secret"
            )
            await bot.world.cluster.emit(
                bot.body, reason="OverlapLost", message=message, warning=True, action="RotateSecret"
            )

    async def end_previous(self, facts: BotFacts, observed: ObservedBot) -> None:
        """End the previous secret and see it refused."""
        bot = self._bot
        client_id = bot.desired.client_id
        previous = facts.previous_secret
        if previous is None and observed.stored_client is not None:
            previous = observed.stored_client.data.get(PREVIOUS_SECRET)
        await bot.provider.end_previous_secret(bot.desired.client_uuid)
        if previous is not None and not await bot.provider.credentials_refused(bot.former_credentials(previous)):
            message = f"Keycloak still accepts the former secret of client {client_id}; ending it again"
            raise BackendUnavailableError(message, backend="keycloak")
        facts.previous_secret = facts.previous_ends_at = None
        bot.audit("EndPreviousSecret", client_id=client_id, refused=previous is not None)
        if previous is not None:
            await self._leave_receipt(observed, "former")

    async def end_replaced(self, facts: BotFacts, observed: ObservedBot) -> None:
        """See the published secret refused that was replaced without an overlap."""
        bot, stored = self._bot, observed.stored_client
        ended = stored.data.get("client_secret") if stored is not None else None
        still_good = {facts.secret, facts.previous_secret, observed.client and observed.client.previous_secret}
        if ended is None or ended in still_good:
            return
        if not await bot.provider.credentials_refused(bot.former_credentials(ended)):
            message = f"Keycloak still accepts the former secret of client {bot.desired.client_id}; replacing it again"
            raise BackendUnavailableError(message, backend="keycloak")
        await self._leave_receipt(observed, "replaced")

    async def _leave_receipt(self, observed: ObservedBot, which: str) -> None:
        """Tell of a secret that was seen refused, before Vault forgets it: until then it is found again."""
        bot, stored = self._bot, observed.stored_client
        provider, issuer_url = bot.provider, bot.desired.issuer_url
        what = f"{which} bot secret of client {bot.desired.client_id}"
        seen = Presented(what, f"{TOKEN_ENDPOINT} {issuer_url}", REFUSED, provider.server_now())
        note = f"access tokens that were got with it before {rfc3339(seen.at)} are good until they expire"
        # Of its own entry in Vault there is one version for each secret; Keycloak has no name for one.
        which_one = f"{which} secret, version {stored.version if stored is not None else None} in Vault"
        await leave_receipt_of_credential(bot.world, bot.body, [seen], what=which_one, note=note)

    async def prove(self, facts: BotFacts, observed: ObservedBot) -> None:
        """See that the bot can authenticate: by doing so, or, where only its pods can, by what its client says."""
        bot = self._bot
        if not isinstance(bot.desired.authentication, ServiceAccount):
            await self.mint(facts, observed)
            return
        found = await bot.provider.read_client(bot.desired.client_uuid)
        wanted = desired_client(bot.desired, secret=None)
        if found is None or found.owner != bot.desired.owner or client_differences(wanted, found):
            bot.world.freshness.expire(bot.key)
            message = f"Client {bot.desired.client_id} does not read back as it was written; looking at it again"
            raise BackendUnavailableError(message, backend="keycloak")
        await bot.subject(facts)
        bot.audit("ReadClientBack", client_id=bot.desired.client_id, subject=bot.desired.authentication.subject)

    async def mint(
        self, facts: BotFacts, observed: ObservedBot, expected: TokenExpectation | None = None
    ) -> MintedToken:
        """Mint a token with the bot secret, or the key, and check it against the spec; that proves the secret too."""
        bot = self._bot
        expected = expected or bot.desired.expectation()
        credentials, what = bot.credentials(facts), credential_name(bot.desired.authentication)
        if credentials is None:
            bot.world.freshness.expire(bot.key)
            message = f"The {what} of {bot.key} is not in Vault; looking at Keycloak again"
            raise BackendUnavailableError(message, backend="vault")
        self._require_not_before_passed(observed)
        client_id = bot.desired.client_id
        minted = await bot.provider.mint(credentials, expected.scopes)
        faults = token_faults(minted.claims, expected) if minted is not None else ()
        if minted is None or (faults and not observed.keycloak_seen):
            # On a pass that only renews, somebody changed the client since the last look: look at everything.
            bot.world.freshness.expire(bot.key)
            wrong = f"gives a token that is not good ({'; '.join(faults)})" if faults else f"refuses the {what}"
            message = f"Keycloak {wrong} for client {client_id}; looking at the client again"
            raise BackendUnavailableError(message, backend="keycloak", reason=Reason.TOKEN_REJECTED)
        if faults:
            message = f"A token of client {client_id} was minted and is not published: {'; '.join(faults)}"
            raise BackendRejectedError(message, backend="keycloak", reason=Reason.TOKEN_REJECTED)
        facts.subject = minted.claims.subject
        return minted

    def _require_not_before_passed(self, observed: ObservedBot) -> None:
        """Wait for the second from which on the client's tokens are good; one far ahead is being put back."""
        bot = self._bot
        if observed.client is None:
            return
        ahead = observed.client.not_before - bot.provider.server_now().timestamp()
        if 0 < ahead <= CLOCK_TOLERANCE_SECONDS:
            message = f"Tokens of client {bot.desired.client_id} are good from the next second on; minting one then"
            raise NotReadyError(message, reason=Reason.PROGRESSING)

    async def publish(self, version: int | None, facts: BotFacts) -> None:
        """Write the secret, and the one before while it is good, to Vault; then have consumers come for it at once."""
        bot = self._bot
        if facts.secret is None and has_secret(bot.desired):
            message = f"The bot secret of {bot.key} is not known; looking at Keycloak again"
            raise BackendUnavailableError(message, backend="keycloak")
        data = client_entry(bot.desired, facts.secret, facts.previous_secret)
        facts.secret_version = await bot.store.write(
            bot.paths.client, data, bot.mark, version=version, retention=SECRET_RETENTION
        )
        bot.audit("PublishSecret", path=bot.paths.client, version=facts.secret_version)
        if not (bot.body.get("status") or {}).get("secret"):
            return  # what they wait for is yet to come
        for pod in bot.world.directory.pods_of_bot(bot.key):
            # Not only at the end of the pass: without an overlap they are refused until they have the new one.
            bot.world.wake(pod)
