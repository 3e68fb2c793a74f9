"""Settings of the operator process, read once from the environment."""

from __future__ import annotations

import platform
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fedid.domain.receipt import ReceiptLimits
from fedid.errors import InvalidSpecError

__all__ = ["Settings", "settings_from"]

_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_REPLICA = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?")
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
    """`FEDID_WORKERS`: passes at the same time, 1 to 256; default 16. `workers_for_deletions` come on top."""
    stop_grace: timedelta
    """`FEDID_STOP_GRACE_SECONDS`: how long running passes may finish on SIGTERM, 0 to 600; default 20."""
    replica: str
    """`FEDID_REPLICA`: name of this process among the replicas, letters, digits and `._/-`; never two at once under
    one. Default: the host's, with something random. One that a crashed process had before is let in again at once."""
    lease: timedelta
    """`FEDID_LEASE_SECONDS`: after how much silence of the leader another replica takes over, 6 to 300; default 15. The
    same in all replicas."""
    force_release: bool
    """`FEDID_FORCE_RELEASE`: true or false (default): whether to obey the annotation `fedid.io/force-release`; the
    chart says true where its admission policy lets only those with the verb `force-release` set it."""
    receipts: ReceiptLimits
    """`FEDID_RECEIPTS_KEEP`: how many RevocationReceipts are kept, 100 to 100000; default 5000.
    `FEDID_RECEIPTS_MAX_AGE_HOURS`: how long, 1 to 876000; default 8760."""
    relist_period: timedelta
    """`FEDID_RELIST_SECONDS`: how often all objects are listed to find what a broken watch lost, 10 to 86400; default
    600."""
    identity_metrics: bool
    """`FEDID_IDENTITY_METRICS`: true or false (default): whether metrics name single identities."""

    @property
    def workers_for_deletions(self) -> int:
        """Passes over deletions that may run besides, one for each eight others: enough that none waits to begin."""
        return max(1, self.workers // 8)


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
        replica=_replica(environment.get("FEDID_REPLICA") or _own_name()),
        lease=timedelta(seconds=_number(environment, "FEDID_LEASE_SECONDS", 15, 6, 300)),
        force_release=_one_of(environment, "FEDID_FORCE_RELEASE", ("false", "true")) == "true",
        receipts=ReceiptLimits(
            keep=_number(environment, "FEDID_RECEIPTS_KEEP", 5000, 100, 100_000),
            max_age=timedelta(hours=_number(environment, "FEDID_RECEIPTS_MAX_AGE_HOURS", 8760, 1, 876_000)),
        ),
        relist_period=timedelta(seconds=_number(environment, "FEDID_RELIST_SECONDS", 600, 10, 86400)),
        identity_metrics=_one_of(environment, "FEDID_IDENTITY_METRICS", ("false", "true")) == "true",
    )


def _own_namespace() -> str:
    try:
        return _SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    except OSError:
        return "fedid-system"


def _own_name() -> str:
    host = re.sub(r"[^A-Za-z0-9]+", "-", platform.node()).strip("-")
    return f"{host[:63].strip('-') or 'fedid'}-{secrets.token_hex(4)}"


def _replica(name: str) -> str:
    if _REPLICA.fullmatch(name) is None:
        message = "FEDID_REPLICA must be at most 128 letters, digits and ._/-, with a letter or digit at either end"
        raise InvalidSpecError(message)
    return name


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
