"""The Lease on a real API server: who may take it, who was faster, and what people see of it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedid.adapters.clock import SystemClock
from fedid.adapters.kubernetes import ClusterAccess, load_cluster_access
from fedid.adapters.kubernetes.lease import KubernetesLease
from fedid.engine import LeaseStore
from fedid.errors import BackendDeniedError, BackendUnavailableError
from tests.testbed.cluster import OPERATOR_NAMESPACE
from tests.testbed.faults import CutAfter, requests_to
from tests.testbed.operator_process import write_operator_kubeconfig
from tests.testbed.proxy import proxy_for
from tests.testbed.stack import Stack

MERGE = {"Content-Type": "application/merge-patch+json"}
FOLDER = f"/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases"


@pytest.fixture
def name(stack: Stack) -> Iterator[str]:
    """Return the name of a Lease that is not there, and leave none."""
    made = f"lease-{secrets.token_hex(4)}"
    yield made
    stack.kube("DELETE", f"{FOLDER}/{made}", accept=(404,))


@pytest.fixture
async def access(stack: Stack) -> AsyncIterator[ClusterAccess]:
    """Yield the administrator's way to the API server: the operator may touch its own Lease alone."""
    found = await load_cluster_access(kubeconfig=str(stack.paths.kubeconfig), namespace=OPERATOR_NAMESPACE)
    yield found
    await found.aclose()


@pytest.fixture
async def lease(access: ClusterAccess, name: str) -> AsyncIterator[KubernetesLease]:
    """Yield the store."""
    made = KubernetesLease(access, SystemClock(), name=name)
    yield made
    await made.aclose()


def spec(stack: Stack, name: str) -> dict[str, Any]:
    """Return what `kubectl get lease` shows."""
    found: dict[str, Any] = stack.kube("GET", f"{FOLDER}/{name}")["spec"]
    return found


async def test_it_is_made_taken_renewed_and_released(stack: Stack, lease: KubernetesLease, name: str) -> None:
    """Others see who holds it, since when, and how often it has passed on."""
    store: LeaseStore = lease
    assert await store.read() is None
    first = await store.write("a", 15.0, None)
    assert first is not None
    assert first == await store.read()
    made = spec(stack, name)
    assert (made["holderIdentity"], made["leaseDurationSeconds"], made["leaseTransitions"]) == ("a", 15, 0)

    renewed = await store.write("a", 15.0, first)
    assert renewed is not None
    assert renewed.version != first.version
    told = spec(stack, name)
    assert told["acquireTime"] == made["acquireTime"]
    assert told["renewTime"] > made["renewTime"]

    released = await store.write("", 1.0, renewed)
    assert released is not None
    assert released.holder == ""
    assert await store.write("b", 15.0, released) is not None
    told = spec(stack, name)
    assert (told["holderIdentity"], told["leaseTransitions"]) == ("b", 1)
    assert told["acquireTime"] > made["acquireTime"]


async def test_only_the_first_of_two_gets_it(lease: KubernetesLease) -> None:
    """Whether there is none yet, or both have seen the same."""
    first = await lease.write("a", 15.0, None)
    assert await lease.write("b", 15.0, None) is None
    assert first is not None
    assert await lease.write("b", 15.0, first) is not None
    assert await lease.write("a", 15.0, first) is None
    assert await lease.write("a", 15.0, replace(first, version="1")) is None


async def test_one_that_a_hand_deleted_is_nobodys(stack: Stack, lease: KubernetesLease, name: str) -> None:
    """Its holder does not write it back as it was; a label that a person puts on it stays."""
    first = await lease.write("a", 15.0, None)
    labelled = {"metadata": {"labels": {"team": "x"}}}
    stack.api("kube").call("PATCH", f"{FOLDER}/{name}", labelled, headers=MERGE)
    assert first is not None
    assert await lease.write("a", 15.0, first) is None
    assert await lease.write("a", 15.0, await lease.read()) is not None
    assert stack.kube("GET", f"{FOLDER}/{name}")["metadata"]["labels"] == {"team": "x"}
    stack.kube("DELETE", f"{FOLDER}/{name}")
    assert await lease.write("a", 15.0, await lease.read()) is not None


async def test_a_lost_answer_is_an_unknown_outcome(stack: Stack, tmp_path: Path) -> None:
    """It is not sent again by itself."""
    kubeconfig = tmp_path / "kubeconfig"
    with proxy_for(stack, "kube") as proxy:
        write_operator_kubeconfig(stack, kubeconfig, proxy.url)
        access = await load_cluster_access(kubeconfig=str(kubeconfig), namespace=OPERATOR_NAMESPACE)
        lease = KubernetesLease(access, SystemClock(), name="fedid-operator")
        await lease.write("a", 15.0, await lease.read())
        proxy.clear()
        proxy.inject(CutAfter(), requests_to(".*/leases/.*", "PATCH"), times=1)
        with pytest.raises(BackendUnavailableError) as caught:
            await lease.write("a", 15.0, await lease.read())
        assert caught.value.outcome_unknown
        assert [one.method for one in proxy.exchanges()] == ["GET", "PATCH"]
        await lease.aclose()
        await access.aclose()
    stack.kube("DELETE", f"{FOLDER}/fedid-operator", accept=(404,))


async def test_a_missing_right_is_named(stack: Stack, name: str) -> None:
    """The operator's account has no right to a Lease of another name."""
    access = await load_cluster_access(kubeconfig=str(stack.paths.operator_kubeconfig), namespace=OPERATOR_NAMESPACE)
    lease = KubernetesLease(access, SystemClock(), name=name)
    with pytest.raises(BackendDeniedError, match="get leases"):
        await lease.read()
    await lease.aclose()
    await access.aclose()
