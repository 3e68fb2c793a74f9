"""How long after it was due a credential was in Vault, and in each Secret that mounts it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from fedid.domain.exposure import CredentialLife, credentials_in_use
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import Body
from fedid.ports import Meter

__all__ = ["RotationLag"]

_VAULT, _SECRET = "vault", "secret"


class RotationLag:
    """Measures what was replaced by its schedule; what a person asked for sooner was never due.

    What is awaited of a Secret is kept in this process only: a restart in between loses a figure and nothing else.
    """

    def __init__(self, meter: Meter) -> None:
        """Tell this meter."""
        self._meter = meter
        self._awaited: dict[ObjectKey, dict[str, datetime]] = {}
        """By PodIdentity: since when (Keycloak's clock) its Secret should hold another credential of a kind."""

    def published(self, body: Body, status: Mapping[str, Any], mounted_by: Iterable[ObjectKey], now: datetime) -> None:
        """Take note that what a bot's status is about to tell lies in Vault.

        Args:
            body: The bot as it was known before.
            status: The fields of its status that tell of credentials.
            mounted_by: The PodIdentities that mount the bot.
            now: Keycloak's clock.
        """
        pods = list(mounted_by)
        for kind, due_at in _replaced(body, status, now):
            self._meter.renewed(kind, _VAULT, (now - due_at).total_seconds())
            for pod in pods:
                self._awaited.setdefault(pod, {})[kind] = due_at

    def mounted(self, body: Body, status: Mapping[str, Any], now: datetime) -> None:
        """Take note of a PodIdentity's own credentials: its status tells of them when its Secret has them too.

        Args:
            body: The PodIdentity as it was known before.
            status: What its status is about to tell.
            now: The clock by which they were due.
        """
        for kind, due_at in _replaced(body, status, now):
            for place in (_VAULT, _SECRET):
                self._meter.renewed(kind, place, (now - due_at).total_seconds())

    def delivered(self, pod: ObjectKey, now: datetime, *, changed: bool) -> None:
        """Take note that a Secret was compared with what is published, and written where it differs.

        Args:
            pod: The PodIdentity.
            now: Keycloak's clock.
            changed: Whether its content is another now; if not, it holds nothing of what was replaced.
        """
        for kind, due_at in self._awaited.pop(pod, {}).items():
            if changed:
                self._meter.renewed(kind, _SECRET, (now - due_at).total_seconds())

    def forget(self, pod: ObjectKey) -> None:
        """Drop what is kept of an object that is gone."""
        self._awaited.pop(pod, None)


def _replaced(body: Body, status: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, datetime]]:
    """Return (kind, when it was due) of what the status has another of than the object, for want of time alone."""
    before = {(life.kind, life.name): life for life in credentials_in_use(body)}
    for life in credentials_in_use({**body, "status": status}):
        due_at = _due_at(before.get((life.kind, life.name)), life, now)
        if due_at is not None:
            yield life.kind, due_at


def _due_at(before: CredentialLife | None, after: CredentialLife, now: datetime) -> datetime | None:
    """Return when a credential was due that another has replaced, None if it was not."""
    if before is None or before.due_at is None or before.issued_at == after.issued_at:
        return None
    return before.due_at if before.due_at <= now else None
