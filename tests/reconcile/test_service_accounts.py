"""A bot without any secret: its pods authenticate by their ServiceAccount, and one of those serves one client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedid.domain.conditions import condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import CLIENT_SECRET, ClientRecord
from fedid.domain.resources import BOT_CLIENT, FEDERATION, POD_IDENTITY
from fedid.domain.tokens import AssertionFile
from tests.reconcile.small_operator import NAMESPACE, OPERATOR_SUBJECT, SmallOperator

SUBJECT = f"system:serviceaccount:{NAMESPACE}:trainer"
PATH = f"fedid/{NAMESPACE}/bots/trainer/client"


def want(operator: SmallOperator, name: str = "trainer", account: str = "trainer", **spec: Any) -> None:
    """Apply a bot with a ServiceAccount."""
    wanted = {"authentication": {"serviceAccount": {"name": account}}, **spec}
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, name, wanted)


def mount(operator: SmallOperator, **files: str) -> None:
    """Apply a PodIdentity of it."""
    spec = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": {"generic": {"files": files}}}
    operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec)


def said(operator: SmallOperator, name: str = "trainer", kind: str = BOT_CLIENT) -> tuple[str, str]:
    """Return reason and message of `Ready`."""
    found = condition_of(operator.status(kind, name)["conditions"], "Ready")  # type: ignore[arg-type]
    assert found is not None
    return found["reason"], found["message"]


def client_of(operator: SmallOperator, name: str = "trainer") -> ClientRecord | None:
    """Return a bot's client as it stands."""
    return operator.provider.realm.client(f"{NAMESPACE}.{name}")


@pytest.fixture
async def operator() -> SmallOperator:
    """A bot with a ServiceAccount."""
    made = SmallOperator()
    want(made)
    await made.advance(10)
    assert said(made)[0] == "Ready"
    return made


@pytest.fixture
def assertion(operator: SmallOperator, tmp_path: Path) -> AssertionFile:
    """What its pods present."""
    file = tmp_path / "token"
    file.write_text(operator.provider.realm.service_account_token(SUBJECT))
    return AssertionFile(file)


async def test_no_secret_exists(operator: SmallOperator, assertion: AssertionFile) -> None:
    """Its pods get tokens; Vault has its address alone; nothing is minted, and nothing is to be done again."""
    minted = await operator.provider.mint(assertion)
    assert minted is not None
    assert minted.claims.authorized_party == f"{NAMESPACE}.trainer"
    entry = operator.store.entries[PATH].shown(operator.clock.now())
    assert entry.keys() == {"client_id", "issuer", "token_url"}
    assert SUBJECT in said(operator)[1]
    assert "secret and" not in said(operator)[1]
    written = len(operator.provider.writes), len(operator.store.writes)
    operator.restart()
    await operator.look()
    await operator.advance(3600)
    assert (len(operator.provider.writes), len(operator.store.writes)) == written


async def test_what_a_pod_mounts(operator: SmallOperator) -> None:
    """Everything that is no secret; what is one is refused with a sentence that says what to do instead."""
    mount(operator, id="{clientId}", sub="{subject}", iss="{issuerUrl}", url="{tokenUrl}")
    await operator.advance(1)
    data = operator.cluster.secrets[NAMESPACE, "trainer"].data
    assert data["id"].reveal() == f"{NAMESPACE}.trainer"
    assert data["sub"].reveal() == operator.status(BOT_CLIENT, "trainer")["serviceAccountSubject"]
    for asked in ("{token}", "{clientSecret}", "{privateKey}"):
        mount(operator, x=asked)
        await operator.advance(1)
        reason, message = said(operator, kind=POD_IDENTITY)
        assert reason == "InvalidSpec"
        assert "mount a projected token" in message
        assert operator.provider.realm.issuer_url in message


async def test_one_serves_one_client(operator: SmallOperator) -> None:
    """The second that names it waits for the first to go, and comes to its own at once."""
    want(operator, "second")
    await operator.advance(5)
    reason, message = said(operator, "second")
    assert reason == "Conflict"
    assert "BotClient/site-a/trainer" in message
    assert client_of(operator, "second") is None
    await operator.look()
    assert said(operator)[0] == "Ready"
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(3)
    assert said(operator, "second")[0] == "Ready"
    assert client_of(operator, "second") is not None


async def test_a_strangers_client_has_it() -> None:
    """Somebody made one by hand; nothing is made beside it."""
    operator = SmallOperator()
    client = operator.provider.realm.add_client("by-hand")
    attributes = {"jwt.credential.issuer": "cluster", "jwt.credential.sub": SUBJECT}
    operator.provider.realm.change_client(client.client_uuid, authenticator="federated-jwt", attributes=attributes)
    want(operator)
    await operator.advance(5)
    reason, message = said(operator)
    assert reason == "Conflict"
    assert "by-hand" in message
    assert client_of(operator) is None


async def test_the_operators_own_is_refused() -> None:
    """Its rights are not given away."""
    operator = SmallOperator()
    operator.cluster.add_namespace("fedid-system")
    spec = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    rules = [{"namespaces": {"names": ["fedid-system"]}}]
    operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": rules})
    account = OPERATOR_SUBJECT.rpartition(":")[2]
    wanted = {"authentication": {"serviceAccount": {"name": account}}}
    operator.cluster.apply(BOT_CLIENT, "fedid-system", "thief", wanted)
    await operator.advance(5)
    status = operator.cluster.bodies[ObjectKey(BOT_CLIENT, "fedid-system", "thief")]["status"]
    found = condition_of(status["conditions"], "Ready")  # type: ignore[arg-type]
    assert found is not None
    assert found["reason"] == "Conflict"
    assert "operator's own" in found["message"]
    assert not operator.provider.realm.clients


async def test_without_an_assertion_provider() -> None:
    """A condition says what the Federation lacks."""
    operator = SmallOperator()
    spec = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    keycloak = {name: value for name, value in spec["keycloak"].items() if name != "assertionProvider"}
    operator.cluster.apply(FEDERATION, None, "local", {**spec, "keycloak": keycloak})
    want(operator)
    await operator.advance(5)
    reason, message = said(operator)
    assert reason == "InvalidSpec"
    assert "spec.keycloak.assertionProvider" in message
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(5)
    assert ObjectKey(BOT_CLIENT, NAMESPACE, "trainer") not in operator.cluster.bodies


@pytest.mark.parametrize("how", ["delete", "retain", "suspend"])
async def test_the_end(operator: SmallOperator, assertion: AssertionFile, how: str) -> None:
    """No token of the ServiceAccount gets one any more; the receipt says that none was seen."""
    minted = await operator.provider.mint(assertion)
    assert minted is not None
    if how == "retain":
        spec = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        rules = [{"namespaces": {"names": [NAMESPACE]}, "retain": True}]
        operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": rules})
        want(operator, deletionPolicy="Retain")
        await operator.look()
    if how == "suspend":
        want(operator, suspend=True)
    else:
        operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(10)
    assert operator.provider.realm.authenticated(assertion) is None
    assert not operator.provider.realm.accepts(minted.token)
    assert operator.store.entries == {}
    (told,) = [event.message for event in operator.cluster.events if event.reason == "RevocationProven"]
    assert "no token was seen" in told
    assert "only checks signatures may take a token that a pod got by itself until 2026-01-01T12:1" in told
    left = client_of(operator)
    if how == "retain":
        assert left is not None
        assert (left.owner, left.authenticator) == (None, CLIENT_SECRET)
        assert "jwt.credential.sub" not in left.attributes
    else:
        assert left is None
        assert "(404)" in told


async def test_a_hand_on_the_client_is_put_back(operator: SmallOperator, assertion: AssertionFile) -> None:
    """Another subject, or another authenticator."""
    client = client_of(operator)
    assert client is not None
    attributes = {**client.attributes, "jwt.credential.sub": "system:serviceaccount:x:y"}
    for change in ({"attributes": attributes}, {"authenticator": CLIENT_SECRET}):
        operator.provider.realm.change_client(client.client_uuid, **change)
        assert operator.provider.realm.authenticated(assertion) is None
        await operator.look()
        assert operator.provider.realm.authenticated(assertion) is not None


async def test_nothing_of_it_rotates(operator: SmallOperator) -> None:
    """The annotation is told to ask for nothing, once."""
    spec = {"authentication": {"serviceAccount": {"name": "trainer"}}}
    note = {"fedid.io/rotate": "secret"}
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", spec, annotations=note)
    for _ in range(3):
        await operator.look()
    (event,) = [event for event in operator.cluster.events if event.reason == "RotateIgnored"]
    assert "ServiceAccount alone" in event.message
