"""What is measured of credentials and revocations: by the statuses, and as it happens."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fedid.domain.conditions import instant_in
from fedid.domain.exposure import CredentialKind
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from fedid.errors import BackendUnavailableError
from tests.reconcile.federated import Federated
from tests.reconcile.small_operator import NAMESPACE, SmallOperator
from tests.reconcile.test_server_clients import App
from tests.reconcile.test_server_rotation import rotating, seconds_until

BOT = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
AWAY = BackendUnavailableError("keycloak is away", backend="keycloak")


@pytest.fixture
async def operator() -> SmallOperator:
    """A mounted bot with one token of ten minutes, Ready."""
    operator = SmallOperator()
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {"tokens": [{"name": "default", "lifetime": "10m"}]})
    spec = {
        "role": "client",
        "botClientRef": {"name": "trainer"},
        "platform": {"generic": {"files": {"token": "{token}"}}},
    }
    operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec)
    await operator.advance(2)
    return operator


def lag(operator: SmallOperator, name: str, **labels: str) -> tuple[float, float]:
    """Return how often something was measured, and the sum of it (seconds)."""
    value = operator.meter.registry.get_sample_value
    return value(f"{name}_count", labels) or 0.0, value(f"{name}_sum", labels) or 0.0


def due_in(operator: SmallOperator) -> float:
    """Return when the token is due (seconds from now)."""
    due_at = instant_in(operator.status(BOT_CLIENT, "trainer")["tokens"][0]["nextRotationAt"])
    assert due_at is not None
    return (due_at - operator.clock.now()).total_seconds()


async def test_a_renewal_is_measured_from_its_due_instant_to_vault_and_secret(operator: SmallOperator) -> None:
    """A token that is minted a minute late, since Keycloak was away, is a minute late in both places; once each."""
    late = {"credential": "jwt"}
    assert lag(operator, "fedid_rotation_lag_seconds", **late, place="vault") == (0, 0)
    wait = due_in(operator)
    operator.provider.failures.add("mint", AWAY, times=None)
    await operator.advance(wait + 60)
    operator.provider.failures.clear()
    await operator.look()
    for place in ("vault", "secret"):
        count, seconds = lag(operator, "fedid_rotation_lag_seconds", **late, place=place)
        assert (count, round(seconds)) == (1, 60), place


async def test_a_servers_own_secret_is_measured_in_both_places_at_once() -> None:
    """Its Secret has it before its status tells of it."""
    app = await App.begun(oidcClient=rotating())
    wait = seconds_until(app, app.status["oidcClient"]["nextRotationAt"])
    app.operator.provider.failures.add("update_client", AWAY, times=None)
    await app.operator.advance(wait + 60)
    app.operator.provider.failures.clear()
    await app.operator.look()
    for place in ("vault", "secret"):
        count, seconds = lag(app.operator, "fedid_rotation_lag_seconds", credential="server_secret", place=place)
        assert (count, round(seconds)) == (1, 60), place


async def test_a_supernodes_key_is_measured_too() -> None:
    """As soon as it is registered, in Vault and mounted."""
    federated = Federated()
    federated.bot()
    federated.pod(rotation={"every": "1h", "overlap": "1m"})
    await federated.operator.advance(3730)
    for place in ("vault", "secret"):
        labels = {"credential": "node_key", "place": place}
        count, seconds = lag(federated.operator, "fedid_rotation_lag_seconds", **labels)
        assert count == 1, place
        assert seconds < 60, place


async def test_what_a_person_asked_for_was_never_due(operator: SmallOperator) -> None:
    """A rotation by annotation, before the token's instant, is no late one."""
    spec = operator.cluster.bodies[BOT]["spec"]
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", spec, annotations={"fedid.io/rotate": "token-1"})
    await operator.advance(2)
    assert operator.status(BOT_CLIENT, "trainer")["tokens"][0]["rotatedFor"] == "token-1"
    assert lag(operator, "fedid_rotation_lag_seconds", credential="jwt", place="vault") == (0, 0)


async def test_the_worst_is_known_whenever_somebody_asks(operator: SmallOperator) -> None:
    """Age, due instant and end of the token in use; after a renewal those of the new one, and nothing is left over."""
    await operator.advance(due_in(operator) + 5)
    (token,) = operator.status(BOT_CLIENT, "trainer")["tokens"]
    worst = operator.world.directory.exposure.credentials()
    assert worst.keys() == {CredentialKind.JWT, CredentialKind.BOT_SECRET}
    jwt, told = (
        worst[CredentialKind.JWT],
        [instant_in(token[name]) for name in ("issuedAt", "nextRotationAt", "expiresAt")],
    )
    assert (jwt.count, [jwt.issued, jwt.due, jwt.expires]) == (1, [at.timestamp() for at in told if at is not None])
    assert worst[CredentialKind.BOT_SECRET].expires is None

    operator.restart()  # another process finds the same in the statuses
    assert operator.world.directory.exposure.credentials() == worst


async def test_an_end_is_unproven_until_it_is_proven(operator: SmallOperator) -> None:
    """From the request on nothing of it counts as in use; the proof is measured once, and ends the waiting."""
    exposure = operator.world.directory.exposure
    assert exposure.revocations() == {}
    operator.provider.failures.add("*", AWAY, times=None)
    asked_at = operator.clock.now()
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(120)
    assert exposure.credentials() == {}
    waiting = exposure.revocations()[BOT_CLIENT]
    assert (waiting.count, waiting.since) == (1, asked_at.replace(microsecond=0).timestamp())
    assert lag(operator, "fedid_revocation_lag_seconds", kind=BOT_CLIENT) == (0, 0)

    operator.provider.failures.clear()
    await operator.look()
    await operator.advance(60)
    assert BOT not in operator.cluster.bodies
    assert exposure.revocations() == {}
    count, seconds = lag(operator, "fedid_revocation_lag_seconds", kind=BOT_CLIENT)
    assert count == 1
    assert 120 <= seconds <= 180


async def test_a_suspension_is_measured_as_a_deletion_is(operator: SmallOperator) -> None:
    """By when it was first seen; the object stays and nothing of it is in use or waits."""
    spec = operator.cluster.bodies[BOT]["spec"]
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {**spec, "suspend": True})
    await operator.advance(timedelta(seconds=30).total_seconds())
    exposure = operator.world.directory.exposure
    assert (exposure.credentials(), exposure.revocations()) == ({}, {})
    assert lag(operator, "fedid_revocation_lag_seconds", kind=BOT_CLIENT)[0] == 1
