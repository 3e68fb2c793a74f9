"""What a person sees of `helm uninstall` and `helm test`, and what the checks find on a real API server."""

from __future__ import annotations

import http.server
import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.chart.hook_runs import NOWHERE, run_hook
from tests.e2e.tenancy import MERGE
from tests.e2e.waiting import eventually
from tests.testbed.addresses import LOOPBACK
from tests.testbed.chart import CHART, run_tool
from tests.testbed.stack import Stack

RELEASE = "checked"
OURS = "/apis/fedid.io/v1alpha1"


@pytest.fixture
def namespace(stack: Stack) -> Iterator[str]:
    """A namespace for a release of the test's own."""
    name = f"hooks-{secrets.token_hex(4)}"
    stack.kube("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    stack.kube("DELETE", f"/api/v1/namespaces/{name}", accept=(404,))


def install(stack: Stack, namespace: str, **values: Any) -> str:
    """Install the chart beside that of the stack, under names of its own, and return their stem."""
    stem = f"fedid-{namespace}"
    chosen = {"replicaCount": 0, "crds": {"install": False}, "fullnameOverride": stem, **NOWHERE, **values}
    command = ["helm", "install", RELEASE, str(CHART), "--namespace", namespace, "--values", "-"]
    run_tool(stack, command, stdin=json.dumps(chosen))
    return stem


def make_bot(stack: Stack, namespace: str, name: str = "trainer") -> str:
    """Create a BotClient that no operator looks after, and return its path."""
    path = f"{OURS}/namespaces/{namespace}/botclients"
    body = {"apiVersion": "fedid.io/v1alpha1", "kind": "BotClient", "metadata": {"name": name}, "spec": {}}
    stack.kube("POST", path, body)
    return f"{path}/{name}"


def release_is_there(stack: Stack, namespace: str) -> bool:
    """Tell whether Helm still has the release, deployed."""
    listed = json.loads(run_tool(stack, ["helm", "list", "--namespace", namespace, "--output", "json"]))
    return [one["status"] for one in listed if one["name"] == RELEASE] == ["deployed"]


def test_uninstalling_stops_while_identities_exist(stack: Stack, namespace: str) -> None:
    """Nothing is deleted, and the person reads why; once they are gone, it goes through and leaves nothing behind."""
    stem = install(stack, namespace)
    bot = make_bot(stack, namespace)
    job = f"/apis/batch/v1/namespaces/{namespace}/jobs/{stem}-uninstall"
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts"

    refused = run_hook(stack, namespace, ["uninstall", RELEASE], job)

    assert refused.hook.code == 1, refused
    assert "fedid looks after 1 BotClient, so nothing was uninstalled." in refused.hook.output
    assert "Uninstalling revokes nothing." in refused.hook.output
    assert f"helm uninstall {RELEASE} --namespace {namespace} --no-hooks" in refused.hook.output
    assert refused.helm.code != 0, "Helm went on"
    assert stack.api("kube").answer("GET", f"{account}/{stem}").status == 200, "something was deleted"
    assert stack.api("kube").answer("GET", f"{account}/{stem}-uninstall").status == 404, "its account stays"
    assert stack.api("kube").answer("GET", job).status == 200, "what failed cannot be looked at"

    stack.kube("DELETE", bot)
    gone = run_hook(stack, namespace, ["uninstall", RELEASE], job)

    assert gone.hook.code == 0, gone
    assert "No identities are left" in gone.hook.output
    assert gone.helm.code == 0, gone.helm.output
    for path in (job, f"{account}/{stem}", f"{account}/{stem}-uninstall"):
        eventually(lambda path=path: stack.api("kube").answer("GET", path).status == 404, f"{path} gone")
    left = run_tool(
        stack, ["kubectl", "get", "clusterroles,clusterrolebindings,validatingadmissionpolicies", "-o", "name"]
    )
    assert stem not in left


def test_uninstalling_goes_past_the_check_when_told_to(stack: Stack, namespace: str) -> None:
    """`--no-hooks`, and the switch, both without a Job."""
    bot = make_bot(stack, namespace)
    for values, option in (({}, ["--no-hooks"]), ({"uninstallCheck": {"enabled": False}}, [])):
        install(stack, namespace, **values)
        run_tool(stack, ["helm", "uninstall", RELEASE, "--namespace", namespace, *option, "--timeout", "20s"])

        assert not release_is_there(stack, namespace)
        assert stack.api("kube").answer("GET", bot).status == 200, "an identity went with the chart"
    stack.kube("DELETE", bot)


def test_uninstalling_stops_where_the_check_cannot_look(stack: Stack, namespace: str) -> None:
    """Without the right to list, nobody knows what would be left behind."""
    stem = install(stack, namespace, serviceAccount={"create": False, "name": "powerless"}, rbac={"create": False})
    stack.kube("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "powerless"}})
    job = f"/apis/batch/v1/namespaces/{namespace}/jobs/{stem}-uninstall"

    refused = run_hook(stack, namespace, ["uninstall", RELEASE], job)

    assert refused.hook.code == 1
    assert "Cannot tell whether identities exist: the operator may not list" in refused.hook.output
    assert refused.helm.code != 0
    run_tool(stack, ["helm", "uninstall", RELEASE, "--namespace", namespace, "--no-hooks"])


@pytest.mark.parametrize("watched", [True, False], ids=["its own namespace", "every namespace"])
def test_helm_test_passes_on_what_works(stack: Stack, namespace: str, *, watched: bool) -> None:
    """CRDs, rights and the operator are well; the Federations of the stack are reported."""
    with health(200) as url:
        check = {"installationCheck": {"operatorUrl": url}}
        stem = install(stack, namespace, watchNamespaces=[namespace] if watched else [], **check)
        pod = f"/api/v1/namespaces/{namespace}/pods/{stem}-test"
        run = run_hook(stack, namespace, ["test", RELEASE], pod)

    assert run.hook.code == 0, run.hook.output
    assert run.helm.code == 0, run.helm.output
    lines = run.hook.output.splitlines()
    assert "ok    the API server serves federations, botclients" in lines[0]
    assert re.fullmatch(r"ok    the ServiceAccount has all \d+ rights that the operator needs", lines[1])
    assert f"ok    the operator is ready at {url}" in lines
    assert any("Federation" in line for line in lines[2:])
    run_tool(stack, ["helm", "uninstall", RELEASE, "--namespace", namespace, "--no-hooks"])


def test_helm_test_names_what_does_not_work(stack: Stack, namespace: str) -> None:
    """A right that was taken away, and an operator that is not ready, each with what to do."""
    with health(503) as url:
        check = {"installationCheck": {"operatorUrl": url}}
        stem = install(stack, namespace, watchNamespaces=[namespace], **check)
        role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{stem}"
        rules = [rule for rule in stack.kube("GET", role)["rules"] if rule["resources"] != ["pods"]]
        stack.kube("PATCH", role, {"rules": rules}, headers=MERGE)
        run = run_hook(stack, namespace, ["test", RELEASE], f"/api/v1/namespaces/{namespace}/pods/{stem}-test")

    assert run.hook.code == 1
    assert run.helm.code != 0
    failed = [line for line in run.hook.output.splitlines() if line.startswith("FAIL")]
    assert [line.partition(":")[0] for line in failed if "ServiceAccount" in line] == [
        f"FAIL  the ServiceAccount may not {verb} pods in namespace {namespace}" for verb in ("list", "patch")
    ]
    assert any("is not ready: the listing is not done; see" in line for line in failed)
    run_tool(stack, ["helm", "uninstall", RELEASE, "--namespace", namespace, "--no-hooks"])


@contextmanager
def health(status: int) -> Iterator[str]:
    """Answer /readyz like an operator does, and give the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(b"ok\n" if status == 200 else b"the listing is not done\n")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
