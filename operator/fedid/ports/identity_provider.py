"""One Keycloak realm, whole."""

from __future__ import annotations

from typing import Protocol

from fedid.ports.clients import Clients
from fedid.ports.realm import Realm
from fedid.ports.survey import Survey
from fedid.ports.token_endpoint import TokenEndpoint
from fedid.ports.users import Users

__all__ = ["IdentityProvider"]


class IdentityProvider(Realm, Clients, Users, TokenEndpoint, Survey, Protocol):
    """One Keycloak realm, seen as the operator's client."""

    async def aclose(self) -> None:
        """Close its connections."""
