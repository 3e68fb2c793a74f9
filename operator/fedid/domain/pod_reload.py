"""How pods come to use a new credential, and who of them does by now."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason
from fedid.domain.fields import Body, text_or_none
from fedid.domain.pods import Pod
from fedid.domain.reload_report import PORT_NAME, Loaded, ProcessState
from fedid.errors import InvalidSpecError

__all__ = ["Reload", "lag_by_signal", "lag_without_sidecar", "mounted_condition", "parse_reload", "why_not_held"]


class Reload(StrEnum):
    """What is done, beside the nudge, so that a program uses what it mounts."""

    NONE = "None"
    """Nothing: it opens the file anew for each use, or watches it."""
    SIGNAL = "Signal"
    """A sidecar in its pod signals it."""
    RESTART = "Restart"
    """Its workload is restarted."""


def parse_reload(spec: Body) -> Reload:
    """Return `spec.reload`.

    Raises:
        InvalidSpecError: It is none of the three, or says nothing about which pods.
    """
    written = text_or_none(spec, "spec.reload") or Reload.NONE.value
    if written not in Reload.__members__.values():
        message = f"spec.reload is {written!r}; write one of {', '.join(Reload)}"
        raise InvalidSpecError(message)
    if written != Reload.NONE and spec.get("pods") is None:
        message = f"spec.reload: {written} needs spec.pods.selector, which says whom to tell"
        raise InvalidSpecError(message)
    return Reload(written)


def why_not_held(body: Body, digest: str) -> str | None:
    """Return why not every mounting pod of a PodIdentity uses this content yet; None if every one does.

    `reload: None`: they were nudged. `Signal`: each sidecar says that its program has read it. `Restart`: their
    workloads have rolled out with it. Without `spec.pods` nobody is asked, and the Secret is all that can be known.

    Args:
        body: The PodIdentity, with its status as last written.
        digest: Of the content of its Secret.
    """
    spec: Mapping[str, Any] = body.get("spec") or {}
    status: Mapping[str, Any] = body.get("status") or {}
    pods: Mapping[str, Any] = status.get("pods") or {}
    name = body["metadata"]["name"]
    if status.get("secretHash") != digest:
        return f"Secret {status.get('secretName') or name} does not hold it yet"
    if spec.get("pods") is None:
        return None
    if pods.get("observedGeneration") != body["metadata"].get("generation"):
        return f"the pods of PodIdentity {name} were not looked at yet"
    reload = spec.get("reload") or Reload.NONE
    if reload == Reload.NONE:
        told = pods.get("nudgedHash") == digest
        return None if told else pods.get("message") or f"the pods of PodIdentity {name} are being told"
    if pods.get("reloadedHash") == digest:
        return None
    first = next(iter(pods.get("lagging") or ()), None)
    why = f"pod {first['pod']} {first['message']}" if first is not None else "they were not asked yet"
    return f"{pods.get('reloaded', 0)} of {pods.get('mounting', 0)} pods of PodIdentity {name} use it: {why}"


def mounted_condition(body: Body) -> Condition | None:
    """Return whether every mounting pod of a PodIdentity uses what its Secret holds, as the rest of its status tells.

    None where there is nothing to tell: the Secret holds no credential, or `spec.pods` names nobody.
    """
    spec: Mapping[str, Any] = body.get("spec") or {}
    status: Mapping[str, Any] = body.get("status") or {}
    content, secret = status.get("secretHash"), status.get("secretName") or body["metadata"]["name"]
    if spec.get("pods") is None or content is None or not status.get("delivered"):
        return None
    if (why := why_not_held(body, content)) is not None:
        return Condition(ConditionType.MOUNTED, False, Reason.WAITING_FOR_CONSUMERS, f"{why[0].upper()}{why[1:]}")
    mounting = (status.get("pods") or {}).get("mounting", 0)
    if not mounting:
        message = f"No pod that spec.pods selects mounts Secret {secret} as a volume"
    elif (spec.get("reload") or Reload.NONE) == Reload.NONE:
        message = f"Every pod that mounts Secret {secret} was told of what it holds: {mounting}"
    else:
        message = f"Every pod that mounts Secret {secret} uses what it holds: {mounting}"
    return Condition(ConditionType.MOUNTED, True, Reason.MOUNTED, message)


def lag_without_sidecar(pod: Pod) -> str | None:
    """Return why a pod cannot be asked what its program has read, None if it can."""
    if pod.reload_port is None:
        return f"has no sidecar: no container of it declares a port named {PORT_NAME} (see the guide, page 9)"
    if pod.ip is None:
        return "has no address yet: it is about to start"
    return None


def lag_by_signal(loaded: Loaded, digests: frozenset[str]) -> str | None:
    """Return why the program of a pod has not read one of these contents, None if it has.

    Args:
        loaded: What the pod's sidecar says.
        digests: Of the Secrets that the pod mounts.
    """
    if loaded.digest in digests:
        return None
    match loaded.state:
        case ProcessState.LOADED | ProcessState.SETTLING if loaded.mounted not in digests:
            return "has the former content mounted, or mounts a part of the Secret only (items, subPath)"
        case ProcessState.LOADED | ProcessState.SETTLING:
            return "was signalled and has not read it yet"
        case ProcessState.STARTING:
            return "runs a program that does not take the signal yet; it is sent once it does"
        case ProcessState.ABSENT:
            return "runs no process that the sidecar's --process matches: correct it, if the program does run"
        case ProcessState.ALONE:
            return "lets its sidecar see no other process: set shareProcessNamespace: true"
        case ProcessState.AMBIGUOUS:
            return "runs several processes that the sidecar's --process matches: let it fit the server alone"
        case ProcessState.REFUSED:
            return "runs its program as another user than its sidecar: give both the same runAsUser"
        case ProcessState.UNMOUNTED:
            return "has nothing mounted where the sidecar's --mount says: mount the volume of the program there"
        case ProcessState.UNREADABLE:
            return "lets its sidecar not read the files: set fsGroup, or another defaultMode"
