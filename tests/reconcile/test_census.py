"""What the status of a Federation counts: identities, those that are ready, and the rules that they use."""

from __future__ import annotations

from typing import Any

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER
from tests.reconcile.small_operator import NAMESPACE
from tests.reconcile.test_grants import Estate


def status(estate: Estate) -> dict[str, Any]:
    """Return the Federation's status."""
    return estate.operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["status"]  # type: ignore[no-any-return]


def status_writes(estate: Estate) -> int:
    """Return how often the Federation's status was written."""
    calls = estate.operator.cluster.writes
    return sum((call.operation, call.target) == ("patch_status", "Federation/local") for call in calls)


async def test_counts() -> None:
    """Each kind in all and ready, each used rule with its users; a rule that nobody uses is not listed."""
    estate = Estate({"realmRoles": ["fl-*"]}, {"realmRoles": ["billing"]}, {"groups": ["/sites/*"]})
    estate.bot("fl-client", name="one")
    estate.bot("fl-client", "fl-admin", name="two")
    estate.bot("fl-client", "unknown", name="three")
    estate.user("/sites/a")
    await estate.operator.advance(61)
    assert status(estate)["identities"] == {
        "total": 4,
        "ready": 3,
        "kinds": [{"kind": BOT_CLIENT, "total": 3, "ready": 2}, {"kind": FEDERATION_USER, "total": 1, "ready": 1}],
    }
    assert status(estate)["grantsInUse"] == [{"index": 0, "identities": 2}, {"index": 2, "identities": 1}]
    estate.operator.cluster.delete(FEDERATION_USER, NAMESPACE, "ana")
    await estate.operator.advance(61)
    assert status(estate)["identities"]["total"] == 3
    assert status(estate)["grantsInUse"] == [{"index": 0, "identities": 2}]


async def test_what_was_withdrawn_uses_no_rule() -> None:
    """It is counted as an identity that is not ready."""
    estate = Estate({"realmRoles": ["fl-*"]})
    estate.bot("fl-client")
    await estate.operator.advance(61)
    estate.rules()
    await estate.operator.advance(61)
    assert (status(estate)["identities"]["total"], status(estate)["identities"]["ready"]) == (1, 0)
    assert "grantsInUse" not in status(estate)


async def test_it_settles() -> None:
    """Many identities one after the other move the status once a minute at most, and then never; nor at a restart."""
    estate = Estate({"realmRoles": ["fl-*"]})
    await estate.operator.advance(61)
    before = status_writes(estate)
    for number in range(12):
        estate.bot("fl-client", name=f"bot-{number}")
        await estate.operator.advance(5)
    await estate.operator.advance(120)
    assert 0 < status_writes(estate) - before <= 3
    settled = status_writes(estate)
    await estate.operator.advance(3000)
    estate.operator.restart()
    await estate.operator.advance(300)
    assert status_writes(estate) == settled


async def test_an_outage_counts_no_faster() -> None:
    """While Keycloak is away the Federation is looked at every two seconds, and counted as seldom as ever."""
    estate = Estate({"realmRoles": ["fl-*"]})
    await estate.operator.advance(61)
    estate.operator.provider.missing_permissions = ("manage-users",)
    await estate.operator.advance(61)
    before = status_writes(estate)
    for number in range(10):
        estate.bot("fl-client", name=f"bot-{number}")
        await estate.operator.advance(3)
    assert status_writes(estate) - before <= 1
