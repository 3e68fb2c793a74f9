"""A client of a federated server: the token from a mounted file, gRPC over TLS."""

import queue
from pathlib import Path

import grpc
from ai4flwr.auth.bearer import BearerTokenAuthPlugin
from ai4flwr_reference import AuthPlugin
from conversation import Answer, converse

SERVICE = "flwr.proto.FlowerService"
PLUGINS = {"package": BearerTokenAuthPlugin, "reference": AuthPlugin}
END = None


class Client:
    """One channel, and at most one stream of it."""

    def begin(self, port: int, ca: str, token_file: str = "", flavour: str = "package") -> Answer:
        """Connect; without a file as one who has no token.

        Args:
            port: Of the server on this machine.
            ca: PEM file of its authority.
            token_file: Read now and not again, as ai4flwr's clients do.
            flavour: A key of PLUGINS.
        """
        credentials = grpc.ssl_channel_credentials(Path(ca).read_bytes())
        if token_file:
            plugin = PLUGINS[flavour](Path(token_file).read_text())
            credentials = grpc.composite_channel_credentials(credentials, grpc.metadata_call_credentials(plugin))
        channel = grpc.secure_channel(f"127.0.0.1:{port}", credentials)
        self._ping = channel.unary_unary(f"/{SERVICE}/Ping")
        self._join = channel.stream_stream(f"/{SERVICE}/Join")
        return {}

    def ping(self, patience_seconds: float = 20) -> Answer:
        """Make one call."""
        try:
            self._ping(b"ping", timeout=patience_seconds)
        except grpc.RpcError as error:
            return _told(error)
        return {"status": "OK"}

    def join(self, patience_seconds: float = 600) -> Answer:
        """Open a stream, and wait for what the server says first.

        Args:
            patience_seconds: How long the whole stream may last.
        """
        self._outgoing: queue.Queue[bytes | None] = queue.Queue()
        self._stream = self._join(iter(self._outgoing.get, END), timeout=patience_seconds)
        return self._receive()

    def train(self) -> Answer:
        """Use the open stream once more, as in one more round."""
        self._outgoing.put(b"round")
        return self._receive()

    def _receive(self) -> Answer:
        try:
            next(self._stream)
        except grpc.RpcError as error:
            self._outgoing.put(END)
            return _told(error)
        return {"status": "OK"}


def _told(error: grpc.RpcError) -> Answer:
    return {"status": error.code().name, "text": error.details()}


if __name__ == "__main__":
    client = Client()
    converse(begin=client.begin, ping=client.ping, join=client.join, train=client.train)
