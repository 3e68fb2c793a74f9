"""Programs that do not look at their files again: signalled by a sidecar, or restarted, on a real node."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.pods import SECONDS, node_of
from tests.e2e.reloading import LATE_SECONDS, Client, Server, cpu_seconds, resident_kib
from tests.e2e.running import Operator
from tests.e2e.tenancy import Body, Tenant, bot, pod_identity, unique
from tests.e2e.waiting import eventually, steadily
from tests.testbed.addresses import node_address
from tests.testbed.stack import Stack

OLD, NEW = "t" * 63 + "1", "t" * 63 + "2"


@pytest.fixture(autouse=True)
def _node(stack: Stack) -> None:
    node_of(stack)


def identity(name: str, text: str, how: str) -> Body:
    """Return a PodIdentity of one file that the pods of that name mount."""
    return pod_identity(name, "server", {"tokens": text}, pods={"selector": {"matchLabels": {"app": name}}}, reload=how)


@pytest.fixture
def server(tenant: Tenant) -> Server:
    """A verifier that lets one token in, was never ended by a signal that came early, and is known to be up."""
    made = Server(tenant, unique("server"))
    made.run()
    tenant.apply(bot("server"), identity(made.name, f"{OLD}\n", "Signal"))
    eventually(lambda: made.says().get("process") == "starting", f"the sidecar sees it: {made.says()}", seconds=SECONDS)
    began = time.monotonic()
    status = made.reloaded()
    assert time.monotonic() - began > LATE_SECONDS / 2, "it was said to have read what it cannot have read"
    assert (status["mounting"], status["reloaded"]) == (1, 1)
    assert made.admits(OLD)
    assert made.restarts() == {"server": 0, "reload": 0}
    return made


def test_tokens_change_under_use(tenant: Tenant, server: Server) -> None:
    """Old and new, then the new one alone: the client that changes in between is never refused, the old one is then."""
    with Client(server, OLD).asking() as client:
        tenant.apply(identity(server.name, f"{OLD}\n{NEW}\n", "Signal"))
        began = time.monotonic()
        server.reloaded()
        print(f"reloaded {time.monotonic() - began:.1f} s after the change; without a nudge up to two minutes")
        assert server.admits(OLD)
        assert server.admits(NEW)
        client.token = NEW
        tenant.apply(identity(server.name, f"{NEW}\n", "Signal"))
        server.reloaded()
        asked = client.asked
        eventually(lambda: client.asked > asked + 10, "it goes on")
    assert client.refused == []
    assert not server.admits(OLD)
    assert server.restarts() == {"server": 0, "reload": 0}
    # Once more if the sidecar was still starting when the server began: it cannot know what that had read.
    assert server.log("server").split().count("read") in {3, 4}
    assert OLD not in server.log("reload")
    assert NEW not in server.log("reload")


def test_a_server_that_was_started_anew_needs_no_signal(tenant: Tenant, server: Server) -> None:
    """It reads what is mounted; the sidecar finds it, waits until it takes the signal, and says so."""
    os.kill(server.pid("server"), signal.SIGKILL)
    eventually(lambda: server.says().get("hash") is None, "what the former one had read counts no more")
    eventually(lambda: server.restarts()["server"] == 1, "it is started anew", seconds=SECONDS)
    eventually(lambda: server.says().get("process") == "loaded", "it is up", seconds=SECONDS)
    assert server.log("server").split().count("read") == 1
    tenant.apply(identity(server.name, f"{NEW}\n", "Signal"))
    server.reloaded()
    assert (server.admits(OLD), server.admits(NEW)) == (False, True)


def test_a_change_while_the_server_is_not_up(tenant: Tenant, server: Server) -> None:
    """The status says which pod lags and why, and then that none does."""
    os.kill(server.pid("server"), signal.SIGKILL)
    eventually(lambda: server.says().get("hash") is None, "it is gone")
    tenant.apply(identity(server.name, f"{NEW}\n", "Signal"))
    lagging = eventually(lambda: server.pods_status().get("lagging"), "the status names it")
    assert lagging[0]["pod"] == server.name
    server.reloaded()
    assert server.admits(NEW)
    assert "lagging" not in server.pods_status()


def test_what_a_crash_leaves_undone_is_done(tenant: Tenant, server: Server, operator: Operator) -> None:
    """The operator dies right after the change; the next one asks the pod."""
    tenant.apply(identity(server.name, f"{NEW}\n", "Signal"))
    eventually(lambda: tenant.mounted(server.name, "tokens") == f"{NEW}\n", "the Secret is written")
    operator.kill()
    operator.start()
    server.reloaded()
    assert server.admits(NEW)


def test_the_sidecar_is_a_small_guest(server: Server) -> None:
    """Not root, no capability, a read-only file system, little memory, next to no CPU, gone at once when asked."""
    pid = server.pid("reload")
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == ["1000"] * 4
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert resident_kib(pid) < 32 * 1024
    began, used = time.monotonic(), cpu_seconds(pid)
    steadily(lambda: server.says()["process"] == "loaded", "it stays as it is", seconds=5)
    print(f"sidecar: {resident_kib(pid)} KiB, {(cpu_seconds(pid) - used) / (time.monotonic() - began):.2%} of a core")
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "it ends")
    print(f"gone {time.monotonic() - began:.1f} s after SIGTERM")


def test_the_pod_is_reached_at_its_own_address(server: Server) -> None:
    """As the operator reaches it: not by way of the loopback interface, which every pod has."""
    status = server.tenant.stack.kube("GET", server.path)["status"]
    assert status["podIP"] == node_address()
    assert not status["podIP"].startswith("127.")


def deployment(tenant: Tenant, name: str) -> Body:
    """Return a Deployment of a program that reads its file at its start only."""
    container: dict[str, Any] = {
        "name": "main",
        "image": node_of(tenant.stack).images.base.reference,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "cat /run/fedid/tokens; exec sleep infinity"],
        "volumeMounts": [{"name": "credential", "mountPath": "/run/fedid"}],
    }
    spec = {
        "hostNetwork": True,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
        "containers": [container],
        "volumes": [{"name": "credential", "secret": {"secretName": name}}],
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    wanted = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name}, "spec": wanted}


def test_a_deployment_is_restarted_once_for_each_change(tenant: Tenant) -> None:
    """Not for the first content, which its pod waited for; the status says when the new pod is ready."""
    server = Server(tenant, "starter")
    folder = f"/apis/apps/v1/namespaces/{tenant.namespace}/deployments"
    tenant.stack.kube("POST", folder, deployment(tenant, "starter"))
    eventually(lambda: _pods(tenant), "its pod waits")
    tenant.apply(bot("server"), identity("starter", "one\n", "Restart"))
    status = server.reloaded()
    assert (status["mounting"], status["reloaded"]) == (1, 1)
    first = tenant.stack.kube("GET", f"{folder}/starter")
    assert first["metadata"]["generation"] == 1
    for number, text in enumerate(("two\n", "three\n"), start=2):
        tenant.apply(identity("starter", text, "Restart"))
        server.reloaded()
        ready = [pod for pod in _pods(tenant) if "deletionTimestamp" not in pod["metadata"]]
        path = f"/api/v1/namespaces/{tenant.namespace}/pods/{ready[0]['metadata']['name']}/log"
        assert tenant.stack.api("kube").answer("GET", path).text == text
        assert tenant.stack.kube("GET", f"{folder}/starter")["metadata"]["generation"] == number
    assert "Deployment starter is restarted" in tenant.event("starter", "WorkloadRestarted")["message"]
    steadily(
        lambda: tenant.stack.kube("GET", f"{folder}/starter")["metadata"]["generation"] == 3, "once each", seconds=5
    )


def _pods(tenant: Tenant) -> list[Body]:
    found: list[Body] = tenant.stack.kube("GET", f"/api/v1/namespaces/{tenant.namespace}/pods")["items"]
    return found
