"""What is remembered of looks at the backends, in this process only: how long they hold, and which secrets they saw."""

from __future__ import annotations

import hashlib
import secrets

from fedid.domain.naming import ObjectKey
from fedid.domain.sensitive import Sensitive

__all__ = ["Freshness", "SecretSightings"]


class Freshness:
    """Until when (monotonic seconds) the last full look at an object's backends is good enough."""

    def __init__(self) -> None:
        """Start with nothing looked at."""
        self._good_until: dict[ObjectKey, tuple[str, int, float]] = {}
        self._doubted: set[ObjectKey] = set()

    def looked(self, key: ObjectKey, uid: str, generation: int, until: float) -> None:
        """Remember a full look at this generation."""
        self._doubted.discard(key)
        self._good_until[key] = (uid, generation, until)

    def trust(self, key: ObjectKey, uid: str, generation: int, until: float) -> None:
        """Take an object for good that an earlier process left in order, unless this one knows more about it."""
        if key not in self._good_until and key not in self._doubted:
            self._good_until[key] = (uid, generation, until)

    def expire(self, key: ObjectKey) -> None:
        """Make the next pass look at everything."""
        self._good_until.pop(key, None)
        self._doubted.add(key)

    def forget(self, key: ObjectKey) -> None:
        """Drop what is kept of an object that is gone."""
        self._good_until.pop(key, None)
        self._doubted.discard(key)

    def is_fresh(self, key: ObjectKey, uid: str, generation: int, now: float) -> bool:
        """Tell whether a pass may skip the full look."""
        known = self._good_until.get(key)
        return known is not None and known[:2] == (uid, generation) and now < known[2]

    def until(self, key: ObjectKey) -> float | None:
        """Return when the next full look is due."""
        known = self._good_until.get(key)
        return known[2] if known is not None else None


class SecretSightings:
    """Which bot secret was last seen in Keycloak, and which in Vault: as digests, under a key of this process alone.

    So a look at one of the two tells whether they still agree, and no secret is kept for it.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._key = secrets.token_bytes(32)
        self._keycloak: dict[ObjectKey, bytes] = {}
        self._vault: dict[ObjectKey, bytes] = {}

    def in_keycloak(self, bot: ObjectKey, secret: Sensitive | None) -> bool:
        """Remember what Keycloak holds; False if Vault was seen to hold another one."""
        self._keycloak[bot] = self._digest(secret)
        return self._agree(bot)

    def in_vault(self, bot: ObjectKey, secret: Sensitive | None) -> bool:
        """Remember what Vault holds; False if Keycloak was seen to hold another one."""
        self._vault[bot] = self._digest(secret)
        return self._agree(bot)

    def forget(self, bot: ObjectKey) -> None:
        """Drop what is kept of a bot that is gone."""
        self._keycloak.pop(bot, None)
        self._vault.pop(bot, None)

    def _agree(self, bot: ObjectKey) -> bool:
        keycloak, vault = self._keycloak.get(bot), self._vault.get(bot)
        return keycloak is None or vault is None or keycloak == vault

    def _digest(self, secret: Sensitive | None) -> bytes:
        text = secret.reveal() if secret is not None else ""
        return hashlib.blake2b(text.encode(errors="surrogatepass"), key=self._key, digest_size=16).digest()
