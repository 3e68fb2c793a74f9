"""The part of a bot's plan that is about its private key: made, listed beside the former, proven, put to use, ended.

A key lies in Vault before Keycloak knows its public part, since nothing else could tell it after a crash. It is trusted
only while the client lists it and the status names it, or the one before it: what somebody puts into Vault opens
nothing and is replaced, and so is a key that somebody took off the list. One that is pending and not listed yet was
never used, and another is made in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fedid.domain.bot import DesiredBot, address_entry
from fedid.domain.bot_authentication import PrivateKeyJwt, SigningKey
from fedid.domain.bot_keys import HeldKeys, KeySlot, public_keys_in
from fedid.domain.bot_steps import ObservedBot
from fedid.domain.conditions import rfc3339
from fedid.domain.rotation import RotationRequest, rotation_due_at
from fedid.domain.sensitive import Sensitive

__all__ = ["KeyChange", "key_change", "key_entry", "key_published_unrecorded", "keys_as_published"]

_CURRENT, _PENDING, _PREVIOUS = KeySlot.CURRENT, KeySlot.PENDING, KeySlot.PREVIOUS
ALGORITHM = "ES256"


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What happens to the key."""

    key_set: tuple[KeySlot, ...]
    """Whose public parts the client is to list."""
    stage: bool = False
    """Whether a new key is put into Vault as the pending one first."""
    end: bool = False
    """Whether keys leave the list, or left it, and are yet to be seen refused."""
    publish: bool = False
    by_hand: bool = False
    """Whether somebody changed the list."""
    rotation: bool = False
    """Whether the key is replaced because its time has come."""


def key_change(
    desired: DesiredBot, observed: ObservedBot, request: RotationRequest | None, uid: str, now: datetime
) -> KeyChange:
    """Return what has to happen to the key of a bot that signs."""
    held, withdrawn, recorded = observed.keys, observed.recorded.withdrawn, observed.recorded.key_id
    if observed.client is None:
        if held.current is not None and held.current.key_id == recorded and not withdrawn:
            return KeyChange((_CURRENT,), end=True, publish=True)
        return KeyChange((_PENDING,), stage=True, end=True, publish=True)
    listed = public_keys_in(observed.client.attributes)
    good = _listed(held.current, observed) and not withdrawn and _is_recorded(observed)
    resumed = _listed(held.pending, observed) and not withdrawn
    ours = {key.key_id for key in held.by_slot.values()} | {recorded}
    lost = held.current is not None and held.current.key_id == recorded and not _listed(held.current, observed)
    by_hand = lost or bool(listed.keys() - ours)
    if not good:
        return KeyChange((_PENDING,), stage=not resumed, end=True, publish=True, by_hand=by_hand)
    if held.pending is not None:
        # A replacement was begun, by us before a crash; one that is not listed yet nobody has ever used.
        both, ends = (_CURRENT, _PENDING), held.previous is not None
        return KeyChange(both, stage=not resumed, end=ends, publish=True, by_hand=by_hand, rotation=True)
    if held.previous is not None:
        if _listed(held.previous, observed) and not _has_ended(desired, observed, now):
            return KeyChange((_CURRENT, _PREVIOUS), publish=_differs(desired, observed), by_hand=by_hand)
        return KeyChange((_CURRENT,), end=True, publish=True, by_hand=by_hand, rotation=True)
    if _due(desired, observed, request, uid, now):
        return KeyChange((_CURRENT, _PENDING), stage=True, publish=True, by_hand=by_hand, rotation=True)
    return KeyChange((_CURRENT,), publish=_differs(desired, observed), by_hand=by_hand)


def key_entry(
    bot: DesiredBot,
    current: SigningKey | None,
    *,
    issued_at: datetime | None,
    pending: SigningKey | None = None,
    previous: SigningKey | None = None,
) -> dict[str, Sensitive]:
    """Return what lies in Vault at `…/bots/<name>/keys/client`: all that a consumer needs to sign, in one read."""
    entry = address_entry(bot) | {"algorithm": Sensitive(ALGORITHM)}
    if issued_at is not None:
        entry["issued_at"] = Sensitive(rfc3339(issued_at))
    for prefix, key in (("", current), ("pending_", pending), ("previous_", previous)):
        if key is not None:
            entry[f"{prefix}private_key"] = key.private_key
            entry[f"{prefix}key_id"] = Sensitive(key.key_id)
    return entry


def keys_as_published(desired: DesiredBot, observed: ObservedBot) -> bool:
    """Tell whether Vault holds the key that was published, and nothing is under way."""
    held, stored = observed.keys, observed.stored_client
    if stored is None or held.current is None or held.current.key_id != observed.recorded.key_id:
        return False
    return held.pending is None and not _differs(desired, observed)


def key_published_unrecorded(observed: ObservedBot) -> bool:
    """Tell whether the key was made or replaced, and published, by a pass that ended before its status was written."""
    held, recorded = observed.keys, observed.recorded.key_id
    if observed.client is None or held.current is None or held.pending is not None:
        return False
    return recorded != held.current.key_id and _listed(held.current, observed)


def _listed(key: SigningKey | None, observed: ObservedBot) -> bool:
    if key is None or observed.client is None:
        return False
    return public_keys_in(observed.client.attributes).get(key.key_id) == key.public_key


def _is_recorded(observed: ObservedBot) -> bool:
    """Tell whether the key in Vault is the one recorded, or the one that came after it in a pass that did not tell."""
    held, recorded = observed.keys, observed.recorded.key_id
    known = {key.key_id for key in (held.current, held.previous) if key is not None}
    return recorded is None or recorded in known


def _differs(desired: DesiredBot, observed: ObservedBot) -> bool:
    held, stored = observed.keys, observed.stored_client
    if stored is None or held.issued_at is None:
        return True
    return dict(stored.data) != _entry_of(desired, held)


def _entry_of(desired: DesiredBot, held: HeldKeys) -> dict[str, Sensitive]:
    return key_entry(desired, held.current, issued_at=held.issued_at, previous=held.previous)


def _due(desired: DesiredBot, observed: ObservedBot, request: RotationRequest | None, uid: str, now: datetime) -> bool:
    if key_published_unrecorded(observed):
        return False
    if request is not None and request.wants_secret(observed.recorded.secret_rotated_for):
        return True
    every, issued_at = desired.rotation.every, observed.keys.issued_at
    return every is not None and issued_at is not None and now >= rotation_due_at(issued_at, every, uid)


def _has_ended(desired: DesiredBot, observed: ObservedBot, now: datetime) -> bool:
    since, overlap, current = observed.keys.issued_at, desired.rotation.overlap, observed.keys.current
    if current is not None and observed.recorded.key_id not in {None, current.key_id}:
        return False  # first the status has to name the new one, which without the former would be a stranger's
    if since is None:
        return True
    return observed.handover.lets_end(since + overlap, overlap, now)


def signs(desired: DesiredBot) -> bool:
    """Tell whether the bot authenticates with a key."""
    return isinstance(desired.authentication, PrivateKeyJwt)
