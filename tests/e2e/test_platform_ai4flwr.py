"""ai4flwr: the released package on a mounted token, and its Vault mode on the copies that a bot's tokens have there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.consumers.consumer import Consumer, Consumers
from tests.consumers.federated import REFUSED, TAKEN, Doors
from tests.e2e.authority import claims_of
from tests.e2e.rotating import annotate
from tests.e2e.tenancy import Tenant, bot, pod_identity, unique
from tests.testbed.stack import Stack

DEPLOYMENT = "42"
UNKNOWN = {"status": "UNKNOWN", "text": "Error in service handler!"}
"""What a client of the Vault mode sees whose token is wrong: its rejection is never set."""
TOKENS = [
    {"name": "default", "lifetime": "10m"},
    {
        "name": "upload",
        "type": "opaque",
        "lifetime": "1h",
        "overlap": "10s",
        "vaultMount": "secrets",
        "vaultPath": f"users/{{subject}}/deployments/{DEPLOYMENT}/federated/{{name}}",
    },
]


@pytest.fixture
def doors(stack: Stack, consumers: Consumers) -> Doors:
    """Servers and clients with the stack's authority."""
    return Doors(consumers, stack.paths)


@pytest.fixture
def trainer(tenant: Tenant) -> Tenant:
    """A tenant whose bot `trainer` has an opaque token, mounted and in Vault."""
    tenant.apply(bot("trainer", tokens=TOKENS), pod_identity("trainer", files={"token": "{token:upload}"}))
    tenant.ready("BotClient", "trainer")
    tenant.ready("PodIdentity", "trainer")
    return tenant


def _rotate(tenant: Tenant) -> str:
    """Have all tokens renewed, and return what is mounted then."""
    former = tenant.mounted("trainer", "token")
    annotate(tenant, "trainer", rotate="token-1")
    return tenant.mounted("trainer", "token", lambda text: text != former)


def _delete(tenant: Tenant) -> None:
    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    tenant.emptied("trainer")


def test_the_package_takes_the_mounted_token_until_the_server_starts_anew(trainer: Tenant, doors: Doors) -> None:
    """One token, read once: a rotation and a deletion reach the server with its restart, which is the window."""
    first = trainer.mounted("trainer", "token")
    running = doors.package(first)
    assert doors.answer(running, first, "package") == TAKEN
    second = _rotate(trainer)
    assert doors.answer(running, second, "package", "ping") == REFUSED
    assert doors.answer(running, first, "package") == TAKEN
    restarted = doors.package(second)
    assert doors.answer(restarted, second, "package") == TAKEN
    _delete(trainer)
    assert doors.answer(restarted, second, "package") == TAKEN, "it knows nothing of the deletion"
    # From an empty file it makes up a token of its own, which nobody knows.
    emptied = doors.package((trainer.secret("trainer") or {})["text"]["token"])
    for token in (first, second, None):
        assert doors.answer(emptied, token, "package", "ping") == REFUSED


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
    trainer: Tenant, doors: Doors, login: VaultLogin
) -> None:
    """By one access token it logs in, finds its folder and the tokens; what changes reaches it with its restart."""
    entry = trainer.stack.vault("GET", f"/v1/secret/data/fedid/{trainer.namespace}/bots/trainer/tokens/default")
    jwt = entry["data"]["data"]["token"]

    def opened(server: Consumer) -> dict[str, Any]:
        address = trainer.stack.vault_url
        return server.ask("deployment", address=address, deployment=DEPLOYMENT, jwt=jwt, login=login.mount)

    running = opened(doors.server())["port"]
    first = trainer.mounted("trainer", "token")
    assert doors.answer(running, first) == TAKEN
    second = _rotate(trainer)
    assert doors.answer(running, second) == UNKNOWN, "it reads Vault once"
    assert doors.answer(running, first) == TAKEN
    restarted = opened(doors.server())["port"]
    assert doors.answer(restarted, second) == TAKEN
    assert doors.answer(restarted, first) == UNKNOWN

    _delete(trainer)
    assert doors.answer(restarted, second) == TAKEN, "deleted tokens are good until the restart"
    assert login.accepts(jwt), "Vault checks no more than the signature and the expiry"
    assert claims_of(jwt)["exp"] - claims_of(jwt)["iat"] == 600, "so that is the window"
    answer = opened(doors.server())
    assert answer["error"] == "FileNotFoundError", "without any token the server does not start"
