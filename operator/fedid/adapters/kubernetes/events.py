"""Events about our objects, as `kubectl describe` shows them.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ (bounds of the fields).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fedid.adapters.kubernetes.addresses import CORE, Address
from fedid.domain.conditions import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

COMPONENT: Final = "fedid"
CLUSTER_NAMESPACE: Final = "default"
"""Where Events about cluster-scoped objects lie."""
_LONGEST_MESSAGE: Final = 1024
_LONGEST_REASON: Final = 128
_LONGEST_PREFIX: Final = 200
"""Characters of the object's name; the API server adds five, and takes 253 in all."""


def event_address(body: Mapping[str, Any]) -> Address:
    """Return where an Event about the object is created."""
    return Address(CORE, "events", body["metadata"].get("namespace") or CLUSTER_NAMESPACE)


def event_body(  # noqa: PLR0913 - what an Event tells
    body: Mapping[str, Any], *, reason: str, message: str, warning: bool, action: str, now: datetime, instance: str
) -> dict[str, Any]:
    """Return the Event.

    Args:
        body: The object that it is about.
        reason: CamelCase, why.
        message: A sentence for people.
        warning: Whether somebody should look.
        action: CamelCase, what was done.
        now: Aware UTC.
        instance: Which replica says so.
    """
    metadata = body["metadata"]
    second = rfc3339(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "generateName": f"{metadata['name'][:_LONGEST_PREFIX].rstrip('-.')}.",
            "namespace": metadata.get("namespace") or CLUSTER_NAMESPACE,
        },
        "involvedObject": {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
            **({"namespace": metadata["namespace"]} if metadata.get("namespace") else {}),
        },
        "type": "Warning" if warning else "Normal",
        "reason": reason[:_LONGEST_REASON],
        "message": message[:_LONGEST_MESSAGE],
        "action": action[:_LONGEST_REASON],
        "reportingComponent": COMPONENT,
        "reportingInstance": instance[:_LONGEST_REASON],
        "source": {"component": COMPONENT},
        # Both ways of telling the time: `kubectl get events` still sorts by the old one.
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "firstTimestamp": second,
        "lastTimestamp": second,
        "count": 1,
    }
