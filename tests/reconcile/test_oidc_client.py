"""The Keycloak clients of servers: made, put back, rotated, taken down with a proof; on the fakes, in moved time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fedid.domain.conditions import Condition, ConditionType, Reason, condition_of
from fedid.domain.naming import ObjectKey, client_uuid
from fedid.domain.oidc_client import parse_oidc_client
from fedid.domain.oidc_client_record import client_uuids
from fedid.domain.realm import ClientRecord, SecretPolicy
from fedid.domain.resources import FEDERATION, FINALIZER, POD_IDENTITY, meta_of
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from fedid.errors import (
    BackendRejectedError,
    BackendUnavailableError,
    Error,
    NotGrantedError,
    NotReadyError,
    OwnershipConflictError,
)
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


async def test_both_clients_are_made_and_proven() -> None:
    """One pass: the clients in Keycloak, the secret in Vault, and what a renderer needs."""
    server = Server()
    brought = await server.bring()
    assert {c.client_id for c in server.provider.realm.clients.values()} == {CLIENT_ID, PUBLIC_ID}
    assert server.client.client_uuid == client_uuid(server.body["metadata"]["uid"])
    assert brought.client.client_secret is not None
    assert brought.client.client_secret.reveal() == server.secret()
    assert brought.client.public_client_id == PUBLIC_ID
    assert FINALIZER in server.body["metadata"]["finalizers"]
    assert server.status["oidcClient"]["clientUuid"] == server.uuids[0]
    assert server.status["oidcClient"]["vaultPath"] == PATH
    assert await server.accepted(server.secret())
    assert server.client.not_before > 0
    assert server.secret() not in str(server.body)


async def test_a_second_pass_writes_nothing() -> None:
    """Neither at once nor when Keycloak is looked at again."""
    server = Server()
    await server.bring()
    before = server.writes()
    await server.bring()
    calls = server.asked()
    await server.bring()
    assert server.asked() == calls, "nobody asks Keycloak before it is due"
    server.operator.clock.seconds += 3600
    await server.bring()
    server.operator.world.freshness.expire(DAI)
    await server.bring()
    assert server.writes() == before
    assert server.events("DriftRepaired") == []


@pytest.mark.parametrize(
    ("backend", "operation", "at"),
    [
        ("keycloak", "create_client", "before"),
        ("keycloak", "create_client", "after"),
        ("keycloak", "authenticates", "before"),
        ("vault", "read", "before"),
        ("vault", "write", "before"),
        ("vault", "write", "after"),
    ],
)
async def test_a_crash_anywhere_is_made_good(backend: str, operation: str, at: str) -> None:
    """Whatever answer is lost, one client of each id comes of it and Vault holds its secret."""
    server = Server()
    failures = server.provider.failures if backend == "keycloak" else server.store.failures
    failures.add(operation, BackendUnavailableError("lost", backend=backend, outcome_unknown=True), at=at, times=2)
    await server.brought_at_last()
    assert len(server.provider.realm.clients) == 2
    assert await server.accepted(server.secret())


async def test_a_crash_before_the_status_is_made_good() -> None:
    """A process that ends after everything was made finds it all again."""
    server = Server()
    backends = await server.backends()
    world = server.operator.world
    body = world.directory.get(DAI)
    assert body is not None
    spec = parse_oidc_client(body["spec"], DAI, client_needs("driverlessAi", {"pythonClient": {}}))
    assert spec is not None
    await OidcClients(world).bring_in_line(body, spec, backends)
    first = server.secret()
    server.operator.restart()
    await server.bring()
    assert server.secret() == first
    assert len(server.provider.realm.clients) == 2


class TestDrift:
    """What a hand changed is put back, and told."""

    async def test_flags_and_addresses(self) -> None:
        """A way in that somebody opened is shut again."""
        server = Server()
        await server.bring()
        flags = {**server.client.flags, "fullScopeAllowed": True, "implicitFlowEnabled": True}
        uris = {"redirectUris": (f"{BASE}/oidc/callback", "https://elsewhere.example/")}
        server.provider.realm.change_client(server.uuids[0], flags=flags, uris=uris)
        server.operator.world.freshness.expire(DAI)
        await server.bring()
        assert not server.client.flags["fullScopeAllowed"]
        assert server.client.uris == {"redirectUris": (f"{BASE}/oidc/callback",)}
        (told,) = server.events("DriftRepaired")
        assert "fullScopeAllowed" in told
        assert "redirectUris" in told

    async def test_a_scope(self) -> None:
        """Neither a scope more nor one less than the realm gives."""
        server = Server()
        await server.bring()
        server.provider.realm.take_scope(server.uuids[0], "basic")
        server.provider.realm.add_scope("everything")
        server.provider.realm.give_scope(server.uuids[0], "everything")
        server.operator.world.freshness.expire(DAI)
        await server.bring()
        assert "basic" in server.client.default_scopes
        assert "everything" not in server.client.default_scopes | server.client.optional_scopes

    async def test_the_client_is_made_anew(self) -> None:
        """With the same secret, which pods hold, and no token of before being good again."""
        server = Server()
        await server.bring()
        secret = server.secret()
        server.provider.realm.delete_client(server.uuids[0])
        server.operator.world.freshness.expire(DAI)
        with pytest.raises(NotReadyError):
            await server.bring()
        before = int(server.operator.clock.now().timestamp())
        await server.brought_at_last()
        assert server.secret() == secret
        assert server.client.not_before > before

    async def test_the_secret_in_keycloak(self) -> None:
        """Neither value is trusted: another one takes their place."""
        server = Server()
        await server.bring()
        first = server.secret()
        server.provider.realm.change_client(server.uuids[0], secret=Sensitive("by hand"))
        server.operator.world.freshness.expire(DAI)
        await server.bring()
        assert server.secret() not in {first, "by hand"}
        assert await server.accepted(server.secret())
        assert not await server.accepted("by hand")

    async def test_the_public_client(self) -> None:
        """It is compared too."""
        server = Server()
        await server.bring()
        public = server.provider.realm.clients[server.uuids[1]]
        attributes = {k: v for k, v in public.attributes.items() if not k.startswith("pkce")}
        server.provider.realm.change_client(server.uuids[1], attributes=attributes)
        server.operator.world.freshness.expire(DAI)
        await server.bring()
        assert server.provider.realm.clients[server.uuids[1]].attributes["pkce.code.challenge.method"] == "S256"

    async def test_the_entry_in_vault(self) -> None:
        """What somebody deleted there is published again."""
        server = Server()
        await server.bring()
        secret = server.secret()
        server.store.delete_newest_by_hand(PATH)
        await server.bring()
        assert server.secret() == secret


class TestScopes:
    """Client scopes that the manifest names, beside those of the realm."""

    async def test_given_taken_and_switched(self) -> None:
        """As the manifest says, in the way that it says, and not told as drift."""
        server = Server(defaultScopes=["fl-roles"], optionalScopes=["fl-profile"])
        for name in ("fl-roles", "fl-profile"):
            server.provider.realm.add_scope(name)
        await server.bring()
        assert "fl-roles" in server.client.default_scopes
        assert "fl-profile" in server.client.optional_scopes
        server.want(optionalScopes=["fl-roles"])
        await server.bring()
        assert "fl-roles" in server.client.optional_scopes - server.client.default_scopes
        assert "fl-profile" not in server.client.optional_scopes
        server.want()
        await server.bring()
        realm = await server.provider.realm_scopes(frozenset())
        assert server.client.default_scopes == realm.default - {"service_account"}
        assert server.client.optional_scopes == realm.optional
        assert server.events("DriftRepaired") == []

    async def test_put_back(self) -> None:
        """One that a hand took is given again, and that is told."""
        server = Server(defaultScopes=["fl-roles"])
        server.provider.realm.add_scope("fl-roles")
        await server.bring()
        server.provider.realm.take_scope(server.uuids[0], "fl-roles")
        server.operator.world.freshness.expire(DAI)
        await server.bring()
        assert "fl-roles" in server.client.default_scopes
        assert "client scopes removed (fl-roles)" in server.events("DriftRepaired")[0]
        before = server.writes()
        server.operator.world.freshness.expire(DAI)
        await server.bring()
        assert server.writes() == before

    async def test_a_grant_that_is_narrowed_takes_it(self) -> None:
        """The rest goes on, and the condition says what is not granted."""
        server = Server(defaultScopes=["fl-roles"])
        server.provider.realm.add_scope("fl-roles")
        await server.bring()
        server.grant({**RULE, "scopes": []})
        server.operator.world.freshness.expire(DAI)
        brought = await server.bring()
        assert "fl-roles" not in server.client.default_scopes
        assert "scopes: fl-roles" in brought.conditions[0].message
        assert server.events("DriftRepaired") == []

    async def test_one_that_is_not_there(self) -> None:
        """Nothing is made without it, and the sentence names it; made later, it is found."""
        server = Server(defaultScopes=["fl-roles"])
        with pytest.raises(BackendRejectedError, match=r"client scope fl-roles does not exist in realm fl") as missing:
            await server.bring()
        assert missing.value.reason == Reason.SCOPE_MISSING
        assert server.provider.realm.client(CLIENT_ID) is None
        server.provider.realm.add_scope("fl-roles")
        await server.bring()
        assert "fl-roles" in server.client.default_scopes


class TestOwners:
    """Nothing of a stranger is touched."""

    async def test_a_client_of_that_id(self) -> None:
        """The condition names it; deleting the object leaves it alone."""
        server = Server()
        server.provider.realm.add_client(CLIENT_ID, owner="other/uid", secret=Sensitive("theirs"))
        with pytest.raises(OwnershipConflictError, match="other/uid"):
            await server.bring()
        await server.delete()
        client = server.provider.realm.client(CLIENT_ID)
        assert client is not None
        assert (client.owner, client.secret) == ("other/uid", Sensitive("theirs"))

    async def test_an_entry_in_vault(self) -> None:
        """Somebody else's stays."""
        server = Server()
        server.store.put_by_hand(PATH, {"client_secret": "theirs"})
        with pytest.raises(OwnershipConflictError, match="carries no owner mark"):
            await server.bring()
        assert server.secret() == "theirs"

    async def test_a_mark_that_was_changed(self) -> None:
        """The object waits and says for what."""
        server = Server()
        await server.bring()
        server.provider.realm.change_client(server.uuids[0], owner="other/uid")
        with pytest.raises(OwnershipConflictError, match="put the attribute"):
            await server.delete()
        assert server.uuids[0] in server.provider.realm.clients


class TestGrants:
    """What is not granted is not made, and what is granted no longer goes."""

    async def test_nothing_without_a_rule(self) -> None:
        """Keycloak hears nothing of it."""
        server = Server()
        server.grant({"namespaces": {"names": [NAMESPACE]}})
        with pytest.raises(NotGrantedError, match="oidcFlows: authorizationCode"):
            await server.bring()
        assert server.provider.writes == []
        assert FINALIZER not in server.body["metadata"].get("finalizers", [])

    async def test_an_address_elsewhere(self) -> None:
        """The address of another host is no address of the namespace."""
        server = Server(baseUrl="https://dai.site-a.example.evil")
        with pytest.raises(NotGrantedError, match="redirectUriPrefixes: https://dai"):
            await server.bring()
        assert server.provider.writes == []

    async def test_a_flow_that_is_taken_back(self) -> None:
        """The rest goes on, and the condition says what went."""
        server = Server(flows=["authorizationCode", "device", "introspection"])
        await server.bring()
        server.grant({**RULE, "oidcFlows": ["authorizationCode", "introspection"]})
        await server.backends()
        server.operator.world.freshness.expire(DAI)
        brought = await server.bring()
        assert not brought.granted
        assert server.client.attributes["oauth2.device.authorization.grant.enabled"] == "false"
        assert server.client.flags["standardFlowEnabled"]
        granted = condition_of(server.status["conditions"], ConditionType.GRANTED)
        assert granted is not None
        assert granted["reason"] == "NotGranted"
        assert server.events("DriftRepaired") == [], "no hand did it"

    async def test_everything_that_is_taken_back(self) -> None:
        """Both clients go, with the proof, and the object stays; a grant that comes back makes them anew."""
        server = Server()
        await server.bring()
        secret = server.secret()
        server.grant()
        await server.backends()
        for _ in range(3):
            with pytest.raises(NotGrantedError):
                await server.bring()
            server.operator.clock.seconds += 1
        assert server.provider.realm.clients == {}
        assert not await server.accepted(secret)
        assert PATH not in server.store.entries
        assert "oidcClient" not in server.status
        assert FINALIZER not in server.body["metadata"]["finalizers"]
        revoked = condition_of(server.status["conditions"], ConditionType.REVOKED)
        assert revoked is not None
        assert revoked["reason"] == "Proven"
        server.grant(RULE)
        await server.brought_at_last()
        assert server.secret() != secret
        assert not await server.accepted(secret)

    async def test_the_id_of_the_public_client(self) -> None:
        """Without it the server goes on, and says what it lacks."""
        server = Server(options={"pythonClient": {"clientId": "dai-py"}})
        await server.bring()
        server.grant({**RULE, "clientIds": []})
        await server.backends()
        server.operator.world.freshness.expire(DAI)
        brought = await server.bring()
        assert brought.client.public_client_id is None
        assert not brought.granted
        assert [c.client_id for c in server.provider.realm.clients.values()] == [CLIENT_ID]


class TestRotation:
    """A new secret by annotation; the former stays good for the overlap."""

    async def test_with_an_overlap(self) -> None:
        """Old and new are good, then only the new one; each value of the annotation once."""
        server = Server(secretRotation={"overlap": "5m"})
        await server.bring()
        first = server.secret()
        server.rotate = "secret-1"
        server.want(secretRotation={"overlap": "5m"})
        brought = await server.bring()
        assert brought.again_at is not None
        second = server.secret()
        assert second != first
        assert server.store.data_of(PATH)["previous_client_secret"] == first
        assert await server.accepted(first)
        assert await server.accepted(second)
        await server.bring()
        assert server.secret() == second
        server.operator.clock.seconds += 360
        await server.bring()
        assert not await server.accepted(first)
        assert "previous_client_secret" not in server.store.data_of(PATH)
        assert server.status["oidcClient"]["rotatedFor"] == "secret-1"
        assert "previousEndsAt" not in server.status["oidcClient"]
        assert server.events("DriftRepaired") == []

    async def test_a_realm_that_keeps_one(self) -> None:
        """The secret stays, and the condition says why and what to do."""
        server = Server()
        server.provider.realm.secret_policy = None
        await server.bring()
        first = server.secret()
        server.rotate = "secret-1"
        server.want()
        await server.bring()
        assert server.secret() == first
        synced = condition_of(server.status["conditions"], ConditionType.KEYCLOAK_SYNCED)
        assert synced is not None
        assert synced["reason"] == "OverlapImpossible"
        assert "allowInterruption" in synced["message"]

    async def test_with_an_interruption(self) -> None:
        """Where that is allowed, the former ends at once."""
        server = Server(secretRotation={"allowInterruption": True})
        server.provider.realm.secret_policy = None
        await server.bring()
        first = server.secret()
        server.rotate = "all"
        server.want(secretRotation={"allowInterruption": True})
        await server.bring()
        assert server.secret() != first
        assert not await server.accepted(first)


class TestEnd:
    """Deletion ends with a proof."""

    async def test_seen_alive_then_dead(self) -> None:
        """The secret was accepted, then refused; both clients and the entry are gone, then the object."""
        server = Server()
        await server.bring()
        secret = server.secret()
        await server.delete()
        assert DAI not in server.operator.cluster.bodies
        assert server.provider.realm.clients == {}
        assert PATH not in server.store.entries
        assert not await server.accepted(secret)
        (told,) = server.events("RevocationProven")
        assert "its secret was accepted at" in told
        assert "its secret is refused (invalid_client)" in told
        assert "may take a token that was got by it until 2026-01-01T12:10:01Z" in told
        assert PUBLIC_ID in told
        assert secret not in told

    async def test_never_made(self) -> None:
        """An object whose clients were never made goes as well."""
        server = Server()
        await server.delete()
        assert DAI not in server.operator.cluster.bodies

    async def test_gone_already(self) -> None:
        """What somebody else deleted is no reason to stay."""
        server = Server()
        await server.bring()
        server.provider.realm.clients.clear()
        await server.delete()
        assert DAI not in server.operator.cluster.bodies

    async def test_both_secrets_of_a_rotation(self) -> None:
        """In an overlap two are presented."""
        server = Server()
        await server.bring()
        server.rotate = "secret"
        server.want()
        await server.bring()
        await server.delete()
        (told,) = server.events("RevocationProven")
        assert "all 2 of its secrets are refused" in told

    async def test_vault_away(self) -> None:
        """Keycloak refuses first; the object stays until Vault was seen to be empty."""
        server = Server()
        await server.bring()
        away = BackendUnavailableError("away", backend="vault")
        server.store.failures.add("read", away, times=3)
        with pytest.raises(Error):
            await server.delete()
        assert server.provider.realm.clients == {}
        assert DAI in server.operator.cluster.bodies

    async def test_not_within_the_second_of_the_delete(self) -> None:
        """So that the notBefore of a client made anew covers every token of before."""
        server = Server()
        await server.bring()
        server.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "dai")
        backends = await server.backends()
        body = server.operator.world.directory.get(DAI)
        assert body is not None
        teardown = OidcClients(server.operator.world).teardown
        assert not await teardown.delete(body, CLIENT_ID, backends)
        server.operator.clock.seconds += 1
        body = server.operator.world.directory.get(DAI)
        assert body is not None
        assert await teardown.delete(body, CLIENT_ID, backends)

    async def test_a_crash_after_the_proof_tells_the_same(self) -> None:
        """The entry in Vault that could show the refusal is gone, and the status still has it."""
        server = Server()
        await server.bring()
        server.operator.cluster.delete(POD_IDENTITY, NAMESPACE, "dai")
        server.store.failures.add("destroy", BackendUnavailableError("lost", backend="vault"), at="after")
        backends = await server.backends()
        body = server.operator.world.directory.get(DAI)
        assert body is not None
        with pytest.raises(BackendUnavailableError):
            await OidcClients(server.operator.world).teardown.delete(body, CLIENT_ID, backends)
        server.operator.restart()
        server.operator.clock.seconds += 2
        await server.delete()
        (told,) = server.events("RevocationProven")
        assert "its secret is refused (invalid_client)" in told
