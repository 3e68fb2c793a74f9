"""The Keycloak clients of servers, where they may not be: a stranger's stays, and what is not granted goes."""

from __future__ import annotations

import pytest

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.resources import FINALIZER
from fedid.domain.sensitive import Sensitive
from fedid.errors import NotGrantedError, OwnershipConflictError
from tests.reconcile.dai_server import CLIENT_ID, DAI, PATH, RULE, Server
from tests.reconcile.small_operator import NAMESPACE


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
