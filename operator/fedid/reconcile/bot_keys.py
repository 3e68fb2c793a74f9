"""Carries out the steps of a bot's plan that are about its private key."""

from __future__ import annotations

from fedid.domain.bot_keys import KeySlot
from fedid.domain.bot_steps import BotStep, CreateClient, ObservedBot, PublishKey, StageKey, UpdateClient
from fedid.domain.conditions import rfc3339
from fedid.domain.key_plan import key_entry
from fedid.domain.receipt import REFUSED, TOKEN_ENDPOINT, Presented
from fedid.domain.tokens import PrivateKey
from fedid.errors import BackendUnavailableError
from fedid.reconcile.bot_context import BotContext, BotFacts
from fedid.reconcile.bot_paths import SECRET_RETENTION
from fedid.reconcile.receipts import leave_receipt_of_credential

__all__ = ["KeySteps", "listed_by"]


def listed_by(plan: tuple[BotStep, ...]) -> tuple[KeySlot, ...]:
    """Return whose public parts the client lists once the plan was carried out; it says so alike wherever it does."""
    for step in plan:
        if isinstance(step, CreateClient | UpdateClient | PublishKey) and step.keys:
            return step.keys
    return (KeySlot.CURRENT,)


class KeySteps:
    """Makes, puts to use and ends the keys of one bot."""

    def __init__(self, context: BotContext) -> None:
        """Work on this bot."""
        self._bot = context

    async def stage(self, step: StageKey, facts: BotFacts) -> None:
        """Make a key and put it into Vault, beside those that are there, before Keycloak hears of it."""
        bot, made = self._bot, self._bot.world.fresh_key()
        facts.keys[KeySlot.PENDING] = made
        data = key_entry(
            bot.desired,
            facts.keys.get(KeySlot.CURRENT),
            issued_at=facts.secret_issued_at,
            pending=made,
            previous=facts.keys.get(KeySlot.PREVIOUS),
        )
        facts.secret_version = await bot.store.write(
            bot.paths.key, data, bot.mark, version=step.version, retention=SECRET_RETENTION
        )
        bot.audit("StageKey", path=bot.paths.key, version=facts.secret_version, key_id=made.key_id)

    async def end(self, facts: BotFacts, observed: ObservedBot) -> None:
        """See every key refused that was in Vault and is not listed any more."""
        bot, client_id = self._bot, self._bot.desired.client_id
        good = {facts.keys[slot].key_id for slot in facts.listed if slot in facts.keys}
        ended = [key for key in observed.keys.by_slot.values() if key.key_id not in good]
        for key in ended:
            if not await bot.provider.credentials_refused(PrivateKey(client_id, key.private_key, key.key_id)):
                message = f"Keycloak still accepts the former key {key.key_id} of client {client_id}; ending it again"
                raise BackendUnavailableError(message, backend="keycloak")
        bot.audit("EndKeys", client_id=client_id, refused=[key.key_id for key in ended])
        if ended:
            at, where = bot.provider.server_now(), f"{TOKEN_ENDPOINT} {bot.desired.issuer_url}"
            seen = [Presented(f"private key {key.key_id}", where, REFUSED, at) for key in ended]
            which = " ".join(sorted(key.key_id for key in ended))
            note = f"access tokens that were got with it before {rfc3339(at)} are good until they expire"
            await leave_receipt_of_credential(bot.world, bot.body, seen, what=f"keys {which}", note=note)

    async def publish(self, step: PublishKey, facts: BotFacts, observed: ObservedBot) -> None:
        """Write the key in use, and the one before while it is good too; then have consumers come for it at once."""
        bot, keys, now = self._bot, facts.keys, self._bot.provider.server_now()
        pending = keys.pop(KeySlot.PENDING, None)
        if KeySlot.PENDING in step.keys and pending is not None:
            current, previous, issued_at = pending, keys.get(KeySlot.CURRENT), now
            previous = previous if KeySlot.CURRENT in step.keys else None
            bot.note_request(facts)
        elif (held := keys.get(KeySlot.CURRENT)) is not None:
            current, issued_at = held, facts.secret_issued_at or now
            previous = keys.get(KeySlot.PREVIOUS) if KeySlot.PREVIOUS in step.keys else None
        else:
            message = f"The key of {bot.key} is not known; looking at Vault again"
            raise BackendUnavailableError(message, backend="vault")
        facts.keys = {KeySlot.CURRENT: current} | ({KeySlot.PREVIOUS: previous} if previous is not None else {})
        facts.listed = tuple(facts.keys)
        facts.secret_issued_at = issued_at
        facts.previous_ends_at = issued_at + bot.desired.rotation.overlap if previous is not None else None
        stored = observed.stored_client
        found = facts.secret_version if facts.secret_version is not None else stored.version if stored else None
        data = key_entry(bot.desired, current, issued_at=issued_at, previous=previous)
        facts.secret_version = await bot.store.write(
            bot.paths.key, data, bot.mark, version=found, retention=SECRET_RETENTION
        )
        bot.audit("PublishKey", path=bot.paths.key, version=facts.secret_version, key_id=current.key_id)
        for pod in bot.world.directory.pods_of_bot(bot.key):
            bot.world.wake(pod)
