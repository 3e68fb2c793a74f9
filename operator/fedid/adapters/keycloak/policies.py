"""The realm's client policies as far as they are about two secrets of one client; kept for a while."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from fedid.adapters.keycloak.connection import AdminConnection
from fedid.adapters.keycloak.refusals import ForbiddenError, NotFoundError
from fedid.domain.realm import SecretPolicy
from fedid.engine import SingleFlight

EXECUTOR: Final = "secret-rotation"
_ATTRIBUTES: Final = "client-attributes"
_ANY: Final = "any-client"


@dataclass(frozen=True, slots=True)
class _Shelf:
    filled_at: float
    policies: Mapping[str, Any] = field(default_factory=dict)
    profiles: Mapping[str, Any] = field(default_factory=dict)


class PolicyCatalogue:
    """The client policies of one realm; reading them takes no more than `view-realm`."""

    def __init__(
        self,
        connection: AdminConnection,
        *,
        life: timedelta = timedelta(seconds=30),
        pause: timedelta = timedelta(seconds=3),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty; after `life` everything is read again, and after `pause` if no policy was found to apply."""
        self._connection = connection
        self._life_seconds = life.total_seconds()
        self._pause_seconds = pause.total_seconds()
        self._monotonic = monotonic
        self._shelf: _Shelf | None = None
        self._filling: SingleFlight[str, _Shelf] = SingleFlight()

    async def applying(self, attributes: Mapping[str, str]) -> SecretPolicy | None:
        """Return the policy that keeps two secrets for a client with these attributes, None if none does."""
        shelf = self._shelf
        age = self._monotonic() - shelf.filled_at if shelf is not None else self._life_seconds
        if shelf is not None and age < self._life_seconds:
            found = applying_policy(shelf.policies, shelf.profiles, attributes=attributes)
            if found is not None or age < self._pause_seconds:
                return found
        shelf = await self._filling.run("policies", self._fill)
        return applying_policy(shelf.policies, shelf.profiles, attributes=attributes)

    def clear(self) -> None:
        """Forget everything: a policy turned out not to hold any more."""
        self._shelf = None

    async def _fill(self) -> _Shelf:
        asked_at = self._monotonic()
        try:
            policies = await self._connection.call("GET", "/client-policies/policies")
            profiles = await self._connection.call("GET", "/client-policies/profiles")
            shelf = _Shelf(asked_at, policies.json(), profiles.json())
        except (ForbiddenError, NotFoundError):
            shelf = _Shelf(asked_at)  # the Federation says what is missing
        self._shelf = shelf
        return shelf


def applying_policy(
    policies: Mapping[str, Any], profiles: Mapping[str, Any], *, attributes: Mapping[str, str]
) -> SecretPolicy | None:
    """Return the first enabled policy that keeps two secrets for a client with these attributes.

    A policy with a condition that cannot be judged from here counts as one that does not apply.

    Args:
        policies: Keycloak's answer to `client-policies/policies`.
        profiles: Keycloak's answer to `client-policies/profiles`.
        attributes: Of the client.
    """
    periods = {
        profile["name"]: executor.get("configuration") or {}
        for profile in profiles.get("profiles") or ()
        for executor in profile.get("executors") or ()
        if executor.get("executor") == EXECUTOR
    }
    for policy in policies.get("policies") or ():
        conditions = policy.get("conditions") or ()
        if not policy.get("enabled") or not conditions or not all(_holds(one, attributes) for one in conditions):
            continue
        for profile in policy.get("profiles") or ():
            if profile in periods:
                return _policy(policy["name"], periods[profile])
    return None


def _policy(name: str, configuration: Mapping[str, Any]) -> SecretPolicy:
    # The defaults are those of the executor: 29 days and 2 days.
    return SecretPolicy(
        name=name,
        expires_after=timedelta(seconds=int(configuration.get("expiration-period") or 2_505_600)),
        previous_lives=timedelta(seconds=int(configuration.get("rotated-expiration-period") or 172_800)),
    )


def _holds(condition: Mapping[str, Any], attributes: Mapping[str, str]) -> bool:
    configuration = condition.get("configuration") or {}
    if str(configuration.get("is-negative-logic")).lower() == "true":
        return False
    if condition.get("condition") == _ANY:
        return True
    if condition.get("condition") != _ATTRIBUTES:
        return False
    try:
        wanted = json.loads(configuration.get("attributes") or "[]")
        return bool(wanted) and all(attributes.get(one["key"]) == one["value"] for one in wanted)
    except (TypeError, ValueError, KeyError):
        return False
