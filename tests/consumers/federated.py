"""Federated servers that ai4flwr guards, and clients that come to them."""

from __future__ import annotations

from typing import Any

from tests.consumers.consumer import Consumer, Consumers
from tests.testbed.paths import StatePaths

Answer = dict[str, Any]
TAKEN = {"status": "OK"}
REFUSED = {"status": "UNAUTHENTICATED", "text": "Invalid token"}
NO_HEADER = {"status": "UNKNOWN", "text": "Error in service handler!"}
"""What a client sees that sends no header, or the other flavour's."""


class Doors:
    """Servers, and clients that know their authority."""

    def __init__(self, consumers: Consumers, pki: StatePaths) -> None:
        """Take the authority of a stack, or one like it."""
        self.consumers = consumers
        self._pki = pki
        self._passer_by: Consumer | None = None

    def server(self) -> Consumer:
        """Start a server that is not open yet."""
        return self.consumers.start("ai4flwr_server", str(self._pki.serving_certificate), str(self._pki.serving_key))

    def package(self, token: str) -> int:
        """Run a server of the released package with a mounted token, and return its port."""
        file = self.consumers.mount("server", {"token": token}) / "token"
        return int(self.server().ask("package", file=str(file))["port"])

    def client(self, port: int, token: str | None, flavour: str = "reference") -> Consumer:
        """Start a client with a token, or without."""
        return self._begin(self.consumers.start("ai4flwr_client"), port, token, flavour)

    def answer(self, port: int, token: str | None, flavour: str = "reference", way: str = "join") -> Answer:
        """Return what one who comes by gets, and does not wait for longer than two seconds."""
        self._passer_by = self._passer_by or self.consumers.start("ai4flwr_client")
        return self._begin(self._passer_by, port, token, flavour).ask(way, patience_seconds=2)

    def _begin(self, client: Consumer, port: int, token: str | None, flavour: str) -> Consumer:
        file = "" if token is None else str(self.consumers.mount("client", {"token": token}) / "token")
        client.ask("begin", port=port, ca=str(self._pki.ca_certificate), token_file=file, flavour=flavour)
        return client
