"""Where the servers and the Services of a stack are: all of it is the loopback interface."""

import hashlib
import socket

from tests.testbed.paths import StatePaths

LOOPBACK = "127.0.0.1"
"""The only address that the servers of a stack listen on."""

DOCUMENTATION = "192.0.2.2"
"""Stands for the node's address where the machine has none of its own (RFC 5737)."""


def service_network(paths: StatePaths) -> str:
    """Return the range of the Services' addresses, within 127.64.0.0/10 and another for each stack.

    Without kube-proxy nobody translates them. Within the loopback network nobody needs to: a pod on the host network
    that listens on all addresses is found at its Service's address too, as long as the ports are the same.
    """
    digest = hashlib.sha256(str(paths.root).encode()).digest()
    return f"127.{64 + digest[0] % 64}.{digest[1]}.0/24"


def service_address(paths: StatePaths) -> str:
    """Return the address of the Service `kubernetes`: the first of the range."""
    return service_network(paths).replace(".0/24", ".1")


def node_address() -> str:
    """Return an address of this machine that is not loopback: kubelet registers with no other and probes pods there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((DOCUMENTATION, 9))  # sends nothing
        except OSError:
            return DOCUMENTATION
        found = str(probe.getsockname()[0])
    return DOCUMENTATION if found.startswith("127.") else found
