"""The control plane: etcd, kube-apiserver, kube-controller-manager and, where there is a node, kube-scheduler."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.testbed.addresses import LOOPBACK, service_network
from tests.testbed.build import Binaries
from tests.testbed.credentials import Credentials
from tests.testbed.paths import StatePaths, write_private
from tests.testbed.ports import Ports
from tests.testbed.rest import Rest
from tests.testbed.server import Server, answers_ok, plain_environment, tls_context

NODE_NAME = "localhost"
"""With it exec, logs and port-forward reach the kubelet without an entry in a hosts file."""

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
    # What runs pods on a node.
    "deployment-controller",
    "replicaset-controller",
    "job-controller",
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "endpointslice-controller",
    "ttl-after-finished-controller",
)
"""Controllers that fedid and its tests depend on."""


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
            f"{credentials.controller_manager_token},system:kube-controller-manager,kcm\n"
            f"{credentials.scheduler_token},system:kube-scheduler,ks\n"
            f'{credentials.kubelet_token},system:node:{NODE_NAME},node,"system:nodes"\n',
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
            f"--service-cluster-ip-range={service_network(paths)}",
            f"--etcd-servers=http://{LOOPBACK}:{ports.etcd}",
            "--authorization-mode=Node,RBAC",
            # The second one as on OpenShift: whoever changes owners of an object needs rights to match.
            "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
            f"--kubelet-client-certificate={paths.kubelet_client_certificate}",
            f"--kubelet-client-key={paths.kubelet_client_key}",
            f"--kubelet-certificate-authority={paths.ca_certificate}",
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
    """Return the controllers that delete namespaces, collect garbage, make accounts and run pods."""
    access = paths.controller_kubeconfig
    return _component(
        (paths, ports, binaries),
        "kube-controller-manager",
        port=("controller_manager", ports.controller_manager),
        access=(access, credentials.controller_manager_token),
        options=(
            f"--controllers={','.join(CONTROLLERS)}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={paths.service_account_key}",
            f"--root-ca-file={paths.ca_certificate}",
        ),
    )


def kube_scheduler(paths: StatePaths, ports: Ports, binaries: Binaries, credentials: Credentials) -> Server:
    """Return what gives pods their node."""
    access = paths.root / "scheduler.kubeconfig"
    return _component(
        (paths, ports, binaries),
        "kube-scheduler",
        port=("scheduler", ports.scheduler),
        access=(access, credentials.scheduler_token),
        options=(f"--authentication-kubeconfig={access}", f"--authorization-kubeconfig={access}"),
    )


def _component(
    stack: tuple[StatePaths, Ports, Binaries],
    name: str,
    *,
    port: tuple[str, int],
    access: tuple[Path, str],
    options: tuple[str, ...],
) -> Server:
    """Return a component that works through the API server.

    Args:
        stack: Whose.
        name: Of the program and of the server.
        port: Name in `Ports`, and number; served with the stack's certificate.
        access: Where its kubeconfig is written, and its bearer token.
        options: What only this component knows.
    """
    paths, ports, binaries = stack
    path, token = access

    def prepare() -> None:
        url = f"https://{LOOPBACK}:{ports.apiserver}"
        write_private(path, kubeconfig(url, str(paths.ca_certificate), {"token": token}))

    return Server(
        name=name,
        ports=dict([port]),
        command=(
            str(binaries.programs[name]),
            f"--kubeconfig={path}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={port[1]}",
            f"--tls-cert-file={paths.serving_certificate}",
            f"--tls-private-key-file={paths.serving_key}",
            "--leader-elect=false",
            *options,
        ),
        environment=plain_environment(),
        prepare=prepare,
        healthy=answers_ok(
            Rest(f"https://{LOOPBACK}:{port[1]}", tls=tls_context(paths), timeout_seconds=2), "/healthz"
        ),
        timeout_seconds=120,
    )
