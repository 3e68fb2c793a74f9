"""A PodIdentity of a client: its pods mount what is published of a bot, in their platform's format, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from fedid.domain.bot_authentication import BotAuthentication, ClientSecret, PrivateKeyJwt, ServiceAccount
from fedid.domain.conditions import Condition, ConditionType, Reason, reason_of, rfc3339
from fedid.domain.durations import spread
from fedid.domain.handover import held_since
from fedid.domain.naming import ObjectKey
from fedid.domain.pod_identity import PodIdentity
from fedid.domain.resources import Body, meta_of, parse_bot_client
from fedid.domain.rotation import PATIENCE, REVOKE_NOW
from fedid.domain.sensitive import Sensitive
from fedid.engine import Outcome, Priority
from fedid.errors import Error, InvalidSpecError, NotGrantedError, NotReadyError, OwnershipConflictError
from fedid.platforms.identity import Identity, MountedIdentity
from fedid.platforms.table import Renderer, copy_source, residual_window
from fedid.reconcile.acceptance import Acceptance
from fedid.reconcile.bot_observation import StoredCredentials, observe_stored
from fedid.reconcile.bot_use import published_tokens, refusal_of
from fedid.reconcile.copied_entries import begin, read_copied, with_copied
from fedid.reconcile.gate import UNSEEN_SECONDS, backends_of, federation_of, realm_now
from fedid.reconcile.nudges import Nudges
from fedid.reconcile.pod_node import PodNode, PodNodes
from fedid.reconcile.pod_secret import Credential, PodSecrets, changed_at, names_of
from fedid.reconcile.status import kept_conditions, newest_of, ready_at_generation, write_status
from fedid.reconcile.world import Backends, World

__all__ = ["ClientIdentities"]


_ENTRY: Final[Mapping[type[BotAuthentication], frozenset[str]]] = {
    ClientSecret: frozenset({"client_secret"}),
    PrivateKeyJwt: frozenset({"private_key", "key_id"}),
    ServiceAccount: frozenset({"client_id"}),
}
"""What the entry of a bot's credential holds, by the way in which it authenticates."""


class ClientIdentities:
    """Brings PodIdentities of clients in line."""

    def __init__(self, world: World, nudges: Nudges, acceptance: Acceptance, nodes: PodNodes) -> None:
        """Work in this world; pods are told by `nudges`, SuperNodes are the business of `nodes`."""
        self._world = world
        self._nudges = nudges
        self._nodes = nodes
        self._acceptance = acceptance
        self._secrets = PodSecrets(world)

    async def make_true(self, body: Body, spec: PodIdentity, render: Renderer) -> Outcome:
        """Have the Secret hold what is published of the bot.

        Raises:
            Error: Nothing of the bot may be mounted, or not all of it is there yet.
        """
        if spec.bot is None:
            message = "the PodIdentity of a client names no bot"
            raise LookupError(message)
        bot_key, bot = spec.bot, self._world.directory.get(spec.bot)
        refusal = refusal_of(bot, bot_key, self._world.clock.now(), spec.meta.key.namespace)
        mounted_uid = ((body.get("status") or {}).get("bot") or {}).get("uid")
        another = bot is not None and mounted_uid is not None and mounted_uid != bot["metadata"]["uid"]
        if another and refusal is None:
            message = f"{bot_key} was made anew; what the former one was given is withdrawn"
            body = await self._withdraw(body, spec, bot_key, NotReadyError(message, reason=Reason.WAITING_FOR_BOT))
        if refusal is not None:
            body = await self._withdraw(body, spec, bot_key, refusal)
            await self._nodes.ends.withdraw(newest_of(self._world, body))
            raise refusal
        if bot is None:
            return Outcome()
        backends = backends_of(self._world, federation_of(self._world, bot))
        if backends is None:
            return Outcome()
        if (source := copy_source(spec.platform, spec.options, spec.role)) is not None:
            if not self._world.directory.knows_namespace(spec.meta.key.namespace):
                return Outcome(self._world.clock.monotonic() + UNSEEN_SECONDS)  # its labels decide
            try:
                copied = await read_copied(self._world, backends, body, source)
            except (InvalidSpecError, NotGrantedError, NotReadyError, OwnershipConflictError) as why:
                await self._withdraw(body, spec, bot_key, why)
                raise
            body, render = await begin(self._world, body, copied, source), with_copied(render, copied)
        body = await self._ended_now(body, spec, bot_key)
        node = await self._node(body, spec, bot, backends)
        body = newest_of(self._world, body)
        credential = await self._credential(body, _with_node(render, node), bot, bot_key, backends)
        if node is not None:
            credential = replace(credential, expires_at=None, issued_at=None)  # a SuperNode mounts no token
        written = await self._secrets.deliver(body, spec, credential)
        self._world.rotation_lag.delivered(spec.meta.key, realm_now(self._world, bot), changed=written.changed)
        await self._secrets.drop_former(body, spec)
        pods = await self._nudges.first(body, spec, [written])
        await self._settle(body, spec, bot, credential, pods, node)
        again_after, now = spread(backends.federation.resync_period, spec.meta.uid), realm_now(self._world, bot)
        if credential.expires_at is not None and credential.expires_at > now:
            again_after = min(again_after, credential.expires_at - now)  # to say so, should nobody renew it
        if node is not None and node.again_at is not None:
            again_after = min(again_after, max(node.again_at - now, timedelta()))
        return Outcome(self._world.clock.monotonic() + again_after.total_seconds())

    async def _ended_now(self, body: Body, spec: PodIdentity, bot_key: ObjectKey) -> Body:
        """End the SuperNode if `fedid.io/revoke-now` asks for it; return the object, for which another is to be made.

        Raises:
            Error: The SuperLink or Vault does not let us finish; the status says what it waits for.
        """
        ends = self._nodes.ends
        if not ends.is_asked_for(body):
            return body
        body = await ends.begin(body)
        message = f"{REVOKE_NOW} is carried out: the key of the SuperNode is ended, and another one is made"
        body = await self._withdraw(body, spec, bot_key, NotReadyError(message, reason=Reason.REVOKED_NOW))
        return await ends.finish(newest_of(self._world, body))

    async def _node(self, body: Body, spec: PodIdentity, bot: Body, backends: Backends) -> PodNode | None:
        """Return the SuperNode that the pod is, registered; None if it is none.

        Raises:
            Error: It cannot be had; if no rule grants it, what there was of it is withdrawn.
        """
        try:
            return await self._nodes.ensure(body, spec, bot, backends)
        except NotGrantedError as error:
            body = await self._withdraw(newest_of(self._world, body), spec, meta_of(bot).key, error)
            await self._nodes.ends.withdraw(newest_of(self._world, body))
            raise

    async def _credential(
        self, body: Body, render: Renderer, bot: Body, bot_key: ObjectKey, backends: Backends
    ) -> Credential:
        """Read what is published of the bot and render it.

        Raises:
            NotReadyError: Not everything is in Vault yet, or a server does not take it yet; the bot wakes this object
                when it is.
            InvalidSpecError: A template names a token that the bot has not.
        """
        uid = bot["metadata"]["uid"]
        parsed = parse_bot_client(bot)
        client_id, way = parsed.client_id, parsed.authentication
        stored = await observe_stored(backends, bot_key, self._world.owner(uid), client_id, way)
        status: Mapping[str, Any] = bot.get("status") or {}
        declared = [token["name"] for token in (bot.get("spec") or {}).get("tokens") or ()]
        subject = next((c.subject for c in stored.claims.values()), None) or status.get("serviceAccountSubject")
        published = published_tokens(stored)
        absent = [name for name in declared if name not in published]
        client = stored.client
        if client is None or not _ENTRY[type(way)] <= client.data.keys() or subject is None or absent:
            if ready_at_generation(bot):
                self._world.wake(bot_key, Priority.DRIFT)  # it believes that all is published: have it look again
            message = f"The credentials of {bot_key} are not all in Vault yet; its conditions say why"
            raise NotReadyError(message, reason=Reason.WAITING_FOR_BOT)
        marks = {name: held.fingerprint for name, held in stored.opaque.items() if name in declared}
        self._require_taken(body, bot, stored, marks)
        mounted = [published[name] for name in declared]
        identity = MountedIdentity(
            client_id=client_id,
            client_secret=client.data["client_secret"] if isinstance(way, ClientSecret) else None,
            private_key=client.data["private_key"] if isinstance(way, PrivateKeyJwt) else None,
            key_id=client.data["key_id"].reveal() if isinstance(way, PrivateKeyJwt) else None,
            subject=subject,
            issuer_url=backends.federation.keycloak.issuer_url,
            tokens={name: token for name, (token, _) in zip(declared, mounted, strict=True)},
        )
        return Credential(
            files=render(identity),
            bot_uid=uid,
            secret_version=client.version,
            expires_at=min((token.expires_at for token, _ in mounted), default=None),
            issued_at=max((issued_at for _, issued_at in mounted), default=None),
            marks=marks,
        )

    def _require_taken(self, body: Body, bot: Body, stored: StoredCredentials, marks: Mapping[str, str]) -> None:
        """See that servers take an opaque token before a pod presents it; who cannot be reached is not waited for long.

        Raises:
            NotReadyError: One of them does not yet.
        """
        held = ((body.get("status") or {}).get("bot") or {}).get("tokens") or ()
        mounted = {entry.get("fingerprint") for entry in held}
        # The token's age by the clock that dated it, and what servers will have by the one that dated that.
        now, realms_now = self._world.clock.now(), realm_now(self._world, bot)
        for name, taken in self._acceptance.taken(bot, marks).items():
            waited = realms_now - stored.opaque[name].issued_at
            if marks[name] in taken.everywhere or marks[name] in mounted or waited >= PATIENCE:
                continue
            left = PATIENCE - waited
            until = min(left, taken.next_at - now) if taken.next_at is not None else left
            key = meta_of(body).key
            at = self._world.clock.monotonic() + max(until, timedelta()).total_seconds()
            self._world.wake(key, look=False, at=at)
            lagging = ", ".join(str(server) for server in taken.lagging[:3]) or "one that lists it yet"
            message = (
                f"Token {name} of {meta_of(bot).key} is not taken by every server yet: {lagging}. It is waited for "
                f"until {rfc3339(stored.opaque[name].issued_at + PATIENCE)}; a server with spec.pods has it in seconds"
            )
            raise NotReadyError(message, reason=Reason.WAITING_FOR_VERIFIERS)

    async def _withdraw(self, body: Body, spec: PodIdentity, bot_key: ObjectKey, why: Error) -> Body:
        """Set every key of the Secret empty and return the object as it is now.

        The Secret stays, so that pods still start and say what is wrong.
        """
        status = body.get("status") or {}
        mounted_uid = (status.get("bot") or {}).get("uid")
        names = names_of(body)
        emptied = [written for name in names if (written := await self._secrets.empty(spec.meta, name)) is not None]
        pods = await self._nudges.first(body, spec, emptied) if emptied else {}
        if status.get("delivered") or pods.get("pods", status.get("pods")) != status.get("pods"):
            bot = {"name": bot_key.name, "uid": mounted_uid} if mounted_uid else None
            told = [
                Condition(kind, False, reason_of(why), why.message)
                for kind in (ConditionType.READY, ConditionType.PUBLISHED)
            ]
            told += kept_conditions(body, (ConditionType.REVOKED,))
            fields = {"delivered": False, "bot": bot, "tokenExpiresAt": None, "secretHash": None, **pods}
            body = await write_status(self._world, body, told, fields) or body
        if status.get("delivered"):
            self._world.wake(bot_key, Priority.DELETION, look=False)
        return body

    async def _settle(  # noqa: PLR0913 - everything that the status tells
        self,
        body: Body,
        spec: PodIdentity,
        bot: Body,
        credential: Credential,
        pods: Mapping[str, Any],
        node: PodNode | None,
    ) -> None:
        bot_key = meta_of(bot).key
        message = f"Secret {spec.secret_name} holds what is published of {bot_key}"
        ready = Condition(ConditionType.READY, True, Reason.READY, message)
        if credential.expires_at is not None and credential.expires_at <= realm_now(self._world, bot):
            expired = f"but a token in it expired at {rfc3339(credential.expires_at)}; the bot's conditions say why"
            ready = Condition(ConditionType.READY, False, Reason.WAITING_FOR_BOT, f"{message}, {expired}")
        latest = newest_of(self._world, body)
        told = [ready, Condition(ConditionType.PUBLISHED, True, Reason.PUBLISHED, message)]
        told += kept_conditions(latest, (ConditionType.REVOKED,)) if node is None else [node.granted]
        held: dict[str, Any] = {
            "name": bot_key.name,
            "uid": credential.bot_uid,
            "secretVersion": credential.secret_version,
        }
        before = (latest.get("status") or {}).get("bot") or {}
        if before.get("uid") == credential.bot_uid:
            since = held_since(before, credential.secret_version, realm_now(self._world, bot))
            held |= {"secretSince": since} if since is not None else {}
        if bot_key.namespace != spec.meta.key.namespace:
            held["namespace"] = bot_key.namespace
        if credential.marks:
            held["tokens"] = [{"name": name, "fingerprint": mark} for name, mark in sorted(credential.marks.items())]
        fields = {
            "secretName": spec.secret_name,
            "secretHash": credential.digest,
            "changedAt": changed_at(latest, credential, self._world.clock.now()),
            "keys": sorted(credential.files),
            "bot": held,
            "delivered": True,
            "residualWindow": residual_window(spec.platform, spec.options, spec.role),
            "tokenExpiresAt": rfc3339(credential.expires_at) if credential.expires_at is not None else None,
            **pods,
            **(node.delivered(realm_now(self._world, bot)) if node is not None else {}),
        }
        self._world.rotation_lag.mounted(latest, fields, realm_now(self._world, bot))
        await write_status(self._world, latest, told, fields, generation=spec.meta.generation)
        if before.get("tokens") and before["tokens"] != held.get("tokens"):
            self._world.wake(bot_key, Priority.DRIFT, look=False)  # the former token may wait for this


def _with_node(render: Renderer, node: PodNode | None) -> Renderer:
    """Return the renderer, with the SuperNode's key in what it gets."""

    def rendered(identity: Identity) -> dict[str, Sensitive]:
        if node is not None and isinstance(identity, MountedIdentity):
            identity = replace(identity, node_key=node.key)
        return render(identity)

    return rendered
