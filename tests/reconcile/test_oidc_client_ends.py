"""The end of the Keycloak clients of servers: seen alive, then refused, whatever is away or crashes meanwhile."""

from __future__ import annotations

import pytest

from fedid.domain.resources import POD_IDENTITY
from fedid.errors import BackendUnavailableError, Error
from fedid.reconcile.oidc_client import OidcClients
from tests.reconcile.dai_server import CLIENT_ID, DAI, PATH, PUBLIC_ID, Server
from tests.reconcile.small_operator import NAMESPACE


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
