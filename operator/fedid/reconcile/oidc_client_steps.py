"""Carries out the plan of one Keycloak client of a server, step by step."""

from __future__ import annotations

from typing import Any

from fedid.domain.bot_plan import NOT_BEFORE
from fedid.domain.bot_record import corrected
from fedid.domain.bot_steps import (
    AddScopes,
    BotStep,
    CreateClient,
    EndPreviousSecret,
    KeepSecret,
    ObservedBot,
    ProveSecret,
    PublishSecret,
    RemoveScopes,
    UpdateClient,
)
from fedid.domain.conditions import Reason
from fedid.domain.oidc_client_record import DesiredOidcClient, oidc_client_record
from fedid.domain.resources import Body, meta_of
from fedid.domain.rotation import RotationRequest
from fedid.domain.tokens import ClientCredentials
from fedid.errors import BackendUnavailableError, NotReadyError
from fedid.reconcile.bot_context import BotContext, BotFacts, facts_before
from fedid.reconcile.bot_secret import SecretSteps
from fedid.reconcile.roles import scope_names
from fedid.reconcile.status import was_taken
from fedid.reconcile.world import Backends, World

__all__ = ["OidcClientSteps"]


class OidcClientSteps:
    """Applies plans to one client of a server."""

    def __init__(
        self,
        world: World,
        body: Body,
        desired: DesiredOidcClient,
        backends: Backends,
        request: RotationRequest | None,
    ) -> None:
        """Work on this client."""
        self._world = world
        self._body = body
        self._desired = desired
        self._provider = backends.identity_provider
        self._context = BotContext(world, body, desired.as_bot, backends, request)
        self._secrets = SecretSteps(self._context)

    async def apply(self, plan: tuple[BotStep, ...], observed: ObservedBot) -> BotFacts | None:
        """Carry out the steps; None if the client to be created was there already.

        Raises:
            Error: A step failed; what was done before it stays and is found again by the next pass.
        """
        facts = facts_before(self._context, observed)
        for step in plan:
            with self._world.audit.attempt(type(step).__name__, key=self._context.key):
                if isinstance(step, CreateClient):
                    if not await self._create(step, facts, observed):
                        return None
                else:
                    await self._take(step, facts, observed)
        facts.published = any(isinstance(step, PublishSecret) for step in plan)
        return facts

    async def tell_repair(self, plan: tuple[BotStep, ...]) -> None:
        """Tell an Event about what the plan had to put right."""
        repaired = [text for step in plan if (text := _repair(step)) is not None]
        if any(isinstance(step, CreateClient) for step in plan):
            repaired = ["the client (deleted)"]
        if repaired:
            message = f"Client {self._desired.client_id} changed by hand and put back: {', '.join(repaired)}"
            await self._world.cluster.emit(
                self._body, reason="DriftRepaired", message=message, warning=True, action="Repair"
            )

    async def _take(self, step: BotStep, facts: BotFacts, observed: ObservedBot) -> None:
        match step:
            case UpdateClient():
                await self._update(step, facts, observed)
            case AddScopes() | RemoveScopes():
                await self._change_scopes(step)
            case KeepSecret():
                await self._secrets.keep(facts)
            case EndPreviousSecret():
                await self._secrets.end_previous(facts, observed)
            case ProveSecret():
                await self._prove(facts)
            case PublishSecret(version):
                await self._secrets.publish(version, facts)
            case _:
                message = f"{type(step).__name__} is no step of a server's client"
                raise AssertionError(message)

    async def _create(self, step: CreateClient, facts: BotFacts, observed: ObservedBot) -> bool:
        client_id, provider = self._desired.client_id, self._provider
        kept = observed.stored_client.data.get("client_secret") if observed.stored_client is not None else None
        facts.secret = kept if step.keep_secret and kept is not None else self._world.fresh_secret()
        if self._desired.public:
            facts.secret = None
        now, last = provider.server_now(), self._world.last_deletions.get(client_id)
        if self._had_another_client():
            last = self._world.note_absence(client_id, provider)
        if last is not None and now <= last:
            # notBefore must lie behind every token of the former client of this id, or they would be good again.
            message = f"Client {client_id} was deleted within this second; creating it in the next"
            raise NotReadyError(message, reason=Reason.PROGRESSING)
        record = oidc_client_record(self._desired, secret=facts.secret, not_before=int(now.timestamp()))
        created = await provider.create_client(record)
        if created:
            facts.previous_secret = facts.previous_ends_at = None
            self._context.note_secret_made(facts, now)
            self._audit("CreateClient")
        return created

    def _had_another_client(self) -> bool:
        """Tell whether a client of this id was there and is not any more, by no deletion of ours."""
        status: Any = self._body.get("status") or {}
        made = status.get("oidcClient") or {}
        return was_taken(status) or self._desired.client_uuid in {made.get("clientUuid"), made.get("publicClientUuid")}

    async def _update(self, step: UpdateClient, facts: BotFacts, observed: ObservedBot) -> None:
        fresh = self._world.fresh_secret() if step.replace_secret else None
        not_before = int(self._provider.server_now().timestamp()) if NOT_BEFORE in step.fields else 0
        record = oidc_client_record(self._desired, secret=fresh, not_before=not_before)
        await self._provider.update_client(corrected(record, observed.client) if observed.client else record)
        if fresh is not None:
            facts.secret = fresh
            self._context.note_secret_made(facts, self._provider.server_now())
        self._audit("UpdateClient", fields=[*step.fields, *(["secret"] if fresh is not None else [])])
        if fresh is not None:
            await self._secrets.end_replaced(facts, observed)

    async def _change_scopes(self, step: AddScopes | RemoveScopes) -> None:
        removes = isinstance(step, RemoveScopes)
        change = self._provider.remove_client_scope if removes else self._provider.add_client_scope
        for scope in sorted(step.scopes):
            await change(self._desired.client_uuid, scope)
        self._audit("RemoveScopes" if removes else "AddScopes", scopes=scope_names(step.scopes))

    async def _prove(self, facts: BotFacts) -> None:
        """See that the server will be able to authenticate, before anybody is told the secret."""
        secret, client_id = facts.secret, self._desired.client_id
        if secret is not None and await self._provider.authenticates(ClientCredentials(client_id, secret)):
            return
        self._world.freshness.expire(meta_of(self._body).key)
        message = f"Keycloak refuses the secret of client {client_id}; looking at the client again"
        raise BackendUnavailableError(message, backend="keycloak", reason=Reason.TOKEN_REJECTED)

    def _audit(self, step: str, **details: object) -> None:
        self._context.audit(step, client_id=self._desired.client_id, **details)


def _repair(step: BotStep) -> str | None:
    match step:
        case UpdateClient(fields, replace_secret, rotation):
            return ", ".join([*fields, *(["secret"] if replace_secret and not rotation else [])]) or None
        case AddScopes(scopes):
            return f"client scopes removed ({', '.join(scope_names(scopes))})"
        case RemoveScopes(scopes):
            return f"client scopes added ({', '.join(scope_names(scopes))})"
        case _:
            return None
