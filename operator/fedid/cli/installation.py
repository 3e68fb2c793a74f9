"""`check-installation`: tells whether what `helm install` made really works; `helm test` runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fedid.adapters.clock import SystemClock
from fedid.adapters.kubernetes import Inspection, KubernetesCluster, load_cluster_access
from fedid.adapters.kubernetes.rights import Right, needed_rights
from fedid.adapters.transport import Transport
from fedid.cli.report import Finding, Report, report_of
from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.resources import FEDERATION, GROUP_VERSION, IDENTITY_APPROVAL, KINDS, PLURALS, REVOCATION_RECEIPT
from fedid.errors import Error
from fedid.settings import Settings

__all__ = ["check_installation"]


async def check_installation(settings: Settings, operator_url: str | None) -> Report:
    """Look at the CRDs, the rights of this ServiceAccount, the operator's readiness and all Federations.

    Args:
        settings: Of the operator, whose ServiceAccount this must run under.
        operator_url: Where the operator serves its health; None: none runs in this cluster.
    """
    operator = [] if operator_url is None else [await operator_finding(operator_url)]
    try:
        return report_of([*await _cluster_findings(settings), *operator])
    except Error as error:
        return report_of([Finding(well=False, text=error.message), *operator])


async def _cluster_findings(settings: Settings) -> list[Finding]:
    access = await load_cluster_access(namespace=settings.namespace)
    inspection, cluster = Inspection(access), KubernetesCluster(access, SystemClock())
    try:
        crds = crd_finding(await inspection.served())
        federations = await cluster.listing(FEDERATION) if crds.well else ()
        rights = needed_rights(settings.namespace, settings.watch_namespaces, access_secrets(federations))
        allowed = await asyncio.gather(*map(inspection.may, rights))
        missing = [right for right, is_allowed in zip(rights, allowed, strict=True) if not is_allowed]
        return [crds, *rights_findings(len(rights), missing), *federation_findings(federations)]
    finally:
        await inspection.aclose()
        await cluster.aclose()
        await access.aclose()


def crd_finding(served: frozenset[str]) -> Finding:
    """Return whether the API server serves our kinds, with their statuses, in the version that we speak."""
    needed = [name for kind in KINDS for name in (PLURALS[kind], f"{PLURALS[kind]}/status")]
    needed += [PLURALS[kind] for kind in (IDENTITY_APPROVAL, REVOCATION_RECEIPT)]
    missing = [name for name in needed if name not in served]
    if missing:
        text = f"the API server does not serve {', '.join(missing)} of {GROUP_VERSION}: run `helm upgrade` with "
        return Finding(well=False, text=text + "crds.install=true, or apply the CRDs of this version")
    return Finding(well=True, text=f"the API server serves {', '.join(PLURALS.values())} of {GROUP_VERSION}")


def rights_findings(needed: int, missing: Iterable[Right]) -> list[Finding]:
    """Return one finding for each right that the ServiceAccount lacks, or one for all."""
    hint = "run `helm upgrade` with the chart of this version, or add it to the roles that you brought"
    lacking = [Finding(well=False, text=f"the ServiceAccount may not {right}: {hint}") for right in missing]
    return lacking or [Finding(well=True, text=f"the ServiceAccount has all {needed} rights that the operator needs")]


def access_secrets(federations: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the Secrets with which Federations sign in to Keycloak and Vault, each once, sorted."""
    backends = (federation["spec"].get(name) or {} for federation in federations for name in ("keycloak", "vault"))
    ways = (way or {} for backend in backends for way in (backend.get("auth") or {}).values())
    return sorted({way["secretName"] for way in ways if "secretName" in way})


def federation_findings(federations: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Return what each Federation says of itself."""
    findings = []
    for federation in federations:
        name = federation["metadata"]["name"]
        conditions = (federation.get("status") or {}).get("conditions") or ()
        ready = condition_of(conditions, ConditionType.READY)
        if ready is None:
            text = f"Federation {name} says nothing yet: wait, or read the operator's log"
            findings.append(Finding(well=False, text=text))
        else:
            said = "is Ready" if ready["status"] == "True" else f"is not Ready, {ready['reason']}: {ready['message']}"
            findings.append(Finding(well=ready["status"] == "True", text=f"Federation {name} {said}"))
    nothing = "there is no Federation yet: make one (`kubectl explain federation.spec`), nothing is granted without it"
    return findings or [Finding(well=True, text=nothing)]


async def operator_finding(url: str) -> Finding:
    """Return whether the operator says that it is ready.

    Args:
        url: Of its health server, without a path.
    """
    hint = "see `kubectl get pods,networkpolicies` and the pod's log"
    try:
        transport = Transport("operator", url)
        try:
            answer = await transport.request("GET", "/readyz", passing=frozenset({HTTPStatus.SERVICE_UNAVAILABLE}))
        finally:
            await transport.aclose()
    except Error as error:
        return Finding(well=False, text=f"{error.message}; {hint}")
    if answer.status == HTTPStatus.OK:
        return Finding(well=True, text=f"the operator is ready at {url}")
    said = answer.body.decode(errors="replace").strip()
    return Finding(well=False, text=f"the operator at {url} is not ready: {said}; {hint}")
