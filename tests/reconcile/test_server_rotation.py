"""The secrets of servers' own clients: replaced by schedule, and ended at once; by whole passes, in moved time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from fedid.domain.conditions import ConditionType
from fedid.domain.resources import FINALIZER
from fedid.errors import BackendUnavailableError
from tests.reconcile.test_server_clients import APP, CLIENT, CLIENT_ID, PATH, App
from tests.reconcile.test_suspension import dies

HOURLY = {"every": "1h", "overlap": "5m"}
LEAKED = {"fedid.io/revoke-now": "leaked"}


def rotating(**rotation: Any) -> dict[str, Any]:
    """Return the client of a server whose secret changes every hour."""
    return {**CLIENT, "secretRotation": {**HOURLY, **rotation}}


def seconds_until(app: App, instant: str) -> float:
    """Return how long it is until then."""
    return (datetime.fromisoformat(instant) - app.operator.clock.now()).total_seconds()


class TestSchedule:
    """`secretRotation.every`."""

    async def test_the_secret_changes_and_the_former_ends_after_the_overlap(self) -> None:
        """At the instant that the status tells; the server gets in all the while, with either."""
        app = await App.begun(oidcClient=rotating())
        first, due = app.mounted()["secret"], app.status["oidcClient"]["nextRotationAt"]
        assert "2026-01-01T12:54" <= due <= "2026-01-01T13:00:20", "up to a tenth sooner"
        await app.operator.advance(seconds_until(app, due) - 10)
        assert app.mounted()["secret"] == first
        await app.operator.advance(20)
        second = app.mounted()["secret"]
        assert second != first
        assert app.accepted(first)
        assert app.accepted(second)
        await app.operator.advance(600)
        assert not app.accepted(first)
        assert "previous_client_secret" not in app.store.data_of(PATH)
        assert app.told(ConditionType.READY) == ("True", "Ready")
        assert [event.reason for event in app.operator.cluster.events if event.reason == "DriftRepaired"] == []
        await app.operator.advance(3600)
        assert app.mounted()["secret"] not in {first, second}, "and again"

    async def test_a_server_that_gets_it_after_all_patience_has_both_as_long_as_its_files_take(self) -> None:
        """Where its Secret could not be written, and the former could not be ended, for longer than that is held up."""
        app = await App.begun(oidcClient=rotating())
        first, due = app.mounted()["secret"], app.status["oidcClient"]["nextRotationAt"]
        stuck = BackendUnavailableError("stuck", backend="kubernetes")
        app.operator.cluster.failures.add("replace_secret", stuck, times=None)
        await app.operator.advance(seconds_until(app, due) + 1500)
        assert app.mounted()["secret"] == first
        app.operator.cluster.failures.clear()
        while app.mounted()["secret"] == first:
            await app.operator.advance(1)
        await app.operator.look()
        await app.operator.advance(100)
        assert app.accepted(first), "a file may still hold it"
        await app.operator.advance(300)
        assert not app.accepted(first)

    async def test_between_two_changes_nothing_is_written(self) -> None:
        """Neither by looks nor by a restart."""
        app = await App.begun(oidcClient=rotating(every="720h"))
        before = app.writes()
        await app.operator.advance(7200)
        await app.operator.look()
        app.operator.restart()
        await app.operator.advance(60)
        assert app.writes() == before

    async def test_a_realm_that_keeps_one_secret(self) -> None:
        """The secret stays, which is told before it is due, and once; Keycloak is not asked about it all the time."""
        app = App()
        app.provider.realm.secret_policy = None
        app.want(oidcClient=rotating())
        await app.operator.advance(20)
        first = app.mounted()["secret"]
        assert app.told(ConditionType.KEYCLOAK_SYNCED) == ("True", "OverlapImpossible")
        before, asked = app.writes(), len(app.provider.calls)
        await app.operator.advance(7200)
        assert app.mounted()["secret"] == first
        assert app.writes() == before
        assert len(app.provider.calls) - asked < 7200 / 20
        app.want(oidcClient=rotating(allowInterruption=True))
        await app.operator.advance(20)
        assert app.mounted()["secret"] != first
        assert not app.accepted(first)

    async def test_a_policy_that_comes_later_is_found(self) -> None:
        """What was in the way is looked at again by itself, and the change that is due follows."""
        app = App()
        policy, app.provider.realm.secret_policy = app.provider.realm.secret_policy, None
        app.want(oidcClient=rotating())
        await app.operator.advance(7200)
        first = app.mounted()["secret"]
        app.provider.realm.secret_policy = policy
        await app.operator.advance(1200)
        assert app.told(ConditionType.KEYCLOAK_SYNCED) == ("True", "Synced")
        assert app.mounted()["secret"] != first

    async def test_without_a_schedule_the_federations_period_is_not_taken(self) -> None:
        """Most servers read their secret at their start alone: nobody changes it unasked."""
        app = await App.begun()
        first = app.mounted()["secret"]
        await app.operator.advance(7 * 24 * 3600)
        assert app.mounted()["secret"] == first
        assert "nextRotationAt" not in app.status["oidcClient"]


class TestRevokeNow:
    """`fedid.io/revoke-now`."""

    async def test_everything_ends_and_is_made_anew(self) -> None:
        """Also in the midst of an overlap; each value once, and told with a proof."""
        app = await App.begun(oidcClient=rotating())
        first = app.mounted()["secret"]
        app.want(oidcClient=rotating(), annotations={"fedid.io/rotate": "secret-1"})
        await app.operator.advance(10)
        second, born = app.mounted()["secret"], app.provider.realm.clients[app.uuid].not_before
        assert app.accepted(first)
        app.want(oidcClient=rotating(), annotations={"fedid.io/rotate": "secret-1", **LEAKED})
        await app.operator.advance(10)
        third = app.mounted()["secret"]
        assert third == app.store.data_of(PATH)["client_secret"]
        assert [app.accepted(one) for one in (first, second, third)] == [False, False, True]
        assert app.provider.realm.clients[app.uuid].not_before > born, "tokens of its users are dead too"
        assert app.told(ConditionType.READY) == ("True", "Ready")
        assert app.status["revokedNow"] == "leaked"
        assert "revocation" not in app.status
        (proof,) = [event.message for event in app.operator.cluster.events if event.reason == "RevocationProven"]
        assert "its secret was accepted at" in proof
        assert "all 2 of its secrets are refused" in proof
        before = app.writes()
        app.operator.restart()
        await app.operator.advance(60)
        await app.operator.look()
        assert app.writes() == before

    async def test_at_the_beginning_there_is_nothing_to_end(self) -> None:
        """A manifest that comes with the annotation is made once."""
        app = await App.begun(annotations=LEAKED)
        assert app.status["revokedNow"] == "leaked"
        assert [event.reason for event in app.operator.cluster.events if event.reason == "RevocationProven"] == []

    async def test_what_was_begun_is_finished_though_the_annotation_is_taken_off(self) -> None:
        """Whoever asked for it wants everything of before dead."""
        app = await App.begun()
        first, born = app.mounted()["secret"], app.provider.realm.clients[app.uuid].not_before
        app.provider.failures.add("delete_client", BackendUnavailableError("away", backend="keycloak"), times=2)
        app.want(annotations=LEAKED)
        await app.operator.settle()
        assert app.told(ConditionType.READY) == ("False", "BackendUnavailable")
        assert app.accepted(first)
        app.want(annotations={})
        await app.operator.advance(60)
        assert not app.accepted(first)
        assert app.provider.realm.clients[app.uuid].not_before > born
        assert app.told(ConditionType.READY) == ("True", "Ready")

    async def test_wherever_it_is_cut_off(self) -> None:
        """After each single effect: at the end one secret is good, and it is mounted."""
        effects, cut = 0, True
        while cut:
            effects += 1
            app = await App.begun()
            first = app.mounted()["secret"]
            app.want(annotations=LEAKED)
            cut = await dies(app.operator, effects)
            await app.operator.advance(60)
            assert app.told(ConditionType.READY) == ("True", "Ready"), effects
            assert not app.accepted(first), effects
            assert app.accepted(app.mounted()["secret"]), effects
            assert app.mounted()["id"] == CLIENT_ID
            assert app.status["revokedNow"] == "leaked", effects
            assert FINALIZER in app.operator.cluster.bodies[APP]["metadata"]["finalizers"], effects
        assert effects > 5, "it was cut off in a few places only"


@pytest.mark.parametrize(
    ("backend", "operation", "held_by"),
    [
        ("store", "destroy", None),
        ("cluster", "set_finalizers", None),
        ("cluster", "patch_status", None),
        ("store", "destroy", "example.com/hold"),
    ],
    ids=["held", "about to be let go", "let go", "held by somebody else too"],
)
async def test_nothing_is_made_anew_for_a_server_that_is_deleted_meanwhile(
    backend: str, operation: str, held_by: str | None
) -> None:
    """At whatever point of the end that comes before the new beginning."""
    app = await App.begun()
    if held_by is not None:
        app.operator.cluster.bodies[APP]["metadata"]["finalizers"].append(held_by)

    def deleted(_target: str) -> bool:
        body = app.operator.cluster.bodies.get(APP, {"metadata": {"deletionTimestamp": "done"}})
        now = operation != "patch_status" or FINALIZER not in app.finalizers
        if now and "deletionTimestamp" not in body["metadata"]:
            app.operator.cluster.delete("PodIdentity", "site-a", "app")
        return False

    failures = {"store": app.store.failures, "cluster": app.operator.cluster.failures}[backend]
    failures.add(operation, AssertionError("never raised"), times=None, when=deleted)
    app.want(annotations=LEAKED)
    await app.operator.advance(60)
    assert app.finalizers == [one for one in (held_by,) if one is not None]
    assert app.provider.realm.clients == {}
    assert PATH not in app.store.entries


async def test_a_server_that_goes_meanwhile_is_ended_once() -> None:
    """A deletion takes the place of what is under way."""
    app = await App.begun()
    first = app.mounted()["secret"]
    app.provider.failures.add("delete_client", BackendUnavailableError("away", backend="keycloak"), times=1)
    app.want(annotations=LEAKED)
    await app.operator.settle()
    app.operator.cluster.delete("PodIdentity", "site-a", "app")
    await app.operator.advance(30)
    assert APP not in app.operator.cluster.bodies
    assert not app.accepted(first)
    assert app.provider.realm.clients == {}
