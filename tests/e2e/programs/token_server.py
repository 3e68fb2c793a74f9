"""A verifier that reads its tokens as ai4flwr's bearer interceptor does, with HTTP in the place of gRPC.

One token per line, stripped, blank lines dropped, no comments; a missing file means that nobody is let in. Read when
the verifier is made and whenever SIGUSR1 comes; until its handler is there, that signal ends the process. Clients send
`x-authorization: Bearer <token>`, with this case and one space.

Source: ai4os/ai4-flwr `src/ai4flwr/auth/bearer.py` at 3943747 (`_read_tokens_from_file`, `BearerTokenInterceptor`).

python3 token_server.py <file> <address> <port> <seconds until it is up>
"""

import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

FILE, ADDRESS, PORT, LATE = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
tokens: list[str] = []


def read(*_: object) -> None:
    """Replace the whole list."""
    global tokens  # noqa: PLW0603 - the list is replaced at once, as there
    try:
        with open(FILE) as file:  # noqa: PTH123
            tokens = [line.strip() for line in file if line.strip()]
    except FileNotFoundError:
        tokens = []
    print("read", len(tokens), flush=True)


class Handler(BaseHTTPRequestHandler):
    """Lets in whoever has a token."""

    def do_GET(self) -> None:
        """Answer 200 or 401."""
        sent = self.headers.get("x-authorization", "")
        good = sent.startswith("Bearer ") and sent[len("Bearer ") :] in tokens
        self.send_response(200 if good else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


print("begins", flush=True)
time.sleep(LATE)  # imports, models, ... until the interceptor is made
read()
signal.signal(signal.SIGUSR1, read)
HTTPServer((ADDRESS, PORT), Handler).serve_forever()
