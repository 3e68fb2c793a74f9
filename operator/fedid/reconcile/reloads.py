"""Reloading: pods that must do more than look at a file are brought to use a new content, and asked whether they do.

It has a key of its own in the queue, like the second nudge: it needs pods and nothing else, whatever else the
PodIdentity waits for. It comes back, ever more rarely, until every mounting pod uses the content. What is due follows
from the status (which content all of them use), from the pods and from the templates of their workloads; so a crash at
any point costs one more question and never a second restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fedid.domain.conditions import ConditionType, rfc3339
from fedid.domain.naming import ObjectKey
from fedid.domain.pod_identity import PodIdentity, parse_pod_identity
from fedid.domain.pod_reload import Reload, lag_by_signal, lag_without_sidecar
from fedid.domain.pods import Pod
from fedid.domain.resources import Body, meta_of
from fedid.engine import Outcome, Priority
from fedid.errors import Error
from fedid.reconcile.restarts import Restarts, Wanted
from fedid.reconcile.status import kept_conditions, newest_of, write_status
from fedid.reconcile.world import World

__all__ = ["RELOAD", "REPORT_FIELDS", "STARTED_WITH", "Contents", "Reloads"]

RELOAD: Final = "PodReload"
"""Kind of the keys; the rest of such a key is that of the PodIdentity."""
STARTED_WITH: Final = "startedWith"
REPORT_FIELDS: Final = ("reloadedHash", "reloadedAt", "reloaded", "lagging")
"""Fields of `status.pods` that are written here."""
_FIRST_SECONDS = 1.0
"""About what kubelet and a sidecar need after a nudge."""
_LONGEST_SECONDS = 60.0
_AT_ONCE = 16
"""Pods that are asked at the same time."""
_NAMED = 5
"""How many of those that lag are named."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What the Secrets of a PodIdentity hold."""

    uid: str
    """Of the PodIdentity."""
    by_secret: Mapping[str, str]
    """Name to fingerprint."""

    @property
    def digest(self) -> str:
        """The one fingerprint of all; there are two Secrets only while a former one is being emptied."""
        return "-".join(self.by_secret.values())


@dataclass(frozen=True, slots=True)
class _Pending:
    contents: Contents
    generation: int
    """Of the PodIdentity: another selector means other pods."""
    again_after: float = _FIRST_SECONDS


@dataclass(frozen=True, slots=True)
class _Look:
    """How it stands with the pods."""

    lags: Mapping[str, str]
    """Name of a pod to why it does not use the content."""
    mounting: int
    done: bool


class Reloads:
    """Reloads the pods of PodIdentities."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._restarts = Restarts(world)
        self._pending: dict[ObjectKey, _Pending] = {}

    def begin(self, spec: PodIdentity, contents: Contents, told: Mapping[str, Any]) -> None:
        """Ask for a pass unless all pods use this content already.

        Args:
            spec: The PodIdentity.
            contents: What its Secrets hold now.
            told: Its `status.pods`, as it is or is about to be written.
        """
        key, pending = spec.meta.key, self._pending.get(spec.meta.key)
        if spec.reload is Reload.NONE or told.get("reloadedHash") == contents.digest:
            self.forget(key)
        elif pending is None or (pending.contents, pending.generation) != (contents, spec.meta.generation):
            self._pending[key] = _Pending(contents, spec.meta.generation)
            self._come_back(key, _FIRST_SECONDS)

    def forget(self, key: ObjectKey) -> None:
        """Drop what is kept of a PodIdentity that is gone, or for which nothing is due."""
        if (pending := self._pending.pop(key, None)) is not None:
            self._restarts.forget(pending.contents.uid)

    async def reconcile(self, body: Body) -> Outcome:
        """Run one pass for a PodIdentity.

        Raises:
            BackendUnavailableError: The API server did not answer; tried again.
        """
        meta = meta_of(body)
        pending = self._pending.get(meta.key)
        told: Mapping[str, Any] = (body.get("status") or {}).get("pods") or {}
        if pending is None or pending.contents.uid != meta.uid:
            self.forget(meta.key)
            return Outcome()
        spec = parse_pod_identity(body)
        if told.get("observedGeneration") == meta.generation and self._is_told(told, pending.contents):
            found = await self._look(body, spec, pending.contents, told)
            is_told = await self._tell(body, told, pending.contents, found)
            if self._pending.get(meta.key) is not pending:
                return Outcome(self._world.clock.monotonic() + _FIRST_SECONDS)  # there is a newer content
            if found.done and is_told:
                self.forget(meta.key)
                return Outcome()
        # Else the pass that wrote the Secret has not told so yet.
        self._pending[meta.key] = replace(pending, again_after=min(2 * pending.again_after, _LONGEST_SECONDS))
        return Outcome(self._world.clock.monotonic() + pending.again_after, Priority.DRIFT)

    def _is_told(self, told: Mapping[str, Any], contents: Contents) -> bool:
        return told.get("nudgedHash") == contents.digest or "message" in told

    def _come_back(self, key: ObjectKey, seconds: float) -> None:
        at = self._world.clock.monotonic() + seconds
        self._world.wake(ObjectKey(RELOAD, key.namespace, key.name), Priority.CHANGE, look=False, at=at)

    async def _look(self, body: Body, spec: PodIdentity, contents: Contents, told: Mapping[str, Any]) -> _Look:
        """Do what is due, and return how it stands."""
        assert spec.pods is not None  # noqa: S101 - parsing saw to that
        found = await self._world.cluster.pods(spec.meta.key.namespace, spec.pods)
        mounting = [pod for pod in found if pod.mounts & contents.by_secret.keys()]
        # Whom no node has yet will read what is there by then.
        asked, busy = [pod for pod in mounting if pod.scheduled], False
        if spec.reload is Reload.RESTART:
            wanted = Wanted(contents.by_secret, is_first=told.get(STARTED_WITH) == contents.digest)
            lags, busy = await self._restarts.lags(body, asked, wanted)
        else:
            lags = await self._lags_by_signal(asked, contents.by_secret)
        return _Look(lags, len(mounting), done=not lags and not busy)

    async def _lags_by_signal(self, pods: Sequence[Pod], digests: Mapping[str, str]) -> dict[str, str]:
        lags: dict[str, str] = {}
        for start in range(0, len(pods), _AT_ONCE):
            some = pods[start : start + _AT_ONCE]
            answers = await asyncio.gather(*(self._lag_by_signal(pod, digests) for pod in some))
            lags |= {pod.name: lag for pod, lag in zip(some, answers, strict=True) if lag is not None}
        return lags

    async def _lag_by_signal(self, pod: Pod, digests: Mapping[str, str]) -> str | None:
        if (lag := lag_without_sidecar(pod)) is not None:
            return lag
        try:
            loaded = await self._world.sidecars.loaded(pod)
        except Error as error:
            return error.message
        return lag_by_signal(loaded, frozenset(digests[name] for name in pod.mounts & digests.keys()))

    async def _tell(self, body: Body, told: Mapping[str, Any], contents: Contents, found: _Look) -> bool:
        """Write how it stands; False if the status was told of something else meanwhile, and must be read again."""
        named = [{"pod": pod, "message": message} for pod, message in sorted(found.lags.items())[:_NAMED]]
        fields: dict[str, Any] = {**told, "mounting": found.mounting, "reloaded": found.mounting - len(found.lags)}
        fields["lagging"] = named or None
        if found.done:
            fields |= {"reloadedHash": contents.digest, "reloadedAt": rfc3339(self._world.clock.now())}
        newest = newest_of(self._world, body)
        if (newest.get("status") or {}).get("pods") != told:
            return False
        conditions = kept_conditions(newest, ConditionType)
        pods = {name: value for name, value in fields.items() if value is not None}
        await write_status(self._world, newest, conditions, {"pods": pods}, generation=meta_of(body).generation)
        return True
