"""Clusters that were restored from a backup, or copied, with the realm and the mount as they went on meanwhile."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.epoch import TAKE_OVER, RememberedEpoch
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import FEDERATION
from fedid.domain.stored import MountedSecret
from tests.fakes.cluster import FakeCluster
from tests.reconcile.small_operator import SmallOperator

LOCAL = ObjectKey(FEDERATION, "", "local")


@dataclass(frozen=True)
class Backup:
    """What etcd held at an instant."""

    bodies: dict[ObjectKey, dict[str, Any]]
    secrets: dict[tuple[str, str], MountedSecret]
    epochs: dict[str, RememberedEpoch]
    version: int
    """The newest resourceVersion."""

    @classmethod
    def of(cls, cluster: FakeCluster) -> Backup:
        """Make one."""
        return cls(copy.deepcopy(cluster.bodies), dict(cluster.secrets), dict(cluster.epochs), cluster.version)

    def restore(self, cluster: FakeCluster) -> None:
        """Put everything back as it was."""
        cluster.bodies = copy.deepcopy(self.bodies)
        cluster.secrets, cluster.epochs = dict(self.secrets), dict(self.epochs)
        cluster.version = max(cluster.version, self.version)


def clone_of(operator: SmallOperator) -> SmallOperator:
    """Return a copy of its cluster with an operator of its own, on the same realm, mount and time."""
    other = SmallOperator()
    other.clock, other.provider, other.store = operator.clock, operator.provider, operator.store
    other.cluster = FakeCluster(now=operator.clock.now)
    Backup.of(operator.cluster).restore(other.cluster)
    other.restart()
    return other


def federation_status(operator: SmallOperator) -> dict[str, Any]:
    """Return what the Federation tells."""
    status: dict[str, Any] = operator.cluster.bodies[LOCAL].get("status") or {}
    return status


def told(operator: SmallOperator, kind: ConditionType) -> tuple[str, str]:
    """Return status and reason of a condition of the Federation."""
    found = condition_of(federation_status(operator)["conditions"], kind)
    assert found is not None
    return found["status"], found["reason"]


def say(operator: SmallOperator, number: int | str) -> None:
    """Annotate the Federation."""
    spec = operator.cluster.bodies[LOCAL]["spec"]
    operator.cluster.apply(FEDERATION, None, "local", spec, annotations={TAKE_OVER: str(number)})
