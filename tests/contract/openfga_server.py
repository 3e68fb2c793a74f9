"""A real OpenFGA that keeps everything in memory, over TLS and with a preshared key; and hands in it."""

from __future__ import annotations

import os
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fedid.adapters.openfga import BACKEND, OpenFgaStore
from fedid.adapters.transport import Transport
from fedid.domain.openfga import RelationTuple
from fedid.domain.sensitive import Sensitive
from tests.adapters.http_servers import LOOPBACK, self_signed
from tests.contract.super_links import free_port
from tests.testbed.build import ensure_binaries
from tests.testbed.progress import Progress
from tests.testbed.rest import Rest
from tests.testbed.server import answers_ok

START_SECONDS: Final = 60.0
"""What it may take on a machine that is very busy; usually less than one."""
FLOWER_MODEL: Final = {
    "schema_version": "1.1",
    "type_definitions": [
        {"type": "flwr_aid"},
        {
            "type": "service",
            "relations": {"has_access": {"this": {}}},
            "metadata": {"relations": {"has_access": {"directly_related_user_types": [{"type": "flwr_aid"}]}}},
        },
    ],
}
"""Source: Flower documentation, "Authenticate Accounts via OpenID Connect" (1.33), section on OpenFGA."""


@dataclass
class OpenFgaServer:
    """One process; every store in it is lost with it."""

    folder: Path
    """Holds its certificate, key and log."""
    port: int = field(default_factory=free_port)
    key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """The preshared key."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def ca_bundle(self) -> str:
        """The authority that issued its certificate."""
        return (self.folder / "tls.crt").read_text()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            *(str(ensure_binaries(Progress(), ("openfga",)).programs["openfga"]), "run"),
            *("--http-addr", f"{LOOPBACK}:{self.port}", "--grpc-addr", f"{LOOPBACK}:{free_port()}"),
            *("--http-tls-enabled", "--http-tls-cert", "tls.crt", "--http-tls-key", "tls.key"),
            *("--metrics-enabled=false", "--playground-enabled=false", "--authn-method", "preshared"),
        ]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "OPENFGA_AUTHN_PRESHARED_KEYS": self.key}
        with (self.folder / "openfga.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        healthy = answers_ok(self._rest, "/healthz")
        while not healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError((self.folder / "openfga.log").read_text()[-2000:])
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def make_store(self, *, model: bool = True) -> str:
        """Return the id of a new store, with Flower's model."""
        store = str(self.call("POST", "/stores", {"name": "grid"})["id"])
        if model:
            self.call("POST", f"/stores/{store}/authorization-models", FLOWER_MODEL)
        return store

    def allowed(self, store: str, asked: RelationTuple) -> bool:
        """Ask what a SuperLink asks."""
        question = {"tuple_key": {"user": asked.user, "relation": asked.relation, "object": asked.object}}
        return bool(self.call("POST", f"/stores/{store}/check", question).get("allowed"))

    def write(self, store: str, wanted: RelationTuple) -> None:
        """Write a tuple by hand."""
        key = {"user": wanted.user, "relation": wanted.relation, "object": wanted.object}
        self.call("POST", f"/stores/{store}/write", {"writes": {"tuple_keys": [key]}})

    def store(self, store: str, *, model: str | None = None, key: str | None = None) -> OpenFgaStore:
        """Return an adapter for a store."""
        transport = Transport(BACKEND, self.url, ca_bundle=self.ca_bundle)
        return OpenFgaStore(transport, store, model, Sensitive(self.key if key is None else key) if key != "" else None)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call its API as its administrator; arguments as for `Rest.call`."""
        return self._rest.call(method, path, body)

    @property
    def _rest(self) -> Rest:
        tls = ssl.create_default_context(cadata=self.ca_bundle)
        return Rest(self.url, lambda: {"Authorization": f"Bearer {self.key}"}, tls)


@contextmanager
def openfga_server(folder: Path) -> Iterator[OpenFgaServer]:
    """Run a server in an empty folder for as long as the context lasts."""
    _, certificate = self_signed(folder)
    (folder / "tls.crt").write_text(certificate)
    (folder / "tls.key").write_text((folder / "server.pem").read_text().removesuffix(certificate))
    running = OpenFgaServer(folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()
