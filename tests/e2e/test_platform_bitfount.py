"""Bitfount: its own loader of keys and its own headers, on what a person laid into Vault and a pod mounts.

Its Hub and its identity provider are fixed hosts of its maker: what ends there, a person ends, and the status says so.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.consumers.consumer import Consumers
from tests.e2e.operating import Proxies, grant, own_federation
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant, bot, pod_identity
from tests.testbed.stack import Stack

MOUNT = "secrets"


@pytest.fixture(scope="module")
def copying(stack: Stack, proxies: Proxies, the_operator: Operator) -> Iterator[str]:
    """A Federation whose tenants may copy from a folder of their own namespace, and which looks again soon."""
    del the_operator
    rules = [grant(vaultPaths=[f"{MOUNT}/users/{{namespace}}/*"])]
    with own_federation(stack, proxies, "bitfount", defaults={"resyncPeriod": "5s"}, grants=rules) as name:
        yield name


@pytest.fixture
def sdk(bitfount: Path, tmp_path: Path) -> Iterator[Consumers]:
    """A starter of Bitfount's code."""
    with ExitStack() as ending:
        yield Consumers(bitfount, tmp_path, ending)


class Laid:
    """An entry that a person laid into Vault, and what a pod mounts of it."""

    def __init__(self, tenant: Tenant, federation: str, name: str, **block: str) -> None:
        """Ask for a copy of it."""
        self._tenant, self._name = tenant, name
        self._path = f"users/{tenant.namespace}/{name}"
        source = {"vaultPath": self._path, "vaultMount": MOUNT}
        spec = {"federationRef": {"name": federation}, "tokens": []}
        platform = {"bitfount": {**block, "credentialsFrom": source}}
        tenant.apply(bot(name, **spec), pod_identity(name, platform=platform))

    def lay(self, key: str, **entry: str) -> dict[str, str]:
        """Write it, and return what is mounted once `key` of the Secret holds `wait`."""
        wait = entry.pop("wait")
        body = {**entry, "namespaces": self._tenant.namespace}
        self._tenant.stack.vault("POST", f"/v1/{MOUNT}/{self._path}", body)
        self._tenant.touch("PodIdentity", self._name)
        self._tenant.mounted(self._name, key, lambda text: text == wait)
        return self.mounted()

    def mounted(self) -> dict[str, str]:
        """Return what the Secret holds."""
        return dict((self._tenant.secret(self._name) or {})["text"])

    def end(self, *ids: str) -> None:
        """Delete the bot; see the Secret emptied, and the ids named that a person has to end."""
        self._tenant.delete("BotClient", self._name)
        self._tenant.gone("BotClient", self._name)
        self._tenant.emptied(self._name)
        told = self._tenant.reason("PodIdentity", self._name, "ManualRevocationRequired", "Revoked")["message"]
        assert all(one in told for one in ids), told


def test_an_api_key_is_presented_changed_and_taken_away(tenant: Tenant, sdk: Consumers, copying: str) -> None:
    """The variables as `envFrom` gives them; the former key stays good at the Hub until a person ends it."""
    laid = Laid(tenant, copying, "pod", flavour="ApiKey", username="site-a")

    def presented(environment: dict[str, str]) -> Any:
        return sdk.start("bitfount_identity", **environment).ask("headers")

    for number in ("b7a1", "c8b2"):
        key = f"{secrets.token_hex(8)}:{secrets.token_hex(8)}"
        former = {"previous_api_key_id": "b7a1"} if number == "c8b2" else {}
        environment = laid.lay("BITFOUNT_API_KEY_ID", wait=number, api_key_id=number, api_key=key, **former)
        answer = presented(environment)
        assert answer["hub"] == answer["messages"] == [number, key.split(":", maxsplit=1)[0]]
        assert answer["access_manager"] == [number, key]
    laid.end("b7a1", "c8b2")


def test_a_modellers_key_is_loaded_with_the_id_that_the_hub_gave_it(
    tenant: Tenant, sdk: Consumers, copying: str
) -> None:
    """What the SDK wrote itself a person lays into Vault: mounted, it is taken as it was; emptied, it is refused."""
    laid = Laid(tenant, copying, "modeller", flavour="ModellerKey")
    program = sdk.start("bitfount_identity")
    (made := sdk.folder / "made").mkdir()
    assert program.ask("keys", folder=str(made)) == {"verifies": True, "bits": 4096}, "the SDK makes a pair itself"
    entry = {
        "private_key": (made / "modeller_rsa.pem").read_text(),
        "public_key": (made / "modeller_rsa.pub.pem").read_text(),
    }
    files = laid.lay("modeller_key_id.txt", wait="0a1b2c3d", key_id="0a1b2c3d\n", **entry)
    folder = str(sdk.mount("keys", files))
    (made / "modeller_rsa.pem").unlink()
    assert program.ask("keys", folder=folder) == {"verifies": True, "bits": 4096}
    assert program.ask("key_id", folder=folder) == {"key_id": "0a1b2c3d"}
    laid.end("0a1b2c3d")
    sdk.mount("keys", laid.mounted())
    assert "error" in program.ask("keys", folder=folder)
