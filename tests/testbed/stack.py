"""A stack as tests see it: where everything is, who may do what, and switches to break it.

Example:
    stack = up("e2e")
    stack.kube("GET", "/api/v1/namespaces/site-a")
    stack.kill("vault")
    stack.start("vault")
"""

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.testbed import backends, cluster, control_plane, operator_process, vault_setup
from tests.testbed.addresses import LOOPBACK
from tests.testbed.build import Binaries
from tests.testbed.control_plane import apiserver_rest
from tests.testbed.credentials import (
    Credentials,
    VaultKeys,
    load_vault_keys,
    settle_credentials,
)
from tests.testbed.errors import StackError
from tests.testbed.keycloak_realm import REALM, KeycloakAdmin
from tests.testbed.node import servers as node_servers
from tests.testbed.node.node import SERVERS as NODE_SERVERS
from tests.testbed.node.node import Node
from tests.testbed.paths import StatePaths, stack_name, write_private
from tests.testbed.ports import Ports, free_port, load_ports
from tests.testbed.process import ServerProcess
from tests.testbed.progress import Progress
from tests.testbed.rest import Rest
from tests.testbed.server import Server, ensure_running

SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager", "vault", "keycloak", "operator")
"""Every process of a stack without a node, in an order in which they can start one by one."""


def _quiet(_line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack; nothing of it need be running."""

    name: str
    paths: StatePaths
    ports: Ports
    binaries: Binaries
    credentials: Credentials = field(repr=False)
    node: Node | None = field(default=None, repr=False)
    """None: no pod can run, and the operator is a process."""
    _rests: dict[str, Rest] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, name: str | None = None) -> "Stack":
        """Return a stack that was brought up before.

        Args:
            name: None for $TESTBED, else `default`.

        Raises:
            StackError: There is none of that name.
        """
        name = stack_name(name)
        paths = StatePaths.of(name)
        if not paths.binaries.exists():
            msg = f"There is no stack {name}: `python -m tests.testbed up` makes it."
            raise StackError(msg)
        stored = json.loads(paths.binaries.read_text())
        programs = {tool: Path(path) for tool, path in stored["programs"].items()}
        binaries = Binaries(programs, Path(stored["keycloak_home"]), Path(stored["java_home"]))
        credentials = settle_credentials(paths.credentials)
        return cls(name, paths, load_ports(paths.ports), binaries, credentials, Node.load(paths))

    @property
    def servers(self) -> tuple[str, ...]:
        """Every process of this stack, in an order in which they can start; with a node the operator is a pod."""
        return SERVERS if self.node is None else (*SERVERS[:-1], *NODE_SERVERS)

    def save_binaries(self) -> None:
        """Remember the binaries, so that `load` and later restarts take the same."""
        stored = {
            "programs": {tool: str(path) for tool, path in self.binaries.programs.items()},
            "keycloak_home": str(self.binaries.keycloak_home),
            "java_home": str(self.binaries.java_home),
        }
        write_private(self.paths.binaries, json.dumps(stored, indent=1))

    @property
    def apiserver_url(self) -> str:
        """The API server; verified by `paths.ca_certificate`."""
        return f"https://{LOOPBACK}:{self.ports.apiserver}"

    @property
    def keycloak_url(self) -> str:
        """Keycloak, without a realm."""
        return f"http://{LOOPBACK}:{self.ports.keycloak}"

    @property
    def issuer_url(self) -> str:
        """The issuer of the federation's realm."""
        return f"{self.keycloak_url}/realms/{REALM}"

    @property
    def kcadm(self) -> Path:
        """Keycloak's command line for administrators."""
        return self.binaries.keycloak_home / "bin" / "kcadm.sh"

    @property
    def vault_url(self) -> str:
        """Vault."""
        return f"http://{LOOPBACK}:{self.ports.vault}"

    @property
    def operator_url(self) -> str:
        """Health and metrics of the operator that `up` starts."""
        return f"http://{LOOPBACK}:{self.ports.operator_health}"

    @property
    def vault_keys(self) -> VaultKeys:
        """Vault's root token and unseal key."""
        return load_vault_keys(self.paths.vault_keys)

    def api(self, server: str) -> Rest:
        """Return `kube`, `keycloak` or `vault` as its administrator sees it."""
        if server not in self._rests:
            self._rests[server] = self._administrator(server)
        return self._rests[server]

    def _administrator(self, server: str) -> Rest:
        if server == "kube":
            return apiserver_rest(self.paths, self.ports, self.credentials)
        if server == "keycloak":
            password = self.credentials.keycloak_admin_password
            return Rest(self.keycloak_url, KeycloakAdmin(self.keycloak_url, password))
        return Rest(self.vault_url, lambda: {"X-Vault-Token": self.vault_keys.root_token})

    def kube(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """Call the API server as its administrator; arguments as for `Rest.call`."""
        return self.api("kube").call(method, path, body, **options)

    def keycloak(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """Call Keycloak as its administrator; arguments as for `Rest.call`."""
        return self.api("keycloak").call(method, path, body, **options)

    def vault(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """Call Vault as its root; arguments as for `Rest.call`."""
        return self.api("vault").call(method, path, body, **options)

    def process(self, server: str) -> ServerProcess:
        """Return the process of one of SERVERS, running or not."""
        return ServerProcess(server, self.paths.record(server), self.paths.log(server))

    def server(self, name: str) -> Server:
        """Return how one of SERVERS is started.

        Raises:
            StackError: There is no server of that name.
        """
        match name:
            case "etcd":
                return control_plane.etcd(self.paths, self.ports, self.binaries)
            case "kube-apiserver":
                return control_plane.kube_apiserver(self.paths, self.ports, self.binaries, self.credentials)
            case "kube-controller-manager":
                return control_plane.kube_controller_manager(self.paths, self.ports, self.binaries, self.credentials)
            case "vault":
                return backends.vault(self.paths, self.ports, self.binaries)
            case "keycloak":
                return backends.keycloak(self.paths, self.ports, self.binaries, self.credentials)
            case "kube-scheduler":
                return control_plane.kube_scheduler(self.paths, self.ports, self.binaries, self.credentials)
            case "service-relay":
                return node_servers.service_relay(self.paths, self.ports)
            case "containerd" if self.node is not None:
                return node_servers.containerd(self.paths, self.node.packages, self.node.images.pause.reference)
            case "kubelet" if self.node is not None:
                return node_servers.kubelet(self.paths, self.ports, self.binaries, self.credentials, self.node.packages)
            case "operator":
                return operator_process.operator_server(self)
            case _:
                msg = f"There is no server {name!r}, only {', '.join(self.servers)}."
                raise StackError(msg)

    def start(self, name: str, progress: Progress | None = None) -> None:
        """Start a server with the data it had, and return when it is healthy; unseal Vault.

        Raises:
            StackError: It does not become healthy.
        """
        ensure_running(self.server(name), self.process(name), progress or Progress(_quiet))
        if name == "vault":
            self.unseal(progress)

    def stop(self, name: str) -> None:
        """Stop a server cleanly; its data stays."""
        self.process(name).stop()

    def kill(self, name: str) -> None:
        """End a server at once (SIGKILL); its data stays."""
        self.process(name).kill()

    def pause(self, name: str) -> None:
        """Freeze a server (SIGSTOP): connections are accepted, and nothing answers."""
        self.process(name).send(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a paused server go on."""
        self.process(name).send(signal.SIGCONT)

    def seal(self) -> None:
        """Seal Vault: it answers 503 to everything that needs a secret."""
        self.vault("PUT", "/v1/sys/seal")

    def unseal(self, progress: Progress | None = None) -> None:
        """Unseal Vault, initialise it if it is new, and return when it serves."""
        vault = Rest(self.vault_url)
        vault_setup.ensure_unsealed(vault, self.paths.vault_keys, progress or Progress(_quiet))

    def token_request(
        self, namespace: str, service_account: str, audience: str | None = None, seconds: int = 3600
    ) -> str:
        """Return a new token of a ServiceAccount; arguments as for `cluster.token_request`."""
        return cluster.token_request(self.api("kube"), namespace, service_account, audience, seconds)

    def operator_env(self, apiserver_url: str | None = None, health_port: int | None = None) -> Mapping[str, str]:
        """Return the whole environment for an operator process of a test's own.

        The tokens are those that `up` minted for the chart's ServiceAccount.

        Args:
            apiserver_url: A proxy in front of the API server; None for the server itself.
            health_port: None for a free one; read it back as `FEDID_HEALTH_PORT`.
        """
        port = health_port or free_port()
        path = self.paths.operator_kubeconfig
        if apiserver_url is not None:
            path = self.paths.root / f"operator-{port}.kubeconfig"
            operator_process.write_operator_kubeconfig(self, path, apiserver_url)
        return operator_process.operator_environment(self, path, port)
