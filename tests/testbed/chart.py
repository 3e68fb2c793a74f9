"""fedid's CRDs and chart, installed as a platform team would."""

import json
import subprocess
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tests.testbed.cluster import JUDGED_LABEL, OPERATOR_NAMESPACE, SERVICE_ACCOUNT, condition
from tests.testbed.errors import StackError
from tests.testbed.paths import REPOSITORY, write_private
from tests.testbed.progress import Progress, wait_until
from tests.testbed.server import plain_environment
from tests.testbed.tools import content_key

if TYPE_CHECKING:
    from tests.testbed.stack import Stack

RELEASE = "fedid"
CHART = REPOSITORY / "charts" / "fedid"
CRDS = REPOSITORY / "crds"

GROUP = "fedid.io"
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

TOOL_SECONDS = 120
"""Longest run of kubectl or helm."""


def install_crds(stack: "Stack") -> None:
    """Apply the CRDs of the clone without the chart.

    Raises:
        StackError: One was refused.
    """
    run_tool(stack, ["kubectl", "apply", "--server-side", "--force-conflicts", "-f", str(CRDS)])


def install_chart(stack: "Stack", **values: Any) -> None:
    """Install or upgrade the chart of the clone, without pods: no node could run them.

    Nothing happens if this very chart was installed with these very values before.

    Args:
        stack: Its API server must be up.
        values: Top-level chart values, on top of what the testbed needs.

    Raises:
        StackError: Helm refused.
    """
    judged = {"namespaceSelector": {"matchLabels": JUDGED_LABEL}}
    merged = {"replicaCount": 0, "serviceAccount": {"name": SERVICE_ACCOUNT}, "grantsPolicy": judged, **values}
    text = json.dumps(merged, sort_keys=True)
    files = sorted(path for path in CHART.rglob("*") if path.is_file())
    key = content_key(text, *(f"{path.relative_to(CHART)}\n{path.read_text()}" for path in files))
    if installed_key(stack) == key:
        return
    command = ["helm", "upgrade", "--install", RELEASE, str(CHART)]
    # Taking over: a developer may have applied the CRDs by hand before.
    options = ["--namespace", OPERATOR_NAMESPACE, "--take-ownership", "--force-conflicts"]
    run_tool(stack, [*command, *options, "--values", "-"], stdin=text)
    write_private(stack.paths.chart_key, key)


def installed_key(stack: "Stack") -> str | None:
    """Return the key of the chart and values that install_chart installed last, None if they went."""
    path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts/{SERVICE_ACCOUNT}"
    if not stack.paths.chart_key.exists() or stack.api("kube").answer("GET", path).status != HTTPStatus.OK:
        return None
    return stack.paths.chart_key.read_text()


def wait_for_crds(stack: "Stack", progress: Progress) -> None:
    """Wait until the API server serves every CRD of fedid that it has.

    Raises:
        TooLateError: One is not established within 30 s.
    """

    def served() -> bool:
        found = [
            condition(crd, "Established").get("status") == "True"
            for crd in stack.kube("GET", CRD_PATH)["items"]
            if crd["spec"]["group"] == GROUP
        ]
        return bool(found) and all(found)

    wait_until(progress, "the CRDs of fedid were not established", 30, served)


def tool_environment(stack: "Stack") -> dict[str, str]:
    """Return the whole environment in which kubectl and helm work as the cluster's administrator."""
    return {
        **plain_environment(),
        "KUBECONFIG": str(stack.paths.kubeconfig),
        "HELM_CACHE_HOME": str(stack.paths.helm / "cache"),
        "HELM_CONFIG_HOME": str(stack.paths.helm / "config"),
        "HELM_DATA_HOME": str(stack.paths.helm / "data"),
    }


def run_tool(stack: "Stack", command: Sequence[str], stdin: str = "") -> str:
    """Run kubectl or helm as the cluster's administrator and return what it prints.

    Args:
        stack: Its API server must be up.
        command: The tool's name, then its arguments.
        stdin: What the tool may read.

    Raises:
        StackError: It failed; the message holds what it said.
    """
    ran = subprocess.run(
        [str(stack.binaries.programs[command[0]]), *command[1:]],
        input=stdin,
        capture_output=True,
        text=True,
        env=tool_environment(stack),
        check=False,
        timeout=TOOL_SECONDS,
    )
    if ran.returncode:
        msg = f"{' '.join(command[:2])} failed: {ran.stderr.strip()[-1500:]}"
        raise StackError(msg)
    return ran.stdout
