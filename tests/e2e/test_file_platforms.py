"""Platforms that need files alone, on the real servers: what is mounted is good there, and goes with its bot."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.crds.manifests import CERTIFICATE
from tests.e2e.authority import Authority, claims_of
from tests.e2e.operating import Proxies, grant, own_federation
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant, bot, pod_identity
from tests.e2e.waiting import eventually
from tests.testbed.stack import Stack

MOUNT = "secrets"
"""The stack's mount of KV version 1, where the operator's policy lets it read below `users`."""


@pytest.fixture(scope="module")
def copying(stack: Stack, proxies: Proxies, the_operator: Operator) -> Iterator[str]:
    """A Federation whose tenants may copy from a folder of their own namespace, and which looks again soon."""
    assert the_operator
    rules = [grant(vaultPaths=[f"{MOUNT}/users/{{namespace}}/*"])]
    with own_federation(stack, proxies, "copying", defaults={"resyncPeriod": "5s"}, grants=rules) as name:
        yield name


def test_ai4flwr_mounts_the_opaque_token_and_its_header(tenant: Tenant, authority: Authority) -> None:
    """What lies in Vault is what a client of the distribution Git presents."""
    tenant.apply(bot("trainer", tokens=[{"name": "fleet", "type": "opaque", "lifetime": "1h"}, {"name": "default"}]))
    block = {"distribution": "Git", "token": "fleet", "caBundle": CERTIFICATE}
    tenant.apply(pod_identity("trainer", platform={"ai4flwr": block}))
    tenant.ready("PodIdentity", "trainer")
    entry = authority.vault(f"fedid/{tenant.namespace}/bots/trainer/tokens/fleet") or {}
    text = (tenant.secret("trainer") or {})["text"]
    assert text == {"token": entry["token"], "header": "x-authorization", "ca.crt": CERTIFICATE}


def test_aiod_mounts_what_signs_in(tenant: Tenant, authority: Authority) -> None:
    """The two files lead to the realm's own issuer, and their secret is taken there until the bot goes."""
    tenant.apply(bot("connector"), pod_identity("connector", platform={"aiod": {"apiServer": "https://api.aiodp.eu"}}))
    tenant.ready("PodIdentity", "connector")
    text = (tenant.secret("connector") or {})["text"]
    token, config = tomllib.loads(text["token.toml"]), tomllib.loads(text["config.toml"])
    answer = authority.request_token(config["client_id"], token["client_secret"])
    assert answer.status == 200
    assert claims_of(answer.body["access_token"])["iss"] == f"{config['auth_server']}realms/{config['realm']}"
    tenant.delete("BotClient", "connector")
    tenant.gone("BotClient", "connector")
    assert authority.request_token(config["client_id"], token["client_secret"]).status == 401
    assert set((tenant.secret("connector") or {})["text"].values()) == {""}


def test_bitfount_copies_what_a_person_laid_there_and_says_what_only_a_person_can_end(
    tenant: Tenant, stack: Stack, copying: str
) -> None:
    """Not before the entry names the namespace, anew when it changes, never more after it does not; and at the end."""
    path, key = f"users/{tenant.namespace}/bitfount", secrets.token_hex(16)
    entry: dict[str, Any] = {"api_key_id": "b7a1", "api_key": key}

    def lay(**more: str) -> None:
        stack.vault("POST", f"/v1/{MOUNT}/{path}", {**entry, **more})

    def mounted() -> dict[str, str]:
        text: dict[str, str] = (tenant.secret("pod") or {}).get("text") or {}
        return text

    lay()
    source = {"vaultPath": path, "vaultMount": MOUNT}
    block = {"flavour": "ApiKey", "username": "ana", "credentialsFrom": source}
    tenant.apply(bot("pod", federationRef={"name": copying}), pod_identity("pod", platform={"bitfount": block}))
    assert f"namespaces={tenant.namespace}" in tenant.reason("PodIdentity", "pod", "NotGranted")["message"]
    assert tenant.secret("pod") is None
    lay(namespaces=tenant.namespace)
    tenant.touch("PodIdentity", "pod")
    tenant.ready("PodIdentity", "pod")
    wanted = {"BITFOUNT_API_KEY_ID": "b7a1", "BITFOUNT_API_KEY": key, "BITFOUNT_USERNAME": "ana"}
    assert mounted() == wanted
    lay(namespaces=tenant.namespace, api_key_id="c8b2", previous_api_key_id="b7a1")
    eventually(lambda: mounted().get("BITFOUNT_API_KEY_ID") == "c8b2", "the newer key mounted")
    told = tenant.reason("PodIdentity", "pod", "ManualRevocationRequired", "Revoked")["message"]
    assert "api_key_id c8b2 and b7a1, in the Bitfount Hub" in told
    lay(namespaces="elsewhere")
    tenant.emptied("pod")
    tenant.delete("PodIdentity", "pod")
    tenant.gone("PodIdentity", "pod")
    assert "api_key_id c8b2 and b7a1" in tenant.event("pod", "ManualRevocationRequired")["message"]
    assert stack.vault("GET", f"/v1/{MOUNT}/{path}")["data"] == {**entry, "namespaces": "elsewhere"}
