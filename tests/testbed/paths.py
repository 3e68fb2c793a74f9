"""Where a stack keeps everything: one folder, `.testbed/<name>`, removed by `down`."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.errors import StackError

REPOSITORY = Path(__file__).parents[2]
"""The clone that this file belongs to."""

DEFAULT_NAME = "default"
"""The stack of `make up`."""

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
"""Names that are safe as a folder and inside a sentence."""


def stack_name(given: str | None = None) -> str:
    """Return the stack's name: as given, else $TESTBED, else `default`.

    Raises:
        StackError: The name is not made of lower-case letters, digits and dashes,
            or is the name of the file beside the stacks.
    """
    name = given or os.environ.get("TESTBED") or DEFAULT_NAME
    if not NAME_PATTERN.fullmatch(name) or name == "env":
        msg = f"A stack cannot be called {name!r}: up to 32 lower-case letters, digits and dashes, and not `env`."
        raise StackError(msg)
    return name


@dataclass(frozen=True, slots=True)
class StatePaths:
    """The files of one stack."""

    root: Path

    @classmethod
    def of(cls, name: str) -> "StatePaths":
        """Return the paths of the stack of that name in this clone."""
        return cls(REPOSITORY / ".testbed" / name)

    @property
    def lock(self) -> Path:
        """Held during `up` and `down`; outside the folder, which `down` removes."""
        return self.root.parent / f".{self.root.name}.lock"

    @property
    def env(self) -> Path:
        """Shell exports for a person."""
        return self.root / "env"

    @property
    def values(self) -> Path:
        """Values of the chart for whoever installs it by hand."""
        return self.root / "values.json"

    @property
    def default_env(self) -> Path:
        """The same for the default stack, at the place that the README names."""
        return self.root.parent / "env"

    @property
    def ports(self) -> Path:
        """The ports, chosen once."""
        return self.root / "ports.json"

    @property
    def credentials(self) -> Path:
        """Secrets that the testbed chose."""
        return self.root / "credentials.json"

    @property
    def vault_keys(self) -> Path:
        """Root token and unseal key that Vault chose."""
        return self.root / "vault-keys.json"

    @property
    def binaries(self) -> Path:
        """Which binaries the stack was started with, so that a restart takes the same."""
        return self.root / "binaries.json"

    @property
    def bin(self) -> Path:
        """Links to kubectl, vault and helm, for PATH."""
        return self.root / "bin"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.root / "pki"

    @property
    def ca_certificate(self) -> Path:
        """The stack's own authority (PEM)."""
        return self.pki / "ca.crt"

    @property
    def serving_certificate(self) -> Path:
        """Certificate for every TLS server of the stack, the proxy included (PEM)."""
        return self.pki / "serving.crt"

    @property
    def serving_key(self) -> Path:
        """Key of the serving certificate (PEM)."""
        return self.pki / "serving.key"

    @property
    def kubelet_client_certificate(self) -> Path:
        """What the API server shows to the kubelet (PEM)."""
        return self.pki / "kubelet-client.crt"

    @property
    def kubelet_client_key(self) -> Path:
        """Key of that certificate (PEM)."""
        return self.pki / "kubelet-client.key"

    @property
    def service_account_key(self) -> Path:
        """Private key that signs the tokens of ServiceAccounts (PEM)."""
        return self.pki / "service-account.key"

    @property
    def service_account_public_key(self) -> Path:
        """What Vault and Keycloak verify those tokens with (PEM)."""
        return self.pki / "service-account.pub"

    @property
    def token_file(self) -> Path:
        """Static tokens of the API server."""
        return self.root / "tokens.csv"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "admin.kubeconfig"

    @property
    def controller_kubeconfig(self) -> Path:
        """The kubeconfig of kube-controller-manager."""
        return self.root / "controller-manager.kubeconfig"

    @property
    def operator_kubeconfig(self) -> Path:
        """The kubeconfig of the operator; its token lies in a file of its own."""
        return self.root / "operator.kubeconfig"

    @property
    def operator_token(self) -> Path:
        """The operator's token for the API server."""
        return self.root / "operator-token"

    @property
    def operator_vault_token(self) -> Path:
        """The operator's token for Vault's jwt method."""
        return self.root / "operator-vault-token"

    @property
    def operator_keycloak_token(self) -> Path:
        """The operator's token for Keycloak."""
        return self.root / "operator-keycloak-token"

    @property
    def node(self) -> Path:
        """Everything of the node; only there if the stack has one."""
        return self.root / "node"

    @property
    def node_parts(self) -> Path:
        """What the node is made of."""
        return self.node / "parts.json"

    @property
    def node_images(self) -> Path:
        """Which images the node has."""
        return self.node / "images.json"

    @property
    def keycloak_home(self) -> Path:
        """Links into the built Keycloak, and this stack's own `data`."""
        return self.root / "keycloak"

    @property
    def etcd_data(self) -> Path:
        """Everything in the cluster."""
        return self.root / "etcd"

    @property
    def vault_data(self) -> Path:
        """Everything in Vault, encrypted."""
        return self.root / "vault"

    @property
    def vault_configuration(self) -> Path:
        """Vault's configuration file."""
        return self.root / "vault.json"

    @property
    def chart_key(self) -> Path:
        """Tells which chart and values are installed."""
        return self.root / "chart-key"

    @property
    def helm(self) -> Path:
        """Helm's own folders, so that it leaves the person's alone."""
        return self.root / "helm"

    def record(self, server: str) -> Path:
        """Return where the running process of a server is recorded."""
        return self.root / "run" / server

    def log(self, server: str) -> Path:
        """Return the log file of a server."""
        return self.root / "logs" / f"{server}.log"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step.

    A reader sees the old text or the new one, never half of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)
