"""One pass over a PodIdentity: what a pod mounts equals what is published of its bot, or is empty."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fedid.domain.bot import Suspension, suspension_of
from fedid.domain.bot_authentication import BotAuthentication, ClientSecret, PrivateKeyJwt, ServiceAccount
from fedid.domain.conditions import Condition, ConditionType, Reason, condition_of, reason_of, rfc3339
from fedid.domain.durations import spread
from fedid.domain.naming import ObjectKey
from fedid.domain.pod_identity import PodIdentity, parse_pod_identity
from fedid.domain.resources import BOT_CLIENT, Body, meta_of, parse_bot_client
from fedid.domain.token_entries import OpaqueToken
from fedid.domain.tokens import TokenClaims
from fedid.engine import Outcome, Priority
from fedid.errors import (
    BackendUnavailableError,
    Error,
    InvalidSpecError,
    NotGrantedError,
    NotReadyError,
    OwnershipConflictError,
    StaleObjectError,
)
from fedid.platforms.identity import MountedIdentity, PublishedToken
from fedid.platforms.table import Renderer, copy_source, renderer
from fedid.reconcile.bot_observation import StoredCredentials, observe_stored
from fedid.reconcile.copied_entries import begin, farewell, read_copied, with_copied
from fedid.reconcile.gate import UNSEEN_SECONDS, backends_of, federation_name, realm_now
from fedid.reconcile.nudges import Nudges
from fedid.reconcile.pod_secret import Credential, PodSecrets
from fedid.reconcile.status import kept_conditions, newest_of, ready_at_generation, write_status
from fedid.reconcile.world import Backends, World

__all__ = ["PodIdentityReconciler"]


_ENTRY: Final[Mapping[type[BotAuthentication], frozenset[str]]] = {
    ClientSecret: frozenset({"client_secret"}),
    PrivateKeyJwt: frozenset({"private_key", "key_id"}),
    ServiceAccount: frozenset({"client_id"}),
}
"""What the entry of a bot's credential holds, by the way in which it authenticates."""


class PodIdentityReconciler:
    """Reconciles PodIdentities."""

    def __init__(self, world: World, nudges: Nudges) -> None:
        """Work in this world; pods are told by `nudges`."""
        self._world = world
        self._nudges = nudges
        self._secrets = PodSecrets(world)

    async def reconcile(self, body: Body) -> Outcome:
        """Run one pass.

        Raises:
            Error: What went wrong; the status tells it already.
        """
        meta = meta_of(body)
        if meta.deleting:
            await farewell(self._world, body)
            return Outcome()  # the Secret goes with its owner
        try:
            spec = parse_pod_identity(body)
            render = renderer(spec.platform, spec.options, spec.role)
            return await self._make_true(body, spec, render)
        except StaleObjectError:
            raise  # an ordinary conflict of writes: read again and repeated, nothing to tell
        except Error as error:
            await self._tell(newest_of(self._world, body), error, meta.generation)
            raise

    async def _make_true(self, body: Body, spec: PodIdentity, render: Renderer) -> Outcome:
        bot_key = spec.bot
        bot = self._world.directory.get(bot_key)
        refusal = _refusal(bot, bot_key, self._world.clock.now())
        mounted_uid = ((body.get("status") or {}).get("bot") or {}).get("uid")
        another = bot is not None and mounted_uid is not None and mounted_uid != bot["metadata"]["uid"]
        if another and refusal is None:
            message = f"{bot_key} was made anew; what the former one was given is withdrawn"
            body = await self._withdraw(body, spec, bot_key, NotReadyError(message, reason=Reason.WAITING_FOR_BOT))
        if refusal is not None:
            await self._withdraw(body, spec, bot_key, refusal)
            raise refusal
        if bot is None:
            return Outcome()
        named = ((bot.get("spec") or {}).get("federationRef") or {}).get("name")
        name = federation_name(self._world, named, bot.get("status") or {})
        backends = backends_of(self._world, name)
        if backends is None:
            return Outcome()
        if (source := copy_source(spec.platform, spec.options, spec.role)) is not None:
            if not self._world.directory.knows_namespace(spec.meta.key.namespace):
                return Outcome(self._world.clock.monotonic() + UNSEEN_SECONDS)  # its labels decide
            try:
                copied = await read_copied(self._world, backends, spec.meta.key.namespace, source)
            except (InvalidSpecError, NotGrantedError, NotReadyError, OwnershipConflictError) as why:
                await self._withdraw(body, spec, bot_key, why)
                raise
            body, render = await begin(self._world, body, copied, source), with_copied(render, copied)
        credential = await self._credential(render, bot, bot_key, backends)
        written = await self._secrets.deliver(body, spec, credential)
        await self._secrets.drop_former(body, spec)
        pods = await self._nudges.first(body, spec, [written])
        await self._settle(body, spec, bot, credential, pods)
        again_after, now = spread(backends.federation.resync_period, spec.meta.uid), realm_now(self._world, bot)
        if credential.expires_at is not None and credential.expires_at > now:
            again_after = min(again_after, credential.expires_at - now)  # to say so, should nobody renew it
        return Outcome(self._world.clock.monotonic() + again_after.total_seconds())

    async def _credential(self, render: Renderer, bot: Body, bot_key: ObjectKey, backends: Backends) -> Credential:
        """Read what is published of the bot and render it.

        Raises:
            NotReadyError: Not everything is in Vault yet; the bot wakes this object when it is.
            InvalidSpecError: A template names a token that the bot has not.
        """
        uid = bot["metadata"]["uid"]
        parsed = parse_bot_client(bot)
        client_id, way = parsed.client_id, parsed.authentication
        stored = await observe_stored(backends, bot_key, self._world.owner(uid), client_id, way)
        status: Mapping[str, Any] = bot.get("status") or {}
        declared = [token["name"] for token in (bot.get("spec") or {}).get("tokens") or ()]
        subject = next((c.subject for c in stored.claims.values()), None) or status.get("serviceAccountSubject")
        published = _published(stored)
        absent = [name for name in declared if name not in published]
        client = stored.client
        if client is None or not _ENTRY[type(way)] <= client.data.keys() or subject is None or absent:
            if ready_at_generation(bot):
                self._world.wake(bot_key, Priority.DRIFT)  # it believes that all is published: have it look again
            message = f"The credentials of {bot_key} are not all in Vault yet; its conditions say why"
            raise NotReadyError(message, reason=Reason.WAITING_FOR_BOT)
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
        )

    async def _withdraw(self, body: Body, spec: PodIdentity, bot_key: ObjectKey, why: Error) -> Body:
        """Set every key of the Secret empty and return the object as it is now.

        The Secret stays, so that pods still start and say what is wrong.
        """
        status = body.get("status") or {}
        mounted_uid = (status.get("bot") or {}).get("uid")
        names = sorted({status.get("secretName") or spec.secret_name, spec.secret_name})
        emptied = [written for name in names if (written := await self._secrets.empty(spec.meta, name)) is not None]
        pods = await self._nudges.first(body, spec, emptied) if emptied else {}
        if status.get("delivered") or pods.get("pods", status.get("pods")) != status.get("pods"):
            bot = {"name": spec.bot.name, "uid": mounted_uid} if mounted_uid else None
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

    async def _settle(
        self, body: Body, spec: PodIdentity, bot: Body, credential: Credential, pods: Mapping[str, Any]
    ) -> None:
        message = f"Secret {spec.secret_name} holds what is published of {meta_of(bot).key}"
        ready = Condition(ConditionType.READY, True, Reason.READY, message)
        if credential.expires_at is not None and credential.expires_at <= realm_now(self._world, bot):
            expired = f"but a token in it expired at {rfc3339(credential.expires_at)}; the bot's conditions say why"
            ready = Condition(ConditionType.READY, False, Reason.WAITING_FOR_BOT, f"{message}, {expired}")
        latest = newest_of(self._world, body)
        told = [ready, Condition(ConditionType.PUBLISHED, True, Reason.PUBLISHED, message)]
        told += kept_conditions(latest, (ConditionType.REVOKED,))
        fields = {
            "secretName": spec.secret_name,
            "secretHash": credential.digest,
            "keys": sorted(credential.files),
            "bot": {"name": spec.bot.name, "uid": credential.bot_uid, "secretVersion": credential.secret_version},
            "delivered": True,
            "tokenExpiresAt": rfc3339(credential.expires_at) if credential.expires_at is not None else None,
            **pods,
        }
        await write_status(self._world, latest, told, fields, generation=spec.meta.generation)

    async def _tell(self, body: Body, error: Error, generation: int) -> None:
        """Tell what went wrong, unless what is mounted is still good and only a backend is away."""
        status = body.get("status") or {}
        passing = isinstance(error, BackendUnavailableError) or error.reason == Reason.WAITING_FOR_BOT
        name = ((body.get("spec") or {}).get("botClientRef") or {}).get("name") or ""
        bot = self._world.directory.get(ObjectKey(BOT_CLIENT, meta_of(body).key.namespace, name))
        now = rfc3339(realm_now(self._world, bot))
        if passing and ready_at_generation(body) and status.get("tokenExpiresAt", now + "~") > now:
            return
        reason = reason_of(error)
        told = [Condition(ConditionType.READY, False, reason, error.message)]
        told.append(Condition(ConditionType.PUBLISHED, False, reason, error.message))
        told += kept_conditions(body, (ConditionType.REVOKED,))
        await write_status(self._world, body, told, {}, generation=generation)


def _refusal(bot: Body | None, bot_key: ObjectKey, now: datetime) -> Error | None:
    """Return why nothing of this bot may be mounted, or None."""
    if bot is None:
        message = f"{bot_key} does not exist; create it, or name another in spec.botClientRef"
        return NotReadyError(message, reason=Reason.BOT_MISSING)
    meta, status = meta_of(bot), bot.get("status") or {}
    if meta.deleting:
        return NotReadyError(f"{bot_key} is being deleted; nothing of it may be used", reason=Reason.BOT_DELETING)
    # By the spec and not by the status, which may be late: a bot whose backends are away is suspended all the same.
    if (suspension := _suspension(bot, now)) is not None:
        return NotReadyError(f"{bot_key} may not be used: {suspension.message}", reason=suspension.reason)
    if revocation := status.get("revocation"):
        why = revocation.get("reason") or Reason.NOT_GRANTED
        return NotReadyError(f"{bot_key} is being withdrawn; nothing of it may be used", reason=why)
    granted = condition_of(status.get("conditions") or (), ConditionType.GRANTED)
    if granted is not None and granted["status"] == "False" and not status.get("clientUuid"):
        return NotReadyError(f"{bot_key} is not granted: {granted['message']}", reason=Reason.NOT_GRANTED)
    return None


def _published(stored: StoredCredentials) -> dict[str, tuple[PublishedToken, datetime]]:
    """Return the tokens that are well-formed and the bot's own, with the instants at which they were made."""
    good: Mapping[str, TokenClaims | OpaqueToken] = {**stored.claims, **stored.opaque}
    return {
        name: (PublishedToken(stored.tokens[name].data["token"], token.expires_at), token.issued_at)
        for name, token in good.items()
    }


def _suspension(bot: Body, now: datetime) -> Suspension | None:
    try:
        return suspension_of(parse_bot_client(bot), now)
    except InvalidSpecError:
        return None  # the bot says so itself, and what was published of it stays good
