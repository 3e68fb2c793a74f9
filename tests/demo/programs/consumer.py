"""A program that presents what it finds mounted, several times a second; it prints a line whenever anything changes."""

import base64
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

TOKEN = Path("/run/fedid/token")


def ask(token: str) -> int:
    """Return what the verifier answers to the token."""
    request = urllib.request.Request(sys.argv[1], headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - our own URL
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def token_id(token: str) -> str | None:
    """Return the id of a token, None for an empty file."""
    if not token:
        return None
    payload = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"])


if __name__ == "__main__":
    last = None
    while True:
        mounted = TOKEN.read_text()
        at = time.time()
        now = (token_id(mounted), ask(mounted))
        if now != last:
            print(json.dumps({"at": at, "token": now[0], "status": now[1]}), flush=True)
            last = now
        time.sleep(0.1)
