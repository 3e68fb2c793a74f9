"""What the tests of the Vault adapter share: roles of their own, a clock to move, a Vault to seal."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedid.adapters.transport import Transport
from fedid.adapters.vault import JwtLogin, VaultSecretStore
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import Retention, VaultMark
from tests.testbed.cluster import OPERATOR_SUBJECT
from tests.testbed.errors import AnswerError
from tests.testbed.ports import free_port
from tests.testbed.rest import Rest
from tests.testbed.stack import Stack
from tests.testbed.vault_setup import AUDIENCE, POLICY

OURS = VaultMark("installation-1/uid-1", "BotClient/site-a/trainer")
THEIRS = VaultMark("installation-2/uid-2", "BotClient/site-a/trainer")
FOR_EVER = Retention(max_versions=3, delete_version_after=None)

EVERYTHING = 'path "*" { capabilities = ["create", "read", "update", "delete", "list"] }'
"""A policy that reaches every mount."""


def data(**plain: str) -> dict[str, Sensitive]:
    """Return data as the port takes it."""
    return {key: Sensitive(value) for key, value in plain.items()}


class Ticks:
    """Monotonic seconds that a test moves by hand."""

    def __init__(self) -> None:
        """Start anywhere."""
        self.seconds = 1000.0

    def __call__(self) -> float:
        """Return the reading."""
        return self.seconds


def store_at(
    url: str, login: JwtLogin, *, mount: str = "secret", kv_version: int = 2, ticks: Ticks | None = None
) -> VaultSecretStore:
    """Return an adapter with the choices of a test."""
    return VaultSecretStore(
        Transport("vault", url),
        mount=mount,
        kv_version=kv_version,
        login=login,
        monotonic=ticks or time.monotonic,
    )


@contextmanager
def role_of_its_own(stack: Stack, *, policy: str | None = POLICY, **settings: Any) -> Iterator[str]:
    """Yield a role of the jwt method that differs from the operator's in what is given.

    Args:
        stack: Whose Vault.
        policy: Name of its policy, or None for none; a text with braces is made into a policy of its own.
        settings: Fields of the role.
    """
    name = f"test-{uuid.uuid4().hex[:12]}"
    policies = [] if policy is None else [policy]
    if policy is not None and "{" in policy:
        stack.vault("PUT", f"/v1/sys/policies/acl/{name}", {"policy": policy})
        policies = [name]
    role = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": [AUDIENCE],
        "bound_subject": OPERATOR_SUBJECT,
        "token_policies": policies,
    }
    stack.vault("POST", f"/v1/auth/jwt/role/{name}", {**role, **settings})
    try:
        yield name
    finally:
        stack.vault("DELETE", f"/v1/auth/jwt/role/{name}")
        stack.vault("DELETE", f"/v1/sys/policies/acl/{name}")


@contextmanager
def new_vault(stack: Stack, folder: Path) -> Iterator[Rest]:
    """Yield a Vault of the test's own that has never been initialised."""
    port = free_port()
    configuration = folder / "vault.json"
    configuration.write_text(
        json.dumps(
            {
                "storage": {"inmem": {}},
                "listener": {"tcp": {"address": f"127.0.0.1:{port}", "tls_disable": True}},
                "api_addr": f"http://127.0.0.1:{port}",
                "disable_mlock": True,
            }
        )
    )
    command = [str(stack.binaries.programs["vault"]), "server", f"-config={configuration}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder) as process:
        try:
            rest = Rest(f"http://127.0.0.1:{port}")
            wait_for_status(rest, 501)
            yield rest
        finally:
            process.kill()


def wait_for_status(rest: Rest, status: int) -> None:
    """Wait until a Vault's health is the one wanted (at most 20 s)."""
    for _ in range(200):
        try:
            if rest.answer("GET", "/v1/sys/health").status == status:
                return
        except (OSError, AnswerError):
            pass
        time.sleep(0.1)
    message = f"Vault's health never became {status}"
    raise AssertionError(message)
