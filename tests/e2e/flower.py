"""Flower's programs in front of what the operator makes for them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.contract.super_links import SuperLink, flower_environment, flower_programs, super_link
from tests.e2e.authority import REALM
from tests.e2e.tenancy import Body, Tenant, pod_identity
from tests.e2e.waiting import eventually
from tests.testbed.stack import Stack

REFUSED = "Exit Code: 305"
"""What a SuperNode says that its SuperLink does not let in."""
LIST_NODES = ("supernode", "list", "--verbose", "--format", "json")
_RUN_SECONDS = 180.0
"""What `flwr` may take on a machine that is very busy; a whole round usually takes fifteen."""


def super_node(name: str, link: SuperLink, mount_path: Path, *, account: str = "None", **node: Any) -> Body:
    """Return a PodIdentity of the bot `trainer` that is a SuperNode."""
    block = {"superLink": {**where(link), "account": account}, "mountPath": str(mount_path), **node}
    return pod_identity(name, "trainer", platform={"flower": {"superNode": block}})


def command_line(name: str, link: SuperLink, home: Path) -> Body:
    """Return a PodIdentity of the bot `trainer` whose pods run `flwr`."""
    block = {"superLink": where(link), "mountPath": str(home)}
    return pod_identity(name, "trainer", platform={"flower": {"cli": block}})


def where(link: SuperLink) -> Mapping[str, str]:
    """Return what a manifest says of a SuperLink."""
    return {"url": f"https://{link.address}", "caBundle": link.ca_bundle}


def node_of(tenant: Tenant, name: str, *, other_than: str = "") -> str:
    """Wait until the PodIdentity is Ready with another node, and return its id."""

    def look() -> str | None:
        status = tenant.ready("PodIdentity", name)["status"]
        found: str | None = status.get("nodeId")
        return found if found != other_than else None

    return eventually(look, f"another node of {name}")


@contextmanager
def link_with_accounts(stack: Stack, folder: Path, isolation: str = "process") -> Iterator[SuperLink]:
    """Run a SuperLink that asks Keycloak who calls; `isolation` as in `SuperLink`."""
    program = (str(Path(__file__).with_name("superlink_with_accounts.py")),)
    environment = {
        "INTROSPECTION_URL": f"{stack.keycloak_url}/realms/{REALM}/protocol/openid-connect/token/introspect",
        "CLIENT_ID": "superlink",
        "CLIENT_SECRET": stack.credentials.superlink_client_secret,
    }
    with super_link(folder, program, environment, isolation) as started:
        yield started


def flwr(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `flwr` in a fresh process, with the files of a folder."""
    command = [str(flower_programs() / "flwr"), *arguments]
    environment = flower_environment(home) | {"FLWR_HOME": str(home)}
    return subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=_RUN_SECONDS
    )
