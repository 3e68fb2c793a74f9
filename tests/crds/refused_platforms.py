"""Mistakes in the platform of a PodIdentity, and what the API server says to each."""

from collections.abc import Mapping
from typing import Any

from tests.crds.manifests import CERTIFICATE, Row


def _only(platform: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"spec.platform": {platform: dict(options)}}


def _ai4flwr(**options: Any) -> dict[str, Any]:
    return _only("ai4flwr", {"distribution": "Git", **options})


def _aiod(**options: Any) -> dict[str, Any]:
    return _only("aiod", {"apiServer": "https://api.aiodp.eu/", **options})


def _bitfount(**options: Any) -> dict[str, Any]:
    block = {"flavour": "ApiKey", "username": "ana", "credentialsFrom": {"vaultPath": "bitfount/site-a"}, **options}
    return _only("bitfount", {key: value for key, value in block.items() if value is not None})


BITFOUNT = "spec.platform.bitfount"
AIOD = "spec.platform.aiod"
AI4FLWR = "spec.platform.ai4flwr"

PLATFORM_ROWS: list[Row] = [
    ("ai4flwr has no distribution", _only("ai4flwr", {}), f"{AI4FLWR}.distribution", "Required value"),
    (
        "ai4flwr has an unknown distribution",
        _ai4flwr(distribution="0.2.0"),
        f"{AI4FLWR}.distribution",
        'supported values: "PyPI", "Git"',
    ),
    ("an ai4flwr client has a mode", _ai4flwr(mode="File"), AI4FLWR, "a client mounts one token"),
    ("ai4flwr has an unknown mode", _ai4flwr(mode="Keycloak"), f"{AI4FLWR}.mode", 'supported values: "File", "Vault"'),
    (
        "an ai4flwr client names a token in capitals",
        _ai4flwr(token="Fleet"),
        f"{AI4FLWR}.token",
        "write the name of one of the bot's tokens",
    ),
    (
        "an ai4flwr client names a file of certificates",
        _ai4flwr(caBundle="/etc/ssl/ca.crt"),
        f"{AI4FLWR}.caBundle",
        "neither a file name nor base64",
    ),
    (
        "an ai4flwr client brings a private key along",
        _ai4flwr(caBundle=CERTIFICATE + "-----BEGIN PRIVATE KEY-----\n"),
        f"{AI4FLWR}.caBundle",
        "replace that key",
    ),
    ("aiod has no API server", _only("aiod", {}), f"{AIOD}.apiServer", "Required value"),
    ("aiod has an API server without scheme", _aiod(apiServer="api.aiodp.eu"), f"{AIOD}.apiServer", "such as https://"),
    (
        "aiod has a password in a URL",
        _aiod(apiServer="https://me:c2VjcmV0@api.aiodp.eu/"),
        f"{AIOD}.apiServer",
        "replace that password",
    ),
    (
        "aiod has a realm in the address of Keycloak",
        _aiod(authServer="https://auth.aiodp.eu/aiod-auth/realms/aiod"),
        f"{AIOD}.authServer",
        "leave out /realms/<realm>",
    ),
    ("aiod has a query in the address of Keycloak", _aiod(authServer="https://a.b/?c"), f"{AIOD}.authServer", "query"),
    ("aiod has a version in a word", _aiod(version="last"), f"{AIOD}.version", "such as v2"),
    ("aiod waits not at all", _aiod(requestTimeoutSeconds=0), f"{AIOD}.requestTimeoutSeconds", "greater than or equal"),
    ("aiod waits in words", _aiod(requestTimeoutSeconds="10s"), f"{AIOD}.requestTimeoutSeconds", "must be of type"),
    ("bitfount has no flavour", _bitfount(flavour=None), f"{BITFOUNT}.flavour", "Required value"),
    (
        "bitfount has an unknown flavour",
        _bitfount(flavour="Token"),
        f"{BITFOUNT}.flavour",
        'supported values: "ApiKey"',
    ),
    ("bitfount has no source", _bitfount(credentialsFrom=None), f"{BITFOUNT}.credentialsFrom", "Required value"),
    (
        "bitfount has its API key in the manifest",
        _bitfount(credentialsFrom={"apiKey": "c2VjcmV0"}),
        f"{BITFOUNT}.credentialsFrom.vaultPath",
        "Required value",
    ),
    (
        "bitfount copies from beside the path",
        _bitfount(credentialsFrom={"vaultPath": "bitfount/../fedid"}),
        f"{BITFOUNT}.credentialsFrom.vaultPath",
        "such as bitfount/site-a",
    ),
    (
        "bitfount copies from a template",
        _bitfount(credentialsFrom={"vaultPath": "bitfount/{namespace}"}),
        f"{BITFOUNT}.credentialsFrom.vaultPath",
        "such as bitfount/site-a",
    ),
    (
        "bitfount copies from a mount with slashes",
        _bitfount(credentialsFrom={"vaultPath": "a", "vaultMount": "/secrets/"}),
        f"{BITFOUNT}.credentialsFrom.vaultMount",
        "such as secrets",
    ),
    ("a Bitfount API key has no owner", _bitfount(username=None), BITFOUNT, "needs username"),
    ("a Bitfount owner has capitals", _bitfount(username="Ana"), f"{BITFOUNT}.username", "as the Hub does"),
    ("a Bitfount owner has two dashes", _bitfount(username="a--b"), f"{BITFOUNT}.username", "as the Hub does"),
    ("a Bitfount pod has a dot", _bitfount(podName="a.b"), f"{BITFOUNT}.podName", "as the Hub does"),
    ("a Bitfount pod has a long name", _bitfount(podName="x" * 67), BITFOUNT, "choose a shorter podName"),
    ("a Bitfount modeller has a pod", _bitfount(flavour="ModellerKey", username=None, podName="a"), BITFOUNT, "task"),
]
