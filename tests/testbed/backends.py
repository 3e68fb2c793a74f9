"""The backends of fedid: Vault, and Keycloak."""

import json
import os
from pathlib import Path

from tests.testbed.addresses import LOOPBACK
from tests.testbed.build import Binaries
from tests.testbed.credentials import KEYCLOAK_ADMIN, Credentials
from tests.testbed.errors import StackError
from tests.testbed.paths import StatePaths, write_private
from tests.testbed.ports import Ports
from tests.testbed.rest import Rest
from tests.testbed.server import Server, answers_ok, plain_environment

KEYCLOAK_HEAP = "-Xms256m -Xmx1g"
"""Enough for tens of thousands of clients, on a machine that runs more than one stack."""

KEYCLOAK_JAVA_VARIABLE = "FEDID_KEYCLOAK_JAVA_OPTS"
"""Replaces KEYCLOAK_JAVA where it is set, also to nothing: for a benchmark, say."""

KEYCLOAK_JAVA = "-XX:TieredStopAtLevel=1"
"""Quick compiler only: a start costs a third less processor time, and a stack that
lives for minutes never earns back what the optimising compiler takes."""


def vault(paths: StatePaths, ports: Ports, binaries: Binaries) -> Server:
    """Return Vault with storage on disk, so that it can be sealed and restarted with its data.

    Healthy means that it answers; whether it is sealed is another question.
    """
    address = f"{LOOPBACK}:{ports.vault}"

    cluster = f"{LOOPBACK}:{ports.vault_cluster}"

    def prepare() -> None:
        paths.vault_data.mkdir(parents=True, exist_ok=True)
        # Of the storages that keep their data, the minimal build has only raft; the
        # multiplier of 1 makes the only node elect itself within a second.
        raft = {"path": str(paths.vault_data), "node_id": "testbed", "performance_multiplier": 1}
        listener = {"address": address, "cluster_address": cluster, "tls_disable": True}
        configuration = {
            "storage": {"raft": raft},
            "listener": {"tcp": listener},
            "api_addr": f"http://{address}",
            "cluster_addr": f"https://{cluster}",
            # Locking memory needs a right that a container may not have.
            "disable_mlock": True,
            "ui": False,
        }
        write_private(paths.vault_configuration, json.dumps(configuration, indent=1))

    return Server(
        name="vault",
        ports={"vault": ports.vault, "vault_cluster": ports.vault_cluster},
        command=(
            str(binaries.programs["vault"]),
            "server",
            f"-config={paths.vault_configuration}",
        ),
        environment=plain_environment(),
        prepare=prepare,
        healthy=answers_ok(Rest(f"http://{address}", timeout_seconds=2), "/v1/sys/seal-status"),
        timeout_seconds=120,
    )


def keycloak(paths: StatePaths, ports: Ports, binaries: Binaries, credentials: Credentials) -> Server:
    """Return Keycloak on its file database, with a home of its own around the shared build."""
    home = paths.keycloak_home
    management = Rest(f"http://{LOOPBACK}:{ports.keycloak_mgmt}", timeout_seconds=5)
    return Server(
        name="keycloak",
        ports={"keycloak": ports.keycloak, "keycloak_mgmt": ports.keycloak_mgmt},
        command=(
            str(home / "bin" / "kc.sh"),
            "start",
            "--optimized",
            "--http-enabled=true",
            f"--http-host={LOOPBACK}",
            f"--http-port={ports.keycloak}",
            f"--http-management-port={ports.keycloak_mgmt}",
            # A fixed issuer: tokens minted through a test's proxy are the same as direct ones.
            f"--hostname=http://{LOOPBACK}:{ports.keycloak}",
            "--cache=local",
            # While it starts it would log an answer to every question whether it is healthy.
            "--log-level=INFO,io.smallrye.health:ERROR",
        ),
        environment={
            **plain_environment(),
            "JAVA_HOME": str(binaries.java_home),
            "JAVA_OPTS_KC_HEAP": KEYCLOAK_HEAP,
            "JAVA_OPTS_APPEND": os.environ.get(KEYCLOAK_JAVA_VARIABLE, KEYCLOAK_JAVA),
            "KC_BOOTSTRAP_ADMIN_USERNAME": KEYCLOAK_ADMIN,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": credentials.keycloak_admin_password,
        },
        prepare=lambda: _link_keycloak_home(home, binaries.keycloak_home),
        healthy=answers_ok(management, "/health/ready"),
        timeout_seconds=600,
        usual_seconds=15,
    )


def _link_keycloak_home(home: Path, built: Path) -> None:
    """Make a Keycloak home whose `data` is this stack's and whose rest is the shared build.

    kc.sh takes its own resolved path as the home, so the script is a copy while
    the folders are links.
    """
    if not built.is_dir():
        msg = f"Keycloak is no longer at {built}: run `build` first."
        raise StackError(msg)
    script = home / "bin" / "kc.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_bytes((built / "bin" / "kc.sh").read_bytes())
    script.chmod(0o755)
    for folder in ("conf", "lib", "providers", "themes"):
        link = home / folder
        link.unlink(missing_ok=True)
        link.symlink_to(built / folder)
