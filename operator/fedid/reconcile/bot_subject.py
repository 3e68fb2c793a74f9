"""One ServiceAccount authenticates one client: who has it, and who has to wait."""

from __future__ import annotations

from fedid.domain.bot import DesiredBot
from fedid.domain.bot_authentication import ServiceAccount, SubjectClaim, subject_conflict
from fedid.domain.resources import BOT_CLIENT, Body, BotClient, parse_bot_client
from fedid.errors import InvalidSpecError, OwnershipConflictError
from fedid.reconcile.world import Backends, World

__all__ = ["require_own_subject", "require_subject_is_free"]


def require_own_subject(world: World, spec: BotClient, body: Body, federation: str) -> None:
    """See that the ServiceAccount is this bot's, as far as manifests tell; nothing to see for a bot of another kind.

    Raises:
        OwnershipConflictError: Another BotClient has it, or it is the operator's own.
    """
    mine = _claim(spec, body)
    if mine is None:
        return
    others = []
    for key in world.directory.identities_of(federation):
        other = world.directory.get(key)
        if key.kind != BOT_CLIENT or key.namespace != spec.meta.key.namespace or other is None:
            continue
        try:
            claim = _claim(parse_bot_client(other), other)
        except InvalidSpecError:
            continue
        others += [claim] if claim is not None else []
    why = subject_conflict(mine, others, operators_own=world.own_subject())
    if why is not None:
        raise OwnershipConflictError(why, backend="keycloak")


async def require_subject_is_free(desired: DesiredBot, backends: Backends) -> None:
    """See that no other client of the realm stands for the ServiceAccount, before one is made that does.

    Raises:
        OwnershipConflictError: There is one.
    """
    if not isinstance(desired.authentication, ServiceAccount):
        return
    subject = desired.authentication.subject
    for other in await backends.identity_provider.clients_of_subject(subject):
        if other.client_uuid != desired.client_uuid and other.client_id != desired.client_id:
            message = (
                f"{subject} authenticates client {other.client_id} of realm {backends.federation.keycloak.realm} "
                "already, and one ServiceAccount serves one client; name another in "
                "spec.authentication.serviceAccount (a new BotClient), or have that client deleted"
            )
            raise OwnershipConflictError(message, backend="keycloak")


def _claim(spec: BotClient, body: Body) -> SubjectClaim | None:
    if not isinstance(spec.authentication, ServiceAccount):
        return None
    created_at = str(body["metadata"].get("creationTimestamp") or "")
    made = bool((body.get("status") or {}).get("clientUuid"))
    return SubjectClaim(spec.authentication.subject, spec.meta.key, spec.meta.uid, created_at, made=made)
