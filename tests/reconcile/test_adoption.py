"""A bot that takes over a client that is there already: wholly, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.conditions import condition_of
from fedid.domain.naming import ObjectKey, client_uuid
from fedid.domain.realm import ClientRecord
from fedid.domain.resources import BOT_CLIENT, FEDERATION
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from tests.reconcile.small_operator import NAMESPACE, SmallOperator
from tests.reconcile.test_suspension import dies

BOT = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
CLIENT_ID = f"{NAMESPACE}.trainer"
FORMER = Sensitive("known to somebody")


def want(operator: SmallOperator, **spec: Any) -> None:
    """Apply the bot with its one token and these fields."""
    wanted = {"tokens": [{"name": "default"}], "adopt": True, "realmRoles": ["fl-client"], **spec}
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", wanted)


def grant(operator: SmallOperator, **rule: Any) -> None:
    """Let the namespace ask for the role and this, and for nothing else."""
    spec = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    rules = [{"namespaces": {"names": [NAMESPACE]}, "realmRoles": ["fl-client"], **rule}]
    operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": rules})


def client_of(operator: SmallOperator, client_id: str = CLIENT_ID) -> ClientRecord:
    """Return the client as it stands."""
    client = operator.provider.realm.client(client_id)
    assert client is not None
    return client


def ready(operator: SmallOperator) -> tuple[str, str]:
    """Return status and reason of `Ready`."""
    found = condition_of(operator.status(BOT_CLIENT, "trainer")["conditions"], "Ready")  # type: ignore[arg-type]
    assert found is not None
    return found["status"], found["reason"]


def told(operator: SmallOperator) -> str:
    """Return the message of `Ready`."""
    found = condition_of(operator.status(BOT_CLIENT, "trainer")["conditions"], "Ready")  # type: ignore[arg-type]
    assert found is not None
    return str(found["message"])


class Stranger:
    """A client that somebody made and uses, with all that can be left on one."""

    def __init__(self, operator: SmallOperator, *, owner: str | None = None, client_id: str = CLIENT_ID) -> None:
        """Make it."""
        realm = operator.provider.realm
        self.client_id = client_id
        self.uuid = realm.add_client(client_id, owner=owner, secret=FORMER).client_uuid
        realm.add_mapper(self.uuid, "by_hand")
        realm.add_scope("theirs")
        realm.give_scope(self.uuid, "theirs")
        flags = {**realm.clients[self.uuid].flags, "standardFlowEnabled": True}
        realm.change_client(
            self.uuid, flags=flags, uris={"redirectUris": ("https://x/*",)}, attributes={"jwks.url": "https://x"}
        )
        account = realm.account_of(self.uuid)
        account.role_ids.add(realm.role("admin").role_id)
        realm.add_group("/admins")
        account.groups.add("/admins")

    async def token(self, operator: SmallOperator) -> Sensitive:
        """Sign in as whoever knows it."""
        minted = await operator.provider.mint(ClientCredentials(self.client_id, FORMER))
        assert minted is not None
        return minted.token


def started(**rule: Any) -> SmallOperator:
    """Return an operator whose realm has two roles, with a rule that lets a namespace adopt."""
    made = SmallOperator()
    for role in ("fl-client", "admin"):
        made.provider.realm.add_role(role)
    grant(made, **{"adopt": True, **rule})
    return made


async def assert_adopted(operator: SmallOperator, stranger: Stranger, token: Sensitive) -> None:
    """See it wholly ours, under its own id, and useless to whoever had it."""
    realm, client = operator.provider.realm, client_of(operator)
    assert ready(operator) == ("True", "Ready")
    assert client.client_uuid == stranger.uuid == operator.status(BOT_CLIENT, "trainer")["clientUuid"]
    assert client.owner == operator.world.owner(operator.cluster.bodies[BOT]["metadata"]["uid"])
    assert client.object_name == str(BOT)
    assert not realm.accepts(token)
    assert await operator.provider.credentials_refused(ClientCredentials(CLIENT_ID, FORMER))
    assert client.mappers == ()
    assert client.flags["standardFlowEnabled"] is False
    assert {name: values for name, values in client.uris.items() if values} == {}
    assert "jwks.url" not in client.attributes
    assert "theirs" not in client.default_scopes
    account = realm.account_of(stranger.uuid)
    assert account.role_ids == {realm.role("fl-client").role_id, realm.default_role.role_id}
    assert account.groups == set()
    entry = operator.store.entries[f"fedid/{NAMESPACE}/bots/trainer/tokens/default"]
    assert realm.accepts(Sensitive(entry.shown(operator.clock.now())["token"]))


async def test_a_client_that_nobody_owns_is_taken_over() -> None:
    """Wholly; a second look writes nothing, and deleting the bot deletes it."""
    operator = started()
    stranger = Stranger(operator)
    token = await stranger.token(operator)
    want(operator)
    await operator.advance(10)
    await assert_adopted(operator, stranger, token)
    assert [event.reason for event in operator.cluster.events].count("ClientAdopted") == 1
    before = len(operator.provider.writes)
    await operator.look()
    operator.restart()
    await operator.look()
    assert len(operator.provider.writes) == before
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(5)
    assert BOT not in operator.cluster.bodies
    assert operator.provider.realm.client(CLIENT_ID) is None


async def test_wherever_an_adoption_is_cut_off_it_ends_the_same() -> None:
    """After each single effect; also when the bot is deleted next."""
    effects, cut = 0, True
    while cut:
        effects += 1
        operator = started()
        stranger = Stranger(operator)
        token = await stranger.token(operator)
        want(operator)
        cut = await dies(operator, effects)
        await assert_adopted(operator, stranger, token)
    assert effects > 8, "it was cut off in a few places only"


async def test_a_bot_that_is_deleted_before_its_status_knows_the_client_takes_it_along() -> None:
    """The mark is found by the clientId."""
    operator = started()
    stranger = Stranger(operator)
    token = await stranger.token(operator)
    want(operator)
    await operator.settle()
    assert client_of(operator).owner is not None
    assert "clientUuid" not in operator.status(BOT_CLIENT, "trainer")
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    operator.restart()
    await operator.advance(5)
    assert BOT not in operator.cluster.bodies
    assert stranger.uuid not in operator.provider.realm.clients
    assert not operator.provider.realm.accepts(token)


@pytest.mark.parametrize(
    ("client_id", "owner", "spec", "rule", "reason", "words"),
    [
        pytest.param(CLIENT_ID, "other/uid", {}, {}, "Conflict", "owner mark other/uid", id="another's"),
        pytest.param(CLIENT_ID, None, {"adopt": False}, {}, "Conflict", "spec.adopt: true", id="not asked for"),
        pytest.param(CLIENT_ID, None, {}, {"adopt": False}, "NotGranted", "adopt: true", id="not granted"),
        pytest.param("partner", None, {"clientId": "partner"}, {}, "NotGranted", "clientIds", id="no grant of the id"),
        *(
            pytest.param(name, None, {"clientId": name}, {"clientIds": [name]}, "Conflict", whose, id=name)
            for name, whose in (
                ("realm-management", "one of Keycloak's own"),
                ("fl-realm", "one of Keycloak's own"),
                ("fedid-operator", "the operator's own"),
            )
        ),
    ],
)
async def test_what_may_not_be_taken_over_is_left_untouched(  # noqa: PLR0913 - one row of the table
    client_id: str, owner: str | None, spec: dict[str, Any], rule: dict[str, Any], reason: str, words: str
) -> None:
    """Nothing of it changes, its secret works on, and the message says why; further attempts in vain write nothing."""
    operator = started(**rule)
    stranger = Stranger(operator, owner=owner, client_id=client_id)
    before = client_of(operator, client_id)
    want(operator, **spec)
    await operator.advance(10)
    assert ready(operator) == ("False", reason)
    assert words in told(operator)
    writes = operator.writes()
    await operator.advance(1000)
    assert operator.writes() == writes
    assert client_of(operator, client_id) == before
    assert operator.provider.realm.accepts(await stranger.token(operator))
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(5)
    assert BOT not in operator.cluster.bodies
    assert client_of(operator, client_id) == before


async def test_a_released_client_is_taken_over_again() -> None:
    """By another bot of the name, and by the same one after a suspension."""
    operator = started(retain=True)
    want(operator, deletionPolicy="Retain")
    await operator.advance(10)
    uuid = client_of(operator).client_uuid
    want(operator, deletionPolicy="Retain", suspend=True)
    await operator.advance(10)
    assert client_of(operator).owner is None
    want(operator, deletionPolicy="Retain")
    await operator.advance(10)
    assert ready(operator) == ("True", "Ready")
    assert client_of(operator).client_uuid == uuid
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(10)
    want(operator)
    await operator.advance(10)
    assert ready(operator) == ("True", "Ready")
    assert operator.status(BOT_CLIENT, "trainer")["clientUuid"] == uuid
    assert uuid != client_uuid(operator.cluster.bodies[BOT]["metadata"]["uid"])


async def test_an_adopted_client_that_a_hand_deletes_is_made_anew() -> None:
    """And what was signed for it stays dead."""
    operator = started()
    stranger = Stranger(operator)
    token = await stranger.token(operator)
    want(operator)
    await operator.advance(10)
    operator.provider.realm.delete_client(stranger.uuid)
    await operator.look()
    await operator.advance(10)
    assert ready(operator) == ("True", "Ready")
    assert not operator.provider.realm.accepts(token)
