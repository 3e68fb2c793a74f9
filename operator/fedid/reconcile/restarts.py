"""Restarts: workloads whose programs read their credential at their start only, one workload at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedid.domain.pods import Pod
from fedid.domain.resources import Body, meta_of
from fedid.domain.workloads import Owner, Workload
from fedid.errors import BackendUnavailableError, Error, StaleObjectError
from fedid.reconcile.world import World

__all__ = ["Restarts", "Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What pods are to have begun with."""

    digests: Mapping[str, str]
    """Name of a Secret to the fingerprint of its content."""
    is_first: bool
    """Whether that is the first content there ever was: who was never restarted began with it."""

    def is_used_by(self, pod: Pod) -> bool:
        """Tell whether a pod began with the content of all that it mounts."""
        return all(self._fits(name, pod.started_for) for name in pod.mounts & self.digests.keys())

    def is_asked_of(self, workload: Workload) -> bool:
        """Tell whether a workload was restarted for it."""
        return all(self._fits(name, workload.started_for) for name in workload.mounts & self.digests.keys())

    def _fits(self, secret: str, started_for: Mapping[str, str]) -> bool:
        began_with = started_for.get(secret)
        return began_with == self.digests[secret] or (began_with is None and self.is_first)


@dataclass(slots=True)
class _Found:
    """What one look has found."""

    lags: dict[str, str] = field(default_factory=dict)
    """Name of a pod to why it lags."""
    due: dict[str, tuple[Workload, Pod]] = field(default_factory=dict)
    """Workloads that are to be restarted, each with one of its pods."""
    busy: bool = False
    """Whether something is rolling out already."""


class Restarts:
    """Restarts what mounts a Secret whose content is another one."""

    def __init__(self, world: World) -> None:
        """Work in this world."""
        self._world = world
        self._under_way: dict[str, Pod] = {}
        """By PodIdentity: one of the former pods of the workload that was restarted last."""

    def forget(self, uid: str) -> None:
        """Drop what is kept of a PodIdentity."""
        self._under_way.pop(uid, None)

    async def lags(self, body: Body, pods: Sequence[Pod], wanted: Wanted) -> tuple[dict[str, str], bool]:
        """Restart the first workload that is due, unless one is rolling out.

        Args:
            body: The PodIdentity.
            pods: Those that mount its Secrets.
            wanted: What they are to have begun with.

        Returns:
            Name of a pod to why it lags; and whether a rollout is under way, which may be so although no pod lags.

        Raises:
            BackendUnavailableError: The API server did not answer.
        """
        found, uid = _Found(), meta_of(body).uid
        if (former := self._under_way.get(uid)) is not None:
            workload = await self._world.cluster.workload_of(former)
            found.busy = isinstance(workload, Workload) and not workload.rolled_out
            if not found.busy:
                self.forget(uid)
        known: dict[str, Workload | Owner | Error | None] = {}
        for pod in pods:
            await self._judge(pod, wanted, known, found)
        if found.due and not found.busy:
            workload, pod = found.due[min(found.due)]
            await self._restart(body, workload, pod, wanted, found)
        return found.lags, found.busy

    async def _judge(
        self, pod: Pod, wanted: Wanted, known: dict[str, Workload | Owner | Error | None], found: _Found
    ) -> None:
        if wanted.is_used_by(pod):
            if not pod.ready:
                found.lags[pod.name] = "is not ready yet"
                found.busy = True
            return
        uid = pod.owner.uid if pod.owner is not None else ""
        if uid not in known:
            known[uid] = await self._controller(pod)
        match known[uid]:
            case Workload() as workload if not workload.mounts & wanted.digests.keys():
                found.lags[pod.name] = f"is of a former template of {workload}, which mounts the Secret no more"
            case Workload() as workload if wanted.is_asked_of(workload):
                found.lags[pod.name] = f"is about to be replaced: {workload} is rolling out"
                found.busy = True
            case Workload() as workload:
                found.lags[pod.name] = f"waits for its turn: {workload} is restarted when the one before has rolled out"
                found.due[f"{workload}"] = (workload, pod)
            case Owner(kind=kind, name=name):
                found.lags[pod.name] = f"is controlled by {kind} {name}, which has no rollout: start it anew by hand"
            case None:
                found.lags[pod.name] = "is controlled by nothing that could replace it: start it anew by hand"
            case error:
                found.lags[pod.name] = f"cannot be restarted: {error.message}"

    async def _controller(self, pod: Pod) -> Workload | Owner | Error | None:
        try:
            return await self._world.cluster.workload_of(pod)
        except BackendUnavailableError:
            raise
        except Error as error:
            return error

    async def _restart(self, body: Body, workload: Workload, pod: Pod, wanted: Wanted, found: _Found) -> None:
        of_it = {name: wanted.digests[name] for name in workload.mounts & wanted.digests.keys()}
        try:
            done = await self._world.cluster.restart_workload(
                workload, {**workload.started_for, **of_it}, self._world.clock.now()
            )
        except BackendUnavailableError:
            raise
        except StaleObjectError:
            return  # its turn comes at the next look
        except Error as error:
            found.lags[pod.name] = f"cannot be restarted: {error.message}"
            return
        found.lags[pod.name] = f"is about to be replaced: {workload} is rolling out"
        if done:
            self._under_way[meta_of(body).uid] = pod
            self._world.audit("RestartWorkload", key=meta_of(body).key, workload=str(workload))
            message = f"{workload} is restarted, because Secret {', '.join(sorted(of_it))} has changed"
            await self._world.cluster.emit(
                body, reason="WorkloadRestarted", message=message, warning=False, action="Restart"
            )
