"""What the realm lets its users have: user profile, required actions, password policy, mail; kept for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from fedid.adapters.keycloak.connection import AdminConnection
from fedid.adapters.keycloak.representations import user_rules
from fedid.adapters.keycloak.snapshot import Snapshot
from fedid.domain.realm import UserRules


class RuleCatalogue:
    """The rules of one realm for its users; reading them takes `view-realm` and `manage-users`."""

    def __init__(
        self,
        connection: AdminConnection,
        *,
        life: timedelta = timedelta(minutes=5),
        pause: timedelta = timedelta(seconds=3),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty; everything is read again after `life`, and after `pause` if something was missing."""
        self._connection = connection
        self._snapshot = Snapshot(self._read, life=life, pause=pause, monotonic=monotonic)

    async def rules(self, suffices: Callable[[UserRules], bool]) -> UserRules:
        """Return the rules; read again, after a pause, if those that are remembered do not suffice."""
        return await self._snapshot.get(suffices)

    def clear(self) -> None:
        """Forget everything: one of the rules turned out to be another one by now."""
        self._snapshot.clear()

    async def _read(self) -> UserRules:
        realm = await self._connection.call("GET", "")
        profile = await self._connection.call("GET", "/users/profile")
        actions = await self._connection.call("GET", "/authentication/required-actions")
        return user_rules(realm.json(), profile.json(), actions.json())
