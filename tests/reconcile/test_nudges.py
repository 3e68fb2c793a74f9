"""Which pods are told of what, how often, and what becomes of it when something goes wrong."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.pods import NUDGE_ANNOTATION
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError, BackendRejectedError, BackendUnavailableError
from tests.fakes.pods import pod_manifest
from tests.reconcile.rotating import Rotating
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

SELECTOR = {"matchLabels": {"app": "trainer"}}
POD = ObjectKey(POD_IDENTITY, NAMESPACE, "trainer")
DENIED = BackendDeniedError("the operator may not list pods: helm upgrade", backend="kubernetes")
REJECTED = BackendRejectedError("the admission webhook x denies it; ask those who run it", backend="kubernetes")
AWAY = BackendUnavailableError("no answer", backend="kubernetes")


class Crash(BaseException):
    """The process ends here."""


def spec(files: dict[str, str] | None = None, **wanted: Any) -> dict[str, Any]:
    """Return the spec of a PodIdentity."""
    platform = {"generic": {"files": files or {"token": "{token}"}}}
    return {"role": "client", "botClientRef": {"name": "trainer"}, "platform": platform, **wanted}


@pytest.fixture
async def operator() -> SmallOperator:
    """A bot that is published, a PodIdentity that is mounted, and two pods that were told."""
    made = SmallOperator()
    run(made, "trainer-1")
    run(made, "trainer-2")
    made.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {"tokens": [{"name": "default", "lifetime": "20m"}]})
    made.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec(pods={"selector": SELECTOR}))
    await made.advance(10)
    assert told(made) == {"trainer-1": 2, "trainer-2": 2}
    forget(made)
    return made


def run(operator: SmallOperator, name: str, *, app: str = "trainer", phase: str = "Running", **how: Any) -> None:
    """Start a pod that mounts the Secret, unless told otherwise."""
    how = how or {"mounts": ["trainer"]}
    namespace = how.pop("namespace", NAMESPACE)
    operator.cluster.put_pod(pod_manifest(namespace, name, {"app": app}, **how), phase=phase)


def told(operator: SmallOperator) -> dict[str, int]:
    """Return how often each pod was nudged."""
    return dict(Counter(name for name, _ in operator.cluster.nudges))


def forget(operator: SmallOperator) -> None:
    """Forget all that was recorded."""
    for record in (operator.cluster.nudges, operator.cluster.writes, operator.cluster.calls, operator.cluster.events):
        record.clear()
    operator.store.calls.clear()
    operator.provider.calls.clear()


def written(operator: SmallOperator) -> list[str]:
    """Return the operator's writes to PodIdentities and Secrets."""
    targets = ("Secret/", "PodIdentity/")
    return [call.operation for call in operator.cluster.writes if call.target.startswith(targets)]


def change(operator: SmallOperator) -> None:
    """Let the manifest want something else in the Secret."""
    files = {"token": "{token}", "more": f"{operator.clock.seconds}"}
    operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec(files, pods={"selector": SELECTOR}))


def pods_status(operator: SmallOperator) -> dict[str, Any]:
    """Return `status.pods`."""
    found: dict[str, Any] = operator.status(POD_IDENTITY, "trainer").get("pods") or {}
    return found


async def test_a_change_is_told_at_once_and_again_two_seconds_later(operator: SmallOperator) -> None:
    """Each time by another value; the second time nothing is asked of Vault or Keycloak."""
    change(operator)
    await operator.settle()
    assert told(operator) == {"trainer-1": 1, "trainer-2": 1}
    assert written(operator) == ["replace_secret", "patch_status"]
    operator.store.calls.clear()
    operator.provider.calls.clear()

    await operator.advance(1.9)
    assert told(operator) == {"trainer-1": 1, "trainer-2": 1}
    await operator.advance(0.2)

    assert told(operator) == {"trainer-1": 2, "trainer-2": 2}
    assert len({value for _, value in operator.cluster.nudges}) == 2
    assert operator.store.calls == []
    assert operator.provider.calls == []
    assert written(operator) == ["replace_secret", "patch_status"]
    assert (pods_status(operator)["selected"], pods_status(operator)["nudged"]) == (2, 2)
    assert pods_status(operator)["nudgedHash"] == operator.status(POD_IDENTITY, "trainer")["secretHash"]


async def test_a_renewal_is_told(operator: SmallOperator) -> None:
    """Twice for each renewal, and the status is written once for it."""
    await operator.advance(1000)

    renewals = written(operator).count("replace_secret")
    assert renewals >= 1
    assert told(operator) == {"trainer-1": 2 * renewals, "trainer-2": 2 * renewals}
    assert written(operator).count("patch_status") == renewals


async def test_a_second_pass_and_a_restart_tell_nobody_and_write_nothing(operator: SmallOperator) -> None:
    """Also within the time in which a crash might have swallowed the second nudge."""
    await operator.look()
    operator.restart()
    await operator.advance(30)
    await operator.look()
    await operator.advance(30)

    assert operator.cluster.nudges == []
    assert operator.writes() == []


@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param("other-app", {"app": "other", "mounts": ["trainer"]}, id="other labels"),
        pytest.param("other-secret", {"mounts": ["another"]}, id="another Secret"),
        pytest.param("environment", {"reads": ["trainer"]}, id="through the environment only"),
        pytest.param("succeeded", {"mounts": ["trainer"], "phase": "Succeeded"}, id="succeeded"),
        pytest.param("failed", {"mounts": ["trainer"], "phase": "Failed"}, id="failed"),
        pytest.param("elsewhere", {"mounts": ["trainer"], "namespace": "default"}, id="another namespace"),
    ],
)
async def test_other_pods_are_left_alone(operator: SmallOperator, name: str, how: dict[str, Any]) -> None:
    """Only who mounts this Secret in this namespace and still runs is told."""
    run(operator, name, **how)
    change(operator)
    await operator.advance(5)

    assert told(operator) == {"trainer-1": 2, "trainer-2": 2}
    assert pods_status(operator)["mounting"] == 2


async def test_a_projected_volume_is_told_too(operator: SmallOperator) -> None:
    """Kubelet brings both kinds up to date."""
    run(operator, "projected", projects=["trainer"])
    change(operator)
    await operator.advance(5)

    assert told(operator)["projected"] == 2


async def test_without_pods_nothing_is_listed(operator: SmallOperator) -> None:
    """No right on pods is needed, and what the status told of them goes."""
    operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec({"a": "{token}"}))
    await operator.advance(5)
    await operator.advance(1000)

    assert [call for call in operator.cluster.calls if call.operation in {"pods", "nudge_pod"}] == []
    assert "pods" not in operator.status(POD_IDENTITY, "trainer")


async def test_another_selector_tells_those_who_were_not_told(operator: SmallOperator) -> None:
    """The Secret is the same, and so are the pods that had it; one status write in all."""
    run(operator, "late", app="late")
    expression = {"key": "app", "operator": "In", "values": ["trainer", "late"]}
    pods = {"selector": {"matchExpressions": [expression]}}
    operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec(pods=pods))
    await operator.advance(5)

    assert told(operator) == {"late": 2}
    assert written(operator) == ["patch_status"]
    assert pods_status(operator)["mounting"] == 3


async def test_what_is_withdrawn_is_told(operator: SmallOperator) -> None:
    """The bot is deleted: the Secret is emptied, the pods see it soon, and the passes after that tell nobody."""
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    await operator.advance(5)

    assert set(operator.cluster.secrets[NAMESPACE, "trainer"].data.values()) == {Sensitive("")}
    assert told(operator) == {"trainer-1": 2, "trainer-2": 2}
    assert pods_status(operator)["nudged"] == 2
    forget(operator)
    await operator.advance(300)
    operator.restart()
    await operator.advance(60)
    assert operator.cluster.nudges == []
    assert operator.writes() == []


async def test_what_is_put_back_is_told(operator: SmallOperator) -> None:
    """A hand changed the Secret: its content is as before, and the pods may have seen the other in between."""
    secret = operator.cluster.secrets[NAMESPACE, "trainer"]
    operator.cluster.put_secret_by_hand(
        type(secret)(**{f: getattr(secret, f) for f in secret.__slots__} | {"data": {"token": Sensitive("x")}})
    )
    await operator.look()
    await operator.advance(5)

    assert told(operator) == {"trainer-1": 2, "trainer-2": 2}


@pytest.mark.parametrize(
    ("operation", "point"),
    [
        pytest.param("replace_secret", "after", id="between the Secret and the nudge"),
        pytest.param("pods", "before", id="before the pods are listed"),
        pytest.param("nudge_pod", "before", id="before a pod is told"),
        pytest.param("nudge_pod", "after", id="after a pod was told"),
        pytest.param("patch_status", "before", id="between the nudge and the status"),
        pytest.param("patch_status", "after", id="after the status"),
    ],
)
async def test_a_crash_loses_no_nudge_and_repeats_none(operator: SmallOperator, operation: str, point: str) -> None:
    """After the restart every pod has been told twice in all."""
    crash: Any = Crash()
    mine = {"replace_secret": "Secret", "patch_status": "PodIdentity"}.get(operation, "")
    operator.cluster.failures.add(operation, crash, at=point, when=lambda target: target.startswith(mine))
    with pytest.raises(Crash):
        await operator.advance(1000)  # until the token is renewed

    operator.clock.seconds += 20
    operator.restart()
    await operator.advance(10)

    assert told(operator) == {"trainer-1": 2, "trainer-2": 2}
    assert pods_status(operator)["nudgedHash"] == operator.status(POD_IDENTITY, "trainer")["secretHash"]


async def test_a_crash_before_the_second_nudge_is_made_good(operator: SmallOperator) -> None:
    """The status says when the first one was, the pods that there was no second."""
    change(operator)
    await operator.settle()
    operator.clock.seconds += 20
    operator.restart()
    await operator.advance(10)

    assert told(operator) == {"trainer-1": 2, "trainer-2": 2}


async def test_a_crash_between_emptying_and_the_nudge(operator: SmallOperator) -> None:
    """What is withdrawn must leave the pods fast, whoever dies."""
    crash: Any = Crash()
    operator.cluster.failures.add("replace_secret", crash, at="after")
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "trainer")
    with pytest.raises(Crash):
        await operator.settle()
    assert operator.cluster.nudges == []

    operator.restart()
    await operator.advance(10)

    assert told(operator) == {"trainer-1": 2, "trainer-2": 2}


async def test_without_the_right_the_identity_is_ready_and_says_what_to_give(operator: SmallOperator) -> None:
    """One Event, the next step in the status, no write at every look; and all is told once the right is there."""
    operator.cluster.failures.add("pods", DENIED, times=None)
    change(operator)
    await operator.advance(5)

    status = operator.status(POD_IDENTITY, "trainer")
    assert status["conditions"][0]["status"] == "True"
    assert status["pods"]["message"].endswith("helm upgrade")
    assert status["pods"]["nudgedHash"] != status["secretHash"]
    assert [event.reason for event in operator.cluster.events] == ["NudgeRefused"]
    forget(operator)
    await operator.look()
    await operator.advance(5)
    assert written(operator) == []
    assert operator.cluster.events == []
    operator.cluster.failures.clear()
    await operator.look()
    await operator.advance(5)
    assert told(operator) == {"trainer-1": 2, "trainer-2": 2}
    assert "message" not in pods_status(operator)
    assert written(operator) == ["patch_status"]


async def test_a_pod_that_is_refused_does_not_keep_the_others_from_being_told(operator: SmallOperator) -> None:
    """An admission webhook may refuse one pod; the message names it."""
    operator.cluster.failures.add("nudge_pod", REJECTED, times=None, when=lambda target: target.endswith("trainer-1"))
    change(operator)
    await operator.advance(5)

    assert told(operator) == {"trainer-2": 2}
    assert "webhook x denies it" in pods_status(operator)["message"]
    assert (pods_status(operator)["mounting"], pods_status(operator)["nudged"]) == (2, 1)
    assert operator.status(POD_IDENTITY, "trainer")["conditions"][0]["status"] == "True"


async def test_a_lack_of_rights_is_tried_on_one_handful_of_pods(operator: SmallOperator) -> None:
    """With hundreds of pods there are not hundreds of refusals."""
    for number in range(100):
        run(operator, f"trainer-{number}")
    operator.cluster.failures.add("nudge_pod", DENIED, times=None)
    change(operator)
    await operator.advance(5)

    assert len([call for call in operator.cluster.calls if call.operation == "nudge_pod"]) == 16


async def test_an_api_server_that_is_away_is_made_good_by_the_second_nudge(operator: SmallOperator) -> None:
    """The status tells both, without an Event."""
    operator.cluster.failures.add("nudge_pod", AWAY, times=1)
    change(operator)
    await operator.settle()
    assert "no answer" in pods_status(operator)["message"]
    await operator.advance(5)

    assert "message" not in pods_status(operator)
    assert {name for name, value in operator.cluster.nudges if value.endswith("-2")} == {"trainer-1", "trainer-2"}
    assert pods_status(operator)["nudgedHash"] == operator.status(POD_IDENTITY, "trainer")["secretHash"]
    assert operator.cluster.events == []


async def test_what_the_second_nudge_mended_is_told_though_the_status_could_not_be_written_right_then(
    operator: SmallOperator,
) -> None:
    """Nobody else would tell it before the next change."""
    operator.cluster.failures.add("pods", AWAY)
    change(operator)
    await operator.settle()
    assert "they see a change by themselves" in operator.status(POD_IDENTITY, "trainer")["pods"]["message"]
    operator.cluster.failures.add("patch_status", AWAY, when=lambda key: key == str(POD))
    await operator.advance(20)
    pods = operator.status(POD_IDENTITY, "trainer")["pods"]
    assert "message" not in pods
    assert pods["nudged"] == 2


async def test_a_pod_that_goes_meanwhile_is_nothing(operator: SmallOperator) -> None:
    """It is not counted, and nobody complains."""
    listing = operator.cluster.pods

    async def then_one_goes(*asked: Any) -> Any:
        found = await listing(*asked)
        operator.cluster.delete("Pod", NAMESPACE, "trainer-1")
        return found

    operator.cluster.pods = then_one_goes  # type: ignore[method-assign]
    change(operator)
    await operator.settle()

    assert told(operator) == {"trainer-2": 1}
    assert (pods_status(operator)["mounting"], pods_status(operator)["nudged"]) == (1, 1)
    assert "message" not in pods_status(operator)


async def test_a_newer_change_takes_the_place_of_an_earlier_one(operator: SmallOperator) -> None:
    """Two changes within two seconds: the second nudge is of the newer, two seconds after it."""
    change(operator)
    await operator.advance(1)
    change(operator)
    await operator.advance(1.5)
    assert told(operator) == {"trainer-1": 2, "trainer-2": 2}
    await operator.advance(5)
    assert told(operator) == {"trainer-1": 3, "trainer-2": 3}
    pod = operator.cluster.bodies[ObjectKey("Pod", NAMESPACE, "trainer-1")]
    assert pod["metadata"]["annotations"][NUDGE_ANNOTATION].endswith("-2")


async def test_a_pod_identity_that_goes_is_forgotten(operator: SmallOperator) -> None:
    """Its second nudge is not due to anybody any more."""
    change(operator)
    await operator.settle()
    operator.cluster.delete(POD_IDENTITY, NAMESPACE, "trainer")
    await operator.advance(5)

    assert told(operator) == {"trainer-1": 1, "trainer-2": 1}


async def test_a_second_nudge_that_a_restart_made_due_is_not_about_what_came_since() -> None:
    """Nobody mounts the Secret, so the newer content has no second nudge; the older one would be told over it."""
    bot = await Rotating.begun(tokens=[{"name": "default", "lifetime": "1h"}])
    bot.operator.restart()
    await bot.operator.settle()
    bot.annotate(rotate="secret-1")
    await bot.operator.advance(1)
    status = bot.operator.status(POD_IDENTITY, "trainer")
    assert status["pods"]["nudgedHash"] == status["secretHash"]

    await bot.operator.advance(5)

    status = bot.operator.status(POD_IDENTITY, "trainer")
    assert status["pods"]["nudgedHash"] == status["secretHash"]
