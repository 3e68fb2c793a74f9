"""Manifests of pods that mount Secrets, in every way there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Body = dict[str, Any]


def pod_manifest(  # noqa: PLR0913 - every way in which a pod comes by a Secret
    namespace: str,
    name: str,
    labels: Mapping[str, str],
    *,
    mounts: Iterable[str] = (),
    projects: Iterable[str] = (),
    reads: Iterable[str] = (),
) -> Body:
    """Return a pod that no node runs.

    Args:
        namespace: Where.
        name: Its name.
        labels: Its labels.
        mounts: Secrets of `secret` volumes.
        projects: Secrets that one `projected` volume brings together.
        reads: Secrets that its environment comes from.
    """
    volumes: list[Body] = [{"name": f"v{i}", "secret": {"secretName": secret}} for i, secret in enumerate(mounts)]
    if sources := [{"secret": {"name": secret}} for secret in projects]:
        volumes.append({"name": "projected", "projected": {"sources": sources}})
    container = {
        "name": "main",
        "image": "localhost/none",
        "envFrom": [{"secretRef": {"name": secret}} for secret in reads],
        "volumeMounts": [{"name": volume["name"], "mountPath": f"/run/{volume['name']}"} for volume in volumes],
    }
    spec = {
        "containers": [container],
        "volumes": volumes,
        # Nobody runs it: there is no scheduler of that name.
        "schedulerName": "nobody",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
    }
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
