"""The end of a bot at the authority: seen alive once more, its tokens revoked, its client deleted or ended."""

from __future__ import annotations

from dataclasses import replace

from fedid.domain.bot_authentication import (
    BotAuthentication,
    ClientSecret,
    PrivateKeyJwt,
    ServiceAccount,
    authenticator_attributes,
    authenticator_of,
)
from fedid.domain.bot_keys import public_keys_in
from fedid.domain.conditions import Condition, ConditionType, Reason, rfc3339
from fedid.domain.realm import SERVICE_ACCOUNTS, ClientRecord
from fedid.domain.receipt import ADMIN_API, Presented, evidence_fields
from fedid.domain.resources import Body, BotClient, Meta
from fedid.domain.tokens import ClientAuthentication, ClientCredentials, MintedToken, PrivateKey
from fedid.errors import BackendRejectedError, OwnershipConflictError
from fedid.reconcile.bot_evidence import Evidence
from fedid.reconcile.bot_observation import client_of_bot
from fedid.reconcile.bot_retention import BotRetention
from fedid.reconcile.retention import is_retained, revocation_of
from fedid.reconcile.status import write_status
from fedid.reconcile.world import Backends, World

__all__ = ["BotAtAuthority"]


class BotAtAuthority:
    """Ends bots in Keycloak."""

    def __init__(self, world: World, retention: BotRetention) -> None:
        """Work in this world; what stays is ended by `retention`."""
        self._world = world
        self._retention = retention

    async def end(self, body: Body, spec: BotClient, evidence: Evidence, backends: Backends) -> Body:
        """Record the positive check, revoke what was published, delete the client (or end all use of it).

        Returns:
            The newest body.

        Raises:
            OwnershipConflictError: The client that we made carries another's mark by now.
            Error: Keycloak does not let us finish.
        """
        world, provider, meta = self._world, backends.identity_provider, spec.meta
        client = await client_of_bot(
            backends, body.get("status") or {}, uid=meta.uid, client_id=evidence.client_id, owner=world.owner(meta.uid)
        )
        if client is None:
            seen_alive = revocation_of(body).get("positiveCheckAt")
            if evidence.tokens or evidence.secrets or evidence.keys or evidence.client_uuid or seen_alive:
                # An earlier pass, maybe of an earlier process, or a hand, deleted it: at the latest now.
                world.note_absence(evidence.client_id, provider)
            return body
        if is_retained(body) and revocation_of(body).get("provenAt"):
            return body  # all that is left to do is to release it, and maybe that is done too
        if client.owner != world.owner(meta.uid) and not (body.get("status") or {}).get("clientUuid"):
            return body  # one that was released by an earlier suspension, and nothing was made since
        if client.owner != world.owner(meta.uid):
            message = (
                f"Client {client.client_id} ({client.client_uuid}) now carries the owner mark "
                f"{client.owner or 'of nobody'}, so it is left untouched and this object waits; put the attribute "
                "fedid.owner back, or delete the client"
            )
            raise OwnershipConflictError(message, backend="keycloak")
        evidence.lifetime = client.token_lifetime
        if evidence.subject is not None:
            evidence.client_uuid = client.client_uuid
        if isinstance(spec.authentication, ClientSecret):
            evidence.add_secret(client.secret)
            evidence.add_secret(client.previous_secret)
        credentials = await self._restore(client, spec.authentication, evidence, backends)
        if credentials is not None:
            body = await self._check_positive(body, evidence, credentials, backends)
            await self._revoke(meta, evidence, credentials, backends)
        if is_retained(body):
            await self._retention.end(client, backends)
            world.audit("EndClient", key=meta.key, client_id=client.client_id)
            return body
        await provider.delete_client(client.client_uuid)
        world.note_deletion(evidence.client_id, provider)
        world.audit("DeleteClient", key=meta.key, client_id=client.client_id)
        return body

    async def _restore(
        self, client: ClientRecord, authentication: BotAuthentication, evidence: Evidence, backends: Backends
    ) -> ClientAuthentication | None:
        """Return what the client signs in with, for the last time; only it can revoke its tokens.

        Where a hand took that from the client, or a key from Vault, it is let in again for that, with a key of this
        very moment if need be. None: only pods can, or there is no secret.
        """
        listed = public_keys_in(client.attributes)
        flags, attributes = {**client.flags, SERVICE_ACCOUNTS: True}, dict(client.attributes)
        signs_in = client.flags.get(SERVICE_ACCOUNTS) and client.authenticator == authenticator_of(authentication)
        credentials: ClientAuthentication
        match authentication:
            case ServiceAccount():
                return None
            case ClientSecret():
                if client.secret is None:
                    return None
                credentials = ClientCredentials(client.client_id, client.secret)
            case PrivateKeyJwt():
                known = (key for key in evidence.keys if key.key_id in listed)
                last = next(known, None)
                if last is None:
                    made = self._world.fresh_key()
                    last, signs_in = PrivateKey(client.client_id, made.private_key, made.key_id), False
                    attributes |= authenticator_attributes(authentication, keys=[made.public_key])
                    evidence.keys.append(last)
                credentials = last
        if not signs_in:
            authenticator = authenticator_of(authentication)
            restored = replace(client, authenticator=authenticator, flags=flags, attributes=attributes, secret=None)
            await backends.identity_provider.update_client(restored)
        return credentials

    async def _revoke(
        self, meta: Meta, evidence: Evidence, credentials: ClientAuthentication, backends: Backends
    ) -> None:
        """Revoke what was published, in the name of the client.

        A client that was changed by hand may not be let in for that. That must not keep it alive: its deletion ends
        every token at once, the proof follows, and a client made anew under the same id refuses what is older.
        """
        for name, token in evidence.tokens.items():
            try:
                await backends.identity_provider.revoke(token.token, credentials)
            except BackendRejectedError as error:
                self._world.audit("RevokeRefused", key=meta.key, token=name, error=error.message)

    async def _check_positive(
        self, body: Body, evidence: Evidence, credentials: ClientAuthentication, backends: Backends
    ) -> Body:
        """See a token accepted, so that its refusal will mean something, and record that before anything ends."""
        provider, status = backends.identity_provider, body.get("status") or {}
        if (status.get("revocation") or {}).get("positiveCheckAt"):
            return body
        now = provider.server_now()
        alive = next((t for t in evidence.tokens.values() if t.claims.expires_at > now), None)
        if alive is None or not await provider.token_accepted(alive.token):
            alive = await self._probe(credentials, backends)
            if alive is None:
                return body  # somebody disabled the client: nothing of it is accepted, so nothing can be seen alive
            evidence.tokens[""] = alive
            if not await provider.token_accepted(alive.token):
                return body
        checked_at = rfc3339(self._world.clock.now())
        token_id = alive.claims.token_id
        accepted = Presented(
            f"token ({token_id})", f"{ADMIN_API} {evidence.authority}", "accepted", provider.server_now()
        )
        revocation = {
            "startedAt": checked_at,
            **(status.get("revocation") or {}),
            "positiveCheckAt": checked_at,
            "tokenId": alive.claims.token_id,
            "evidence": evidence_fields([accepted]),
        }
        message = f"Token {alive.claims.token_id} was accepted at {checked_at}; ending it now"
        told = (
            Condition(ConditionType.READY, False, Reason.REVOKING, "The bot is being revoked"),
            Condition(ConditionType.REVOKED, False, Reason.REVOKING, message),
        )
        return await write_status(self._world, body, told, {"revocation": revocation}) or body

    async def _probe(self, credentials: ClientAuthentication, backends: Backends) -> MintedToken | None:
        """Return a fresh token, None where a hand made the client unable to get one."""
        try:
            return await backends.identity_provider.mint(credentials)
        except BackendRejectedError:
            return None
