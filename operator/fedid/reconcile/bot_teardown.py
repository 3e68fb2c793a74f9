"""The end of a bot: seen alive, revoked, deleted, seen dead, forgotten; only then is the object let go.

Each step is found again from what is observed, so a crash between any two repeats at most a harmless one. Keycloak is
never kept waiting for Vault or for a pod: the authority refuses first, the traces are removed after.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fedid.domain.bot import PREVIOUS_SECRET
from fedid.domain.bot_authentication import (
    ServiceAccount,
)
from fedid.domain.bot_keys import held_keys
from fedid.domain.conditions import Condition, ConditionType, Reason, condition_of, rfc3339
from fedid.domain.receipt import cause_of, evidence_fields, evidence_in, receipt_of
from fedid.domain.resources import Body, BotClient, Meta, meta_of, parse_bot_client
from fedid.domain.tokens import MintedToken, PrivateKey
from fedid.engine import Outcome, Priority
from fedid.errors import (
    BackendError,
    Error,
    NotReadyError,
    StaleObjectError,
)
from fedid.reconcile.acceptance import Acceptance
from fedid.reconcile.bot_at_authority import BotAtAuthority
from fedid.reconcile.bot_evidence import Evidence
from fedid.reconcile.bot_nodes import waits_for_nodes
from fedid.reconcile.bot_observation import observe_stored
from fedid.reconcile.bot_paths import BotPaths
from fedid.reconcile.bot_retention import BotRetention
from fedid.reconcile.bot_servers import BotServers
from fedid.reconcile.gate import backends_of, federation_name, with_finalizer
from fedid.reconcile.members import require_tuples_gone
from fedid.reconcile.receipts import gone_from_vault, leave_receipt, withdrawal_of
from fedid.reconcile.release import let_go
from fedid.reconcile.retention import decide_retention, is_retained, revocation_of
from fedid.reconcile.status import kept_conditions, newest_of, write_status
from fedid.reconcile.waiting import tell_waiting
from fedid.reconcile.world import Backends, World

__all__ = ["BotTeardown", "anything_made"]

_MADE = (
    "clientUuid",
    "serviceAccountSubject",
    "secret",
    "tokens",
    "endingTokens",
    "revocation",
    "tokenExpiresAt",
    "nextRotationAt",
)
"""Fields of the status that tell of something outside the cluster."""


def anything_made(body: Body) -> bool:
    """Tell whether something of the bot may exist outside the cluster, as far as its object tells.

    Not by the finalizer alone: it may be off while the status is yet to be written, or a hand may have taken it off.
    """
    status = body.get("status") or {}
    return meta_of(body).has_finalizer or any(status.get(name) for name in _MADE)


class BotTeardown:
    """Takes bots down."""

    def __init__(self, world: World, acceptance: Acceptance) -> None:
        """Work in this world."""
        self._world = world
        self._acceptance = acceptance
        self._servers = BotServers(world, acceptance)
        self._retention = BotRetention(world)
        self._authority = BotAtAuthority(world, self._retention)

    async def delete(self, body: Body) -> Outcome:
        """Run one pass over a bot that is being deleted.

        Raises:
            Error: A backend does not let us finish; the condition `Revoked` says which step waits for what.
        """
        meta = meta_of(body)
        if not meta.has_finalizer:
            return Outcome()
        try:
            finished = await self._run(body, None)
        except StaleObjectError:
            raise  # an ordinary conflict of writes: read again and repeated, nothing to tell
        except Error as error:
            await tell_waiting(self._world, newest_of(self._world, body), error)
            raise
        return Outcome() if finished else self._soon()

    async def withdraw(
        self, body: Body, reason: str, ending: Condition, fields: Mapping[str, Any] | None = None
    ) -> bool:
        """Take everything outside the cluster away as at deletion, and keep the object; True if finished.

        Args:
            body: The object.
            reason: Why; kept in the status until it is finished.
            ending: What is told of `Ready` then.
            fields: What else the status says from the beginning on.

        Raises:
            Error: A backend does not let us finish.
        """
        body = await with_finalizer(self._world, body)
        revocation = revocation_of(body)
        if revocation.get("reason") != reason:
            # From here on its PodIdentities empty what they mount, and nothing is published any more.
            told = [
                Condition(ConditionType.READY, False, Reason.REVOKING, "The bot is being withdrawn"),
                Condition(ConditionType.REVOKED, False, Reason.REVOKING, "The bot is being withdrawn"),
            ]
            if revocation:  # begun for another reason: what was seen so far stays
                told = kept_conditions(body, (ConditionType.READY, ConditionType.REVOKED))
            begun = {"startedAt": rfc3339(self._world.clock.now()), **revocation, "reason": str(reason)}
            body = await write_status(self._world, body, told, {"revocation": begun, **(fields or {})}) or body
            self._wake_consumers(meta_of(body))
        return await self._run(body, ending)

    async def _run(self, body: Body, ending: Condition | None) -> bool:
        world, meta, spec = self._world, meta_of(body), parse_bot_client(body)
        federation = federation_name(world, spec.federation, body.get("status") or {})
        backends = backends_of(world, federation)
        if backends is None:
            return False  # the Federation is looked at first, and wakes this object
        if waits_for_nodes(world, body):
            return False
        decided = await decide_retention(world, body, backends, retain=spec.retain, who="bot", what="client")
        if decided is None:
            return False
        body = decided
        evidence = await self._gather(body, spec, backends)
        body = await self._authority.end(body, spec, evidence, backends)
        refusals = await evidence.presented(backends.identity_provider)
        if evidence.vault_error is not None:
            raise evidence.vault_error
        body = await self._record_proof(body, evidence, refusals, backends.identity_provider.server_now())
        await self._remove_from_vault(meta, evidence, backends)
        self._require_consumers_gone(meta)
        await self._servers.require_unlisted(body)
        require_tuples_gone(self._world, meta.uid)
        last = world.last_deletions.get(evidence.client_id)
        if last is not None and backends.identity_provider.server_now() <= last:
            return False
        await self._retention.release(body, spec.client_id, backends)
        await self._tell_proof(body, evidence, backends)
        await let_go(self._world, body, ending, _MADE)
        if ending is not None:
            self._wake_consumers(meta_of(body))
        return True

    async def _gather(self, body: Body, spec: BotClient, backends: Backends) -> Evidence:
        meta, evidence = spec.meta, Evidence(spec.client_id, backends.federation.keycloak.issuer_url)
        if isinstance(spec.authentication, ServiceAccount):
            evidence.subject = spec.authentication.subject
            evidence.client_uuid = (body.get("status") or {}).get("clientUuid")
        owner = self._world.owner(meta.uid)
        try:
            stored = await observe_stored(backends, meta.key, owner, spec.client_id, spec.authentication)
        except BackendError as error:
            if error.backend != "vault":
                raise
            evidence.vault_error = error
            return evidence
        paths = BotPaths(backends.federation.vault.path_prefix, meta.key)
        if stored.client is not None:
            evidence.add_secret(stored.client.data.get("client_secret"))
            evidence.add_secret(stored.client.data.get(PREVIOUS_SECRET))
            held = held_keys(stored.client.data, self._world.read_key).by_slot
            evidence.keys = [PrivateKey(spec.client_id, key.private_key, key.key_id) for key in held.values()]
            evidence.vault_paths.append(paths.authentication(spec.authentication))
        evidence.vault_paths += [paths.token(name) for name in stored.tokens]
        evidence.copies = sorted(stored.locations.values())
        evidence.left = [f"{path} {whose} and was left untouched" for path, whose in stored.strangers.items()]
        evidence.tokens = {
            name: MintedToken(stored.tokens[name].data["token"], claims) for name, claims in stored.claims.items()
        }
        return evidence

    async def _record_proof(self, body: Body, evidence: Evidence, refusals: list[str], seen_at: datetime) -> Body:
        """Write down that the refusals were seen (Keycloak's clock) before the credentials, which show them, go."""
        revocation = revocation_of(body)
        if revocation.get("provenAt") or not (refusals or is_retained(body)):
            return body
        now = rfc3339(self._world.clock.now())
        latest = evidence.latest_expiry(seen_at)
        proven = {
            "startedAt": now,
            **revocation,
            "provenAt": now,
            "evidence": evidence_fields([*evidence_in(revocation), *evidence.seen]) or None,
            "latestExpiry": rfc3339(latest) if latest is not None else None,
            "waitingFor": None,
            "waitingSince": None,
        }
        message = f"Proven at {now}: {'; '.join(refusals) or 'nothing of it was known that could be presented'}"
        if (window := evidence.window(seen_at)) is not None:
            message += f"; {window}"
        told = (
            Condition(ConditionType.READY, False, Reason.REVOKING, "The bot is revoked; its traces are being removed"),
            Condition(ConditionType.REVOKED, True, Reason.PROVEN, message),
        )
        fields = {"revocation": {name: value for name, value in proven.items() if value is not None}}
        return await write_status(self._world, body, told, fields) or body

    async def _remove_from_vault(self, meta: Meta, evidence: Evidence, backends: Backends) -> None:
        owner, store = self._world.owner(meta.uid), backends.secret_store
        for place in evidence.copies:  # before the entries, which are all that tells of them
            await store.at(place.mount).destroy(place.path, owner)
        for path in evidence.vault_paths:
            await store.destroy(path, owner)

    def _require_consumers_gone(self, meta: Meta) -> None:
        holding = []
        for key in self._world.directory.pods_of_bot(meta.key):
            pod = self._world.directory.get(key)
            status: Mapping[str, Any] = (pod.get("status") or {}) if pod is not None else {}
            if status.get("delivered") and (status.get("bot") or {}).get("uid") == meta.uid:
                holding.append(key)
                self._world.wake(key, Priority.DELETION)
        if holding:
            names = ", ".join(sorted(str(key) for key in holding)[:5])
            message = f"Everything is revoked; the Secrets of {names} are still to be emptied"
            raise NotReadyError(message, reason=Reason.WAITING_FOR_CONSUMERS)

    async def _tell_proof(self, body: Body, evidence: Evidence, backends: Backends) -> None:
        """Leave a receipt of what was seen; from the status, so that a restart tells the same."""
        status = body.get("status") or {}
        revocation = status.get("revocation") or {}
        revoked = condition_of(status.get("conditions") or (), ConditionType.REVOKED)
        proven_at, positive = revocation.get("provenAt"), revocation.get("positiveCheckAt")
        proof = revoked["message"] if revoked is not None and proven_at else "no credential was ever published"
        unseen = "no token was seen" if evidence.subject is not None else "nothing was seen alive"
        seen = f"token {revocation.get('tokenId')} was accepted at {positive}" if positive else unseen
        # With Retain, one that was never ours stays as well, and of that there is nothing to tell.
        stays = is_retained(body) and bool(status.get("clientUuid"))
        released = ["the client stays, with a secret that nobody knows, and is nobody's"] if stays else []
        vault = "; ".join([*released, "what is ours in Vault answers 404", *evidence.left])
        receipt = receipt_of(
            body,
            cause_of(body),
            what=withdrawal_of(body),
            seen=[gone_from_vault(backends, self._world.clock.now())],
            notes=[*released, *evidence.left, *([unseen] if not positive else [])],
            proven_at=self._world.clock.now(),
        )
        message = f"Revocation proven for client {evidence.client_id}: {seen}; {proof}; {vault}"
        await leave_receipt(self._world, body, receipt, message=message)

    def _wake_consumers(self, meta: Meta) -> None:
        for key in (*self._world.directory.pods_of_bot(meta.key), *self._acceptance.listing(meta.uid)):
            self._world.wake(key, Priority.DELETION)

    def _soon(self) -> Outcome:
        return Outcome(self._world.clock.monotonic() + 0.5, Priority.DELETION)
