"""The port: the API server as a `Cluster`."""

from __future__ import annotations

import logging
import platform
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fedid.adapters.kubernetes.addresses import (
    Address,
    address_of,
    pod_address,
    resource_address,
    secret_address,
    workload_address,
)
from fedid.adapters.kubernetes.api import Api, ClusterTransport, Reply
from fedid.adapters.kubernetes.events import event_address, event_body
from fedid.adapters.kubernetes.failures import is_denied_by_rbac, is_namespace_ending, namespace_ending
from fedid.adapters.kubernetes.installation import installation_id, remember_epoch, remembered_epoch
from fedid.adapters.kubernetes.mounted import mounted_secret, plain_data, secret_body
from fedid.adapters.kubernetes.workloads import restart_body, workload_of
from fedid.domain.pods import NUDGE_ANNOTATION, pod_of
from fedid.domain.resources import REVOCATION_RECEIPT
from fedid.errors import Error, StaleObjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from fedid.adapters.answer import Call
    from fedid.adapters.kubernetes.access import ClusterAccess
    from fedid.adapters.transport import Limiter
    from fedid.domain.epoch import RememberedEpoch
    from fedid.domain.label_selector import LabelSelector
    from fedid.domain.pods import Nudge, Pod
    from fedid.domain.sensitive import Sensitive
    from fedid.domain.stored import MountedSecret
    from fedid.domain.workloads import Owner, Workload
    from fedid.ports import Clock

T = TypeVar("T")

_log = logging.getLogger(__name__)

CHUNK: Final = 500
"""Objects per page of a listing."""
POD_CHUNK: Final = 100
"""Pods per page: some 10 KB each, and parsing a page holds the loop."""
UNFINISHED: Final = "status.phase!=Succeeded,status.phase!=Failed"
STATUS_ATTEMPTS: Final = 5
"""How often a status is written against a newer resourceVersion before the caller has to look again."""


class KubernetesCluster:
    """A `Cluster`; shares the pool of `access`, which it does not close."""

    def __init__(  # noqa: PLR0913 - one keyword for each thing that the composition root may bound or observe
        self,
        access: ClusterAccess,
        clock: Clock,
        *,
        fence: Callable[[], None] | None = None,
        limiter: Limiter | None = None,
        on_call: Callable[[Call], None] | None = None,
        chunk: int = CHUNK,
    ) -> None:
        """Prepare; nothing is sent before the first call.

        Args:
            access: The way to the API server; its namespace is the operator's own.
            clock: Stamps Events.
            fence: Called right before each write, save that of the installation id.
            limiter: Bounds what is in flight; None: only the pool does.
            on_call: Told about each finished request.
            chunk: Objects per page of a listing (> 0).
        """
        self._chunk = chunk
        self._api = Api(ClusterTransport(access, fence=fence, limiter=limiter, on_call=on_call))
        self._access = access
        self._clock = clock
        self._instance = platform.node() or "fedid"
        self._installation_id: str | None = None
        self.events_lost = 0
        """How many Events the API server did not take; for the metrics."""

    async def listing(self, kind: str) -> tuple[Mapping[str, object], ...]:
        """Return all objects of one of our kinds, or of `Namespace`, afresh, `kind` filled in each."""

        def named(item: Mapping[str, Any]) -> Mapping[str, object]:
            return {**item, "kind": kind}

        return tuple(await self._list(resource_address(kind), named, {}, self._chunk))

    async def read(self, kind: str, namespace: str | None, name: str) -> Mapping[str, object] | None:
        """Return one custom resource, afresh."""
        reply = await self._api.send("get", resource_address(kind, namespace, name))
        return None if reply.absent else reply.result()

    async def set_finalizers(
        self, body: Mapping[str, object], finalizers: tuple[str, ...]
    ) -> Mapping[str, object] | None:
        """Replace the finalizers of that very object; None if it is gone (also when this removed it)."""
        seen, address = _metadata(body), address_of(body)
        metadata = {"uid": seen["uid"], "resourceVersion": seen["resourceVersion"], "finalizers": list(finalizers)}
        reply = await self._api.send("patch", address, {"metadata": metadata})
        if reply.absent:
            return None
        if reply.conflicting:
            message = f"{address} changed since it was read; reading it again"
            raise StaleObjectError(message)
        written = reply.result()
        left = _metadata(written)
        return None if "deletionTimestamp" in left and not left.get("finalizers") else written

    async def patch_status(
        self, body: Mapping[str, object], patch: Mapping[str, object]
    ) -> Mapping[str, object] | None:
        """Merge-patch the status of that very object (by uid); None if it is gone.

        Raises:
            StaleObjectError: Others change it faster than we can write.
        """
        # The API server ignores a uid in a patch of a custom resource's status (a builtin's is a precondition), so only
        # the resourceVersion keeps a re-created object from inheriting the status. Only we write statuses, so against
        # a newer version of the same object the same patch is right.
        address, uid, version = address_of(body, "status"), _metadata(body)["uid"], _metadata(body)["resourceVersion"]
        for _ in range(STATUS_ATTEMPTS):
            metadata = {"uid": uid, "resourceVersion": version}
            reply = await self._api.send("patch", address, {"metadata": metadata, "status": dict(patch)})
            if reply.absent:
                return None
            if not reply.conflicting:
                return reply.result()
            current = await self.read(str(body["kind"]), address.namespace, str(address.name))
            if current is None or _metadata(current)["uid"] != uid:
                return None
            version = _metadata(current)["resourceVersion"]
        message = f"{address} is changed by others all the time; trying again"
        raise StaleObjectError(message)

    async def read_secret(self, namespace: str, name: str) -> MountedSecret | None:
        """Return a Secret afresh; its data only if a PodIdentity controls it.

        What we may no longer read because its namespace is being deleted counts as gone.
        """
        reply = await self._api.send("get", secret_address(namespace, name))
        if reply.absent or await self._goes_with_namespace(reply):
            return None
        return mounted_secret(reply.result())

    async def create_secret(self, secret: MountedSecret) -> MountedSecret | None:
        """Create a Secret; None if the name is taken."""
        address = secret_address(secret.namespace)
        reply = await self._api.send("create", address, secret_body(secret))
        if reply.taken:
            return None
        if await self._goes_with_namespace(reply):
            raise namespace_ending(address)
        return mounted_secret(reply.result())

    async def replace_secret(self, secret: MountedSecret) -> MountedSecret:
        """Replace data, labels and annotations of that very Secret."""
        if secret.uid is None or secret.resource_version is None:
            message = "replace_secret needs the uid and the resourceVersion that were read"
            raise ValueError(message)
        address = secret_address(secret.namespace, secret.name)
        reply = await self._api.send("update", address, secret_body(secret))
        if reply.conflicting or reply.absent:
            message = f"{address} changed since it was read; reading it again"
            raise StaleObjectError(message)
        if await self._goes_with_namespace(reply):
            raise namespace_ending(address)
        return mounted_secret(reply.result())

    async def delete_secret(self, namespace: str, name: str, uid: str) -> None:
        """Delete that very Secret; success if it is gone, going with its namespace, or another uid has the name."""
        reply = await self._api.send("delete", secret_address(namespace, name), {"preconditions": {"uid": uid}})
        if reply.absent or reply.conflicting or await self._goes_with_namespace(reply):
            return
        reply.result()

    async def pods(self, namespace: str, selector: LabelSelector) -> tuple[Pod, ...]:
        """Return the pods of a namespace that the selector picks and that have not finished, afresh."""
        query = {"labelSelector": str(selector), "fieldSelector": UNFINISHED}
        pods = await self._list(pod_address(namespace), pod_of, query, min(self._chunk, POD_CHUNK))
        return tuple(pod for pod in pods if not pod.finished)

    async def nudge_pod(self, pod: Pod, nudge: Nudge) -> bool:
        """Set the nudge's annotation on that very pod; False if it is gone, or going with its namespace."""
        # The uid is a precondition: a pod of the same name that is another gets a 409.
        metadata = {"uid": pod.uid, "annotations": {NUDGE_ANNOTATION: str(nudge)}}
        reply = await self._api.send("patch", pod_address(pod.namespace, pod.name), {"metadata": metadata})
        if reply.absent or reply.conflicting or await self._goes_with_namespace(reply):
            return False
        reply.result()
        return True

    async def workload_of(self, pod: Pod) -> Workload | Owner | None:
        """Return the Deployment, StatefulSet or DaemonSet that controls a pod; who else does, or None for nobody."""
        return await workload_of(self._api, pod)

    async def restart_workload(self, workload: Workload, started_for: Mapping[str, str], at: datetime) -> bool:
        """Change the annotations of that very workload's pod template; False if it is gone, or going."""
        address = workload_address(workload.kind, workload.namespace, workload.name)
        reply = await self._api.send("patch", address, restart_body(workload, started_for, at))
        if reply.absent or await self._goes_with_namespace(reply):
            return False
        if reply.conflicting:
            message = f"{address} changed since it was read; reading it again"
            raise StaleObjectError(message)
        reply.result()
        return True

    async def create_receipt(self, receipt: Mapping[str, object]) -> bool:
        """Create a RevocationReceipt; False if one of its name is there already."""
        reply = await self._api.send("create", resource_address(REVOCATION_RECEIPT), receipt)
        if reply.taken:
            return False
        reply.result()
        return True

    async def delete_receipt(self, name: str, uid: str) -> None:
        """Delete that very RevocationReceipt; success if it is gone or another uid now has the name."""
        address = resource_address(REVOCATION_RECEIPT, None, name)
        reply = await self._api.send("delete", address, {"preconditions": {"uid": uid}})
        if not (reply.absent or reply.conflicting):
            reply.result()

    async def read_own_secret(self, name: str) -> Mapping[str, Sensitive] | None:
        """Return a Secret of the operator's own namespace."""
        reply = await self._api.send("get", secret_address(self._access.namespace, name))
        return None if reply.absent else plain_data(reply.result())

    async def installation_id(self) -> str:
        """Return the installation id, made at the first start and kept in the operator's namespace."""
        if self._installation_id is None:
            # Not held back by the fence: whoever is first may make it, leader or not.
            unfenced = Api(ClusterTransport(self._access))
            try:
                self._installation_id = await installation_id(unfenced, self._access.namespace)
            finally:
                await unfenced.aclose()
        return self._installation_id

    async def remembered_epoch(self, federation: str) -> RememberedEpoch:
        """Return what is remembered of the epochs of a Federation, afresh."""
        return await remembered_epoch(self._api, self._access.namespace, federation)

    async def remember_epoch(self, federation: str, remembered: RememberedEpoch) -> RememberedEpoch:
        """Replace that, and return it with its new version."""
        return await remember_epoch(self._api, self._access.namespace, federation, remembered)

    async def emit(self, body: Mapping[str, object], *, reason: str, message: str, warning: bool, action: str) -> None:
        """Tell an Event about the object; never raises for a refused or lost Event."""
        event = event_body(
            body,
            reason=reason,
            message=message,
            warning=warning,
            action=action,
            now=self._clock.now(),
            instance=self._instance,
        )
        try:
            (await self._api.send("create", event_address(body), event)).result()
        except Error as error:
            self.events_lost += 1
            _log.debug("an Event (%s) was not taken: %s", reason, error)

    async def aclose(self) -> None:
        """Close our session; the pool stays open for kopf."""
        await self._api.aclose()

    async def _list(
        self, address: Address, shape: Callable[[Mapping[str, Any]], T], query: Mapping[str, str], chunk: int
    ) -> list[T]:
        """Return all objects of a listing, page by page; none if their namespace is being deleted.

        Args:
            address: Of the resource, in one namespace or everywhere.
            shape: What is kept of an object; given with its apiVersion.
            query: Selectors.
            chunk: Objects per page.
        """
        found: list[T] = []
        page = {**query, "limit": str(chunk)}
        while True:
            reply = await self._api.send("list", address, params=page)
            if reply.expired and "continue" in page:
                # The snapshot that the pages come from is gone (410): all over again, in one piece.
                found, page = [], dict(query)
                continue
            if address.namespace is not None and await self._goes_with_namespace(reply):
                return []
            body = reply.result()
            found += [shape({**item, "apiVersion": body["apiVersion"]}) for item in body["items"]]
            if not (token := body["metadata"].get("continue")):
                return found
            page["continue"] = token

    async def _goes_with_namespace(self, reply: Reply) -> bool:
        """Tell whether a refusal only means that the namespace is being deleted.

        Its RoleBindings may go before its Secrets; then the API server says that we lack a permission.
        """
        if reply.ok or is_namespace_ending(reply):
            return not reply.ok
        if not is_denied_by_rbac(reply):
            return False
        namespace = await self._api.send("get", resource_address("Namespace", None, reply.address.namespace))
        return namespace.absent or (namespace.ok and "deletionTimestamp" in namespace.body["metadata"])


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata: Mapping[str, Any] = body["metadata"]
    return metadata
