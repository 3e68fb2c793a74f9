"""What stands before every identity: its Federation, the grants, and the finalizer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason, condition_of, is_told
from fedid.domain.durations import scattered
from fedid.domain.judgement import Verdict
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import FEDERATION, FINALIZER, Body, Meta, meta_of
from fedid.errors import BackendUnavailableError, NotReadyError, StaleObjectError
from fedid.reconcile.news import learned
from fedid.reconcile.status import ready_at_generation
from fedid.reconcile.world import Backends, World

__all__ = [
    "LOOK_PERIOD",
    "UNSEEN_SECONDS",
    "backends_of",
    "federation_name",
    "federation_of",
    "granted_condition",
    "judged_as_before",
    "pinned_federation",
    "realm_now",
    "require_usable",
    "trust_earlier",
    "with_finalizer",
    "without_finalizer",
]

LOOK_PERIOD = timedelta(days=7)
"""How often an object is looked at as a whole though neither an event nor a sweep said that it was changed."""
UNSEEN_SECONDS = 1.0
"""When to look again at an object whose namespace was not seen yet; seeing it wakes the object anyway."""


def federation_name(world: World, named: str | None, status: Mapping[str, Any]) -> str:
    """Return the Federation of an identity: the named one, the one pinned earlier, else the only default.

    Raises:
        NotReadyError: There is none, or two claim to be the default.
    """
    if name := named or status.get("federation"):
        return str(name)
    defaults: list[str] = sorted(
        body["metadata"]["name"] for body in world.directory.federations() if (body.get("spec") or {}).get("default")
    )
    if len(defaults) == 1:
        return defaults[0]
    if defaults:
        message = (
            f"Federations {', '.join(defaults)} all say default: true, so none is; "
            "name one in spec.federationRef, or let one of them give it up"
        )
    else:
        message = "No Federation says default: true; name one in spec.federationRef"
    raise NotReadyError(message, reason=Reason.FEDERATION_MISSING)


def federation_of(world: World, body: Body) -> str:
    """Return the Federation of an object, as its manifest and its status tell; see `federation_name`.

    Raises:
        NotReadyError: There is none, or two claim to be the default.
    """
    named = ((body.get("spec") or {}).get("federationRef") or {}).get("name")
    return federation_name(world, named, body.get("status") or {})


def pinned_federation(world: World, body: Body) -> str | None:
    """Return the Federation that the object is, or would be, pinned to; None if that cannot be told yet."""
    try:
        return federation_of(world, body)
    except NotReadyError:
        return None


def realm_now(world: World, bot: Body | None) -> datetime:
    """Return the clock that the tokens of a bot go by: Keycloak's, or our own as long as nothing is known of that.

    Our own may be off, and then a good token would be told to have expired, or one that has to be good.
    """
    backends = world.backends.get(((bot or {}).get("status") or {}).get("federation") or "")
    try:
        return backends.identity_provider.server_now() if backends is not None else world.clock.now()
    except BackendUnavailableError:
        return world.clock.now()


def backends_of(world: World, federation: str) -> Backends | None:
    """Return the adapters of a Federation; None if it exists and was not looked at yet in this process.

    Raises:
        NotReadyError: There is no such Federation, it cannot be worked with (its spec or access is wrong), or another
            copy of this installation may be the one that writes to its backends.
    """
    body = world.directory.get(ObjectKey(FEDERATION, "", federation))
    if body is None:
        message = f"Federation {federation} does not exist; create it, or name another in spec.federationRef"
        raise NotReadyError(message, reason=Reason.FEDERATION_MISSING)
    known = world.backends.get(federation)
    if known is None and (why := world.unusable.get(federation)) is not None:
        raise _not_ready(federation, why)
    if known is None or not known.looked_at:
        return None
    if not known.may_write:
        raise _not_ready(federation, known.may_not_write)
    return known


def require_usable(backends: Backends, meta: Meta, *, vault: bool) -> None:
    """Begin nothing new in a Federation where a person has to mend something first; what exists goes on.

    A backend that is only away is no such thing: what depends on it says so itself, and the rest may go on.

    Args:
        backends: Of the object's Federation.
        meta: Of the object; with our finalizer on it, it was begun before.
        vault: Whether the object needs Vault too.

    Raises:
        NotReadyError: Keycloak or Vault refuses the operator; the Federation wakes the object when that is mended.
    """
    why = backends.keycloak_refusal or (backends.vault_refusal if vault else "")
    if why and not meta.has_finalizer:
        raise _not_ready(backends.federation.meta.key.name, why)


def _not_ready(federation: str, why: str) -> NotReadyError:
    return NotReadyError(f"Federation {federation} is not ready: {why}", reason=Reason.FEDERATION_NOT_READY)


def granted_condition(verdict: Verdict) -> Condition:
    """Return the condition that tells what the grants say."""
    return Condition(ConditionType.GRANTED, verdict.granted, verdict.reason, verdict.message)


def judged_as_before(body: Body, verdict: Verdict) -> bool:
    """Tell whether the status was written under this very verdict: what differs now, no grant has changed."""
    told = condition_of((body.get("status") or {}).get("conditions") or (), ConditionType.GRANTED)
    return is_told(told, granted_condition(verdict))


def trust_earlier(world: World, body: Body, verdict: Verdict) -> None:
    """Spare an object that an earlier process left in order its first full look: the realm's first sweep compares it.

    Whatever is known to have changed since is looked at all the same: its spec, its grants, or what an event told; and
    what is judged otherwise than before, whatever made the difference.
    """
    meta = meta_of(body)
    if not judged_as_before(body, verdict):
        world.freshness.expire(meta.key)
    elif ready_at_generation(body) and verdict.granted:
        until = world.clock.monotonic() + scattered(LOOK_PERIOD, meta.uid).total_seconds()
        world.freshness.trust(meta.key, meta.uid, meta.generation, until)


async def with_finalizer(world: World, body: Body, finalizer: str = FINALIZER) -> Body:
    """Return the object with our finalizer on it; written only if it is missing.

    Raises:
        StaleObjectError: The object changed or went meanwhile; its newer version brings it back.
    """
    meta = meta_of(body)
    if finalizer in meta.finalizers:
        return body
    written = await _set_finalizers(world, body, (*meta.finalizers, finalizer), meta)
    if finalizer == FINALIZER and meta.key.kind != FEDERATION:
        world.departed.begun(written)
    return written


async def require_still_there(world: World, meta: Meta, *, anyway: bool = False) -> None:
    """See that an object which has just got our finalizer did not go all the same, before anything is made for it.

    Args:
        world: Collaborators.
        meta: Of the object.
        anyway: Also if it got the finalizer long ago.

    Raises:
        StaleObjectError: It is gone.
    """
    if not anyway and not world.departed.may_have(meta.key):
        return
    fresh = await world.cluster.read(meta.key.kind, meta.key.namespace, meta.key.name)
    if fresh is None or meta_of(fresh).uid != meta.uid:
        world.directory.remove(meta.key, meta.uid)
        message = f"{meta.key} is gone"
        raise StaleObjectError(message)


def still_wanted(world: World, meta: Meta) -> Body:
    """Return the newest known version of an object for which something is about to be made, in the midst of a pass.

    Raises:
        StaleObjectError: It is gone or being deleted since the pass began.
    """
    newest = world.directory.get(meta.key)
    if newest is None or meta_of(newest).uid != meta.uid or meta_of(newest).deleting:
        message = f"{meta.key} was deleted meanwhile"
        raise StaleObjectError(message)
    return newest


async def without_finalizer(world: World, body: Body, *finalizers: str) -> None:
    """Take finalizers of ours off, by default `FINALIZER`; the last thing that happens to an object.

    Raises:
        StaleObjectError: The object changed meanwhile.
    """
    meta, ours = meta_of(body), finalizers or (FINALIZER,)
    kept = tuple(one for one in meta.finalizers if one not in ours)
    if kept == meta.finalizers:
        return
    if world.departed.of(body) is None:  # else there is nothing to write to
        written = await world.cluster.set_finalizers(body, kept)
        if written is None:
            world.directory.remove(meta.key, meta.uid)
        else:
            learned(world, written)
    if FINALIZER in ours:
        world.departed.let_go(body)


async def _set_finalizers(world: World, body: Body, finalizers: tuple[str, ...], meta: Meta) -> Body:
    written = await world.cluster.set_finalizers(body, finalizers)
    if written is None:
        world.directory.remove(meta.key, meta.uid)
        message = f"{meta.key} is gone"
        raise StaleObjectError(message)
    learned(world, written)
    return written
