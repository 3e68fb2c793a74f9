"""AI-on-Demand's REST API as far as it checks who calls: it introspects with a confidential client of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.authority import REALM
from tests.e2e.hands import Hands
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack

AUDIENCE = "aiod-api"
"""Its client, and what a token must be for: Keycloak tells nobody else about it (RFC 7662 section 4)."""
SECRET = "the-api-itself"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:  # the name that http.server asks for
        """Answer `authorization_test` with name and roles, as the API's `get_current_user` is answered."""
        form = {"token": self.headers.get("Authorization", "").removeprefix("Bearer ")}
        form |= {"client_id": AUDIENCE, "client_secret": SECRET}
        told = self.server.keycloak.call("POST", f"/realms/{REALM}/protocol/openid-connect/token/introspect", form=form)
        known = self.path == "/authorization_test" and told["active"]
        body = {"name": told["username"], "roles": told["realm_access"]["roles"]} if known else {"detail": "no"}
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Stay silent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, keycloak: Rest) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keycloak = keycloak


@contextmanager
def rest_api(stack: Stack) -> Iterator[str]:
    """Run the API, with its client in the realm, and give its URL, which ends in a slash as the SDK needs it."""
    hands = Hands(stack)
    flows = {"standardFlowEnabled": False, "directAccessGrantsEnabled": False}
    uuid = hands.make_client(AUDIENCE, publicClient=False, secret=SECRET, **flows)
    server = _Server(Rest(stack.keycloak_url))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        hands.delete_client(uuid)
