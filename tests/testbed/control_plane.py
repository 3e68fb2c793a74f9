"""The cluster: etcd, kube-apiserver and kube-controller-manager, without a node."""

import json
from collections.abc import Mapping

from tests.testbed.build import Binaries
from tests.testbed.credentials import Credentials
from tests.testbed.paths import StatePaths, write_private
from tests.testbed.ports import Ports
from tests.testbed.rest import Rest
from tests.testbed.server import LOOPBACK, Server, answers_ok, plain_environment, tls_context

SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local"
"""`iss` of every ServiceAccount token of the stack."""

UNREACHABLE = "192.0.2.1"
"""An address for documentation: the API server insists on advertising one that is
not loopback, and nothing here connects to it (RFC 5737)."""

CONTROLLERS = (
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "validatingadmissionpolicy-status-controller",
)
"""Controllers that fedid and its tests depend on; there is no node for the others."""


def kubeconfig(server_url: str, authority: str, user: Mapping[str, str]) -> str:
    """Return a kubeconfig (JSON, which is YAML) with one cluster, user and context.

    Args:
        server_url: Of the API server, or of a proxy in front of it.
        authority: Path of the PEM file that verifies the server.
        user: `{"token": …}` or `{"tokenFile": …}`.
    """
    name = "fedid-testbed"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": server_url, "certificate-authority": authority},
            }
        ],
        "users": [{"name": name, "user": dict(user)}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(content, indent=1)


def apiserver_rest(paths: StatePaths, ports: Ports, credentials: Credentials) -> Rest:
    """Return the API server as its administrator sees it."""
    return Rest(
        f"https://{LOOPBACK}:{ports.apiserver}",
        lambda: {"Authorization": f"Bearer {credentials.kubernetes_admin_token}"},
        tls_context(paths),
    )


def etcd(paths: StatePaths, ports: Ports, binaries: Binaries) -> Server:
    """Return etcd, where the cluster's objects lie."""
    client, peer = (f"http://{LOOPBACK}:{port}" for port in (ports.etcd, ports.etcd_peer))
    return Server(
        name="etcd",
        ports={"etcd": ports.etcd, "etcd_peer": ports.etcd_peer},
        command=(
            str(binaries.programs["etcd"]),
            "--name=testbed",
            f"--data-dir={paths.etcd_data}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=testbed={peer}",
            # A test cluster survives kill -9 without it; only a power cut needs it.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
        environment=plain_environment(),
        prepare=lambda: None,
        healthy=answers_ok(Rest(client, timeout_seconds=2), "/readyz"),
        timeout_seconds=120,
    )


def kube_apiserver(paths: StatePaths, ports: Ports, binaries: Binaries, credentials: Credentials) -> Server:
    """Return the API server: RBAC on, real service-account signing, our own TLS."""

    def prepare() -> None:
        write_private(
            paths.token_file,
            f'{credentials.kubernetes_admin_token},admin,admin,"system:masters"\n'
            f"{credentials.controller_manager_token},system:kube-controller-manager,kcm\n",
        )

    return Server(
        name="kube-apiserver",
        ports={"apiserver": ports.apiserver},
        command=(
            str(binaries.programs["kube-apiserver"]),
            f"--bind-address={LOOPBACK}",
            f"--secure-port={ports.apiserver}",
            f"--advertise-address={UNREACHABLE}",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--etcd-servers=http://{LOOPBACK}:{ports.etcd}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={paths.token_file}",
            f"--tls-cert-file={paths.serving_certificate}",
            f"--tls-private-key-file={paths.serving_key}",
            f"--service-account-issuer={SERVICE_ACCOUNT_ISSUER}",
            f"--service-account-key-file={paths.service_account_public_key}",
            f"--service-account-signing-key-file={paths.service_account_key}",
        ),
        environment=plain_environment(),
        prepare=prepare,
        healthy=answers_ok(apiserver_rest(paths, ports, credentials), "/readyz"),
        timeout_seconds=180,
    )


def kube_controller_manager(paths: StatePaths, ports: Ports, binaries: Binaries, credentials: Credentials) -> Server:
    """Return the controllers that delete namespaces, collect garbage and make accounts."""

    def prepare() -> None:
        url = f"https://{LOOPBACK}:{ports.apiserver}"
        user = {"token": credentials.controller_manager_token}
        text = kubeconfig(url, str(paths.ca_certificate), user)
        write_private(paths.controller_kubeconfig, text)

    rest = Rest(
        f"https://{LOOPBACK}:{ports.controller_manager}",
        tls=tls_context(paths),
        timeout_seconds=2,
    )
    return Server(
        name="kube-controller-manager",
        ports={"controller_manager": ports.controller_manager},
        command=(
            str(binaries.programs["kube-controller-manager"]),
            f"--kubeconfig={paths.controller_kubeconfig}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={ports.controller_manager}",
            f"--tls-cert-file={paths.serving_certificate}",
            f"--tls-private-key-file={paths.serving_key}",
            "--leader-elect=false",
            f"--controllers={','.join(CONTROLLERS)}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={paths.service_account_key}",
            f"--root-ca-file={paths.ca_certificate}",
        ),
        environment=plain_environment(),
        prepare=prepare,
        healthy=answers_ok(rest, "/healthz"),
        timeout_seconds=120,
    )
