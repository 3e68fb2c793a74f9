"""What grants demand, on real servers: approvals by the command of the hint, places, and composites that grow."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.authority import Authority
from tests.e2e.operating import Proxies, own_federation
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant, bot, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.chart import run_tool, tool_environment
from tests.testbed.stack import Stack

ADMIN = "/admin/realms/fl"
APPROVALS = "/apis/fedid.io/v1alpha1/identityapprovals"
WOKEN_SECONDS = 25
"""Less than the half minute after which whatever waits is looked at anyway: it was woken."""


@pytest.fixture
def demanding(stack: Stack, proxies: Proxies, operator: Operator, tenant: Tenant) -> Iterator[str]:
    """A Federation that gives `fl-client` freely, other roles to who is approved, and places for three."""
    del operator
    here = {"names": [tenant.namespace]}
    rules = [
        {"namespaces": here, "realmRoles": ["fl-client"], "audiences": ["superlink"], "groups": ["/sites/*"]},
        {"namespaces": here, "realmRoles": ["fl-*"], "requireApproval": True, "maxIdentities": 3},
    ]
    drift = {"sweepPeriod": "10s"}
    with own_federation(stack, proxies, "demanding", grants=rules, drift=drift) as name:
        yield name
        tenant.clean()


def approve(stack: Stack, message: str) -> str:
    """Run the command of the hint, as an administrator who gives a reason; return the approval's name."""
    command = re.search(r"echo '.*' \| kubectl create -f -", message)
    assert command, message
    kubectl = stack.binaries.programs["kubectl"]
    environment = tool_environment(stack)
    environment["PATH"] = f"{kubectl.parent}:{environment['PATH']}"
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command[0].replace("<why>", "FL-17") + " -o name"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip().partition("/")[2]


def test_an_identity_waits_for_its_approval_and_goes_with_it(
    demanding: str, stack: Stack, tenant: Tenant, authority: Authority
) -> None:
    """The hint makes the approval in the name of who runs it; its deletion takes back what it allowed, at once."""
    reference = {"federationRef": {"name": demanding}}
    tenant.apply(bot("trainer", realmRoles=["fl-client", "fl-admin"], **reference))
    told = tenant.reason("BotClient", "trainer", "WaitingForApproval")["message"]
    assert authority.client(f"{tenant.namespace}.trainer") is None
    name = approve(stack, told)
    uuid = tenant.ready("BotClient", "trainer", seconds=WOKEN_SECONDS)["status"]["clientUuid"]
    assert authority.service_account_roles(uuid) == {"fl-client", "fl-admin"}
    assert stack.kube("GET", f"{APPROVALS}/{name}")["spec"]["approvedBy"] == "admin"
    assert tenant.namespace in run_tool(stack, ["kubectl", "get", "idapproval", name])
    stack.kube("DELETE", f"{APPROVALS}/{name}")
    tenant.reason("BotClient", "trainer", "WaitingForApproval", seconds=WOKEN_SECONDS)
    assert authority.service_account_roles(uuid) == {"fl-client"}
    tenant.event("trainer", "WaitingForApproval")


def test_places_are_given_to_the_oldest(demanding: str, tenant: Tenant, authority: Authority) -> None:
    """The fourth waits, whatever its kind, and has the place that becomes free; the Federation counts them."""
    reference = {"federationRef": {"name": demanding}}
    person = unique("ana")
    tenant.apply(bot("one", **reference), bot("two", **reference), user(person, realmRoles=[], **reference))
    for kind, name in (("BotClient", "one"), ("BotClient", "two"), ("FederationUser", person)):
        tenant.ready(kind, name)
    tenant.apply(bot("z-last", **reference))
    told = tenant.reason("BotClient", "z-last", "NotGranted")["message"]
    assert "have 3 identities (maxIdentities)" in told
    assert authority.client(f"{tenant.namespace}.z-last") is None
    tenant.delete("BotClient", "one")
    tenant.gone("BotClient", "one")
    tenant.ready("BotClient", "z-last", seconds=WOKEN_SECONDS)

    def counted() -> bool:
        status = tenant.stack.kube("GET", f"/apis/fedid.io/v1alpha1/federations/{demanding}")["status"]
        in_use = {one["index"]: one["identities"] for one in status.get("grantsInUse", ())}
        return status.get("identities", {}).get("ready") == 3 and in_use == {0: 3}

    eventually(counted, "the Federation counts three, all by its first rule", seconds=150)
    assert "3" in run_tool(tenant.stack, ["kubectl", "get", "fed", demanding])


def test_a_composite_that_grows_is_withdrawn(
    demanding: str, stack: Stack, tenant: Tenant, authority: Authority
) -> None:
    """A role that comes to administer the realm goes from who had it, within a sweep, though it is approved."""
    role = f"fl-{unique('grown')}"
    stack.keycloak("POST", f"{ADMIN}/roles", {"name": role})
    try:
        tenant.apply(bot("trainer", realmRoles=["fl-client", role], federationRef={"name": demanding}))
        approve(stack, tenant.reason("BotClient", "trainer", "WaitingForApproval")["message"])
        uuid = tenant.ready("BotClient", "trainer")["status"]["clientUuid"]
        assert authority.service_account_roles(uuid) == {"fl-client", role}
        management = stack.keycloak("GET", f"{ADMIN}/clients?clientId=realm-management")[0]["id"]
        admin = stack.keycloak("GET", f"{ADMIN}/clients/{management}/roles/view-users")
        stack.keycloak("POST", f"{ADMIN}/roles/{role}/composites", [admin])
        told = tenant.reason("BotClient", "trainer", "NotGranted")["message"]
        assert role in told
        assert authority.service_account_roles(uuid) == {"fl-client"}
        assert "DriftRepaired" not in {event["reason"] for event in tenant.events("trainer")}
    finally:
        stack.keycloak("DELETE", f"{ADMIN}/roles/{role}")
