"""Mistakes in the platform of a PodIdentity, and what the API server says to each."""

from collections.abc import Mapping
from typing import Any

from tests.crds.manifests import CERTIFICATE, Row


def _only(platform: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"spec.platform": {platform: dict(options)}}


def _ai4flwr(**options: Any) -> dict[str, Any]:
    return _only("ai4flwr", {"distribution": "Git", **options})


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
]
