"""Keycloak: the adapter for the port `IdentityProvider`.

python-keycloak knows the Admin API's paths and shapes; its HTTP goes over `Transport` (see `connection`). Where the
library has no method, or would need more calls than one, the path is called directly over the same connection.
`refusals` is the one place where an answer becomes an error. What is said here about Keycloak's behaviour was measured
on 26.7.3.
"""

from __future__ import annotations

from fedid.adapters.keycloak.realm import KeycloakRealm

__all__ = ["KeycloakRealm"]
