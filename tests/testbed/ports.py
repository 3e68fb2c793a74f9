"""The ports of a stack: from the environment, else free ones chosen once."""

import json
import os
import random
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from tests.testbed.errors import StackError
from tests.testbed.paths import write_private

CHOICE = range(20000, 30000)
"""Below the range that the kernel hands out for outgoing connections, which could
otherwise take a server's port while it is stopped."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Every TCP port that a stack listens on, all on 127.0.0.1."""

    apiserver: int
    etcd: int
    etcd_peer: int
    controller_manager: int
    scheduler: int
    kubelet: int
    kubelet_healthz: int
    keycloak: int
    keycloak_mgmt: int
    """Keycloak's health and metrics."""
    vault: int
    vault_cluster: int
    """Opened by Vault's storage although no second Vault ever joins."""
    operator_health: int
    """/healthz, /readyz and /metrics of the operator that `up` starts."""


NAMES = tuple(field.name for field in fields(Ports))


def variable(name: str) -> str:
    """Return the environment variable that sets a port."""
    return f"FEDID_PORT_{name.upper()}"


def named_ports(environment: Mapping[str, str] = os.environ) -> dict[str, int]:
    """Return the ports that the environment sets, by name.

    Raises:
        StackError: A value is not a port number.
    """
    named = {}
    for name in NAMES:
        text = environment.get(variable(name))
        if text:
            if not text.isdigit() or not 0 < int(text) < 65536:
                msg = f"{variable(name)}={text} is not a port number (1 to 65535)."
                raise StackError(msg)
            named[name] = int(text)
    return named


def load_ports(path: Path) -> Ports:
    """Read the ports of a stack that was started before."""
    return Ports(**json.loads(path.read_text()))


def settle_ports(path: Path, *, running: bool, environment: Mapping[str, str] = os.environ) -> Ports:
    """Return the stack's ports: remembered, else named, else chosen now; remember them.

    Args:
        path: Where they are remembered.
        environment: May name some of them.
        running: Whether any server of the stack runs, so that nothing may move.

    Raises:
        StackError: The environment names another port than a running stack has.
    """
    named = named_ports(environment)
    stored = json.loads(path.read_text()) if path.exists() else {}
    # A clone that was updated may know other ports than the one that wrote the file.
    remembered = {name: stored[name] for name in NAMES if name in stored}
    moved = {name for name, port in named.items() if remembered.get(name, port) != port}
    if moved and running:
        name = min(moved)
        msg = f"{variable(name)}={named[name]}, but the running stack has {remembered[name]}: `down` it first."
        raise StackError(msg)
    settled = {**remembered, **named}
    taken = {*settled.values(), *_ports_of_siblings(path)}
    for name in NAMES:
        if name not in settled:
            settled[name] = free_port(taken)
            taken.add(settled[name])
    write_private(path, json.dumps(settled, indent=1))
    return Ports(**settled)


def _ports_of_siblings(path: Path) -> set[int]:
    """Return the ports of the clone's other stacks, also of those that are stopped."""
    others = path.parent.parent.glob(f"*/{path.name}")
    return {port for other in others if other != path for port in json.loads(other.read_text()).values()}


def free_port(taken: Collection[int] = ()) -> int:
    """Return a port on 127.0.0.1 that nothing listens on and that is not in `taken`."""
    while True:
        port = random.choice(CHOICE)  # noqa: S311 - a port is no secret
        if port not in taken and is_free(port):
            return port


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # Without it, connections of a server that just stopped make its port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
