"""ai4flwr: clients and servers on what they mount, through a rotation under use and a deletion.

The released package (distribution PyPI) is the real one; the modes of its unreleased source (distribution Git) are
those of `tests/consumers/programs/ai4flwr_reference.py`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.consumers.consumer import Consumer, Consumers
from tests.consumers.federated import REFUSED, TAKEN, Doors
from tests.e2e.authority import claims_of
from tests.e2e.rotating import annotate
from tests.e2e.tenancy import Tenant, bot, pod_identity, unique
from tests.e2e.waiting import eventually
from tests.testbed.stack import Stack

DEPLOYMENT = "42"
LIFETIME = 601
"""Of access tokens, in seconds: what the bot asks for, and one more, since Keycloak rounds both ends by itself."""
UNKNOWN = {"status": "UNKNOWN", "text": "Error in service handler!"}
"""What a client of the Vault mode sees whose token is wrong: its rejection is never set."""
COPY = {"vaultMount": "secrets", "vaultPath": f"users/{{subject}}/deployments/{DEPLOYMENT}/federated/{{name}}"}
ALL = {"matchLabels": {"example.org/federated": "yes"}}

PODS = {"selector": {"matchLabels": {"example.org/pods": "none"}}}
"""The programs here are no pods: nobody waits two minutes for kubelets to look by themselves."""


@pytest.fixture
def doors(stack: Stack, consumers: Consumers) -> Doors:
    """Servers and clients with the stack's authority."""
    return Doors(consumers, stack.paths)


def _make(tenant: Tenant, *bots: str, copied: bool = False, **options: Any) -> None:
    """Make bots that have an opaque token each, what their clients mount, and the server that takes them.

    Args:
        tenant: Whose.
        bots: Their names.
        copied: Whether the tokens lie in Vault too, in the layout of the platform.
        options: Of the block `ai4flwr`, for clients and the server, `server_<name>` for the server alone.
    """
    of_server = {name.removeprefix("server_"): value for name, value in options.items()}
    of_client = {name: value for name, value in options.items() if not name.startswith("server_")}
    for name in bots:
        upload = {"name": "upload", "type": "opaque", "lifetime": "1h", "overlap": "10s", **(COPY if copied else {})}
        made = bot(name, tokens=[{"name": "default", "lifetime": "10m"}, upload])
        made["metadata"]["labels"] = ALL["matchLabels"]
        platform = {"ai4flwr": {**of_client, "token": "upload"}}
        tenant.apply(made, pod_identity(name, platform=platform, pods=PODS))
    server = {"role": "server", "accepts": {"selector": ALL}, "platform": {"ai4flwr": of_server}, "pods": PODS}
    tenant.apply({"kind": "PodIdentity", "metadata": {"name": "server"}, "spec": server})
    for name in bots:
        tenant.ready("BotClient", name)
        tenant.ready("PodIdentity", name)
    tenant.ready("PodIdentity", "server")
    eventually(lambda: _accepted(tenant) == len(bots), "the server takes all bots")


def _accepted(tenant: Tenant) -> int:
    return int(((tenant.get("PodIdentity", "server") or {}).get("status") or {}).get("acceptedBots") or 0)


def _held(tenant: Tenant, name: str, key: str) -> str:
    """Return what a key of a Secret holds at this moment."""
    return str((tenant.secret(name) or {})["text"][key])


def _rotate(tenant: Tenant, name: str) -> str:
    """Have all tokens of a bot renewed, and return what its client mounts then."""
    former = _held(tenant, name, "token")
    annotate(tenant, name, rotate="token-1")
    return tenant.mounted(name, "token", lambda text: text != former)


def _delete(tenant: Tenant, name: str) -> None:
    tenant.delete("BotClient", name)
    tenant.gone("BotClient", name)
    tenant.emptied(name)


def test_the_package_takes_the_mounted_token_until_the_server_starts_anew(tenant: Tenant, doors: Doors) -> None:
    """One token, read once: a rotation and a deletion reach the server with its restart, which is the window."""
    _make(tenant, "trainer", distribution="PyPI")
    assert _held(tenant, "trainer", "header") == "authorization"
    first = _held(tenant, "trainer", "token")
    assert _held(tenant, "server", "token") == first
    running = doors.package(_held(tenant, "server", "token"))
    assert doors.answer(running, first, "package") == TAKEN
    second = _rotate(tenant, "trainer")
    assert doors.answer(running, second, "package", "ping") == REFUSED
    assert doors.answer(running, first, "package") == TAKEN
    restarted = doors.package(tenant.mounted("server", "token", lambda text: text == second))
    assert doors.answer(restarted, second, "package") == TAKEN
    _delete(tenant, "trainer")
    assert doors.answer(restarted, second, "package") == TAKEN, "it knows nothing of the deletion"
    # From an empty file it makes up a token of its own, which nobody knows.
    emptied = doors.package(_held(tenant, "server", "token"))
    for token in (first, second, None):
        assert doors.answer(emptied, token, "package", "ping") == REFUSED


def test_a_file_server_never_refuses_a_client_that_mounts_what_is_published(tenant: Tenant, doors: Doors) -> None:
    """Two bots, one rotated under use and then deleted: no gap, no life beyond the overlap, nobody else touched."""
    _make(tenant, "first", "second", distribution="Git", server_mode="File")
    assert _held(tenant, "first", "header") == "x-authorization"
    server, mount = doors.server(), doors.consumers.mount

    def lay() -> str:
        """Bring the server's file to what its Secret holds and have it read, as kubelet and sidecar do."""
        file = mount("tokens", {"tokens": _held(tenant, "server", "tokens")}) / "tokens"
        server.signal(signal.SIGUSR1)
        server.ask("heed")
        return str(file)

    file = mount("tokens", {"tokens": _held(tenant, "server", "tokens")}) / "tokens"
    port = server.ask("file", file=str(file))["port"]
    former, other = _held(tenant, "first", "token"), _held(tenant, "second", "token")
    connected = doors.client(port, former)
    assert connected.ask("join") == TAKEN

    annotate(tenant, "first", rotate="token-1")

    def changed() -> bool:
        """Look at the client's Secret before the server's: whatever a client may present, the server must know."""
        presented = _held(tenant, "first", "token")
        lay()
        assert doors.answer(port, presented) == doors.answer(port, other) == TAKEN
        return presented != former

    eventually(changed, "another token is published")
    assert doors.answer(port, former) == TAKEN, "a client that mounts the former still"
    eventually(lambda: former not in _held(tenant, "server", "tokens"), "the overlap is over")
    assert changed()
    assert doors.answer(port, former) == REFUSED
    assert connected.ask("train") == TAKEN, "whoever is in stays in: the window ends with the connection"

    last = _held(tenant, "first", "token")
    _delete(tenant, "first")
    assert _held(tenant, "server", "tokens") == f"{other}\n"
    lay()
    assert doors.answer(port, last) == REFUSED
    assert doors.answer(port, other) == TAKEN


@dataclass(frozen=True, slots=True)
class VaultLogin:
    """A jwt method of Vault for the realm's access tokens, as AI4OS has one."""

    stack: Stack
    mount: str

    def create(self) -> None:
        """Make it: the default role lets everyone read what lies below its own subject."""
        self.stack.vault("POST", f"/v1/sys/auth/{self.mount}", {"type": "jwt"})
        accessor = self.stack.vault("GET", "/v1/sys/auth")["data"][f"{self.mount}/"]["accessor"]
        own = f"secrets/users/{{{{identity.entity.aliases.{accessor}.name}}}}/*"
        policy = f'path "{own}" {{ capabilities = ["read", "list"] }}'
        self.stack.vault("PUT", f"/v1/sys/policies/acl/{self.mount}", {"policy": policy})
        config = {
            "jwks_url": f"{self.stack.issuer_url}/protocol/openid-connect/certs",
            "bound_issuer": self.stack.issuer_url,
            "default_role": "reader",
        }
        self.stack.vault("POST", f"/v1/auth/{self.mount}/config", config)
        role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["superlink"], "token_ttl": 300}
        self.stack.vault("POST", f"/v1/auth/{self.mount}/role/reader", {**role, "token_policies": [self.mount]})

    def remove(self) -> None:
        """Take it away."""
        self.stack.vault("DELETE", f"/v1/sys/auth/{self.mount}")
        self.stack.vault("DELETE", f"/v1/sys/policies/acl/{self.mount}")

    def accepts(self, jwt: str) -> bool:
        """Tell whether somebody gets in with the token."""
        answer = self.stack.api("vault").answer("POST", f"/v1/auth/{self.mount}/login", {"role": "", "jwt": jwt})
        return answer.status == 200


@pytest.fixture
def login(stack: Stack) -> Iterator[VaultLogin]:
    """Give a test a way into Vault for access tokens."""
    made = VaultLogin(stack, unique("jwt-keycloak"))
    made.create()
    yield made
    made.remove()


def test_a_server_in_vault_mode_finds_the_copies_until_it_starts_anew(
    tenant: Tenant, doors: Doors, login: VaultLogin
) -> None:
    """By one access token it logs in and finds the tokens where it is told; changes reach it with its restart."""
    _make(
        tenant,
        "trainer",
        copied=True,
        distribution="Git",
        server_mode="Vault",
        server_vault={"deployment": DEPLOYMENT},
    )
    entry = tenant.stack.vault("GET", f"/v1/secret/data/fedid/{tenant.namespace}/bots/trainer/tokens/default")
    jwt = entry["data"]["data"]["token"]

    def opened(server: Consumer) -> dict[str, Any]:
        folder = _held(tenant, "server", "secret_path")
        return server.ask("vault", address=tenant.stack.vault_url, folder=folder, jwt=jwt, login=login.mount)

    derived = {"address": tenant.stack.vault_url, "deployment": DEPLOYMENT, "jwt": jwt, "login": login.mount}
    running = doors.server().ask("deployment", **derived)["port"]
    first, mark = _held(tenant, "trainer", "token"), _held(tenant, "server", "tokens.sha256")
    assert doors.answer(running, first) == TAKEN
    second = _rotate(tenant, "trainer")
    assert doors.answer(running, second) == UNKNOWN, "it reads Vault once"
    assert doors.answer(running, first) == TAKEN
    assert _held(tenant, "server", "tokens.sha256") != mark, "which tells whoever restarts it"
    restarted = opened(doors.server())["port"]
    assert doors.answer(restarted, second) == TAKEN
    assert doors.answer(restarted, first) == UNKNOWN

    folder = _held(tenant, "server", "secret_path")
    _delete(tenant, "trainer")
    assert doors.answer(restarted, second) == TAKEN, "deleted tokens are good until the restart"
    assert login.accepts(jwt), "Vault checks no more than the signature and the expiry"
    assert claims_of(jwt)["exp"] - claims_of(jwt)["iat"] <= LIFETIME, "so that is the window"
    assert _held(tenant, "server", "secret_path") == ""
    answer = doors.server().ask("vault", address=tenant.stack.vault_url, folder=folder, jwt=jwt, login=login.mount)
    assert answer["error"] == "FileNotFoundError", "without any token the server does not start"
