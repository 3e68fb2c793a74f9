"""`check-uninstall`: says what uninstalling means while identities exist, and stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fedid.adapters.clock import SystemClock
from fedid.adapters.kubernetes import Inspection, KubernetesCluster, load_cluster_access
from fedid.cli.report import Report
from fedid.domain.resources import (
    BOT_CLIENT,
    FEDERATION,
    FEDERATION_USER,
    FINALIZER,
    GROUP_VERSION,
    IDENTITY_APPROVAL,
    PLURALS,
    POD_IDENTITY,
    WATCHED,
)
from fedid.errors import Error
from fedid.settings import Settings

__all__ = ["check_uninstall", "uninstall_report"]

_IDENTITIES = (BOT_CLIENT, FEDERATION_USER, POD_IDENTITY)
_SEVERAL = {
    FEDERATION: "Federations",
    BOT_CLIENT: "BotClients",
    FEDERATION_USER: "FederationUsers",
    POD_IDENTITY: "PodIdentities",
    IDENTITY_APPROVAL: "IdentityApprovals",
}


async def check_uninstall(settings: Settings, release: str) -> Report:
    """Return whether fedid can be uninstalled without leaving anything behind that nobody looks after.

    Args:
        settings: Of the operator; its namespace is the release's.
        release: Name of the Helm release, for the commands to type.
    """
    namespace = settings.namespace
    try:
        return uninstall_report(await _counts(namespace), release, namespace)
    except Error as error:
        text = (
            f"Cannot tell whether identities exist: {error.message}.\n"
            "Nothing was uninstalled. To uninstall without looking:\n"
            f"  {_without_looking(release, namespace)}"
        )
        return Report(text, well=False)


def uninstall_report(counts: Mapping[str, int], release: str, namespace: str) -> Report:
    """Return what uninstalling means for these objects.

    Args:
        counts: Objects of each kind in the whole cluster; a kind that is not served is missing.
        release: Name of the Helm release.
        namespace: Of the release.
    """
    identities = {kind: counts[kind] for kind in _IDENTITIES if counts.get(kind)}
    if not identities:
        return Report(_nothing_left(counts.get(FEDERATION, 0), counts.get(IDENTITY_APPROVAL, 0)), well=True)
    plurals = ",".join(PLURALS[kind] for kind in _IDENTITIES)
    text = (
        f"fedid looks after {_listed(identities)}, so nothing was uninstalled.\n"
        "\n"
        "Uninstalling revokes nothing. Clients and users stay in Keycloak and secrets in Vault, all of them valid;\n"
        "tokens are no longer renewed, so what runs with them stops when they expire. The objects stay as well, and\n"
        f"keep the finalizer {FINALIZER}: neither they nor their namespaces can be deleted until fedid runs again.\n"
        "\n"
        "To revoke everything first, with a proof for each (this waits until all are gone):\n"
        f"  kubectl delete {plurals} -A --all\n"
        f"  helm uninstall {release} --namespace {namespace}\n"
        "To uninstall all the same, for example to install fedid again, which then continues where it was:\n"
        f"  {_without_looking(release, namespace)}\n"
        "To keep it after all: Helm calls the release `uninstalling` until it is put back to the revision it had,\n"
        f"which is the last one that `helm history {release} --namespace {namespace}` lists:\n"
        f"  helm rollback {release} <revision> --namespace {namespace}"
    )
    return Report(text, well=False)


async def _counts(namespace: str) -> dict[str, int]:
    access = await load_cluster_access(namespace=namespace)
    inspection, cluster = Inspection(access), KubernetesCluster(access, SystemClock())
    try:
        served = await inspection.served()
        kinds = [kind for kind in WATCHED if PLURALS[kind] in served]
        listings = await asyncio.gather(*(cluster.listing(kind) for kind in kinds))
        return {kind: len(objects) for kind, objects in zip(kinds, listings, strict=True)}
    finally:
        await inspection.aclose()
        await cluster.aclose()
        await access.aclose()


def _nothing_left(federations: int, approvals: int) -> str:
    text = "No identities are left: uninstalling leaves no credential behind."
    if federations:
        text += (
            f"\n{_counted(FEDERATION, federations)} will stay for the next installation, with the finalizer "
            f"{FINALIZER}:\nwhat is not wanted any more must be deleted while fedid runs:\n"
            f"  kubectl delete {PLURALS[FEDERATION]} --all"
        )
    if approvals:
        text += (
            f"\n{_counted(IDENTITY_APPROVAL, approvals)} will stay too. They are for objects of now, by uid, and for "
            f"nothing that is made later:\n  kubectl delete {PLURALS[IDENTITY_APPROVAL]} --all"
        )
    return f"{text}\nThe CRDs of {GROUP_VERSION} stay."


def _without_looking(release: str, namespace: str) -> str:
    return f"helm uninstall {release} --namespace {namespace} --no-hooks"


def _listed(counts: Mapping[str, int]) -> str:
    *most, last = (_counted(kind, count) for kind, count in counts.items())
    return f"{', '.join(most)} and {last}" if most else last


def _counted(kind: str, count: int) -> str:
    return f"{count} {kind if count == 1 else _SEVERAL[kind]}"
