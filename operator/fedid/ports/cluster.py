"""The cluster: our objects, Secrets, pods, and the sidecars in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from fedid.domain.epoch import RememberedEpoch
from fedid.domain.label_selector import LabelSelector
from fedid.domain.pods import Nudge, Pod
from fedid.domain.reload_report import Loaded
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret
from fedid.domain.workloads import Owner, Workload

__all__ = ["Cluster", "Sidecars"]


class Cluster(Protocol):
    """The Kubernetes API as far as the reconcilers write to it or must read it afresh."""

    async def listing(self, kind: str) -> tuple[Mapping[str, object], ...]:
        """Return all objects of one of our kinds, or of `Namespace`, afresh (in chunks), `kind` filled in each."""

    async def read(self, kind: str, namespace: str | None, name: str) -> Mapping[str, object] | None:
        """Return one custom resource (by kind, e.g. `BotClient`), afresh."""

    async def set_finalizers(
        self, body: Mapping[str, object], finalizers: tuple[str, ...]
    ) -> Mapping[str, object] | None:
        """Replace the finalizers of that very object; None if it is gone (also when this removed it).

        Raises:
            StaleObjectError: It changed since `body` was read.
        """

    async def patch_status(
        self, body: Mapping[str, object], patch: Mapping[str, object]
    ) -> Mapping[str, object] | None:
        """Merge-patch the status of that very object (by uid), whatever its spec is by now; None if it is gone.

        Raises:
            StaleObjectError: Others change it faster than we can write.
        """

    async def read_secret(self, namespace: str, name: str) -> MountedSecret | None:
        """Return a Secret afresh; its data only if a PodIdentity controls it.

        One that we may no longer read because its namespace is being deleted counts as gone.
        """

    async def create_secret(self, secret: MountedSecret) -> MountedSecret | None:
        """Create a Secret (POST); None if the name is taken.

        Raises:
            BackendRejectedError: Quota or an invalid object. BackendDeniedError: RBAC.
        """

    async def replace_secret(self, secret: MountedSecret) -> MountedSecret:
        """Replace data, labels and annotations of that very Secret (uid and resourceVersion as preconditions).

        Raises:
            StaleObjectError: It changed or is gone.
        """

    async def delete_secret(self, namespace: str, name: str, uid: str) -> None:
        """Delete that very Secret; success if it is gone or another uid now has the name."""

    async def pods(self, namespace: str, selector: LabelSelector) -> tuple[Pod, ...]:
        """Return the pods of a namespace that the selector picks and that have not finished, afresh (in chunks).

        None of a namespace that is being deleted and where we have no rights any more.

        Raises:
            BackendDeniedError: RBAC: we may not list pods there.
            BackendRejectedError: The API server does not understand the selector.
        """

    async def nudge_pod(self, pod: Pod, nudge: Nudge) -> bool:
        """Set the nudge's annotation on that very pod (by uid), and nothing else; False if it is gone.

        Raises:
            BackendDeniedError: RBAC: we may not patch pods there.
            BackendRejectedError: An admission policy or webhook refuses it.
        """

    async def workload_of(self, pod: Pod) -> Workload | Owner | None:
        """Return the Deployment, StatefulSet or DaemonSet that controls a pod, directly or by its ReplicaSet, afresh.

        Another kind of controller is returned as what it is; None: nobody controls it, or who did is gone.

        Raises:
            BackendDeniedError: RBAC: we may not get it.
        """

    async def restart_workload(self, workload: Workload, started_for: Mapping[str, str], at: datetime) -> bool:
        """Have a workload replace its pods as its own strategy says, as `kubectl rollout restart` does.

        Args:
            workload: That very one (by uid and resourceVersion); nothing but two annotations of its template changes.
            started_for: What the template's annotation is to say: name of a Secret to fingerprint of its content.
            at: Now (aware UTC).

        Returns:
            False if it is gone, or going with its namespace.

        Raises:
            StaleObjectError: It changed since it was read.
            BackendDeniedError: RBAC: we may not patch it.
            BackendRejectedError: An admission policy or webhook refuses it.
        """

    async def create_receipt(self, receipt: Mapping[str, object]) -> bool:
        """Create a RevocationReceipt (POST); False if one of its name is there already.

        Raises:
            BackendDeniedError: RBAC: we may not create one.
            BackendRejectedError: An admission policy or webhook refuses it, or its CRD is not installed.
        """

    async def delete_receipt(self, name: str, uid: str) -> None:
        """Delete that very RevocationReceipt; success if it is gone or another uid now has the name.

        Raises:
            BackendDeniedError: RBAC: we may not delete one.
        """

    async def read_own_secret(self, name: str) -> Mapping[str, Sensitive] | None:
        """Return a Secret of the operator's own namespace (Federation access)."""

    async def installation_id(self) -> str:
        """Return the installation id, made at the first start and kept in the operator's namespace."""

    async def remembered_epoch(self, federation: str) -> RememberedEpoch:
        """Return what is remembered of the epochs of a Federation, afresh; kept where the installation id is."""

    async def remember_epoch(self, federation: str, remembered: RememberedEpoch) -> RememberedEpoch:
        """Replace that, and return it with its new version; one that holds nothing is forgotten.

        Raises:
            StaleObjectError: Somebody wrote since `remembered` was read.
        """

    async def emit(self, body: Mapping[str, object], *, reason: str, message: str, warning: bool, action: str) -> None:
        """Tell an Event about the object; never raises for a refused or lost Event."""


class Sidecars(Protocol):
    """The sidecars in pods that signal a program when its Secret has changed."""

    async def loaded(self, pod: Pod) -> Loaded:
        """Ask the sidecar of a pod, which has an address and a port for it, what its program has read.

        Raises:
            BackendUnavailableError: No answer in time.
            BackendRejectedError: What answers there is no sidecar of ours, or the address is none that a pod has.
        """

    async def aclose(self) -> None:
        """Close its connections."""
