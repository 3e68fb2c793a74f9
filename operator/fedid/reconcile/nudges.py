"""Nudges: pods are told that a Secret which they mount has changed, at once and again about two seconds later.

The first one is part of the pass that wrote the Secret, so that one write of the status tells both. The second has a
key of its own in the queue: it needs the pods and nothing else, whatever else the PodIdentity waits for. What is due
follows from the status (which content the pods were told of) and from the pods (which nudge they had), so that a crash
at any point loses none and repeats none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fedid.domain.conditions import ConditionType, rfc3339
from fedid.domain.label_selector import LabelSelector
from fedid.domain.naming import ObjectKey
from fedid.domain.pod_identity import PodIdentity, parse_pod_identity
from fedid.domain.pod_reload import Reload
from fedid.domain.pods import Nudge, Pod
from fedid.domain.resources import Body, meta_of
from fedid.engine import Outcome, Priority
from fedid.errors import BackendDeniedError, BackendRejectedError, BackendUnavailableError, Error
from fedid.reconcile.pod_secret import Written, digest
from fedid.reconcile.reloads import REPORT_FIELDS, STARTED_WITH, Contents, Reloads
from fedid.reconcile.status import kept_conditions, write_status
from fedid.reconcile.world import World

__all__ = ["NUDGE", "SECOND_AFTER_SECONDS", "Nudges"]

NUDGE = "PodNudge"
"""Kind of the keys of second nudges; the rest of such a key is that of the PodIdentity."""
SECOND_AFTER_SECONDS = 2.0
_AT_ONCE = 16
"""Pods that are patched at the same time."""
_SEEN_BY_ITSELF = timedelta(seconds=90)
"""How long kubelet needs at most without a nudge; who was told longer ago needs no second one."""


@dataclass(frozen=True, slots=True)
class _Round:
    """What the pods are to be told of."""

    uid: str
    """Of the PodIdentity."""
    secrets: frozenset[str]
    version: str
    """resourceVersion of the newest of the Secrets."""
    digest: str
    reload: Reload
    fresh: bool
    """Whether these Secrets were made just now, the first ones of their PodIdentity."""
    due_at: float = 0.0
    """When the second nudge is due (monotonic seconds)."""


@dataclass(frozen=True, slots=True)
class _Told:
    """How one round of nudges went."""

    selected: int | None
    """None: the pods could not be listed."""
    mounting: int | None
    nudged: int
    """Pods that have had the nudge, now or before."""
    patched: int
    running: bool
    """Whether one of those that mount it ran already."""
    trouble: Error | None
    """Why not all of them were told."""


class Nudges:
    """Nudges the pods of PodIdentities."""

    def __init__(self, world: World, reloads: Reloads) -> None:
        """Work in this world; who must do more than look at a file is seen to by `reloads`."""
        self._world = world
        self._reloads = reloads
        self._pending: dict[ObjectKey, _Round] = {}
        self._seen: set[ObjectKey] = set()

    async def first(self, body: Body, spec: PodIdentity, secrets: Sequence[Written]) -> Mapping[str, Any]:
        """Nudge the pods if there is something new for them; never fails because of a pod.

        Args:
            body: The PodIdentity as last read.
            spec: What it asks.
            secrets: Its Secrets as they are now, at least one.

        Returns:
            The status fields to be written along with the rest; none if nothing was due.
        """
        key, uid = spec.meta.key, spec.meta.uid
        status = body.get("status") or {}
        told: Mapping[str, Any] = status.get("pods") or {}
        if spec.pods is None:
            self.forget(key)
            return {"pods": None}
        unknown = key not in self._seen
        self._seen.add(key)
        found = [written.secret for written in secrets]
        version = max((str(secret.resource_version) for secret in found), key=lambda text: (len(text), text))
        contents = Contents(uid, {secret.name: digest(secret.data) for secret in found})
        content, fresh = contents.digest, not told and all(written.created for written in secrets)
        current = _Round(uid, frozenset(contents.by_secret), version, content, spec.reload, fresh)
        changed = any(written.changed for written in secrets) or told.get("nudgedHash") != content
        if not changed and told.get("observedGeneration") == spec.meta.generation:
            if unknown and self._is_recent(told):
                self._nudge_again(key, current)  # a crash may have come before the second one
            self._reloads.begin(spec, contents, told)
            return {}
        self._pending.pop(key, None)  # of what was mounted before; it would be told as what the pods have now
        result = await self._tell_pods(key, spec.pods, current, 1)
        if result.mounting != 0 and not isinstance(result.trouble, BackendDeniedError):
            self._nudge_again(key, current)
        await self._tell_trouble(body, told, result.trouble)
        fields = self._fields(told, result, current, spec.meta.generation, changed=changed)
        self._reloads.begin(spec, contents, fields)
        return {"pods": fields}

    async def reconcile(self, body: Body) -> Outcome:
        """Run the second nudge of a PodIdentity.

        Raises:
            BackendUnavailableError: The API server did not answer; tried again.
            StaleObjectError: The status was written meanwhile; tried again.
        """
        meta = meta_of(body)
        current = self._pending.get(meta.key)
        spec = parse_pod_identity(body) if current is not None and current.uid == meta.uid else None
        if current is None or spec is None or spec.pods is None:
            self._pending.pop(meta.key, None)
            return Outcome()
        if self._world.clock.monotonic() < current.due_at:
            return Outcome(current.due_at, Priority.CHANGE)  # a newer change took the place of an earlier one
        result = await self._tell_pods(meta.key, spec.pods, current, 2)
        if isinstance(result.trouble, BackendUnavailableError):
            raise result.trouble
        if self._pending.get(meta.key) is current:
            await self._tell_late(body, result, current)
        if self._pending.get(meta.key) is current:  # not before it is told: another pass would have nothing to tell
            del self._pending[meta.key]
        return Outcome()

    def forget(self, key: ObjectKey) -> None:
        """Drop what is kept of a PodIdentity that is gone, or that names no pods."""
        self._reloads.forget(key)
        self._pending.pop(key, None)
        self._seen.discard(key)

    def _nudge_again(self, key: ObjectKey, current: _Round) -> None:
        # From now on, not from the beginning of the first: with hundreds of pods that takes seconds itself.
        due_at = self._world.clock.monotonic() + SECOND_AFTER_SECONDS
        self._pending[key] = replace(current, due_at=due_at)
        nudge = ObjectKey(NUDGE, key.namespace, key.name)
        self._world.wake(nudge, Priority.CHANGE, look=False, at=due_at)

    def _is_recent(self, told: Mapping[str, Any]) -> bool:
        at = told.get("nudgedAt")
        return at is not None and self._world.clock.now() - datetime.fromisoformat(at) < _SEEN_BY_ITSELF

    async def _tell_pods(self, key: ObjectKey, selector: LabelSelector, current: _Round, ordinal: int) -> _Told:
        """Nudge those pods that mount one of the Secrets and have not had this nudge."""
        nudge = Nudge(current.version, ordinal)
        try:
            pods = await self._world.cluster.pods(key.namespace, selector)
        except Error as error:
            return _Told(None, None, 0, 0, running=True, trouble=error)
        mounting = [pod for pod in pods if pod.mounts & current.secrets]
        waiting = [pod for pod in mounting if not nudge.is_said_by(pod.nudge)]
        patched = gone = 0
        trouble: Error | None = None
        for start in range(0, len(waiting), _AT_ONCE):
            for answer in await asyncio.gather(*(self._nudge(pod, nudge) for pod in waiting[start : start + _AT_ONCE])):
                patched += answer is True
                gone += answer is False
                trouble = trouble or (answer if isinstance(answer, Error) else None)
            if trouble is not None and not isinstance(trouble, BackendRejectedError):
                break  # what one pod is refused for lack of a right, or of an answer, every other is as well
        if patched:
            self._world.audit("NudgePods", key=key, ordinal=ordinal, pods=patched)
        had_it = len(mounting) - len(waiting)
        running = any(pod.running for pod in mounting)
        return _Told(len(pods) - gone, len(mounting) - gone, had_it + patched, patched, running, trouble)

    async def _nudge(self, pod: Pod, nudge: Nudge) -> bool | Error:
        try:
            return await self._world.cluster.nudge_pod(pod, nudge)
        except Error as error:
            return error

    def _fields(
        self, told: Mapping[str, Any], result: _Told, current: _Round, generation: int, *, changed: bool
    ) -> dict[str, Any]:
        """Return `status.pods`; its instant and hash move only when all were told of something new."""
        fields: dict[str, Any] = {"observedGeneration": generation, "nudged": result.nudged}
        fields["selected"] = told.get("selected") if result.selected is None else result.selected
        fields["mounting"] = told.get("mounting") if result.mounting is None else result.mounting
        done = result.trouble is None
        now = rfc3339(self._world.clock.now())
        fields["nudgedHash"] = current.digest if done else told.get("nudgedHash")
        fields["nudgedAt"] = now if done and (changed or result.patched) else told.get("nudgedAt")
        fields["message"] = None if result.trouble is None else _message(result.trouble)
        if current.reload is Reload.RESTART:
            # Who waited for the Secret to be made has read it; of a pod that ran before nobody knows what it has read.
            began = current.fresh and changed and not result.running
            fields[STARTED_WITH] = current.digest if began else told.get(STARTED_WITH)
        if current.reload is not Reload.NONE and not changed and told.get("observedGeneration") == generation:
            fields |= {name: told.get(name) for name in REPORT_FIELDS}
        return {name: value for name, value in fields.items() if value is not None}

    async def _tell_late(self, body: Body, result: _Told, current: _Round) -> None:
        """Tell in the status what the second nudge mended or met; otherwise the first has told all."""
        told: Mapping[str, Any] = (body.get("status") or {}).get("pods") or {}
        fields = self._fields(told, result, current, meta_of(body).generation, changed=False)
        if (fields.get("nudgedHash"), fields.get("message")) == (told.get("nudgedHash"), told.get("message")):
            return
        await self._tell_trouble(body, told, result.trouble)
        kept = kept_conditions(body, ConditionType)
        await write_status(self._world, body, kept, {"pods": fields})

    async def _tell_trouble(self, body: Body, told: Mapping[str, Any], trouble: Error | None) -> None:
        passing = trouble is None or isinstance(trouble, BackendUnavailableError)
        if trouble is None or passing or told.get("message"):
            return  # told once, until all is well again
        await self._world.cluster.emit(
            body, reason="NudgeRefused", message=_message(trouble), warning=True, action="Nudge"
        )


def _message(trouble: Error) -> str:
    return f"Not all pods were told; they see a change by themselves within two minutes: {trouble.message}"
