"""The lease of the replicas, as a Lease of `coordination.k8s.io/v1` in the operator's namespace.

Its instants are for people who look at it; nobody here goes by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fedid.adapters.kubernetes.addresses import Address
from fedid.adapters.kubernetes.api import Api, ClusterTransport
from fedid.engine import LeaseRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedid.adapters.answer import Call
    from fedid.adapters.kubernetes.access import ClusterAccess
    from fedid.ports import Clock

LEASE: Final = "fedid-operator"
_COORDINATION: Final = "/apis/coordination.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class _Record(LeaseRecord):
    transitions: int
    """How often it passed from one holder to another."""


class KubernetesLease:
    """A `LeaseStore`; shares the pool of `access`, which it does not close."""

    def __init__(
        self,
        access: ClusterAccess,
        clock: Clock,
        *,
        name: str = LEASE,
        on_call: Callable[[Call], None] | None = None,
    ) -> None:
        """Prepare; nothing is sent before the first call.

        Args:
            access: The way to the API server; its namespace is the operator's own.
            clock: For the instants that people see.
            name: Of the Lease.
            on_call: Told about each finished request.
        """
        self._api = Api(ClusterTransport(access, on_call=on_call))
        self._clock = clock
        self._all = Address(_COORDINATION, "leases", access.namespace)
        self._address = Address(_COORDINATION, "leases", access.namespace, name)

    async def read(self) -> LeaseRecord | None:
        """Return the Lease, None if there is none.

        Raises:
            BackendUnavailableError: No answer.
            BackendDeniedError: We may not `get` it.
        """
        reply = await self._api.send("get", self._address)
        return None if reply.absent else _record(reply.result())

    async def write(self, holder: str, duration_seconds: float, over: LeaseRecord | None) -> LeaseRecord | None:
        """Create the Lease, or change that very state of it; None if somebody was faster.

        Raises:
            BackendUnavailableError: No answer; it may have been written.
            BackendDeniedError: We may not `create` or `patch` it.
        """
        now = self._clock.now().isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec: dict[str, Any] = {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(duration_seconds)),
            "renewTime": now,
        }
        if over is None or over.holder != holder:
            before = over.transitions if isinstance(over, _Record) else 0
            spec |= {"acquireTime": now, "leaseTransitions": before + (1 if over is not None and holder else 0)}
        if over is None:
            metadata = {"name": self._address.name, "namespace": self._address.namespace}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            reply = await self._api.send("create", self._all, lease)
            return None if reply.taken else _record(reply.result())
        # The version is a precondition: a Lease that changed since gets a 409.
        changes = {"metadata": {"resourceVersion": over.version}, "spec": spec}
        reply = await self._api.send("patch", self._address, changes)
        return None if reply.absent or reply.conflicting else _record(reply.result())

    async def aclose(self) -> None:
        """Close our session; the pool stays open."""
        await self._api.aclose()


def _record(body: Mapping[str, Any]) -> LeaseRecord:
    spec = body.get("spec") or {}
    return _Record(
        holder=spec.get("holderIdentity") or "",
        duration_seconds=float(spec.get("leaseDurationSeconds") or 0),
        version=body["metadata"]["resourceVersion"],
        transitions=int(spec.get("leaseTransitions") or 0),
    )
