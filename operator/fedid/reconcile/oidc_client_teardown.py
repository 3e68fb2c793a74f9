"""The end of a server's clients: seen alive, deleted, seen dead, forgotten; only then is the object let go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fedid.domain.bot import PREVIOUS_SECRET
from fedid.domain.conditions import Condition, ConditionType, Reason, condition_of, rfc3339
from fedid.domain.oidc_client_record import client_uuids
from fedid.domain.realm import DEVICE_FLOW, SERVICE_ACCOUNTS, ClientRecord
from fedid.domain.receipt import (
    ADMIN_API,
    REFUSED,
    TOKEN_ENDPOINT,
    Presented,
    cause_of,
    evidence_fields,
    evidence_in,
    receipt_of,
)
from fedid.domain.resources import Body, meta_of
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials, latest_end
from fedid.errors import BackendError, BackendRejectedError, BackendUnavailableError, OwnershipConflictError
from fedid.ports import IdentityProvider
from fedid.reconcile.bot_paths import BotPaths
from fedid.reconcile.gate import without_finalizer
from fedid.reconcile.receipts import gone_from_vault, leave_receipt, withdrawal_of
from fedid.reconcile.status import kept_conditions, newest_of, write_status
from fedid.reconcile.world import Backends, World

__all__ = ["OidcClientTeardown", "anything_made"]


@dataclass(slots=True)
class _Evidence:
    """What the server had, presented again once it was ended."""

    client_id: str
    authority: str
    """Issuer URL of the realm."""
    secrets: list[Sensitive] = field(default_factory=list)
    uuids: list[str] = field(default_factory=list)
    left: str | None = None
    """Why the entry in Vault stays."""
    vault_error: BackendError | None = None
    """Vault was away: the authority goes first."""
    lifetime: timedelta | None = None
    """Of access tokens that its clients get; None: they get none, or were gone before anybody looked."""

    seen: list[Presented] = field(default_factory=list)
    """What was presented or looked for in this pass, and what answered."""

    def note(self, what: str, place: str, answer: str, at: datetime) -> None:
        self.seen.append(Presented(what, f"{place} {self.authority}", answer, at))

    def add(self, secret: Sensitive | None) -> None:
        if secret is not None and secret not in self.secrets:
            self.secrets.append(secret)


def anything_made(body: Body) -> bool:
    """Tell whether something of a server's clients may exist outside the cluster, as far as its object tells."""
    return meta_of(body).has_finalizer or bool((body.get("status") or {}).get("oidcClient"))


class OidcClientTeardown:
    """Takes the clients of servers down."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world

    async def delete(self, body: Body, client_id: str, backends: Backends) -> bool:
        """Take everything away for an object that is being deleted, or has no client any more; True if finished.

        Raises:
            Error: A backend does not let us finish.
        """
        if not await self._run(body, client_id, backends):
            return False
        await without_finalizer(self._world, newest_of(self._world, body))
        return True

    async def withdraw(  # noqa: PLR0913 - what to end, and what is told of it
        self,
        body: Body,
        client_id: str,
        backends: Backends,
        reason: Reason,
        ending: Condition,
        handled: Mapping[str, Any] | None = None,
    ) -> bool:
        """Do so and keep the object, which then says `ending`; True if finished.

        Args:
            body: The object.
            client_id: Of its client, as far as the status does not tell it.
            backends: Of its Federation.
            reason: Why; one that was begun is found again by it.
            ending: What the object says at the end.
            handled: Fields that the status gets with the end.

        Raises:
            Error: A backend does not let us finish.
        """
        revocation = _revocation(body)
        if revocation.get("reason") != reason:
            told = [
                Condition(kind, False, Reason.REVOKING, "The server's client is being withdrawn")
                for kind in (ConditionType.READY, ConditionType.REVOKED)
            ]
            begun = {"startedAt": rfc3339(self._world.clock.now()), **revocation, "reason": str(reason)}
            body = await write_status(self._world, body, told, {"revocation": begun}) or body
        if not await self._run(body, client_id, backends):
            self._world.wake(meta_of(body).key, at=self._world.clock.monotonic() + 0.5)
            return False
        await without_finalizer(self._world, newest_of(self._world, body))
        body = newest_of(self._world, body)
        told = [ending, *kept_conditions(body, (ConditionType.REVOKED,))]
        fields = {"oidcClient": None, "revocation": None, **(handled or {})}
        await write_status(self._world, body, told, fields)
        return True

    async def remove_public(self, body: Body, client_uuid: str, client_id: str, backends: Backends) -> None:
        """Delete the public client beside a server's own, and see it gone.

        Raises:
            OwnershipConflictError: It carries another's owner mark by now.
        """
        await self._delete(body, client_uuid, client_id, backends)
        await _require_gone(backends.identity_provider, client_uuid, client_id)

    async def _run(self, body: Body, client_id: str, backends: Backends) -> bool:
        world, meta, provider = self._world, meta_of(body), backends.identity_provider
        made: Mapping[str, Any] = (body.get("status") or {}).get("oidcClient") or {}
        evidence = await self._gather(body, made.get("clientId") or client_id, backends)
        body = await self._check_positive(body, evidence, backends)
        ids = {evidence.uuids[0]: evidence.client_id, evidence.uuids[1]: made.get("publicClientId") or ""}
        for uuid, name in ids.items():
            await self._delete(body, uuid, name, backends)
        refusals = await _presented(provider, evidence, ids)
        if evidence.vault_error is not None:
            raise evidence.vault_error
        latest = latest_end(provider.server_now(), evidence.lifetime) if evidence.lifetime is not None else None
        if latest is not None:
            until = rfc3339(latest)
            refusals.append(f"a verifier that only checks signatures may take a token that was got by it until {until}")
        body = await self._record_proof(body, refusals, evidence, latest)
        path = BotPaths(backends.federation.vault.path_prefix, meta.key).client
        if not await backends.secret_store.destroy(path, world.owner(meta.uid)):
            evidence.left = f"{path} is not ours and was left untouched"
        for name in filter(None, ids.values()):
            last = world.last_deletions.get(name)
            if last is not None and provider.server_now() <= last:
                return False  # so that the notBefore of a client made anew covers every old token
        await self._tell_proof(body, evidence, backends)
        world.freshness.expire(meta.key)
        return True

    async def _gather(self, body: Body, client_id: str, backends: Backends) -> _Evidence:
        meta = meta_of(body)
        owner, issuer_url = self._world.owner(meta.uid), backends.federation.keycloak.issuer_url
        evidence = _Evidence(client_id, issuer_url, uuids=list(client_uuids(meta.uid)))
        try:
            path = BotPaths(backends.federation.vault.path_prefix, meta.key).client
            stored = await backends.secret_store.read(path, owner)
        except BackendError as error:
            evidence.vault_error = error
            stored = None
        if stored is not None and stored.owner == owner:
            evidence.add(stored.data.get("client_secret"))
            evidence.add(stored.data.get(PREVIOUS_SECRET))
        client = await backends.identity_provider.read_client(evidence.uuids[0])
        if client is not None and client.owner == owner:
            evidence.client_id = client.client_id
            evidence.lifetime = client.token_lifetime if _gets_tokens(client) else None
            if not client.flags.get("publicClient"):
                evidence.add(client.secret)
                evidence.add(client.previous_secret)
        return evidence

    async def _check_positive(self, body: Body, evidence: _Evidence, backends: Backends) -> Body:
        """See a secret accepted, so that its refusal will mean something, and record that before anything ends."""
        revocation = _revocation(body)
        if revocation.get("positiveCheckAt"):
            return body
        for secret in evidence.secrets:
            if await _accepted(backends.identity_provider, ClientCredentials(evidence.client_id, secret)):
                break
        else:
            return body  # disabled or deleted by hand, or there never was a secret
        now = rfc3339(self._world.clock.now())
        message = f"The secret of client {evidence.client_id} was accepted at {now}; ending it now"
        told = [
            Condition(ConditionType.READY, False, Reason.REVOKING, "The server's client is being revoked"),
            Condition(ConditionType.REVOKED, False, Reason.REVOKING, message),
        ]
        at, where = backends.identity_provider.server_now(), f"{TOKEN_ENDPOINT} {evidence.authority}"
        seen = evidence_fields([Presented(f"secret of client {evidence.client_id}", where, "accepted", at)])
        fields = {"revocation": {"startedAt": now, **revocation, "positiveCheckAt": now, "evidence": seen}}
        return await write_status(self._world, body, told, fields) or body

    async def _delete(self, body: Body, client_uuid: str, client_id: str, backends: Backends) -> None:
        """Delete a client that is ours.

        Raises:
            OwnershipConflictError: We made it, and it carries another's mark by now.
        """
        provider, meta = backends.identity_provider, meta_of(body)
        client = await provider.read_client(client_uuid)
        made = (body.get("status") or {}).get("oidcClient") or {}
        if client is None:
            if client_uuid in made.values() and client_id:
                self._world.note_absence(client_id, provider)
            return
        if client.owner != self._world.owner(meta.uid):
            message = (
                f"Client {client.client_id} ({client_uuid}) now carries the owner mark "
                f"{client.owner or 'of nobody'}, so it is left untouched and this object waits; put the attribute "
                "fedid.owner back, or delete the client"
            )
            raise OwnershipConflictError(message, backend="keycloak")
        await provider.delete_client(client_uuid)
        self._world.note_deletion(client.client_id, provider)
        self._world.audit("DeleteClient", key=meta.key, client_id=client.client_id)

    async def _record_proof(
        self, body: Body, refusals: list[str], evidence: _Evidence, latest: datetime | None
    ) -> Body:
        """Write down what was seen before the secret, which could show it again, is removed."""
        revocation = _revocation(body)
        if revocation.get("provenAt"):
            return body
        now = rfc3339(self._world.clock.now())
        message = f"Proven at {now}: {'; '.join(refusals)}"
        told = [
            Condition(ConditionType.READY, False, Reason.REVOKING, "The client is gone; its traces are being removed"),
            Condition(ConditionType.REVOKED, True, Reason.PROVEN, message),
        ]
        proven = {
            "startedAt": now,
            **revocation,
            "provenAt": now,
            "evidence": evidence_fields([*evidence_in(revocation), *evidence.seen]),
            "latestExpiry": rfc3339(latest) if latest is not None else None,
            "waitingFor": None,
            "waitingSince": None,
        }
        fields = {"revocation": {name: value for name, value in proven.items() if value is not None}}
        return await write_status(self._world, body, told, fields) or body

    async def _tell_proof(self, body: Body, evidence: _Evidence, backends: Backends) -> None:
        """Leave a receipt of what was seen; from the status, so that a restart tells the same."""
        revocation = _revocation(body)
        revoked = condition_of((body.get("status") or {}).get("conditions") or (), ConditionType.REVOKED)
        proof, positive = revoked["message"] if revoked is not None else "", revocation.get("positiveCheckAt")
        seen = f"its secret was accepted at {positive}" if positive else "nothing was seen alive"
        message = f"Revocation proven for client {evidence.client_id}: {seen}; {proof}; " + (
            evidence.left or "what is ours in Vault answers 404"
        )
        receipt = receipt_of(
            body,
            cause_of(body),
            what=withdrawal_of(body),
            seen=[gone_from_vault(backends, self._world.clock.now())],
            notes=[*([evidence.left] if evidence.left else []), *([] if positive else ["nothing was seen alive"])],
        )
        await leave_receipt(self._world, body, receipt, message=message)


def _gets_tokens(client: ClientRecord) -> bool:
    """Tell whether anybody gets a token by the client; one that introspects alone is for none."""
    flows = client.flags.get("standardFlowEnabled") or client.flags.get(SERVICE_ACCOUNTS)
    return bool(flows) or client.attributes.get(DEVICE_FLOW) == "true"


def _revocation(body: Body) -> Mapping[str, Any]:
    return (body.get("status") or {}).get("revocation") or {}


async def _accepted(provider: IdentityProvider, credentials: ClientCredentials) -> bool:
    try:
        return await provider.authenticates(credentials)
    except BackendRejectedError:
        return False  # a hand made the client public: it authenticates nobody any more


async def _presented(provider: IdentityProvider, evidence: _Evidence, ids: Mapping[str, str]) -> list[str]:
    """Look for the clients and present every secret again; return what was refused how.

    Raises:
        BackendUnavailableError: Something is still there, or accepted (reason `Revoking`).
    """
    refusals = []
    for uuid, client_id in ids.items():
        await _require_gone(provider, uuid, client_id)
        if client_id:
            refusals.append(f"client {client_id} answers 404 ({uuid})")
            evidence.note(f"client {client_id} ({uuid})", ADMIN_API, "gone (404)", provider.server_now())
    for number, secret in enumerate(evidence.secrets, 1):
        try:
            refused = await provider.credentials_refused(ClientCredentials(evidence.client_id, secret))
        except BackendRejectedError:
            refused = False  # refused for another reason: the secret itself is still right
        if not refused:
            message = f"Keycloak still accepts the secret of client {evidence.client_id}; presenting it again"
            raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
        what = f"secret of client {evidence.client_id}"
        what += f" ({number} of {len(evidence.secrets)})" if len(evidence.secrets) > 1 else ""
        evidence.note(what, TOKEN_ENDPOINT, REFUSED, provider.server_now())
    if evidence.secrets:
        several = "its secret is" if len(evidence.secrets) == 1 else f"all {len(evidence.secrets)} of its secrets are"
        refusals.append(f"{several} {REFUSED}")
    return refusals


async def _require_gone(provider: IdentityProvider, client_uuid: str, client_id: str) -> None:
    if await provider.read_client(client_uuid) is not None:
        message = f"Client {client_id} is still there after it was deleted; deleting it again"
        raise BackendUnavailableError(message, backend="keycloak", reason=Reason.REVOKING)
