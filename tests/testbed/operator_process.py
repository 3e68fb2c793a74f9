"""The operator of the stack: a process under the ServiceAccount that the chart made."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.testbed import cluster, vault_setup
from tests.testbed.addresses import LOOPBACK
from tests.testbed.control_plane import kubeconfig
from tests.testbed.errors import StackError, TooLateError
from tests.testbed.keycloak_realm import REALM, SUPERLINK
from tests.testbed.paths import REPOSITORY, write_private
from tests.testbed.progress import Progress, wait_until
from tests.testbed.rest import Rest
from tests.testbed.server import Server, answers_ok, plain_environment

if TYPE_CHECKING:
    from tests.testbed.stack import Stack

SOURCE = REPOSITORY / "operator"
PACKAGE = SOURCE / "fedid" / "__main__.py"
"""There only once the operator can be started."""

TOKEN_SECONDS = 7 * 24 * 3600
"""Life of the operator's tokens: nothing renews them here, as a kubelet would."""

FEDERATION = "local"
FEDERATION_PATH = f"/apis/fedid.io/v1alpha1/federations/{FEDERATION}"

REPLICA = "testbed"

READY_SECONDS = 90.0
"""How long the Federation may take to become Ready on a busy machine."""


def mint_operator_tokens(stack: "Stack") -> None:
    """Write fresh tokens of the operator's ServiceAccount: for the API server, for Vault and for Keycloak.

    Raises:
        AnswerError: The ServiceAccount does not exist; the chart makes it.
    """
    account = (cluster.OPERATOR_NAMESPACE, cluster.SERVICE_ACCOUNT)
    token = stack.token_request(*account, audience=None, seconds=TOKEN_SECONDS)
    write_private(stack.paths.operator_token, token)
    token = stack.token_request(*account, audience=vault_setup.AUDIENCE, seconds=TOKEN_SECONDS)
    write_private(stack.paths.operator_vault_token, token)
    token = stack.token_request(*account, audience=stack.issuer_url, seconds=TOKEN_SECONDS)
    write_private(stack.paths.operator_keycloak_token, token)
    write_operator_kubeconfig(stack, stack.paths.operator_kubeconfig, stack.apiserver_url)


def write_operator_kubeconfig(stack: "Stack", path: Path, server_url: str) -> None:
    """Write a kubeconfig for the operator that reaches the API server at some URL.

    Args:
        stack: Whose authority and tokens it names.
        path: Where to write it.
        server_url: The API server's own, or a proxy's in front of it.
    """
    user = {"tokenFile": str(stack.paths.operator_token)}
    write_private(path, kubeconfig(server_url, str(stack.paths.ca_certificate), user))


def operator_environment(stack: "Stack", kubeconfig_path: Path, health_port: int) -> dict[str, str]:
    """Return the whole environment of an operator process."""
    return {
        **plain_environment(),
        "PYTHONPATH": str(SOURCE),
        "PYTHONUNBUFFERED": "1",
        "KUBECONFIG": str(kubeconfig_path),
        "FEDID_NAMESPACE": cluster.OPERATOR_NAMESPACE,
        "FEDID_VAULT_TOKEN_PATH": str(stack.paths.operator_vault_token),
        "FEDID_KEYCLOAK_TOKEN_PATH": str(stack.paths.operator_keycloak_token),
        "FEDID_HEALTH_PORT": str(health_port),
        # What the next operator is called too, so that it need not wait for the Lease of one that was killed.
        "FEDID_REPLICA": REPLICA,
        "FEDID_FORCE_RELEASE": "true",  # as the chart says it: its policy guards the annotation
    }


def operator_server(stack: "Stack") -> Server:
    """Return the operator as a server of the stack."""
    port = stack.ports.operator_health
    return Server(
        name="operator",
        ports={"operator_health": port},
        command=(sys.executable, "-m", "fedid"),
        environment=operator_environment(stack, stack.paths.operator_kubeconfig, port),
        prepare=lambda: None,
        healthy=answers_ok(Rest(f"http://{LOOPBACK}:{port}", timeout_seconds=2), "/readyz"),
        timeout_seconds=120,
    )


def source_changed(stack: "Stack") -> bool:
    """Tell whether the operator's source is newer than the running operator process."""
    record = stack.paths.record("operator")
    if not record.exists():
        return False
    started = record.stat().st_mtime
    return any(path.stat().st_mtime > started for path in SOURCE.rglob("*.py"))


def federation_manifest(stack: "Stack") -> dict[str, Any]:
    """Return the Federation `local`: the default, open to namespaces with the tenant label."""
    return {
        "apiVersion": "fedid.io/v1alpha1",
        "kind": "Federation",
        "metadata": {"name": FEDERATION},
        "spec": {
            "default": True,
            "keycloak": {
                "url": stack.keycloak_url,
                "realm": REALM,
                "auth": {"serviceAccountToken": {}},
            },
            "vault": {
                "url": stack.vault_url,
                "mount": "secret",
                "kvVersion": 2,
                "pathPrefix": "fedid",
                "auth": {"jwt": {"mount": "jwt", "role": vault_setup.ROLE}},
            },
            "grants": [
                {
                    "namespaces": {"selector": {"matchLabels": cluster.TENANT_LABEL}},
                    "realmRoles": ["fl-*"],
                    "groups": ["/sites/*"],
                    "audiences": [SUPERLINK],
                    "maxTokenLifetime": "1h",
                    "scopes": ["fl-*"],
                    "vaultPaths": ["secrets/users/{subject}/*"],
                }
            ],
        },
    }


def ensure_federation(stack: "Stack", progress: Progress) -> None:
    """Apply the Federation `local` and wait until the operator says that it is Ready.

    Raises:
        AnswerError: The API server refused it.
        StackError: It is not Ready in time; the message holds its conditions and the
            end of the operator's log.
    """
    rest = stack.api("kube")
    cluster.apply(rest, FEDERATION_PATH, federation_manifest(stack))

    def look() -> bool:
        return cluster.is_ready(stack.kube("GET", FEDERATION_PATH))

    try:
        wait_until(progress, "", READY_SECONDS, look)
    except TooLateError:
        conditions = cluster.told(stack.kube("GET", FEDERATION_PATH))
        what = f"has not made the Federation {FEDERATION} Ready, whose conditions are {conditions}"
        raise StackError(stack.process("operator").failure(what)) from None
