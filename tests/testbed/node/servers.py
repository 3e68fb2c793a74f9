"""How containerd, the kubelet and the way to the Service `kubernetes` are started."""

import hashlib
import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.addresses import LOOPBACK, node_address, service_address
from tests.testbed.build import Binaries
from tests.testbed.control_plane import NODE_NAME, kubeconfig
from tests.testbed.credentials import Credentials
from tests.testbed.node.packages import NodePackages
from tests.testbed.paths import REPOSITORY, StatePaths, write_private
from tests.testbed.ports import Ports
from tests.testbed.rest import Rest
from tests.testbed.server import Server, answers_ok, plain_environment

NAMESPACE = "k8s.io"
"""containerd's, in which the kubelet keeps everything."""

HTTPS = 443


@dataclass(frozen=True, slots=True)
class NodePlaces:
    """Where a node keeps what; sockets and mounts under a short path, which the kernel bounds at 107 characters."""

    paths: StatePaths

    @property
    def label(self) -> str:
        """A name for this stack that is unique on the machine."""
        return f"fedid-{hashlib.sha256(str(self.paths.root).encode()).hexdigest()[:8]}"

    @property
    def runtime(self) -> Path:
        """Sockets and mounted file systems."""
        return Path("/run") / self.label

    @property
    def socket(self) -> Path:
        """Containerd's."""
        return self.runtime / "containerd.sock"

    @property
    def containers(self) -> Path:
        """Images and what containers write."""
        return self.paths.node / "containerd"

    @property
    def kubelet(self) -> Path:
        """Volumes of pods."""
        return self.paths.node / "kubelet"

    @property
    def logs(self) -> Path:
        """Logs of pods."""
        return self.paths.node / "pod-logs"

    @property
    def cgroup(self) -> str:
        """Root of the pods' cgroups, relative to the mount."""
        return f"/{self.label}"


def _open_umask(*command: str) -> tuple[str, ...]:
    """Undo the launcher's umask: pods run as other users and must read what these two make."""
    return ("/bin/sh", "-c", 'umask 022 && exec "$@"', "sh", *command)


def containerd(paths: StatePaths, packages: NodePackages, pause: str) -> Server:
    """Return containerd with a runtime, a snapshotter and no network of its own."""
    places = NodePlaces(paths)
    configuration = paths.node / "containerd.toml"
    environment = {**plain_environment(), "PATH": packages.path}

    def prepare() -> None:
        cni = paths.node / "cni"
        for folder in (places.runtime, places.containers, cni):
            folder.mkdir(parents=True, exist_ok=True)
        # Pods are on the host network; without any network the node would stay tainted.
        network = {"cniVersion": "0.4.0", "name": "testbed", "plugins": [{"type": "loopback"}]}
        write_private(cni / "10-testbed.conflist", json.dumps(network))
        write_private(configuration, _containerd_toml(places, packages, cni, pause))

    def healthy() -> bool:
        command = [str(packages.program("ctr")), "--address", str(places.socket), "version"]
        return places.socket.exists() and not subprocess.run(command, capture_output=True, check=False).returncode

    return Server(
        name="containerd",
        ports={},
        command=_open_umask(str(packages.program("containerd")), "--config", str(configuration)),
        environment=environment,
        prepare=prepare,
        healthy=healthy,
        timeout_seconds=60,
    )


def _containerd_toml(places: NodePlaces, packages: NodePackages, cni: Path, pause: str) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    lines = [
        "version = 2",
        f"root = {json.dumps(str(places.containers))}",
        f"state = {json.dumps(str(places.runtime / 'state'))}",
        "[grpc]",
        f"address = {json.dumps(str(places.socket))}",
        f"[{cri}]",
        f"sandbox_image = {json.dumps(pause)}",
        # A container in a container may not lower its score; without this every pod fails to start.
        "restrict_oom_score_adj = true",
        f'stream_server_address = "{LOOPBACK}"',
        'stream_server_port = "0"',
        f"[{cri}.cni]",
        f"bin_dir = {json.dumps(str(packages.root / 'usr/lib/cni'))}",
        f"conf_dir = {json.dumps(str(cni))}",
        f"[{cri}.containerd]",
        'snapshotter = "overlayfs"',
        f"[{cri}.containerd.runtimes.runc]",
        'runtime_type = "io.containerd.runc.v2"',
        f"[{cri}.containerd.runtimes.runc.options]",
        f"BinaryName = {json.dumps(str(packages.program('runc').resolve()))}",
    ]
    return "\n".join(lines) + "\n"


def kubelet(
    paths: StatePaths, ports: Ports, binaries: Binaries, credentials: Credentials, packages: NodePackages
) -> Server:
    """Return the kubelet, with its defaults wherever a test could notice: above all `syncFrequency`."""
    places = NodePlaces(paths)
    configuration, access = paths.node / "kubelet.json", paths.node / "kubelet.kubeconfig"

    def prepare() -> None:
        for folder in (places.kubelet, places.logs):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        user = {"token": credentials.kubelet_token}
        url = f"https://{LOOPBACK}:{ports.apiserver}"
        write_private(access, kubeconfig(url, str(paths.ca_certificate), user))
        write_private(configuration, json.dumps(_kubelet_configuration(paths, ports, places), indent=1))

    return Server(
        name="kubelet",
        ports={"kubelet": ports.kubelet, "kubelet_healthz": ports.kubelet_healthz},
        command=_open_umask(
            str(binaries.programs["kubelet"]),
            f"--config={configuration}",
            f"--kubeconfig={access}",
            f"--root-dir={places.kubelet}",
            f"--cert-dir={paths.node / 'kubelet-pki'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={node_address()}",
        ),
        environment={**plain_environment(), "PATH": packages.path},
        prepare=prepare,
        healthy=answers_ok(Rest(f"http://{LOOPBACK}:{ports.kubelet_healthz}", timeout_seconds=2), "/healthz"),
        timeout_seconds=120,
    )


def _kubelet_configuration(paths: StatePaths, ports: Ports, places: NodePlaces) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": LOOPBACK,
        "port": ports.kubelet,
        "healthzBindAddress": LOOPBACK,
        "healthzPort": ports.kubelet_healthz,
        "tlsCertFile": str(paths.serving_certificate),
        "tlsPrivateKeyFile": str(paths.serving_key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(paths.ca_certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{places.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": places.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "makeIPTablesUtilChains": False,
        "resolvConf": "",
        "podLogsDir": str(places.logs),
        "volumePluginDir": str(paths.node / "volume-plugins"),
        "staticPodPath": "",
        # The disk of a developer may be nearly full; that is not what is tested.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
    }


def service_relay(paths: StatePaths, ports: Ports) -> Server:
    """Return what listens where pods expect the API server: KUBERNETES_SERVICE_HOST and port 443."""
    address = service_address(paths)
    return Server(
        name="service-relay",
        ports={},
        command=(
            sys.executable,
            "-m",
            "tests.testbed.node.relay",
            *(address, str(HTTPS), LOOPBACK, str(ports.apiserver)),
        ),
        environment={**plain_environment(), "PYTHONPATH": str(REPOSITORY)},
        prepare=lambda: None,
        healthy=lambda: _accepts(address, HTTPS),
        timeout_seconds=30,
    )


def _accepts(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def ensure_cgroup(places: NodePlaces) -> None:
    """Make the root of the pods' cgroups, which the kubelet expects to be there."""
    base = Path("/sys/fs/cgroup")
    if (base / "cgroup.controllers").exists():
        (base / places.label).mkdir(exist_ok=True)
        return
    for controller in base.iterdir():
        if (controller / "tasks").exists() or (controller / "cgroup.procs").exists():
            made = controller / places.label
            made.mkdir(exist_ok=True)
            if controller.name == "cpuset" or (made / "cpuset.cpus").exists():
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (made / name).write_text((controller / name).read_text())
