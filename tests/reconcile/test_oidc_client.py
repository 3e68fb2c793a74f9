"""The Keycloak clients of servers: made, put back, rotated; on the fakes, in moved time."""

from __future__ import annotations

import pytest

from fedid.domain.conditions import ConditionType, Reason, condition_of
from fedid.domain.naming import client_uuid
from fedid.domain.oidc_client import parse_oidc_client
from fedid.domain.resources import FINALIZER
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendRejectedError, BackendUnavailableError, NotReadyError
from fedid.platforms.table import client_needs
from fedid.reconcile.oidc_client import OidcClients
from tests.reconcile.dai_server import BASE, CLIENT_ID, DAI, PATH, PUBLIC_ID, RULE, Server


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
