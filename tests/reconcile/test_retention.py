"""A bot whose client outlives it: unusable, and nobody's."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.conditions import condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import ClientRecord
from fedid.domain.resources import BOT_CLIENT, FEDERATION
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from fedid.errors import BackendUnavailableError
from tests.reconcile.small_operator import NAMESPACE, SmallOperator
from tests.reconcile.test_suspension import dies

BOT = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
CLIENT_ID = f"{NAMESPACE}.trainer"


def want(operator: SmallOperator, **spec: Any) -> None:
    """Apply the bot with its one token and these fields."""
    wanted = {"tokens": [{"name": "default"}], "deletionPolicy": "Retain", "realmRoles": ["fl-client"], **spec}
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", wanted)


def grant(operator: SmallOperator, **rule: Any) -> None:
    """Let the namespace ask for the role and this, and for nothing else."""
    spec = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    rules = [{"namespaces": {"names": [NAMESPACE]}, "realmRoles": ["fl-client"], **rule}]
    operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": rules})


def client_of(operator: SmallOperator) -> ClientRecord:
    """Return the client as it stands."""
    client = operator.provider.realm.client(CLIENT_ID)
    assert client is not None
    return client


def ready(operator: SmallOperator) -> tuple[str, str]:
    """Return status and reason of `Ready`."""
    found = condition_of(operator.status(BOT_CLIENT, "trainer")["conditions"], "Ready")  # type: ignore[arg-type]
    assert found is not None
    return found["status"], found["reason"]


def proofs(operator: SmallOperator) -> list[str]:
    """Return the Events that tell a proof."""
    return [event.message for event in operator.cluster.events if event.reason == "RevocationProven"]


class Taken:
    """What somebody holds who took everything: secret, published token, and one minted in the very last second."""

    def __init__(self, operator: SmallOperator, secret: Sensitive, tokens: list[Sensitive]) -> None:
        """Remember them."""
        self._operator, self._tokens, self.secret = operator, tokens, secret

    @classmethod
    async def of(cls, operator: SmallOperator) -> Taken:
        """Take what there is."""
        secret = client_of(operator).secret
        assert secret is not None
        minted = await operator.provider.mint(ClientCredentials(CLIENT_ID, secret))
        assert minted is not None
        entry = operator.store.entries[f"fedid/{NAMESPACE}/bots/trainer/tokens/default"]
        published = Sensitive(entry.shown(operator.clock.now())["token"])
        return cls(operator, secret, [published, minted.token])

    async def accepted(self) -> list[bool]:
        """Present all of them."""
        found = [self._operator.provider.realm.accepts(token) for token in self._tokens]
        refused = await self._operator.provider.credentials_refused(ClientCredentials(CLIENT_ID, self.secret))
        return [*found, not refused]


@pytest.fixture
async def operator() -> SmallOperator:
    """A bot whose client may stay."""
    return await published()


async def published() -> SmallOperator:
    """Return an operator with a bot whose client may stay."""
    made = SmallOperator()
    made.provider.realm.add_role("fl-client")
    grant(made, retain=True)
    want(made)
    await made.advance(10)
    assert ready(made) == ("True", "Ready")
    return made


async def assert_released(operator: SmallOperator, taken: Taken, uuid: str) -> None:
    """See the client as nobody's, and everything that was taken refused."""
    client = client_of(operator)
    assert client.client_uuid == uuid
    assert (client.owner, client.object_name) == (None, None)
    account = operator.provider.realm.account_of(uuid)
    assert operator.provider.realm.role("fl-client").role_id in account.role_ids
    assert not any(await taken.accepted())
    assert operator.store.entries == {}


async def test_a_deleted_bot_leaves_its_client_unusable_and_nobodys(operator: SmallOperator) -> None:
    """With one proof, and no secret in Vault or anywhere else that opens it."""
    taken, uuid = await Taken.of(operator), client_of(operator).client_uuid
    assert all(await taken.accepted())
    operator.cluster.delete(*_address())
    await operator.advance(5)
    assert BOT not in operator.cluster.bodies
    await assert_released(operator, taken, uuid)
    (proof,) = proofs(operator)
    assert "the bot secret is refused (invalid_client)" in proof
    assert "the client stays, with a secret that nobody knows, and is nobody's" in proof


async def test_without_a_grant_it_goes(operator: SmallOperator) -> None:
    """A deletion is refused by nothing; a bot that is new is refused."""
    grant(operator)
    await operator.look()
    assert ready(operator) == ("False", "NotGranted")
    operator.cluster.delete(*_address())
    await operator.advance(5)
    assert BOT not in operator.cluster.bodies
    assert operator.provider.realm.client(CLIENT_ID) is None
    want(operator)
    await operator.advance(5)
    assert ready(operator) == ("False", "NotGranted")
    assert operator.provider.realm.client(CLIENT_ID) is None


async def test_a_grant_that_goes_halfway_changes_nothing(operator: SmallOperator) -> None:
    """It was decided before anything ended."""
    taken, uuid = await Taken.of(operator), client_of(operator).client_uuid
    operator.store.failures.add("destroy", BackendUnavailableError("no", backend="vault"), times=None)
    operator.cluster.delete(*_address())
    await operator.advance(5)
    grant(operator)
    await operator.settle()
    operator.store.failures.clear()
    operator.restart()
    await operator.advance(30)
    assert BOT not in operator.cluster.bodies
    await assert_released(operator, taken, uuid)


async def test_a_suspended_bot_releases_its_client_too(operator: SmallOperator) -> None:
    """As at deletion; afterwards the client is a stranger's to it."""
    taken, uuid = await Taken.of(operator), client_of(operator).client_uuid
    want(operator, suspend=True)
    await operator.advance(5)
    assert ready(operator) == ("False", "Suspended")
    await assert_released(operator, taken, uuid)
    want(operator)
    await operator.advance(5)
    assert ready(operator) == ("False", "Conflict")
    await assert_released(operator, taken, uuid)
    operator.cluster.delete(*_address())
    await operator.advance(5)
    assert BOT not in operator.cluster.bodies
    await assert_released(operator, taken, uuid)


async def test_a_client_whose_mark_a_hand_took_is_waited_for(operator: SmallOperator) -> None:
    """Before the proof it is not the one that we released."""
    operator.provider.realm.change_client(client_of(operator).client_uuid, owner=None)
    operator.cluster.delete(*_address())
    await operator.advance(5)
    assert ready(operator) == ("False", "Conflict")
    assert BOT in operator.cluster.bodies


async def test_a_strangers_client_is_not_called_released(operator: SmallOperator) -> None:
    """A bot that never had the client says nothing of it."""
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "late", {"deletionPolicy": "Retain"})
    stranger = operator.provider.realm.add_client(f"{NAMESPACE}.late")
    await operator.advance(5)
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "late")
    await operator.advance(5)
    assert ObjectKey(BOT_CLIENT, NAMESPACE, "late") not in operator.cluster.bodies
    assert operator.provider.realm.clients[stranger.client_uuid] == stranger
    assert all("nobody's" not in proof for proof in proofs(operator))


async def test_a_client_that_a_hand_deleted_is_nothing_to_retain(operator: SmallOperator) -> None:
    """The deletion succeeds."""
    operator.provider.realm.delete_client(client_of(operator).client_uuid)
    operator.cluster.delete(*_address())
    await operator.advance(5)
    assert BOT not in operator.cluster.bodies


@pytest.mark.parametrize("suspended", [False, True], ids=["deleted", "suspended"])
async def test_wherever_it_is_cut_off_it_ends_the_same(*, suspended: bool) -> None:
    """After each single effect: nothing usable, one client that is nobody's, and a proof that tells it."""
    effects, cut = 0, True
    while cut:
        effects += 1
        operator = await published()
        taken, uuid = await Taken.of(operator), client_of(operator).client_uuid
        if suspended:
            want(operator, suspend=True)
        else:
            operator.cluster.delete(*_address())
        cut = await dies(operator, effects)
        await assert_released(operator, taken, uuid)
        if suspended:
            assert ready(operator) == ("False", "Suspended")
            assert not operator.cluster.bodies[BOT]["metadata"].get("finalizers")
        else:
            assert BOT not in operator.cluster.bodies
        assert proofs(operator), effects
        assert all("is refused" in proof and "is nobody's" in proof for proof in proofs(operator)), effects
    assert effects > 8, "it was cut off in a few places only"


def _address() -> tuple[str, str, str]:
    return BOT_CLIENT, NAMESPACE, "trainer"
