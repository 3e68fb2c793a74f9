"""A bot that signs: its key in Vault before it is used, replaced with two that are good, and dead at the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from fedid.adapters.signing_keys import new_signing_key
from fedid.domain.bot_authentication import PrivateKeyJwt, authenticator_attributes
from fedid.domain.bot_keys import public_keys_in
from fedid.domain.conditions import condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import CLIENT_SECRET, ClientRecord
from fedid.domain.resources import BOT_CLIENT, FEDERATION, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import VaultMark
from fedid.domain.tokens import PrivateKey
from fedid.errors import BackendUnavailableError
from fedid.reconcile.bot_paths import SECRET_RETENTION
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

BOT = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
CLIENT_ID = f"{NAMESPACE}.trainer"
PATH = f"fedid/{NAMESPACE}/bots/trainer/keys/client"
FILES = {"key.pem": "{privateKey}", "kid": "{keyId}", "id": "{clientId}", "token": "{token}"}


def want(operator: SmallOperator, **spec: Any) -> None:
    """Apply the bot with its one token and these fields."""
    wanted = {"tokens": [{"name": "default"}], "authentication": {"privateKeyJwt": {}}, **spec}
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", wanted)


def annotate(operator: SmallOperator, name: str, value: str) -> None:
    """Annotate the bot; the watch brings it."""
    spec = operator.cluster.bodies[BOT]["spec"]
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", spec, annotations={f"fedid.io/{name}": value})


def grant(operator: SmallOperator, **rule: Any) -> None:
    """Let the namespace ask for this."""
    spec = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    rules = [{"namespaces": {"names": [NAMESPACE]}, **rule}]
    operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": rules})


def mount(operator: SmallOperator, files: dict[str, str] | None = None) -> None:
    """Apply a PodIdentity that mounts the key."""
    platform = {"generic": {"files": files or FILES}}
    spec = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": platform}
    operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec)


def entry(operator: SmallOperator) -> dict[str, str]:
    """Return what Vault shows of the keys."""
    found = operator.store.entries.get(PATH)
    return dict(found.shown(operator.clock.now())) if found is not None else {}


def key(operator: SmallOperator, which: str = "") -> PrivateKey:
    """Return one of the keys in Vault."""
    held = entry(operator)
    return PrivateKey(CLIENT_ID, Sensitive(held[f"{which}private_key"]), held[f"{which}key_id"])


def mounted(operator: SmallOperator) -> PrivateKey:
    """Return the key that a pod has."""
    data = operator.cluster.secrets[NAMESPACE, "trainer"].data
    return PrivateKey(CLIENT_ID, data["key.pem"], data["kid"].reveal())


def client_of(operator: SmallOperator) -> ClientRecord:
    """Return the client as it stands."""
    client = operator.provider.realm.client(CLIENT_ID)
    assert client is not None
    return client


def ready(operator: SmallOperator, kind: str = BOT_CLIENT) -> tuple[str, str, str]:
    """Return status, reason and message of `Ready`."""
    found = condition_of(operator.status(kind, "trainer")["conditions"], "Ready")  # type: ignore[arg-type]
    assert found is not None
    return found["status"], found["reason"], found["message"]


def accepted(operator: SmallOperator, shown: PrivateKey) -> bool:
    """Tell whether the realm lets somebody in with that key."""
    return operator.provider.realm.authenticated(shown) is not None


@pytest.fixture
async def operator() -> SmallOperator:
    """A bot that signs, and a pod that mounts its key."""
    return await published()


async def published() -> SmallOperator:
    """Return an operator with such a bot."""
    made = SmallOperator()
    want(made, secretRotation={"overlap": "1m"})
    mount(made)
    await made.advance(10)
    assert ready(made)[:2] == ("True", "Ready")
    return made


async def test_no_secret_is_anywhere(operator: SmallOperator) -> None:
    """Vault and the pod have the key and what is needed to use it; Keycloak's own secret of the client stays there."""
    assert accepted(operator, key(operator))
    assert mounted(operator) == key(operator)
    held = entry(operator)
    assert held.keys() == {
        "client_id", "issuer", "token_url", "algorithm", "issued_at", "private_key", "key_id",
    }  # fmt: skip
    assert set(operator.store.entries) == {PATH, f"fedid/{NAMESPACE}/bots/trainer/tokens/default"}
    told = operator.status(BOT_CLIENT, "trainer")
    assert told["secret"]["keyId"] == held["key_id"]
    assert told["secret"]["vaultPath"] == f"secret/{PATH}"
    assert "The private key and 1 token are proven and in Vault" in ready(operator)[2]
    written = len(operator.provider.writes), len(operator.store.writes)
    operator.restart()
    await operator.look()
    assert (len(operator.provider.writes), len(operator.store.writes)) == written


async def test_rotation(operator: SmallOperator) -> None:
    """Old and new are good until the pods have the new one and the overlap is over; then the old one is refused."""
    old = key(operator)
    annotate(operator, "rotate", "secret")
    await operator.look()
    new = key(operator)
    assert new != old
    assert accepted(operator, old)
    assert accepted(operator, new)
    assert key(operator, "previous_") == old
    assert mounted(operator) == new
    told = operator.status(BOT_CLIENT, "trainer")
    assert (told["secret"]["keyId"], told["secret"]["previousKeyId"]) == (new.key_id, old.key_id)
    await operator.advance(50)
    assert accepted(operator, old)
    await operator.advance(20)
    assert not accepted(operator, old)
    assert mounted(operator) == key(operator) == new
    assert "previous_key_id" not in entry(operator)
    assert "previousKeyId" not in operator.status(BOT_CLIENT, "trainer")["secret"]
    assert not [event for event in operator.cluster.events if event.reason == "DriftRepaired"]


async def test_schedule() -> None:
    """`secretRotation.every` replaces it again and again; no policy of the realm is needed."""
    operator = SmallOperator()
    want(operator, secretRotation={"every": "10m", "overlap": "1m"})
    await operator.advance(10)
    seen = {key(operator).key_id}
    for _ in range(4):
        await operator.advance(600)
        assert accepted(operator, key(operator))
        seen.add(key(operator).key_id)
    assert len(seen) >= 4
    assert ready(operator)[:2] == ("True", "Ready")


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(12))
async def test_a_kill_between_any_two_steps_of_a_rotation(number: int, when: str) -> None:
    """What the pod holds is good at every instant, no key is lost, and at the end one is good and the other is not."""
    operator = await published()
    old = key(operator)
    annotate(operator, "rotate", "secret")
    kill_at(operator, number, when)
    with suppress(Killed):
        await operator.look()
        await operator.advance(75)
    assert accepted(operator, mounted(operator))
    listed = public_keys_in(client_of(operator).attributes)
    assert listed.keys() <= {text for name, text in entry(operator).items() if name.endswith("key_id")}
    revive(operator)
    operator.restart()
    for _ in range(20):
        await operator.advance(10)
        assert accepted(operator, mounted(operator))
    assert not accepted(operator, old)
    assert key(operator) != old
    assert mounted(operator) == key(operator)
    assert public_keys_in(client_of(operator).attributes).keys() == {key(operator).key_id}
    assert not {name for name in entry(operator) if name.startswith(("pending", "previous"))}
    assert ready(operator)[:2] == ("True", "Ready")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(8))
async def test_a_kill_between_any_two_steps_of_the_creation(number: int, when: str) -> None:
    """One client, one key, which is good."""
    operator = SmallOperator()
    kill_at(operator, number, when)
    want(operator)
    mount(operator)
    with suppress(Killed):
        await operator.advance(10)
    revive(operator)
    operator.restart()
    await operator.advance(20)
    assert ready(operator)[:2] == ("True", "Ready")
    assert accepted(operator, key(operator))
    assert mounted(operator) == key(operator)
    assert public_keys_in(client_of(operator).attributes).keys() == {key(operator).key_id}


def kill_at(operator: SmallOperator, number: int, when: str) -> None:
    """Have the process end before or after its n-th write from now on, to any of the three."""
    left = [number]

    def wrap(target: Any, name: str) -> None:
        real = getattr(target, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == -1 and when == "before":
                raise Killed
            result = await real(*args, **kwargs)
            if left[0] == -1:
                raise Killed
            return result

        setattr(target, name, call)

    for name in ("create_client", "update_client", "credentials_refused", "mint"):
        wrap(operator.provider, name)
    wrap(operator.store, "write")
    wrap(operator.cluster, "patch_status")


def revive(operator: SmallOperator) -> None:
    """Let the next process live."""
    for target in (operator.provider, operator.store, operator.cluster):
        for name in ("create_client", "update_client", "credentials_refused", "mint", "write", "patch_status"):
            target.__dict__.pop(name, None)


async def _put(operator: SmallOperator, **changes: str | None) -> None:
    held: dict[str, str | None] = {**entry(operator), **changes}
    data = {name: Sensitive(text) for name, text in held.items() if text is not None}
    owner = operator.world.owner(operator.cluster.bodies[BOT]["metadata"]["uid"])
    version = operator.store.entries[PATH].newest
    await operator.store.write(PATH, data, VaultMark(owner, str(BOT)), version=version, retention=SECRET_RETENTION)


async def _foreign_key_in_vault(operator: SmallOperator) -> None:
    made = new_signing_key()
    await _put(operator, private_key=made.private_key.reveal(), key_id=made.key_id)


async def _garbage_in_vault(operator: SmallOperator) -> None:
    await _put(operator, private_key="garbage")


async def _deleted_in_vault(operator: SmallOperator) -> None:
    del operator.store.entries[PATH]


async def _another_list(operator: SmallOperator) -> None:
    attributes = authenticator_attributes(PrivateKeyJwt(), keys=[new_signing_key().public_key])
    client = client_of(operator)
    operator.provider.realm.change_client(client.client_uuid, attributes={**client.attributes, **attributes})


async def _foreign_key_everywhere(operator: SmallOperator) -> None:
    made, client = new_signing_key(), client_of(operator)
    keys = [*public_keys_in(client.attributes).values(), made.public_key]
    attributes = {**client.attributes, **authenticator_attributes(PrivateKeyJwt(), keys=keys)}
    operator.provider.realm.change_client(client.client_uuid, attributes=attributes)
    await _put(operator, private_key=made.private_key.reveal(), key_id=made.key_id)


async def _client_deleted_and_foreign_key(operator: SmallOperator) -> None:
    operator.provider.realm.delete_client(client_of(operator).client_uuid)
    await _foreign_key_in_vault(operator)


REPLACING: list[Callable[[SmallOperator], Any]] = [
    _foreign_key_in_vault,
    _garbage_in_vault,
    _deleted_in_vault,
    _another_list,
    _foreign_key_everywhere,
    _client_deleted_and_foreign_key,
]


@pytest.mark.parametrize("happens", REPLACING)
async def test_a_key_that_was_tampered_with_is_replaced(
    operator: SmallOperator, happens: Callable[[SmallOperator], Any]
) -> None:
    """What is not recorded is never trusted: a new one is made, and the old one ends."""
    old = key(operator)
    await happens(operator)
    found = key(operator) if "private_key" in entry(operator) and happens is not _garbage_in_vault else old
    await operator.look()
    await operator.advance(5)
    new = key(operator)
    assert new.key_id not in {old.key_id, found.key_id}
    assert not accepted(operator, old)
    assert not accepted(operator, found)
    assert accepted(operator, new)
    assert mounted(operator) == new
    assert public_keys_in(client_of(operator).attributes).keys() == {new.key_id}
    assert [event for event in operator.cluster.events if event.reason == "DriftRepaired"]


async def test_an_additional_key_is_taken_off_the_list(operator: SmallOperator) -> None:
    """The bot's own stays."""
    old, made, client = key(operator), new_signing_key(), client_of(operator)
    keys = [*public_keys_in(client.attributes).values(), made.public_key]
    attributes = {**client.attributes, **authenticator_attributes(PrivateKeyJwt(), keys=keys)}
    operator.provider.realm.change_client(client.client_uuid, attributes=attributes)
    await operator.look()
    assert public_keys_in(client_of(operator).attributes).keys() == {old.key_id}
    assert key(operator) == old
    (event,) = [event for event in operator.cluster.events if event.reason == "DriftRepaired"]
    assert "attributes[jwks.string]" in event.message


async def test_another_authenticator_is_put_back(operator: SmallOperator) -> None:
    """Then the secret that Keycloak keeps opens nothing again, and the key is as good as before."""
    old = key(operator)
    operator.provider.realm.change_client(client_of(operator).client_uuid, authenticator=CLIENT_SECRET)
    await operator.look()
    assert accepted(operator, old)
    assert key(operator) == old


async def test_a_deleted_client_is_made_with_its_key(operator: SmallOperator) -> None:
    """Consumers need not change what they have."""
    old = key(operator)
    operator.provider.realm.delete_client(client_of(operator).client_uuid)
    await operator.look()
    await operator.advance(5)
    assert accepted(operator, old)
    assert key(operator) == mounted(operator) == old


@pytest.mark.parametrize("how", ["delete", "retain", "suspend", "revoke"])
async def test_the_end(how: str) -> None:
    """The key and the tokens are refused, whichever way the bot ends; the proof tells it."""
    operator = await published()
    if how == "retain":
        grant(operator, retain=True)
        want(operator, deletionPolicy="Retain")
        await operator.look()
    old = key(operator)
    minted = await operator.provider.mint(old)
    assert minted is not None
    uuid = client_of(operator).client_uuid
    match how:
        case "suspend":
            want(operator, suspend=True)
        case "revoke":
            annotate(operator, "revoke-now", "x")
            await operator.look()
        case _:
            operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(10)
    assert not accepted(operator, old)
    assert not operator.provider.realm.accepts(minted.token)
    told = [event.message for event in operator.cluster.events if event.reason == "RevocationProven"]
    assert "the private key is refused (invalid_client)" in told[0]
    assert "was accepted at" in told[0]
    if how == "revoke":
        assert key(operator) != old
        assert mounted(operator) == key(operator)
        return
    assert operator.store.entries == {}
    if how == "retain":
        stays = operator.provider.realm.clients[uuid]
        assert (stays.owner, stays.authenticator) == (None, CLIENT_SECRET)
        assert "jwks.string" not in stays.attributes


async def test_the_end_without_the_key() -> None:
    """Where a hand took the key from Vault, what was published is revoked all the same."""
    operator = await published()
    old = key(operator)
    token = operator.store.entries[f"fedid/{NAMESPACE}/bots/trainer/tokens/default"].shown(operator.clock.now())[
        "token"
    ]
    del operator.store.entries[PATH]
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(10)
    assert BOT not in operator.cluster.bodies
    assert not accepted(operator, old)
    assert not operator.provider.realm.accepts(Sensitive(token))
    assert [call for call in operator.provider.writes if call.operation == "revoke"]


async def test_a_withdrawal_that_was_called_off_replaces_the_key(operator: SmallOperator) -> None:
    """It was told to be dead, so it never comes back."""
    old = key(operator)
    operator.store.failures.add("destroy", BackendUnavailableError("no", backend="vault"), times=None)
    want(operator, suspend=True)
    await operator.advance(5)
    want(operator)
    operator.store.failures.clear()
    await operator.advance(30)
    assert ready(operator)[:2] == ("True", "Ready")
    assert not accepted(operator, old)
    assert accepted(operator, key(operator))


async def test_adoption() -> None:
    """A client that nobody owns becomes one that takes the key alone."""
    operator = SmallOperator()
    grant(operator, adopt=True)
    operator.provider.realm.add_client(CLIENT_ID, secret=Sensitive("known"))
    want(operator, adopt=True)
    await operator.advance(10)
    assert ready(operator)[:2] == ("True", "Ready")
    assert accepted(operator, key(operator))
    assert client_of(operator).authenticator == "client-jwt"


async def test_a_pod_that_asks_for_a_secret_is_told_what_to_write(operator: SmallOperator) -> None:
    """There is none."""
    mount(operator, {"x": "{clientSecret}"})
    await operator.advance(1)
    status, reason, message = ready(operator, POD_IDENTITY)
    assert (status, reason) == ("False", "InvalidSpec")
    assert "{privateKey} and {keyId}" in message


async def test_a_pod_that_lags_holds_up_the_end_of_the_former_key(operator: SmallOperator) -> None:
    """Until it has the new one, or for five minutes more."""
    old = key(operator)
    operator.cluster.failures.add("replace_secret", BackendUnavailableError("no", backend="kubernetes"), times=None)
    annotate(operator, "rotate", "secret")
    await operator.look()
    await operator.advance(120)
    assert key(operator) != old
    assert mounted(operator) == old
    assert accepted(operator, old)
    operator.cluster.failures.clear()
    await operator.advance(60)
    assert mounted(operator) == key(operator) != old
    assert not accepted(operator, old)


async def test_a_sweep_compares_the_list_of_keys() -> None:
    """In the middle of a rotation too it names nobody without need; a list that a hand changed is found."""
    operator = SmallOperator()
    want(operator, secretRotation={"overlap": "30m"}, tokens=[])  # to renew one would find it too
    await operator.advance(1300)
    annotate(operator, "rotate", "secret")
    await operator.look()
    await operator.advance(1300)
    assert "previous_key_id" in entry(operator)
    assert woken_by_sweeps(operator) == 0
    await operator.advance(1300)
    assert "previous_key_id" not in entry(operator)
    assert woken_by_sweeps(operator) == 0
    await _another_list(operator)
    old = key(operator)
    await operator.advance(1300)
    assert key(operator) != old
    assert accepted(operator, key(operator))
    assert woken_by_sweeps(operator) == 1


def woken_by_sweeps(operator: SmallOperator) -> float:
    """Return how many objects sweeps had looked at."""
    return operator.meter.registry.get_sample_value("fedid_drift_woken_total", {"found_by": "sweep"}) or 0.0
