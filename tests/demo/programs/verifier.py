"""A server that lets in whoever brings a token that the realm calls active (RFC 7662); as a platform's server would."""

import json
import os
import sys
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

INTROSPECTION = os.environ["INTROSPECTION_URL"]
SECRET = Path("/verifier/client-secret").read_text()


def introspect(token: str) -> dict[str, object]:
    """Ask the realm about a token, as the client `superlink`."""
    form = {"token": token, "client_id": "superlink", "client_secret": SECRET}
    request = urllib.request.Request(INTROSPECTION, urllib.parse.urlencode(form).encode())  # noqa: S310 - our own URL
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        found: dict[str, object] = json.load(answer)
    return found


class Door(BaseHTTPRequestHandler):
    """Answers 200 and who it is, or 401."""

    def do_GET(self) -> None:
        """Judge one request."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        said = introspect(token) if scheme == "Bearer" and token else {"active": False}
        self.send_response(200 if said["active"] else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"client": said.get("client_id")}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Door).serve_forever()
