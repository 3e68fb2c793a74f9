"""A federated server as far as its doors: gRPC over TLS, with ai4flwr's check before every method."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from ai4flwr.auth.bearer import BearerTokenInterceptor
from ai4flwr_reference import FileInterceptor, VaultInterceptor
from conversation import Answer, converse

SERVICE = "flwr.proto.FlowerService"


class Server:
    """One server; it opens when it is told so, because ai4flwr's constructor is what a signal must not precede."""

    def __init__(self, certificate: str, key: str) -> None:
        """Take PEM files of the server's own."""
        self._pair = (Path(key).read_bytes(), Path(certificate).read_bytes())
        self._server: grpc.Server | None = None

    def package(self, file: str) -> Answer:
        """Open with the interceptor of the package on the index, which knows one token: that of a file, as it is."""
        return self._open(BearerTokenInterceptor(Path(file).read_text()))

    def file(self, file: str) -> Answer:
        """Open with the reference of file mode."""
        return self._open(FileInterceptor(file))

    def vault(self, address: str, folder: str, **login: str) -> Answer:
        """Open with the reference of Vault mode."""
        return self._open(VaultInterceptor(address, folder, **login))

    def deployment(self, address: str, deployment: str, jwt: str, **options: str) -> Answer:
        """Open with the reference of Vault mode, logged in and placed by an access token alone."""
        return self._open(VaultInterceptor(address, VaultInterceptor.folder_of(jwt, deployment), jwt=jwt, **options))

    def _open(self, interceptor: grpc.ServerInterceptor) -> Answer:
        self._server = grpc.server(ThreadPoolExecutor(8), interceptors=[interceptor])
        handlers = {
            "Join": grpc.stream_stream_rpc_method_handler(_echo_all),
            "Ping": grpc.unary_unary_rpc_method_handler(_echo),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([self._pair]))
        self._server.start()
        return {"port": port}


def _echo(request: bytes, _context: Any) -> bytes:
    return request


def _echo_all(requests: Iterator[bytes], _context: Any) -> Iterator[bytes]:
    """Speak first, as Flower's server does: a client of `Join` says nothing before it is told what to do."""
    yield b"welcome"
    yield from requests


if __name__ == "__main__":
    server = Server(*sys.argv[1:])
    converse(package=server.package, file=server.file, vault=server.vault, deployment=server.deployment)
