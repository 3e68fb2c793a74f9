"""What every part of the adapter works with: one realm and what is remembered about it."""

from __future__ import annotations

from dataclasses import dataclass

from keycloak import KeycloakAdmin

from fedid.adapters.keycloak.brought_roles import BroughtRoles
from fedid.adapters.keycloak.catalogue import GroupDirectory, RoleCatalogue, ScopeCatalogue
from fedid.adapters.keycloak.connection import AdminConnection, AdminToken
from fedid.adapters.keycloak.oidc import OidcEndpoints
from fedid.adapters.keycloak.policies import PolicyCatalogue
from fedid.adapters.keycloak.rules import RuleCatalogue
from fedid.adapters.keycloak.server_clock import ServerClock
from fedid.adapters.tokens import TokenVerifier
from fedid.adapters.transport import Transport


@dataclass(frozen=True, slots=True)
class RealmAccess:
    """The ways into one realm."""

    realm: str
    issuer_url: str
    client_id: str
    """The operator's own client."""
    transport: Transport
    admin: KeycloakAdmin
    connection: AdminConnection
    token: AdminToken
    oidc: OidcEndpoints
    verifier: TokenVerifier
    clock: ServerClock
    roles: RoleCatalogue
    groups: GroupDirectory
    brought: BroughtRoles
    policies: PolicyCatalogue
    scopes: ScopeCatalogue
    rules: RuleCatalogue
