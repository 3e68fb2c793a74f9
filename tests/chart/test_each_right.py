"""Each right of the chart's roles is needed: without it, the call that it is for is refused."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import kopf
import pytest

from fedid.adapters.clock import SystemClock
from fedid.adapters.kubernetes import ClusterAccess, KubernetesCluster
from fedid.adapters.kubernetes.lease import KubernetesLease
from fedid.domain.epoch import Epoch
from fedid.domain.label_selector import LabelSelector
from fedid.domain.pods import Nudge, pod_of
from fedid.domain.resources import IDENTITY_APPROVAL, KINDS, PLURALS, REVOCATION_RECEIPT
from fedid.domain.stored import MountedSecret
from fedid.domain.workloads import Workload
from fedid.errors import BackendDeniedError, BackendRejectedError
from fedid.handlers.watches import kopf_registry
from tests.adapters.kubernetes_parts import cluster_as, opened, write_kubeconfig
from tests.chart.judging import OURS
from tests.chart.render import rendered
from tests.chart.test_grants_in_force import OBJECTS
from tests.chart.test_rights import rights
from tests.contract.cluster_worlds import owned_secret
from tests.crds.manifests import RECEIPT
from tests.e2e.waiting import eventually
from tests.fakes.pods import pod_manifest
from tests.fakes.workloads import controlled, workload_manifest
from tests.testbed.operator_process import federation_manifest
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RBAC = "/apis/rbac.authorization.k8s.io/v1"
CLUSTER, TENANT, OWN, DEFAULT = "the cluster", "a tenant's namespace", "its own namespace", "default"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")

Body = dict[str, Any]
Right = tuple[str, str, str]
"""Verb, resource with its group, and where: one of the four places above."""


@dataclass(frozen=True, slots=True)
class Site:
    """What there is to work with; made by the administrator."""

    stack: Stack
    tenant: str
    own: str
    bodies: Mapping[str, Body]
    """By kind: one object of each of ours; a pod and what controls it."""
    folder: Path


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody with some of the operator's rights."""

    site: Site
    cluster: KubernetesCluster
    access: ClusterAccess
    rest: Rest
    """For what kopf asks by itself."""

    async def secret(self) -> MountedSecret:
        """Return a Secret of the PodIdentity as the administrator finds it, made anew."""
        made = owned_secret(self.site.bodies["PodIdentity"], f"s-{secrets.token_hex(4)}")
        async with _administrator(self.site) as cluster:
            found = await cluster.create_secret(made)
        assert found is not None
        return found

    async def workload(self, kind: str) -> Workload:
        """Return what controls the pod of that kind, as the administrator finds it."""
        async with _administrator(self.site) as cluster:
            found = await cluster.workload_of(pod_of(self.site.bodies[f"Pod of {kind}"]))
        assert isinstance(found, Workload)
        return found

    async def kopf_asks(self, path: str, query: str = "") -> None:
        """Ask what kopf asks for itself: a listing, or a watch that ends at once."""
        answer = await asyncio.to_thread(self.rest.answer, "GET", f"{path}?{query}")
        if answer.status == 403:
            raise BackendDeniedError(answer.text, backend="kubernetes")
        assert answer.status == 200, answer.text


Call = Callable[[Actor], Awaitable[object]]


def _reads(kind: str) -> dict[Right, Call]:
    resource, watched = f"{PLURALS[kind]}.fedid.io", f"{OURS}/{PLURALS[kind]}"

    async def read(actor: Actor) -> object:
        metadata = actor.site.bodies[kind]["metadata"]
        return await actor.cluster.read(kind, metadata.get("namespace"), metadata["name"])

    return {
        ("get", resource, CLUSTER): read,
        ("list", resource, CLUSTER): lambda actor: actor.cluster.listing(kind),
        ("watch", resource, CLUSTER): lambda actor: actor.kopf_asks(watched, _WATCH),
    }


def _writes(kind: str) -> dict[Right, Call]:
    resource, status = f"{PLURALS[kind]}.fedid.io", f"{PLURALS[kind]}/status.fedid.io"

    async def fresh(actor: Actor) -> Body:
        async with _administrator(actor.site) as cluster:
            metadata = actor.site.bodies[kind]["metadata"]
            found = await cluster.read(kind, metadata.get("namespace"), metadata["name"])
        assert found is not None
        return {**found, "kind": kind}

    async def set_finalizers(actor: Actor) -> object:
        return await actor.cluster.set_finalizers(await fresh(actor), ())

    async def patch_status(actor: Actor) -> object:
        return await actor.cluster.patch_status(await fresh(actor), {"observedGeneration": secrets.randbelow(1000)})

    return {
        ("patch", resource, CLUSTER): set_finalizers,
        ("patch", status, CLUSTER): patch_status,
    }


_WATCH = "watch=true&timeoutSeconds=1"
_OURS_ALONE = "labelSelector=fedid.io%2Fpart-of"


async def _replace_secret(actor: Actor) -> object:
    return await actor.cluster.replace_secret(replace(await actor.secret(), annotations={"a": "b"}))


async def _delete_secret(actor: Actor) -> object:
    secret = await actor.secret()
    return await actor.cluster.delete_secret(secret.namespace, secret.name, str(secret.uid))


async def _create_secret(actor: Actor) -> object:
    return await actor.cluster.create_secret(
        owned_secret(actor.site.bodies["PodIdentity"], f"s-{secrets.token_hex(4)}")
    )


async def _remember_epoch(actor: Actor) -> object:
    await actor.cluster.installation_id()
    remembered = await actor.cluster.remembered_epoch("local")
    return await actor.cluster.remember_epoch("local", replace(remembered, begun=Epoch(1, "a")))


async def _emit(actor: Actor, kind: str) -> None:
    """Tell an Event, which is never worth an error: that it was not taken is counted."""
    await actor.cluster.emit(actor.site.bodies[kind], reason="Test", message="a", warning=False, action="Test")
    if actor.cluster.events_lost:
        message = "an Event was not taken"
        raise BackendDeniedError(message, backend="kubernetes")


async def _lease(actor: Actor, *, make: bool) -> object:
    """Take the Lease: made if it is not there yet, else renewed."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{actor.site.own}/leases/fedid-operator"
    if make:
        actor.site.stack.kube("DELETE", path, accept=(404,))
    lease = KubernetesLease(actor.access, SystemClock())
    try:
        return await lease.write("a", 15.0, None if make else await lease.read())
    finally:
        await lease.aclose()


async def _leave_receipt(actor: Actor) -> None:
    """Leave one; the policy, which is asked after RBAC, takes it from the operator's own account alone."""
    with contextlib.suppress(BackendRejectedError):
        await actor.cluster.create_receipt(RECEIPT)


async def _restart(actor: Actor, kind: str) -> object:
    return await actor.cluster.restart_workload(await actor.workload(kind), {"mounted": secrets.token_hex(4)}, NOON)


def _workload_calls(kind: str) -> dict[Right, Call]:
    resource = f"{kind.lower()}s.apps"
    return {
        ("get", resource, TENANT): lambda a: a.cluster.workload_of(pod_of(a.site.bodies[f"Pod of {kind}"])),
        ("patch", resource, TENANT): lambda a: _restart(a, kind),
    }


CALLS: dict[Right, Call] = {
    **{right: call for kind in KINDS for right, call in {**_reads(kind), **_writes(kind)}.items()},
    **_reads(IDENTITY_APPROVAL),
    ("create", "revocationreceipts.fedid.io", CLUSTER): _leave_receipt,
    ("list", "revocationreceipts.fedid.io", CLUSTER): lambda a: a.cluster.listing(REVOCATION_RECEIPT),
    ("delete", "revocationreceipts.fedid.io", CLUSTER): lambda a: a.cluster.delete_receipt("none", "none"),
    ("create", "leases.coordination.k8s.io", OWN): lambda a: _lease(a, make=True),
    **{
        (verb, "leases.coordination.k8s.io[fedid-operator]", OWN): lambda a: _lease(a, make=False)
        for verb in ("get", "patch")
    },
    **{right: call for kind in WORKLOADS for right, call in _workload_calls(kind).items()},
    ("get", "replicasets.apps", TENANT): lambda a: a.cluster.workload_of(pod_of(a.site.bodies["Pod of Deployment"])),
    # Whether a refusal means that the namespace is being deleted.
    ("get", "namespaces", CLUSTER): lambda a: a.cluster.read("Namespace", None, a.site.tenant),
    ("list", "namespaces", CLUSTER): lambda a: a.cluster.listing("Namespace"),
    ("watch", "namespaces", CLUSTER): lambda a: a.kopf_asks("/api/v1/namespaces", _WATCH),
    ("get", "secrets", TENANT): lambda a: a.cluster.read_secret(a.site.tenant, "any"),
    ("list", "secrets", TENANT): lambda a: a.kopf_asks(f"/api/v1/namespaces/{a.site.tenant}/secrets", _OURS_ALONE),
    ("watch", "secrets", TENANT): lambda a: a.kopf_asks(
        f"/api/v1/namespaces/{a.site.tenant}/secrets", f"{_OURS_ALONE}&{_WATCH}"
    ),
    ("create", "secrets", TENANT): _create_secret,
    ("update", "secrets", TENANT): _replace_secret,
    ("delete", "secrets", TENANT): _delete_secret,
    ("list", "pods", TENANT): lambda a: a.cluster.pods(a.site.tenant, LabelSelector({"app": "server"}, ())),
    ("patch", "pods", TENANT): lambda a: a.cluster.nudge_pod(
        pod_of(a.site.bodies["Pod of StatefulSet"]), Nudge("1", 1)
    ),
    ("create", "events", TENANT): lambda a: _emit(a, "BotClient"),
    ("create", "events", DEFAULT): lambda a: _emit(a, "Federation"),
    ("get", "secrets", OWN): lambda a: a.cluster.read_own_secret("fedid-keycloak"),
    ("create", "configmaps", OWN): lambda a: a.cluster.installation_id(),
    ("get", "configmaps[fedid-installation]", OWN): lambda a: a.cluster.installation_id(),
    ("patch", "configmaps[fedid-installation]", OWN): _remember_epoch,
}
"""Each right, and the call of the operator that needs it."""


@pytest.fixture(scope="module")
def site(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two namespaces, an object of each kind, and pods of each workload."""
    tenant, own = (f"{one}-{secrets.token_hex(4)}" for one in ("tenant", "own"))
    for name in (tenant, own):
        stack.kube("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    federation = federation_manifest(stack)
    federation["metadata"]["name"] = tenant
    federation["spec"]["default"] = False
    bodies: dict[str, Body] = {"Federation": {**stack.kube("POST", f"{OURS}/federations", federation)}}
    for kind, spec in OBJECTS.items():
        body = {"apiVersion": "fedid.io/v1alpha1", "kind": kind, "metadata": {"name": "trainer"}, "spec": spec}
        bodies[kind] = stack.kube("POST", f"{OURS}/namespaces/{tenant}/{PLURALS[kind]}", body)
    bodies[IDENTITY_APPROVAL] = stack.kube("POST", f"{OURS}/identityapprovals", _approval(tenant, bodies["BotClient"]))
    account = {"metadata": {"name": "default"}}
    stack.kube("POST", f"/api/v1/namespaces/{tenant}/serviceaccounts", account, accept=(409,))
    for kind in WORKLOADS:
        pod = pod_manifest(tenant, f"server-{kind.lower()}", {"app": "server"}, mounts=["mounted"])
        made = _workload(stack, tenant, kind, pod)
        if kind == "Deployment":
            made = _workload(stack, tenant, "ReplicaSet", pod, made)
        # As it was made: the controller, which did not make it, may end it at once.
        bodies[f"Pod of {kind}"] = stack.kube("POST", f"/api/v1/namespaces/{tenant}/pods", controlled(pod, made))
    yield Site(stack, tenant, own, bodies, tmp_path_factory.mktemp("access"))
    for resource in ("federations", "identityapprovals"):
        stack.kube("DELETE", f"{OURS}/{resource}/{tenant}", accept=(404,))
    for name in (tenant, own):
        stack.kube("DELETE", f"/api/v1/namespaces/{name}", accept=(404,))


def _approval(name: str, bot: Body) -> Body:
    metadata = bot["metadata"]
    identity = {"kind": "BotClient", "namespace": name, "name": metadata["name"], "uid": metadata["uid"]}
    spec = {"identity": identity, "askHash": "0" * 64, "reason": "a test", "approvedBy": "admin"}
    return {"apiVersion": "fedid.io/v1alpha1", "kind": IDENTITY_APPROVAL, "metadata": {"name": name}, "spec": spec}


def _workload(stack: Stack, namespace: str, kind: str, pod: Body, owner: Body | None = None) -> Body:
    manifest = workload_manifest(kind, namespace, f"server-{kind.lower()}", pod, replicas=0)
    body = controlled(manifest, owner) if owner is not None else manifest
    made: Body = stack.kube("POST", f"/apis/apps/v1/namespaces/{namespace}/{kind.lower()}s", body)
    return made


@pytest.fixture(scope="module")
def given(stack: Stack, site: Site) -> set[Right]:
    """What the chart gives for one namespace that is served."""
    places = {"": CLUSTER, site.tenant: TENANT, site.own: OWN, "default": DEFAULT}
    manifests = rendered(stack, {"watchNamespaces": [site.tenant]}, site.own)
    return {(verb, resource, places[namespace]) for verb, resource, namespace in rights(manifests)}


@pytest.fixture(scope="module")
def accounts(stack: Stack, site: Site, given: set[Right]) -> Iterator[dict[Right | None, str]]:
    """For each right a ServiceAccount that has all the others, and one that has all; the right to its name."""
    made: dict[Right | None, str] = {}
    for number, without in enumerate([*sorted(given), None]):
        name = f"account-{number}"
        stack.kube("POST", f"/api/v1/namespaces/{site.own}/serviceaccounts", {"metadata": {"name": name}})
        for place, namespace in {CLUSTER: "", TENANT: site.tenant, OWN: site.own, DEFAULT: "default"}.items():
            rules = [_rule(right) for right in given - {without} if right[2] == place]
            if place == CLUSTER:
                rules.append(_RESERVED)
            if rules:
                _bind(stack, f"{site.own}-{number}", namespace, rules, {
                    "kind": "ServiceAccount", "name": name, "namespace": site.own,
                })  # fmt: skip
        made[without] = name
    path, last = f"/api/v1/namespaces/{site.tenant}/secrets", f"system:serviceaccount:{site.own}:{made[None]}"
    asked = stack.api("kube")
    eventually(lambda: asked.answer("GET", path, headers={"Impersonate-User": last}).status == 200, "roles in force")
    yield made
    for number in range(len(made)):
        for plural in ("clusterrolebindings", "clusterroles"):
            stack.kube("DELETE", f"{RBAC}/{plural}/{site.own}-{number}", accept=(404,))
        for plural in ("rolebindings", "roles"):
            stack.kube("DELETE", f"{RBAC}/namespaces/default/{plural}/{site.own}-{number}", accept=(404,))


_RESERVED = {"verbs": ["force-release"], "apiGroups": ["fedid.io"], "resources": [*PLURALS.values()]}
"""Lets an account write statuses: the policies know the operator by its name, and these accounts have others."""


def _bind(stack: Stack, name: str, namespace: str, rules: list[Body], subject: Body) -> None:
    folder, kind = (f"{RBAC}/namespaces/{namespace}", "Role") if namespace else (RBAC, "ClusterRole")
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    stack.kube("POST", f"{folder}/{kind.lower()}s", {"metadata": {"name": name}, "rules": rules})
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    stack.kube("POST", f"{folder}/{kind.lower()}bindings", binding)


def _rule(right: Right) -> Body:
    verb, named, _ = right
    resource, _, name = named.removesuffix("]").partition("[")
    resource, _, group = resource.partition(".")
    rule = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
    return {**rule, "resourceNames": [name]} if name else rule


@asynccontextmanager
async def _acting(site: Site, account: str) -> AsyncIterator[Actor]:
    token = site.stack.token_request(site.own, account)
    tls: ssl.SSLContext | None = site.stack.api("kube").tls
    rest = Rest(site.stack.apiserver_url, lambda: {"Authorization": f"Bearer {token}"}, tls)
    path = write_kubeconfig(site.stack, site.folder / f"{account}.kubeconfig", {"token": token})
    async with (
        opened(path, namespace=site.own) as access,
        cluster_as(site.stack, site.folder, {"token": token}, namespace=site.own) as cluster,
    ):
        yield Actor(site, cluster, access, rest)


@asynccontextmanager
async def _administrator(site: Site) -> AsyncIterator[KubernetesCluster]:
    token = site.stack.credentials.kubernetes_admin_token
    async with cluster_as(site.stack, site.folder, {"token": token}, namespace=site.own) as cluster:
        yield cluster


def _forget_installation(site: Site) -> None:
    path = f"/api/v1/namespaces/{site.own}/configmaps/fedid-installation"
    site.stack.kube("DELETE", path, accept=(404,))


def test_each_right_has_its_call(given: set[Right]) -> None:
    """No rule of a role is without a call in the table, and no call of the table without a rule."""
    assert given == set(CALLS)


@pytest.mark.parametrize("right", [pytest.param(right, id=" ".join(right)) for right in sorted(CALLS)])
async def test_a_call_needs_its_right(site: Site, accounts: dict[Right | None, str], right: Right) -> None:
    """With all rights it is answered; with all but this one it is refused."""
    _forget_installation(site)
    async with _acting(site, accounts[None]) as everybody:
        await CALLS[right](everybody)
    if right[0] == "create":
        _forget_installation(site)
    async with _acting(site, accounts[right]) as poorer:
        with pytest.raises(BackendDeniedError):
            await CALLS[right](poorer)


def test_kopf_watches_what_the_table_says() -> None:
    """Each resource of which the chart lets changes be watched has a handler, Secrets by our label alone."""
    registry = kopf_registry(Mock(), Mock())
    handlers = registry._watching.get_all_handlers()  # noqa: SLF001 - kopf tells nobody else
    watched = {f"{one.selector.plural or one.selector.any_name}" for one in handlers if one.selector is not None}
    assert watched == {resource.partition(".")[0] for verb, resource, _ in CALLS if verb == "watch"}
    (of_secrets,) = (one for one in handlers if one.selector is not None and "secrets" in str(one.selector))
    assert of_secrets.labels == {"fedid.io/part-of": kopf.PRESENT}
