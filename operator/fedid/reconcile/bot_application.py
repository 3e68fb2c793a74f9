"""Carries out the plan of a bot, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from fedid.domain.bot import DesiredBot, has_secret
from fedid.domain.bot_keys import KeySlot
from fedid.domain.bot_plan import NOT_BEFORE
from fedid.domain.bot_record import corrected, desired_client
from fedid.domain.bot_steps import (
    AddRoles,
    AddScopes,
    AdoptClient,
    BotStep,
    CreateClient,
    DeliverToken,
    EndKeys,
    EndPreviousSecret,
    EndPreviousToken,
    KeepSecret,
    MakeToken,
    MintToken,
    ObservedBot,
    PromoteToken,
    ProveSecret,
    PublishKey,
    PublishSecret,
    PublishToken,
    RemoveRoles,
    RemoveScopes,
    StageKey,
    StageToken,
    UpdateClient,
    WithdrawCopy,
    WithdrawToken,
)
from fedid.domain.conditions import Reason
from fedid.domain.key_plan import signs
from fedid.domain.realm import SERVICE_ACCOUNTS, ClientRecord
from fedid.domain.resources import Body, meta_of
from fedid.domain.rotation import RotationRequest
from fedid.errors import NotReadyError
from fedid.reconcile.bot_context import BotContext, BotFacts, facts_before
from fedid.reconcile.bot_keys import KeySteps, listed_by
from fedid.reconcile.bot_secret import SecretSteps
from fedid.reconcile.bot_subject import require_subject_is_free
from fedid.reconcile.bot_tokens import BotTokenSteps
from fedid.reconcile.repairs import tell_repair
from fedid.reconcile.roles import ask_of, role_names, scope_names
from fedid.reconcile.status import was_taken
from fedid.reconcile.world import Backends, World

__all__ = ["BotApplication"]

_PUBLISHING = PublishSecret | PublishKey | PublishToken | DeliverToken | WithdrawCopy | WithdrawToken


class BotApplication:
    """Applies plans to one bot."""

    def __init__(  # noqa: PLR0913 - everything that a plan is carried out with
        self,
        world: World,
        body: Body,
        desired: DesiredBot,
        backends: Backends,
        *,
        request: RotationRequest | None,
        tell_repairs: bool,
    ) -> None:
        """Work on this bot; with `tell_repairs`, what has to be changed was changed by hand."""
        self._request = request
        self._world = world
        self._body = body
        self._tell_repairs = tell_repairs
        self._backends = backends
        self._provider = backends.identity_provider
        self._use(desired)

    async def apply(self, plan: tuple[BotStep, ...], observed: ObservedBot) -> BotFacts | None:
        """Carry out the steps; None if the client to be created was there already, or was adopted.

        Then what is to be done with it is known after another look: observe, then plan again.

        Raises:
            Error: A step failed; what was done before it stays and is found again by the next pass.
        """
        if observed.client is not None:
            # An adopted one keeps its id.
            self._use(replace(self._desired, client_uuid=observed.client.client_uuid))
        facts = facts_before(self._context, observed)
        if signs(self._desired):
            facts.listed = listed_by(plan)
        for step in plan:
            with self._world.audit.attempt(type(step).__name__, key=self._context.key):
                if not await self._take(step, facts, observed):
                    return None
        facts.published = any(isinstance(step, _PUBLISHING) for step in plan)
        await self._tell_repair(plan, observed)
        return facts

    async def _take(self, step: BotStep, facts: BotFacts, observed: ObservedBot) -> bool:  # noqa: PLR0912
        match step:
            case CreateClient() | AdoptClient():
                return await self._begin_client(step, facts, observed)
            case RemoveScopes() | AddScopes():
                await self._change_scopes(step)
            case KeepSecret():
                await self._secrets.keep(facts)
            case StageKey():
                await self._keys.stage(step, facts)
            case EndKeys():
                await self._keys.end(facts, observed)
            case UpdateClient():
                await self._update_client(step, facts, observed)
            case EndPreviousSecret():
                await self._secrets.end_previous(facts, observed)
            case AddRoles(roles):
                await self._provider.add_roles(await self._context.subject(facts), roles)
                self._context.audit("AddRoles", asks=map(ask_of, roles), roles=role_names(roles))
            case RemoveRoles(roles):
                await self._provider.remove_roles(await self._context.subject(facts), roles)
                self._context.audit("RemoveRoles", roles=role_names(roles))
            case ProveSecret():
                await self._secrets.prove(facts, observed)
            case MintToken():
                await self._tokens.mint(step, facts, observed)
            case MakeToken():
                self._tokens.make(step, facts, observed)
            case StageToken():
                self._tokens.stage(step, facts, observed)
            case PromoteToken():
                self._tokens.promote(step, facts, observed)
            case EndPreviousToken():
                self._tokens.end_previous(step, facts, observed)
            case PublishSecret(version):
                await self._secrets.publish(version, facts)
            case PublishKey():
                await self._keys.publish(step, facts, observed)
            case PublishToken():
                await self._tokens.publish(step, facts)
            case DeliverToken():
                await self._tokens.deliver(step, facts)
            case WithdrawCopy(name):
                await self._tokens.withdraw_copy(name, observed)
            case WithdrawToken(name):
                await self._tokens.withdraw(name, facts, observed)
            case _:
                assert_never(step)
        return True

    def _use(self, desired: DesiredBot) -> None:
        self._desired = desired
        self._context = BotContext(self._world, self._body, desired, self._backends, self._request)
        self._secrets = SecretSteps(self._context)
        self._keys = KeySteps(self._context)
        self._tokens = BotTokenSteps(self._context, self._secrets)

    async def _begin_client(self, step: CreateClient | AdoptClient, facts: BotFacts, observed: ObservedBot) -> bool:
        if isinstance(step, CreateClient):
            return await self._create_client(step, facts, observed)
        await self._adopt_client(step.client)
        return False

    async def _create_client(self, step: CreateClient, facts: BotFacts, observed: ObservedBot) -> bool:
        await require_subject_is_free(self._desired, self._backends)
        kept = observed.stored_client.data.get("client_secret") if observed.stored_client is not None else None
        facts.secret = kept if step.keep_secret and kept else self._world.fresh_secret()
        if not has_secret(self._desired):
            facts.secret = None  # Keycloak makes one, which opens nothing
        now = self._provider.server_now()
        last = self._world.last_deletions.get(self._desired.client_id)
        if self._had_another_client():
            last = self._world.note_absence(self._desired.client_id, self._provider)
        if last is not None and now <= last:
            # notBefore must lie behind every token of the former client of this id, or they would be good again.
            message = f"Client {self._desired.client_id} was deleted within this second; creating it in the next"
            raise NotReadyError(message, reason=Reason.PROGRESSING)
        keys = self._public_keys(step.keys, facts)
        client = desired_client(self._desired, secret=facts.secret, not_before=int(now.timestamp()), keys=keys)
        created = await self._provider.create_client(client)
        if created:
            facts.subject = facts.previous_secret = facts.previous_ends_at = None
            if not step.keys:
                self._context.note_secret_made(facts, now)
            self._context.audit("CreateClient", client_id=self._desired.client_id)
        return created

    async def _adopt_client(self, client: ClientRecord) -> None:
        """Make it ours in one write: mark, flags, mappers, addresses, secret, and an end to the tokens of before.

        Whoever put its service account into groups gave it their roles, so it leaves them before; that is repeated if
        a crash comes in between, which it could not be once the client is ours.
        """
        provider = self._provider
        await require_subject_is_free(replace(self._desired, client_uuid=client.client_uuid), self._backends)
        if client.flags.get(SERVICE_ACCOUNTS):
            account = await provider.service_account_id(client.client_uuid)
            for group_id in (await provider.user_groups(account)).values():
                await provider.leave_group(account, group_id)
        # The next second: tokens of this one are not to be told apart from those that were there.
        after = int(provider.server_now_at_most().timestamp()) + 1
        wanted = desired_client(self._desired, secret=self._world.fresh_secret(), not_before=after)
        await provider.update_client(corrected(replace(wanted, client_uuid=client.client_uuid), client))
        self._context.audit("AdoptClient", client_id=client.client_id, client_uuid=client.client_uuid)
        message = f"Client {client.client_id} had no owner and was taken over; its secret and its tokens ended"
        await self._world.cluster.emit(
            self._body, reason="ClientAdopted", message=message, warning=False, action="Adopt"
        )

    def _had_another_client(self) -> bool:
        """Tell whether a client of this id was there and is not any more, by no deletion of ours."""
        status = self._body.get("status") or {}
        return was_taken(status) or status.get("clientUuid") is not None

    async def _update_client(self, step: UpdateClient, facts: BotFacts, observed: ObservedBot) -> None:
        fresh = self._world.fresh_secret() if step.replace_secret else None
        not_before = int(self._provider.server_now().timestamp()) if NOT_BEFORE in step.fields else 0
        keys = self._public_keys(step.keys, facts)
        client = desired_client(self._desired, secret=fresh, not_before=not_before, keys=keys)
        await self._provider.update_client(corrected(client, observed.client) if observed.client else client)
        if fresh is not None:
            facts.secret = fresh
            self._context.note_secret_made(facts, self._provider.server_now())
        self._context.audit("UpdateClient", fields=[*step.fields, *(["secret"] if fresh is not None else [])])
        if fresh is not None:
            await self._secrets.end_replaced(facts, observed)

    def _public_keys(self, slots: tuple[KeySlot, ...], facts: BotFacts) -> list[Mapping[str, str]]:
        return [facts.keys[slot].public_key for slot in slots]

    async def _change_scopes(self, step: RemoveScopes | AddScopes) -> None:
        removes = isinstance(step, RemoveScopes)
        change = self._provider.remove_client_scope if removes else self._provider.add_client_scope
        for scope in sorted(step.scopes):
            await change(self._desired.client_uuid, scope)
        self._context.audit("RemoveScopes" if removes else "AddScopes", scopes=scope_names(step.scopes))

    async def _tell_repair(self, plan: tuple[BotStep, ...], observed: ObservedBot) -> None:
        """Tell an Event about what somebody changed by hand; a change of the spec is no repair."""
        status = self._body.get("status") or {}
        if not self._tell_repairs or not observed.keycloak_seen or observed.recorded.withdrawn:
            return
        if status.get("observedGeneration") != meta_of(self._body).generation:
            return
        asked = {token.name: self._desired.ask_hash(token) for token in self._desired.tokens}
        if any(asked.get(name) != hashed for name, hashed in observed.recorded.ask_hashes.items()):
            return  # the Federation's defaults changed
        # A client that was deleted took its roles along.
        made_anew = [step for step in plan if isinstance(step, CreateClient)]
        told: list[BotStep] = [*(made_anew or plan)]
        if any(step == EndPreviousSecret() or (isinstance(step, UpdateClient) and step.rotation) for step in told):
            # Its time has come, no hand did it.
            told = [step for step in told if not isinstance(step, PublishSecret | PublishKey)]
        remade = {step.name for step in told if isinstance(step, PublishToken)}
        repaired = [text for step in told if (text := _repair(step, remade)) is not None]
        if not repaired or status.get("clientUuid") is None:
            return
        await tell_repair(self._world, self._body, repaired)


def _repair(step: BotStep, remade: set[str]) -> str | None:
    match step:
        case CreateClient():
            return "the client (deleted)"
        case UpdateClient(fields, replace_secret, rotation):
            return ", ".join([*fields, *(["secret"] if replace_secret and not rotation else [])]) or None
        case AddScopes(scopes):
            return f"client scopes removed ({', '.join(scope_names(scopes))})"
        case RemoveScopes(scopes):
            return f"client scopes added ({', '.join(scope_names(scopes))})"
        case AddRoles(roles):
            return f"roles removed ({', '.join(role_names(roles))})"
        case RemoveRoles(roles):
            return f"roles added ({', '.join(role_names(roles))})"
        case MintToken(name, why) | MakeToken(name, why) if "Vault" in why:
            return f"token {name} ({why})"
        case DeliverToken(name) if name not in remade:
            return f"the copy of token {name} in Vault"
        case PublishKey(_, rotation) if not rotation:
            return "the private key in Vault"
        case PublishSecret():
            return "the bot secret in Vault"
        case _:
            return None
