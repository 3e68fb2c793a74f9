"""The adapters of a Federation, each with its own limiter and breaker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

from fedid.adapters.answer import Call
from fedid.adapters.keycloak import KeycloakRealm
from fedid.adapters.metrics import BackendLoad
from fedid.adapters.openfga import BACKEND as OPENFGA
from fedid.adapters.openfga import OpenFgaStore
from fedid.adapters.superlink import SuperLinkRegistry
from fedid.adapters.superlink.refusals import BACKEND as SUPERLINK
from fedid.adapters.transport import Transport
from fedid.adapters.vault import AppRoleLogin, JwtLogin, LoginMethod, StaticToken, VaultSecretStore
from fedid.domain.access import (
    AppRole,
    JwtAuth,
    KeycloakAccess,
    KeycloakCredentials,
    KubernetesAuth,
    ServiceAccountTokenAuth,
    VaultAccess,
    VaultCredentials,
    VaultToken,
)
from fedid.domain.openfga import OpenFgaAccess
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import SuperLinkAccess
from fedid.domain.tokens import AssertionFile
from fedid.engine import (
    AdaptiveLimiter,
    Breaker,
    BreakerState,
    LimiterBounds,
)
from fedid.ports import IdentityProvider, NodeRegistry, SecretStore, TupleStore
from fedid.settings import Settings

__all__ = ["ConcreteBackends"]

_CONNECTIONS = 32
"""To each backend; no more than this is in flight, so no request waits for a connection while its time runs."""


class ConcreteBackends:
    """Makes the adapters of a Federation, each with its own limiter and breaker."""

    def __init__(
        self,
        settings: Settings,
        fence: Callable[[], None],
        on_call: Callable[[Call], None],
        on_turn: Callable[[str, BreakerState], None],
    ) -> None:
        """Make adapters for this process, which write nothing once the fence says so."""
        self._settings, self._fence, self._on_call, self._on_turn = settings, fence, on_call, on_turn
        self._gates: WeakKeyDictionary[Transport, tuple[AdaptiveLimiter, Breaker]] = WeakKeyDictionary()

    def identity_provider(self, access: KeycloakAccess, credentials: KeycloakCredentials) -> IdentityProvider:
        """Return the adapter of a realm."""
        transport = self._transport("keycloak", access.url, access.ca_bundle)
        if isinstance(credentials, ServiceAccountTokenAuth):
            credentials = AssertionFile(self._settings.keycloak_token_path, credentials.client_id)
        return KeycloakRealm(transport, access.realm, access.issuer_url, credentials)

    def secret_store(self, access: VaultAccess, credentials: VaultCredentials) -> SecretStore:
        """Return the adapter of a mount."""
        transport = self._transport("vault", access.url, access.ca_bundle)
        login = self._login(credentials)
        return VaultSecretStore(transport, mount=access.mount, kv_version=access.kv_version, login=login)

    def node_registry(self, access: SuperLinkAccess) -> NodeRegistry:
        """Return the adapter of a SuperLink."""
        return SuperLinkRegistry(self._transport(SUPERLINK, access.url, access.ca_bundle))

    def tuple_store(self, access: OpenFgaAccess, key: Sensitive | None) -> TupleStore:
        """Return the adapter of an OpenFGA store."""
        transport = self._transport(OPENFGA, access.url, access.ca_bundle)
        return OpenFgaStore(transport, access.store_id, access.model_id, key)

    def loads(self) -> Mapping[str, BackendLoad]:
        """Return what is on the way to each kind of backend now."""
        loads: defaultdict[str, BackendLoad] = defaultdict(BackendLoad)
        for transport, (limiter, breaker) in self._gates.items():
            if not transport.closed:
                load = loads[transport.backend]
                load.limit += limiter.limit
                load.in_flight += limiter.in_use
                load.waiting += limiter.waiting
                load.breakers[breaker.state] += 1
        return loads

    def _login(self, credentials: VaultCredentials) -> LoginMethod:
        token_file = self._settings.vault_token_path
        match credentials:
            case JwtAuth(mount=mount, role=role):
                return JwtLogin(role, token_file, mount)
            case KubernetesAuth(mount=mount, role=role):
                bindings = "audience, bound_service_account_names and bound_service_account_namespaces"
                return JwtLogin(role, token_file, mount, bindings)
            case AppRole(mount=mount, role_id=role_id, secret_id=secret_id):
                return AppRoleLogin(role_id, secret_id, mount)
            case VaultToken(token=token):
                return StaticToken(token)

    def _transport(self, backend: str, url: str, ca_bundle: str | None) -> Transport:
        breaker, limiter = Breaker(backend), AdaptiveLimiter(LimiterBounds(maximum=_CONNECTIONS))
        breaker.on_change(lambda state: self._on_turn(backend, state))
        transport = Transport(
            backend,
            url,
            ca_bundle=ca_bundle,
            connections=_CONNECTIONS,
            limiter=limiter,
            breaker=breaker,
            fence=self._fence,
            on_call=self._on_call,
            replica=self._settings.replica,
        )
        self._gates[transport] = limiter, breaker
        return transport
