"""What an identity is tied to cannot be changed under it; all else can."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.testbed.rest import Answer, Rest

MERGE = {"Content-Type": "application/merge-patch+json"}

Spec = Mapping[str, Any]

Told = tuple[str, str]
"""Field that the refusal names, words of its advice."""

REFUSED: list[tuple[str, str, Spec, Told]] = [
    ("the realm is changed", "Federation", {"keycloak": {"realm": "other"}}, ("spec.keycloak.realm", "Federation")),
    ("the mount is changed", "Federation", {"vault": {"mount": "kv"}}, ("spec.vault.mount", "make a new Federation")),
    (
        "the KV version is changed",
        "Federation",
        {"vault": {"kvVersion": 1}},
        ("spec.vault.kvVersion", "make a new Federation"),
    ),
    (
        "the path prefix is changed",
        "Federation",
        {"vault": {"pathPrefix": "other"}},
        ("spec.vault.pathPrefix", "make a new Federation"),
    ),
    (
        "a pod that presents comes to check",
        "PodIdentity",
        {"role": "server", "botClientRef": None},
        ("spec.role", "make another PodIdentity"),
    ),
    (
        "a bot is given a federationRef later",
        "BotClient",
        {"federationRef": {"name": "local"}},
        ("spec.federationRef", "also when it was left out"),
    ),
    (
        "a bot is moved to another Federation",
        "BotClient named",
        {"federationRef": {"name": "other"}},
        ("spec.federationRef", "delete this BotClient and create it anew"),
    ),
    (
        "a bot loses its federationRef",
        "BotClient named",
        {"federationRef": None},
        ("spec.federationRef", "put it back"),
    ),
    ("a bot is given a clientId later", "BotClient", {"clientId": "x"}, ("spec.clientId", "also when it was left out")),
    ("a bot gets another clientId", "BotClient named", {"clientId": "x"}, ("spec.clientId", "make a new BotClient")),
    ("a bot loses its clientId", "BotClient named", {"clientId": None}, ("spec.clientId", "put it back")),
    (
        "a bot is given a key later",
        "BotClient",
        {"authentication": {"privateKeyJwt": {}}},
        ("spec.authentication", "also when it was left out"),
    ),
    (
        "a bot is given a ServiceAccount later",
        "BotClient",
        {"authentication": {"serviceAccount": {"name": "trainer"}}, "tokens": None},
        ("spec.authentication", "create it anew"),
    ),
    (
        "a SuperNode moves to another SuperLink",
        "PodIdentity of Flower",
        {"platform": {"flower": {"superNode": {"superLink": {"url": "https://other:8000"}}}}},
        ("superLink.url", "unregistered there"),
    ),
    (
        "a SuperNode becomes something else",
        "PodIdentity of Flower",
        {"platform": {"flower": None, "generic": {"files": {"token": "{token}"}}}},
        ("spec.platform", "from creation on"),
    ),
    (
        "something else becomes a SuperNode",
        "PodIdentity",
        {"platform": {"generic": None, "flower": {"superNode": {"superLink": {"url": "https://other:8000"}}}}},
        ("spec.platform", "from creation on"),
    ),
    (
        "the client of a server gets another id",
        "PodIdentity of a server",
        {"oidcClient": {"clientId": "dai"}},
        ("spec.oidcClient", "make a new PodIdentity"),
    ),
    (
        "the client of a server moves to another realm",
        "PodIdentity of a server",
        {"federationRef": {"name": "other"}},
        ("spec.federationRef", "make a new PodIdentity"),
    ),
    (
        "the public client of a server gets another id",
        "PodIdentity of a server",
        {"platform": {"driverlessAi": {"pythonClient": {"clientId": "dai-py"}}}},
        ("pythonClient", "take pythonClient out first"),
    ),
    ("an approval is stretched", "IdentityApproval", {"expiresAt": "2099-01-01T00:00:00Z"}, ("spec", "delete it")),
    ("an approval is of something else by now", "IdentityApproval", {"askHash": "0" * 64}, ("spec", "make another")),
    ("a user gets another username", "FederationUser", {"username": "eva"}, ("spec.username", "make a new")),
    (
        "a user is given a federationRef later",
        "FederationUser",
        {"federationRef": {"name": "local"}},
        ("spec.federationRef", "also when it was left out"),
    ),
    (
        "a user is moved to another Federation",
        "FederationUser named",
        {"federationRef": {"name": "other"}},
        ("spec.federationRef", "delete this FederationUser"),
    ),
    (
        "a user loses its federationRef",
        "FederationUser named",
        {"federationRef": None},
        ("federationRef", "put it back"),
    ),
]

ACCEPTED: list[tuple[str, str, Spec]] = [
    ("Keycloak and Vault move", "Federation", {
        "keycloak": {"url": "https://kc.example.org", "issuerUrl": "https://login.example.org/realms/fl"},
        "vault": {"url": "https://vault2.example.org", "auth": {"jwt": {"role": "other"}}},
    }),
    ("grants and defaults change", "Federation", {"grants": [], "default": True, "defaults": {"resyncPeriod": "1m"}}),
    ("a bot asks for other things", "BotClient", {
        "description": "x", "realmRoles": [], "audiences": ["superlink"], "tokens": [{"name": "b", "lifetime": "1h"}],
    }),
    ("a bot says how it authenticates all the time", "BotClient", {"authentication": {"clientSecret": {}}}),
    ("a bot is suspended", "BotClient", {"suspend": True}),
    ("a bot is made to expire", "BotClient", {"expiresAt": "2030-01-31T18:00:00Z"}),
    ("a bot states its fixed fields again", "BotClient named", {
        "federationRef": {"name": "local"}, "clientId": "partner-bot",
    }),
    ("a user changes in all else", "FederationUser", {
        "email": None, "firstName": "Eva", "lastName": "Kos", "enabled": False, "groups": [], "realmRoles": ["a"],
    }),
    ("a server has other addresses, and no program signs in any more", "PodIdentity of a server", {
        "oidcClient": {"baseUrl": "https://other.example.org", "redirectUris": ["https://other.example.org/cb"]},
        "platform": {"driverlessAi": {"pythonClient": None}},
    }),
    ("a pod mounts another bot in other files of another Secret", "PodIdentity", {
        "botClientRef": {"name": "b"}, "secretName": "s", "platform": {"generic": {"files": {"token": None, "t": ""}}},
    }),
]  # fmt: skip


@pytest.mark.parametrize(("key", "spec", "told"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_fixed_field_cannot_change(kube: Rest, existing: dict[str, str], key: str, spec: Spec, told: Told) -> None:
    """The refusal names the field and the way to get there all the same."""
    field, advice = told

    answer = _update(kube, existing[key], spec)

    assert answer.status == 422, answer.text
    (cause,) = answer.body["details"]["causes"]
    assert field in cause["field"]
    assert advice in cause["message"]


@pytest.mark.parametrize(("key", "spec"), [pytest.param(*row[1:], id=row[0]) for row in ACCEPTED])
def test_all_else_can_change(kube: Rest, existing: dict[str, str], key: str, spec: Spec) -> None:
    """An update that leaves the fixed fields alone is accepted."""
    answer = _update(kube, existing[key], spec)

    assert answer.status == 200, answer.text


def test_status_is_written_only_by_itself(kube: Rest, existing: dict[str, str]) -> None:
    """A write to the object leaves the status alone, and a write to the status leaves the spec alone."""
    path = existing["BotClient"]
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    body = {"spec": {"description": "x"}, "status": {"clientId": "never", "conditions": [condition]}}

    written = kube.call("PATCH", f"{path}?dryRun=All", body, headers=MERGE)
    status_written = kube.call("PATCH", f"{path}/status?dryRun=All", body, headers=MERGE)

    assert written["spec"]["description"] == "x"
    assert written.get("status", {}).get("clientId") != "never"
    assert "description" not in status_written["spec"]
    assert status_written["status"]["conditions"] == [condition]


def _update(kube: Rest, path: str, spec: Spec) -> Answer:
    return kube.answer("PATCH", f"{path}?dryRun=All", {"spec": spec}, headers=MERGE)
