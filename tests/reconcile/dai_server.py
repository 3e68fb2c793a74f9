"""A server that is a client of Keycloak, on the fakes: its manifest, its grants, its passes, and what became of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fedid.domain.conditions import Condition, ConditionType, Reason
from fedid.domain.naming import ObjectKey
from fedid.domain.oidc_client import parse_oidc_client
from fedid.domain.oidc_client_record import client_uuids
from fedid.domain.realm import ClientRecord, SecretPolicy
from fedid.domain.resources import FEDERATION, POD_IDENTITY, meta_of
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from fedid.errors import BackendUnavailableError, NotReadyError
from fedid.platforms.table import client_needs
from fedid.reconcile.oidc_client import BroughtClient, OidcClients
from fedid.reconcile.status import newest_of, write_status
from fedid.reconcile.world import Backends
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

DAI = ObjectKey(POD_IDENTITY, NAMESPACE, "dai")
CLIENT_ID = f"{NAMESPACE}.dai.server"
PUBLIC_ID = f"{CLIENT_ID}.public"
BASE = "https://dai.site-a.example"
PATH = f"fedid/{NAMESPACE}/pods/dai/client"
POLICY = SecretPolicy("two-secrets", timedelta(days=3650), timedelta(days=365))
RULE: dict[str, Any] = {
    "namespaces": {"names": [NAMESPACE]},
    "oidcFlows": ["authorizationCode", "introspection", "device", "clientCredentials"],
    "redirectUriPrefixes": ["https://dai.{namespace}.example"],
    "clientIds": ["dai*"],
    "scopes": ["fl-*"],
}


class Server:
    """The operator and one server that is a client of Keycloak; a pass is run by hand and its status written."""

    def __init__(self, **oidc_client: Any) -> None:
        """Start with a realm that keeps two secrets, and a grant."""
        self.operator = SmallOperator()
        self.provider, self.store = self.operator.provider, self.operator.store
        self.provider.realm.secret_policy = POLICY
        self.rotate: str | None = None
        self.grant(RULE)
        self.want(**oidc_client)

    def grant(self, *rules: dict[str, Any]) -> None:
        """Let the Federation have these rules."""
        spec = self.operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        self.operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": list(rules)})

    def want(self, *, options: dict[str, Any] | None = None, **oidc_client: Any) -> None:
        """Apply the PodIdentity."""
        block = {"baseUrl": BASE, **oidc_client}
        platform = {"driverlessAi": options if options is not None else {"pythonClient": {}}}
        spec = {"role": "server", "oidcClient": block, "platform": platform}
        annotations = {"fedid.io/rotate": self.rotate} if self.rotate else {}
        self.operator.cluster.apply(POD_IDENTITY, NAMESPACE, "dai", spec, annotations=annotations)

    @property
    def body(self) -> dict[str, Any]:
        """The object as the API server has it."""
        return self.operator.cluster.bodies[DAI]

    @property
    def status(self) -> dict[str, Any]:
        """Its status."""
        found: dict[str, Any] = self.body.get("status") or {}
        return found

    @property
    def uuids(self) -> tuple[str, str]:
        """Ids of its two clients."""
        return client_uuids(self.body["metadata"]["uid"])

    @property
    def client(self) -> ClientRecord:
        """Its own client, as Keycloak has it."""
        return self.provider.realm.clients[self.uuids[0]]

    async def backends(self) -> Backends:
        """Return the Federation's adapters, as its pass made them."""
        key = ObjectKey(FEDERATION, "", "local")
        self.operator.due = {key: self.operator.clock.seconds}
        await self.operator.settle()
        self.operator.due.clear()
        return self.operator.world.backends["local"]

    async def bring(self) -> BroughtClient:
        """Run one pass and write what it says."""
        backends = await self.backends()
        world = self.operator.world
        body = world.directory.get(DAI)
        assert body is not None
        needs = client_needs("driverlessAi", body["spec"]["platform"]["driverlessAi"])
        spec = parse_oidc_client(body["spec"], DAI, needs)
        assert spec is not None
        brought = await OidcClients(world).bring_in_line(body, spec, backends)
        told = [Condition(ConditionType.READY, brought.granted, Reason.READY, "ready"), *brought.conditions]
        fields = {**brought.fields, "federation": "local", "delivered": True}
        await write_status(world, newest_of(world, body), told, fields, generation=meta_of(body).generation)
        return brought

    async def brought_at_last(self) -> BroughtClient:
        """Run passes, a second apart, until one comes to its end."""
        for _ in range(10):
            try:
                return await self.bring()
            except (NotReadyError, BackendUnavailableError):
                self.operator.clock.seconds += 1
        message = "it never settles"
        raise AssertionError(message)

    async def delete(self) -> None:
        """Delete the object and run passes until it is gone."""
        self.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "dai")
        backends = await self.backends()
        for _ in range(10):
            body = self.operator.world.directory.get(DAI)
            if body is None:
                return
            if not await OidcClients(self.operator.world).teardown.delete(body, CLIENT_ID, backends):
                self.operator.clock.seconds += 1

    def secret(self) -> str:
        """Return what Vault holds."""
        return self.store.data_of(PATH)["client_secret"]

    async def accepted(self, secret: str) -> bool:
        """Tell whether the server gets in with it."""
        return await self.provider.authenticates(ClientCredentials(CLIENT_ID, Sensitive(secret)))

    def events(self, reason: str) -> list[str]:
        """Return what was told."""
        return [event.message for event in self.operator.cluster.events if event.reason == reason]

    def asked(self) -> int:
        """Return how often Keycloak was asked, the Federation's own probes aside."""
        return sum(call.operation != "probe" for call in self.provider.calls)

    def writes(self) -> int:
        """Return how often anything was written anywhere."""
        return len(self.provider.writes) + len(self.store.writes) + len(self.operator.writes())
