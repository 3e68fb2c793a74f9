"""The Kubernetes API as a `Cluster`, and the one pool of connections that kopf shares with it.

Objects are plain JSON over `Transport`, since the typed client takes several times as long; `kubernetes.aio` serves for
what it knows best, reading a kubeconfig. A write names the very object it is meant for (uid, resourceVersion); nothing
is ever applied by force. What the API server says about a Secret is not passed on.

- `cluster` is the port; `mounted`, `events` and `installation` are the parts of it that have a shape of their own.
- `access` finds the API server, `credential` puts the token, read afresh, on each request of either party.
- `inspection` asks about the cluster itself, `rights` lists what the operator may need to do in it.
- `failures` is the one place that translates what the API server refuses.
"""

from __future__ import annotations

from fedid.adapters.kubernetes.access import ClusterAccess, load_cluster_access
from fedid.adapters.kubernetes.cluster import KubernetesCluster
from fedid.adapters.kubernetes.inspection import Inspection

__all__ = ["ClusterAccess", "Inspection", "KubernetesCluster", "load_cluster_access"]
