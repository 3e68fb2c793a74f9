"""`up` and `down`: from nothing to a stack that works, and back.

Every part looks at what is there and does what is missing, so `up` continues
whatever an earlier one left, and costs little when nothing is missing.
"""

import fcntl
import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.testbed import chart, cluster, operator_pod, operator_process
from tests.testbed.build import cache_lock, ensure_binaries
from tests.testbed.control_plane import kubeconfig
from tests.testbed.credentials import KEYCLOAK_ADMIN, settle_credentials
from tests.testbed.errors import StackError
from tests.testbed.keycloak_realm import provision_keycloak
from tests.testbed.node.node import EXTRA_TOOLS, ensure_node, import_images, known_images, prepare_cgroup, remove_node
from tests.testbed.node.node import SERVERS as NODE_SERVERS
from tests.testbed.node.requirements import node_problem, node_wanted
from tests.testbed.paths import DEFAULT_NAME, StatePaths, stack_name, write_private
from tests.testbed.pki import ensure_pki
from tests.testbed.ports import settle_ports
from tests.testbed.process import ServerProcess
from tests.testbed.progress import Progress, run_together, wait_until
from tests.testbed.stack import SERVERS, Stack
from tests.testbed.tools import cache_directory
from tests.testbed.vault_setup import provision_vault

ON_PATH = ("kubectl", "vault", "helm")
"""Programs that a person gets by sourcing the stack's env file."""


def up(
    name: str | None = None,
    *,
    operator: bool = False,
    with_chart: bool = True,
    progress: Progress | None = None,
) -> Stack:
    """Bring a stack up, or what is missing of it, and return it.

    Args:
        name: None for $TESTBED, else `default`.
        operator: Also start the operator and wait for the Federation `local`.
        with_chart: Install the CRDs and the chart. Without them there is no operator, and nothing is made for one in
            the cluster, in Keycloak or in Vault.
        progress: Where to say what happens; None for the standard output.

    Raises:
        StackError: Something could not be built, started or set up.
    """
    progress = progress or Progress()
    name = stack_name(name)
    paths = StatePaths.of(name)
    with stack_lock(paths):
        with_node = _node_wanted(progress)
        binaries = ensure_binaries(progress, EXTRA_TOOLS if with_node else ())
        node = ensure_node(progress) if with_node else None
        running = [server for server in (*SERVERS, *NODE_SERVERS) if process_of(paths, server).running()]
        # One stack at a time looks for free ports, or two would find the same.
        with cache_lock(progress, cache_directory(), "ports"):
            ports = settle_ports(paths.ports, running=bool(running))
        ensure_pki(paths)
        stack = Stack(name, paths, ports, binaries, settle_credentials(paths.credentials), node)
        stack.save_binaries()
        if node is not None:
            node.save(paths)
        write_access(stack)
        with_operator = operator and with_chart and operator_present(progress)
        run_together(
            progress,
            lambda: _bring_up_cluster(stack, progress, with_chart=with_chart, with_operator=with_operator),
            lambda: _bring_up_vault(stack, progress, provisioned=with_chart),
            lambda: _bring_up_keycloak(stack, progress, provisioned=with_chart),
            lambda: _bring_up_containerd(stack, progress),
        )
        if with_operator:
            operator_process.ensure_federation(stack, progress)
            progress.say(f"Federation {operator_process.FEDERATION}: Ready")
        what = "already up" if running and _all_were(stack, running, operator=with_operator) else "up"
        progress.say(f"stack {name} is {what}; `source {env_path(stack)}` to use it")
    return stack


def _all_were(stack: Stack, running: list[str], *, operator: bool) -> bool:
    wanted = {*stack.servers} if operator else {*stack.servers} - {"operator"}
    return wanted <= {*running}


def _node_wanted(progress: Progress) -> bool:
    wanted = node_wanted()
    if not wanted and (problem := node_problem()) is not None:
        progress.say(f"{problem} The operator runs as a process.")
    return wanted


def operator_present(progress: Progress) -> bool:
    """Tell whether the clone holds an operator and a chart; say what is missing."""
    missing = [str(path) for path in (operator_process.PACKAGE, chart.CHART / "Chart.yaml") if not path.exists()]
    if missing:
        progress.say(f"no operator: {' and '.join(missing)} missing in this clone")
    return not missing


def _bring_up_cluster(stack: Stack, progress: Progress, *, with_chart: bool, with_operator: bool) -> None:
    for server in ("etcd", "kube-apiserver", "kube-controller-manager"):
        stack.start(server, progress)
    if stack.node is not None:
        _bring_up_node(stack, progress)
    if not with_chart:
        return
    cluster.provision_cluster(stack.api("kube"))
    if stack.node is not None:
        # Before the chart: a pod whose image is not there yet waits long before it is tried again.
        reference = stack.node.images.operator.reference
        wait_until(progress, "the images were not imported", 300, lambda: reference in known_images(stack.paths))
    if (chart.CHART / "Chart.yaml").exists():
        chart.install_chart(stack, **operator_pod.chart_values(stack, with_operator=with_operator))
        operator_process.mint_operator_tokens(stack)
        chart.wait_for_crds(stack, progress)
        progress.say("cluster: chart installed, CRDs served")
    elif chart.CRDS.is_dir():
        chart.install_crds(stack)
        chart.wait_for_crds(stack, progress)
        progress.say("cluster: CRDs applied; there is no chart in this clone yet")
    if with_operator and stack.node is not None:
        stack.stop("operator")
        operator_pod.wait_for_operator(stack, progress)
    elif with_operator:
        if stack.process("operator").running() and operator_process.source_changed(stack):
            progress.say("operator: its source has changed, so it starts anew")
            stack.stop("operator")
        stack.start("operator", progress)


def _bring_up_containerd(stack: Stack, progress: Progress) -> None:
    if stack.node is not None:
        stack.start("containerd", progress)
        import_images(stack.paths, stack.node, progress)


def _bring_up_node(stack: Stack, progress: Progress) -> None:
    prepare_cgroup(stack.paths)
    wait_until(progress, "containerd did not begin to answer", 60, stack.server("containerd").healthy)
    for server in ("service-relay", "kube-scheduler", "kubelet"):
        stack.start(server, progress)
    operator_pod.wait_for_node(stack, progress)


def _bring_up_vault(stack: Stack, progress: Progress, *, provisioned: bool) -> None:
    stack.start("vault", progress)
    # Here, not at the end: whatever fails later, a person can look into what runs.
    write_env(stack)
    if provisioned:
        public_key = stack.paths.service_account_public_key.read_text()
        provision_vault(stack.api("vault"), public_key, progress)


def _bring_up_keycloak(stack: Stack, progress: Progress, *, provisioned: bool) -> None:
    stack.start("keycloak", progress)
    if provisioned:
        public_key = stack.paths.service_account_public_key.read_text()
        provision_keycloak(stack.api("keycloak"), stack.credentials, public_key)
        progress.say("keycloak: realm provisioned")


def down(name: str | None = None, *, keep_data: bool = False, progress: Progress | None = None) -> None:
    """Stop every process of a stack and remove its state.

    Args:
        name: None for $TESTBED, else `default`.
        progress: Where to say what happens; None for the standard output.
        keep_data: Leave the state, so that the next `up` continues with it.
    """
    progress = progress or Progress()
    name = stack_name(name)
    paths = StatePaths.of(name)
    with stack_lock(paths):
        process_of(paths, "operator").stop()
        for server in ("kubelet", "containerd", "kube-scheduler", "service-relay"):
            process_of(paths, server).stop()
        if paths.node.exists():
            remove_node(paths)
        run_together(
            progress,
            # Each before what it depends on, or it would wait for it to come back.
            lambda: _stop(paths, "kube-controller-manager", "kube-apiserver", "etcd"),
            lambda: _stop(paths, "vault"),
            lambda: _stop(paths, "keycloak"),
        )
        if not keep_data:
            shutil.rmtree(paths.root, ignore_errors=True)
            if name == DEFAULT_NAME:
                paths.default_env.unlink(missing_ok=True)
        progress.say(f"stack {name} is down" + (", its data stays" if keep_data else ""))


def _stop(paths: StatePaths, *servers: str) -> None:
    for server in servers:
        process_of(paths, server).stop()


def process_of(paths: StatePaths, server: str) -> ServerProcess:
    """Return a server's process also where there is no whole stack to ask."""
    return ServerProcess(server, paths.record(server), paths.log(server))


@contextmanager
def stack_lock(paths: StatePaths) -> Iterator[None]:
    """Let one `up` or `down` of a stack run at a time.

    Raises:
        StackError: Another one runs.
    """
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"Another `up` or `down` of the stack {paths.root.name} is running."
            raise StackError(msg) from None
        yield


def write_access(stack: Stack) -> None:
    """Write the administrator's kubeconfig, and links to the tools for PATH."""
    authority = str(stack.paths.ca_certificate)
    user = {"token": stack.credentials.kubernetes_admin_token}
    write_private(stack.paths.kubeconfig, kubeconfig(stack.apiserver_url, authority, user))
    stack.paths.bin.mkdir(parents=True, exist_ok=True)
    for tool in ON_PATH:
        link = stack.paths.bin / tool
        fresh = link.with_name(f".{tool}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(stack.binaries.programs[tool])
        fresh.replace(link)


def env_path(stack: Stack) -> str:
    """Return the file to source, relative to the clone."""
    paths = stack.paths
    path = paths.default_env if stack.name == DEFAULT_NAME else paths.env
    return str(path.relative_to(paths.root.parent.parent))


def write_env(stack: Stack) -> None:
    """Write the shell exports that make a person the administrator of everything, ready for docs/guide."""
    exports = {
        "KUBECONFIG": str(stack.paths.kubeconfig),
        "KEYCLOAK_URL": stack.keycloak_url,
        "KEYCLOAK_ADMIN_USER": KEYCLOAK_ADMIN,
        "KEYCLOAK_ADMIN_PASSWORD": stack.credentials.keycloak_admin_password,
        "VAULT_ADDR": stack.vault_url,
        "VAULT_TOKEN": stack.vault_keys.root_token,
        "FEDID_TESTBED_STATE": str(stack.paths.root),
    }
    if stack.node is not None:
        write_private(stack.paths.values, json.dumps(operator_pod.guide_values(stack), indent=1))
        exports["VALUES"] = str(stack.paths.values)
        exports["POD_IMAGE"] = stack.node.images.base.reference
        exports["HOST_NETWORK"] = "true"
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    # Keycloak's folder last: of what it holds only kcadm.sh is meant.
    lines.append(f'export PATH={shlex.quote(str(stack.paths.bin))}:"$PATH":{shlex.quote(str(stack.kcadm.parent))}')
    text = "\n".join(lines) + "\n"
    write_private(stack.paths.env, text)
    if stack.name == DEFAULT_NAME:
        write_private(stack.paths.default_env, text)
