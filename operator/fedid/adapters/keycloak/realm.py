"""One Keycloak realm as the operator's client sees it: the `IdentityProvider` of a running operator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keycloak import KeycloakAdmin

from fedid.adapters.keycloak.access import RealmAccess
from fedid.adapters.keycloak.bearer import RealmTokens
from fedid.adapters.keycloak.brought_roles import BroughtRoles
from fedid.adapters.keycloak.catalogue import GroupDirectory, RoleCatalogue, ScopeCatalogue
from fedid.adapters.keycloak.clients import RealmClients
from fedid.adapters.keycloak.connection import AdminConnection, AdminToken, own_claims
from fedid.adapters.keycloak.oidc import IssuedToken, OidcEndpoints
from fedid.adapters.keycloak.policies import PolicyCatalogue
from fedid.adapters.keycloak.probe import realm_facts
from fedid.adapters.keycloak.roles import RealmRoles
from fedid.adapters.keycloak.rules import RuleCatalogue
from fedid.adapters.keycloak.server_clock import ServerClock
from fedid.adapters.keycloak.survey import RealmSurvey
from fedid.adapters.keycloak.two_secrets import RealmSecrets
from fedid.adapters.keycloak.users import RealmUsers
from fedid.adapters.tokens import TokenVerifier
from fedid.adapters.transport import Transport
from fedid.domain.realm import RealmFacts
from fedid.domain.tokens import ClientAuthentication

_UNNAMED = "(whose jwt.credential.sub is its ServiceAccount)"
"""Stands for the id of the operator's client, if the Federation does not say it."""


class KeycloakRealm(RealmClients, RealmSecrets, RealmRoles, RealmUsers, RealmTokens, RealmSurvey):
    """One realm; see `fedid.ports.IdentityProvider` for what each method promises."""

    def __init__(  # noqa: PLR0913 - the four things it is about and two tunables
        self,
        transport: Transport,
        realm: str,
        issuer_url: str,
        credentials: ClientAuthentication,
        *,
        catalogue_life: timedelta = timedelta(minutes=5),
        catalogue_pause: timedelta = timedelta(seconds=3),
    ) -> None:
        """Prepare; nothing connects before the first call.

        Args:
            transport: To `keycloak.url`; closed by `aclose`.
            realm: The realm's name; its case counts.
            issuer_url: What tokens must carry as `iss`.
            credentials: The operator's own client in this realm.
            catalogue_life: How long roles and groups, and what they bring, are remembered.
            catalogue_pause: How long one that was missing is not asked for again.
        """
        # One clock for all: instants that the transport noted are compared with later ones.
        monotonic = transport.monotonic
        oidc = OidcEndpoints(transport, realm, issuer_url)
        token = AdminToken(oidc, credentials, self._note_instant, monotonic=monotonic)
        client_id = credentials.client_id or _UNNAMED
        connection = AdminConnection(transport, realm, client_id, token)
        admin = KeycloakAdmin(connection=connection)
        roles = RoleCatalogue(admin, connection, life=catalogue_life, pause=catalogue_pause, monotonic=monotonic)
        groups = GroupDirectory(connection, life=catalogue_life, pause=catalogue_pause, monotonic=monotonic)
        self._access = RealmAccess(
            realm=realm,
            issuer_url=issuer_url,
            client_id=client_id,
            transport=transport,
            admin=admin,
            connection=connection,
            token=token,
            oidc=oidc,
            verifier=TokenVerifier(issuer_url, oidc.keys, monotonic=monotonic),
            clock=ServerClock(monotonic=monotonic),
            roles=roles,
            groups=groups,
            brought=BroughtRoles(connection, roles, groups, life=catalogue_life, monotonic=monotonic),
            policies=PolicyCatalogue(connection, monotonic=monotonic),
            scopes=ScopeCatalogue(connection, life=catalogue_life, pause=catalogue_pause, monotonic=monotonic),
            rules=RuleCatalogue(connection, life=catalogue_life, pause=catalogue_pause, monotonic=monotonic),
        )

    async def probe(self) -> RealmFacts:
        """Check that the realm answers, that we may do our work, and what its issuer is; warm keys and catalogue.

        Bypasses an open breaker and closes it on success.

        Raises:
            BackendUnavailableError: No answer (its message says refused, timeout or certificate).
            BackendDeniedError: Our client is refused (`invalid_client`) or may not read the realm.
            BackendRejectedError: The realm does not exist (reason `RealmNotFound`) or has another issuer (reason
                `IssuerMismatch`).
        """
        return await realm_facts(self._access)

    def server_now(self) -> datetime:
        """Return a lower bound of Keycloak's clock (the `iat` of a token plus the time since), aware UTC.

        Raises:
            BackendUnavailableError: There was no token yet; `probe` fetches one.
        """
        return self._access.clock.at_least()

    def server_now_at_most(self) -> datetime:
        """Return an upper bound of Keycloak's clock: no token issued until now has a later `iat`.

        Raises:
            BackendUnavailableError: There was no token yet; `probe` fetches one.
        """
        return self._access.clock.at_most()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._access.transport.aclose()

    def _note_instant(self, issued: IssuedToken) -> None:
        instant = own_claims(issued).get("iat")
        if isinstance(instant, int):
            second = datetime.fromtimestamp(instant, UTC)
            self._access.clock.saw(second, sent=issued.sent, received=issued.received)
