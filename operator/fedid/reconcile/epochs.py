"""Sees to it that of several copies of one installation a single one writes to the backends of a Federation.

Each leadership claims the next epoch in Vault by check-and-set, and the cluster remembers it. The claim is remembered
as begun before Vault is asked, so that after a crash in between it is known as our own. Whoever finds another epoch
than the cluster remembers holds a copy, or a cluster older than Vault, and waits for a person.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fedid.domain.conditions import Condition, ConditionType, Reason, reason_of
from fedid.domain.epoch import (
    TAKE_OVER,
    Epoch,
    RememberedEpoch,
    epoch_in,
    epoch_path,
    number_to_claim,
)
from fedid.domain.naming import owner_mark
from fedid.domain.resources import Body, Federation, meta_of
from fedid.domain.stored import Retention, VaultMark
from fedid.errors import BackendUnavailableError, Error, StaleObjectError
from fedid.reconcile.world import Backends, World

__all__ = ["Epochs"]

_LOOK_AGAIN: Final = timedelta(seconds=50)
"""How long a look at Vault's record is good: a little less than the minute of a Federation's passes."""
_RETENTION: Final = Retention(max_versions=2, delete_version_after=None)
_CHECK_AND_SET: Final = 2
"""The KV version from which on Vault has it."""


@dataclass(slots=True)
class _Held:
    """A claim of this process."""

    epoch: Epoch
    place: tuple[str, str]
    """URL and path of Vault's record; another Vault has another record."""
    good_until: float
    """Monotonic seconds."""


class Epochs:
    """The epochs of all Federations."""

    def __init__(self, world: World) -> None:
        """Work in this world; nothing is claimed yet."""
        self._world = world
        self._held: dict[str, _Held] = {}
        self._lock = asyncio.Lock()
        """What the cluster remembers lies in one object, so Federations claim one after the other."""

    async def look(self, body: Body, backends: Backends) -> Condition | None:
        """Claim the epoch if that was not done, see whether it is still ours if it was; decide who may write.

        Returns:
            The condition: False where a person is asked or something is refused, Unknown where an answer is missing or,
            on KV version 1, cannot be had. None where `VaultReady` says why it is not known.
        """
        federation = backends.federation
        if federation.vault.kv_version < _CHECK_AND_SET:
            backends.may_write = True
            message = (
                f"Mount {federation.vault.mount} is KV version 1, which has no check-and-set: a restored or copied "
                "cluster is not told apart from this one. Let no two run, or move to KV version 2"
            )
            return Condition(ConditionType.EXCLUSIVE, None, Reason.NO_CHECK_AND_SET, message)
        place = (federation.vault.url, self._path(federation))
        held = self._held.get(federation.meta.key.name)
        if held is not None and held.place != place:
            held = None
        if held is None and not backends.vault_ready:
            # A mount that refuses, or is of the other version, is not written to; `VaultReady` says what it lacks.
            self._go_on(backends, held, backends.vault_refusal or "Vault does not answer")
            return None
        try:
            if held is None or held.good_until <= self._world.clock.monotonic():
                refused = await self._claim(body, backends, held, place)
                if refused is not None:
                    return self._wait(backends, refused)
        except Error as error:
            return self._unknown(backends, held, error)
        backends.may_write = True
        message = "No other copy of this installation writes to this Federation's backends"
        return Condition(ConditionType.EXCLUSIVE, True, Reason.EXCLUSIVE, message)

    async def forget(self, backends: Backends | None) -> None:
        """Take the record of a Federation that goes out of Vault, if it is ours, and then out of the cluster's memory.

        What Vault does not let go now stays, and so does the memory of it, should the Federation come back.
        """
        if backends is None:
            return
        store, federation = backends.secret_store, backends.federation
        name = federation.meta.key.name
        if (held := self._held.pop(name, None)) is None:
            return
        try:
            path, owner = self._path(federation), self._mark(federation).owner
            entry = await store.read(path, owner)
            if entry is not None and epoch_in(entry.data) == held.epoch:
                await store.destroy(path, owner)
                async with self._lock:
                    remembered = await self._world.cluster.remembered_epoch(name)
                    await self._world.cluster.remember_epoch(name, RememberedEpoch(version=remembered.version))
        except Error:
            return

    async def _claim(
        self, body: Body, backends: Backends, held: _Held | None, place: tuple[str, str]
    ) -> Condition | None:
        """Make the epoch ours, or see that it still is; return the condition if a person has to decide.

        Raises:
            Error: Vault or the API server does not answer, or refuses; what was begun is found again.
        """
        world, store, federation = self._world, backends.secret_store, backends.federation
        name, path, mark = federation.meta.key.name, self._path(federation), self._mark(federation)
        entry = await store.read(path, mark.owner)
        found = epoch_in(entry.data) if entry is not None else None
        if held is not None and found == held.epoch:
            held.good_until = self._good_until()
            return None
        self._held.pop(name, None)
        async with self._lock:
            remembered = await world.cluster.remembered_epoch(name)
            number = number_to_claim(remembered, found, meta_of(body).annotations.get(TAKE_OVER))
            if number is None:
                return _taken(federation, found, remembered)
            epoch = remembered.begun
            if epoch is None or epoch.number != number:
                epoch = Epoch(number, str(uuid.uuid4()))
                await world.cluster.remember_epoch(name, remembered.beginning(epoch, found))
        version = entry.version if entry is not None else None
        await store.write(path, epoch.data(), mark, version=version, retention=_RETENTION)
        async with self._lock:
            begun = await world.cluster.remembered_epoch(name)
            if begun.begun != epoch:
                message = f"Another replica has claimed an epoch of Federation {name} meanwhile; reading it again"
                raise StaleObjectError(message)
            await world.cluster.remember_epoch(name, RememberedEpoch(held=epoch, version=begun.version))
        self._held[name] = _Held(epoch, place, self._good_until())
        if found is not None and found not in remembered.epochs:
            await self._take_over(body, found)
        return None

    async def _take_over(self, body: Body, found: Epoch) -> None:
        """Have everything looked at: the statuses may be older than what lies in the backends."""
        key = meta_of(body).key
        for identity in self._world.directory.identities_of(key.name):
            self._world.freshness.expire(identity)
        message = f"This cluster took over from epoch {found.number}, as the annotation {TAKE_OVER} says"
        await self._world.cluster.emit(body, reason="TakenOver", message=message, warning=False, action="TakeOver")
        self._world.audit("TakeOver", key=key, federation=key.name, epoch=found.number)

    def _wait(self, backends: Backends, refused: Condition) -> Condition:
        backends.may_write, backends.may_not_write = False, refused.message
        return refused

    def _unknown(self, backends: Backends, held: _Held | None, error: Error) -> Condition | None:
        self._go_on(backends, held, error.message)
        if not backends.vault_ready:
            return None
        away = isinstance(error, (BackendUnavailableError, StaleObjectError))
        return Condition(ConditionType.EXCLUSIVE, None if away else False, reason_of(error), error.message)

    def _go_on(self, backends: Backends, held: _Held | None, why: str) -> None:
        """Go on as before if the epoch was ours; else nothing may be written before it is known."""
        backends.may_write = held is not None and backends.federation.meta.key.name in self._held
        backends.may_not_write = f"whether another copy of this installation writes is not known: {why}"

    def _good_until(self) -> float:
        return self._world.clock.monotonic() + _LOOK_AGAIN.total_seconds()

    def _path(self, federation: Federation) -> str:
        return epoch_path(federation.vault.path_prefix, self._world.installation_id, federation.meta.key.name)

    def _mark(self, federation: Federation) -> VaultMark:
        return VaultMark(owner_mark(self._world.installation_id, "epoch"), str(federation.meta.key))


def _taken(federation: Federation, found: Epoch | None, remembered: RememberedEpoch) -> Condition:
    number = found.number if found is not None else 0
    known = max((one.number for one in remembered.epochs), default=0)
    message = (
        f"Vault holds epoch {number} of this installation, and this cluster remembers "
        f"{f'another one, {known}' if known else 'none'}: it was restored from a backup or copied, or Vault was. "
        "Nothing is written to Keycloak and Vault. If no other copy of this cluster is to go on, say so: "
        f"kubectl annotate --overwrite federation {federation.meta.key.name} {TAKE_OVER}={number}"
    )
    return Condition(ConditionType.EXCLUSIVE, False, Reason.TAKE_OVER_REQUIRED, message)
