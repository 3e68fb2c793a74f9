"""A SuperLink behind a proxy, and what it says of the nodes of one PodIdentity."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fedid.adapters.superlink.messages import listed_nodes
from fedid.domain.super_node import NodeRecord
from tests.contract.super_links import START_SECONDS, SuperLink, super_link
from tests.testbed.forwarding import Tls
from tests.testbed.proxy import Proxy

_MEDIA_TYPE = {"Content-Type": "application/protobuf", "Accept": "application/protobuf"}


@dataclass(frozen=True, slots=True)
class FrontedSuperLink:
    """A SuperLink without accounts, which keeps its state in memory."""

    link: SuperLink
    proxy: Proxy

    @property
    def url(self) -> str:
        """What manifests name."""
        return self.proxy.url

    @property
    def ca_bundle(self) -> str:
        """The authority of both."""
        return self.link.ca_bundle

    def nodes(self) -> tuple[NodeRecord, ...]:
        """Return every node that it ever had; not through the proxy, and for any thread."""
        host, _, port = self.link.address.partition(":")
        trusting = ssl.create_default_context(cadata=self.ca_bundle)
        connection = http.client.HTTPSConnection(host, int(port), timeout=START_SECONDS, context=trusting)
        try:
            connection.request("POST", "/v1/control/list-nodes", b"", _MEDIA_TYPE)
            answer = connection.getresponse()
            assert answer.status == 200, f"the SuperLink answers {answer.status}"
            return listed_nodes(answer.read())
        finally:
            connection.close()

    def nodes_of(self, namespace: str, name: str) -> list[NodeRecord]:
        """Return those of one PodIdentity."""
        return [node for node in self.nodes() if identity_in(node.name) == (namespace, name)]


def identity_in(node_name: str) -> tuple[str, str]:
    """Return namespace and name of the PodIdentity that a node is registered for."""
    namespace, _, name = node_name.partition(" ")[0].partition("/")
    return namespace, name


@contextmanager
def fronted_super_link() -> Iterator[FrontedSuperLink]:
    """Run one for as long as the context lasts."""
    with TemporaryDirectory(prefix="fedid-superlink-") as folder, super_link(Path(folder)) as link:
        files = (Path(folder) / name for name in ("ca.crt", "tls.crt", "tls.key"))
        with Proxy(f"https://{link.address}", Tls(*files)) as proxy:
            yield FrontedSuperLink(link, proxy)
