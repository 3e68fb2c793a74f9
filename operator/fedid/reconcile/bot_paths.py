"""Where the credentials of a bot lie in Vault; relative to the mount."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fedid.domain.bot_authentication import BotAuthentication, PrivateKeyJwt
from fedid.domain.naming import ObjectKey, vault_path
from fedid.domain.resources import POD_IDENTITY
from fedid.domain.stored import Retention

__all__ = ["SECRET_RETENTION", "BotPaths", "token_retention"]

SECRET_RETENTION = Retention(max_versions=2, delete_version_after=None)


@dataclass(frozen=True, slots=True)
class BotPaths:
    """The paths of one bot, or of a server that is a client of Keycloak itself."""

    prefix: str
    bot: ObjectKey

    @property
    def _folder(self) -> str:
        return "pods" if self.bot.kind == POD_IDENTITY else "bots"

    @property
    def client(self) -> str:
        """Path of the bot secret."""
        return vault_path(self.prefix, self.bot.namespace, self._folder, self.bot.name, "client")

    @property
    def key(self) -> str:
        """Path of the keys that sign assertions."""
        return vault_path(self.prefix, self.bot.namespace, self._folder, self.bot.name, "keys", "client")

    def authentication(self, way: BotAuthentication) -> str:
        """Path of what the bot authenticates with."""
        return self.key if isinstance(way, PrivateKeyJwt) else self.client

    @property
    def tokens(self) -> str:
        """Folder of the bearer tokens."""
        return vault_path(self.prefix, self.bot.namespace, self._folder, self.bot.name, "tokens")

    def token(self, name: str) -> str:
        """Path of one bearer token."""
        return vault_path(self.prefix, self.bot.namespace, self._folder, self.bot.name, "tokens", name)


def token_retention(lifetime: timedelta) -> Retention:
    """Return how long Vault keeps a token: a little over its life, so that a dead one goes by itself."""
    return Retention(max_versions=2, delete_version_after=lifetime + timedelta(minutes=10))
