"""Where the adapters of one Federation come from."""

from __future__ import annotations

from typing import Protocol

from fedid.domain.access import KeycloakAccess, KeycloakCredentials, VaultAccess, VaultCredentials
from fedid.domain.openfga import OpenFgaAccess
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import SuperLinkAccess
from fedid.ports.identity_provider import IdentityProvider
from fedid.ports.node_registry import NodeRegistry
from fedid.ports.secret_store import SecretStore
from fedid.ports.tuple_store import TupleStore

__all__ = ["BackendFactory"]


class BackendFactory(Protocol):
    """Makes the adapters of one Federation; the composition root is the one that knows the concrete ones."""

    def identity_provider(self, access: KeycloakAccess, credentials: KeycloakCredentials) -> IdentityProvider:
        """Return the realm's adapter; connects to nothing yet.

        Args:
            access: Where the realm is.
            credentials: The operator's own.

        Raises:
            InvalidSpecError: The CA bundle is no certificate.
        """

    def secret_store(self, access: VaultAccess, credentials: VaultCredentials) -> SecretStore:
        """Return the mount's adapter; connects to nothing yet.

        Args:
            access: Where Vault is.
            credentials: The operator's own.

        Raises:
            InvalidSpecError: The CA bundle is no certificate.
        """

    def node_registry(self, access: SuperLinkAccess) -> NodeRegistry:
        """Return the adapter of a SuperLink; connects to nothing yet.

        Args:
            access: Where the SuperLink is.

        Raises:
            InvalidSpecError: The URL or the CA bundle is unusable.
        """

    def tuple_store(self, access: OpenFgaAccess, key: Sensitive | None) -> TupleStore:
        """Return the adapter of an OpenFGA store; connects to nothing yet.

        Args:
            access: Where the store is.
            key: The preshared key; None: the server asks for none.

        Raises:
            InvalidSpecError: The URL or the CA bundle is unusable.
        """
