"""Settings of the operator process, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fedid.errors import InvalidSpecError

__all__ = ["Settings", "settings_from"]

_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_MOST_DIGITS = 18
"""Python refuses to turn thousands of digits into a number, with an error of its own."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process runs; what it works on stands in the custom resources."""

    namespace: str
    """`FEDID_NAMESPACE`: where the operator lives, its access Secrets and its installation id; default: that of its
    ServiceAccount, else `fedid-system`."""
    watch_namespaces: tuple[str, ...]
    """`FEDID_WATCH_NAMESPACES`: comma-separated; empty: all."""
    vault_token_path: Path
    """`FEDID_VAULT_TOKEN_PATH`: file with the projected ServiceAccount token (audience for Vault alone)."""
    keycloak_token_path: Path
    """`FEDID_KEYCLOAK_TOKEN_PATH`: file with another one (audience: the realm's issuer), for Federations that say
    `serviceAccountToken`."""
    health_host: str
    """`FEDID_HEALTH_HOST`: address that probes and metrics are served on."""
    health_port: int
    """`FEDID_HEALTH_PORT`: 1 to 65535; default 8080."""
    log_level: str
    """`FEDID_LOG_LEVEL`: DEBUG, INFO, WARNING or ERROR."""
    log_format: str
    """`FEDID_LOG_FORMAT`: json or text."""
    workers: int
    """`FEDID_WORKERS`: passes at the same time, 1 to 256; default 16."""
    stop_grace: timedelta
    """`FEDID_STOP_GRACE_SECONDS`: how long running passes may finish on SIGTERM, 0 to 600; default 20."""
    relist_period: timedelta
    """`FEDID_RELIST_SECONDS`: how often all objects are listed to find what a broken watch lost, 10 to 86400; default
    600."""


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Return the settings that the environment asks for.

    Raises:
        InvalidSpecError: A variable is out of bounds; the message names it.
    """
    return Settings(
        namespace=environment.get("FEDID_NAMESPACE") or _own_namespace(),
        watch_namespaces=_names(environment, "FEDID_WATCH_NAMESPACES"),
        vault_token_path=Path(environment.get("FEDID_VAULT_TOKEN_PATH") or "/var/run/secrets/fedid/vault/token"),
        keycloak_token_path=Path(
            environment.get("FEDID_KEYCLOAK_TOKEN_PATH") or "/var/run/secrets/fedid/keycloak/token"
        ),
        health_host=environment.get("FEDID_HEALTH_HOST") or "0.0.0.0",  # noqa: S104 - the kubelet probes from outside
        health_port=_number(environment, "FEDID_HEALTH_PORT", 8080, 1, 65535),
        log_level=_one_of(environment, "FEDID_LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
        log_format=_one_of(environment, "FEDID_LOG_FORMAT", ("json", "text")),
        workers=_number(environment, "FEDID_WORKERS", 16, 1, 256),
        stop_grace=timedelta(seconds=_number(environment, "FEDID_STOP_GRACE_SECONDS", 20, 0, 600)),
        relist_period=timedelta(seconds=_number(environment, "FEDID_RELIST_SECONDS", 600, 10, 86400)),
    )


def _own_namespace() -> str:
    try:
        return _SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    except OSError:
        return "fedid-system"


def _names(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    names = (part.strip() for part in (environment.get(name) or "").split(","))
    return tuple(one for one in names if one)


def _number(environment: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    text = environment.get(name) or str(default)
    plain = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    if not plain or not lowest <= int(text) <= highest:
        message = f"{name} is {text!r}; set a whole number from {lowest} to {highest}"
        raise InvalidSpecError(message)
    return int(text)


def _one_of(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = environment.get(name) or choices[0]
    known = {choice.lower(): choice for choice in choices}
    if text.lower() not in known:
        message = f"{name} is {text!r}; set one of {', '.join(choices)}"
        raise InvalidSpecError(message)
    return known[text.lower()]
