"""Tests of conditions: the public vocabulary of every status."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid import errors
from fedid.domain.conditions import (
    Condition,
    ConditionType,
    Reason,
    condition_of,
    is_told,
    merged_conditions,
    reason_of,
    rfc3339,
)
from fedid.errors import Error
from tests.domain.samples import NOW

BEFORE = "2026-01-01T00:00:00Z"
TOLD = st.lists(
    st.builds(
        Condition,
        st.sampled_from(ConditionType),
        st.sampled_from([True, False, None]),
        st.sampled_from(Reason),
        st.text(),
    ),
    unique_by=lambda condition: condition.type,
)


def held(kind: str, status: str, reason: str = "Ready", message: str = "as it was") -> dict[str, Any]:
    """Return a condition as an earlier pass wrote it."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": BEFORE,
        "observedGeneration": 1,
    }


@pytest.mark.parametrize(
    ("status", "reason", "message", "transition"),
    [
        pytest.param(True, Reason.READY, "as it was", BEFORE, id="nothing changed: it stays"),
        pytest.param(True, Reason.READY, "another message", BEFORE, id="another message is no transition"),
        pytest.param(True, Reason.PUBLISHED, "as it was", BEFORE, id="another reason is no transition"),
        pytest.param(False, Reason.CONFLICT, "as it was", rfc3339(NOW), id="True to False moves it"),
        pytest.param(None, Reason.PROGRESSING, "as it was", rfc3339(NOW), id="True to Unknown moves it"),
    ],
)
def test_the_transition_moves_only_when_the_status_flips(
    status: bool | None,  # noqa: FBT001 - True, False or unknown is the case
    reason: Reason,
    message: str,
    transition: str,
) -> None:
    """`lastTransitionTime` is the instant of the last change of `status`, whatever else changes."""
    told = [Condition(ConditionType.READY, status, reason, message)]
    (found,) = merged_conditions([held("Ready", "True")], told, generation=2, now=NOW)
    assert found["lastTransitionTime"] == transition
    assert (found["reason"], found["message"], found["observedGeneration"]) == (reason, message, 2)


@pytest.mark.parametrize(("status", "text"), [(True, "True"), (False, "False"), (None, "Unknown")])
def test_the_status_is_one_of_three_words(status: bool | None, text: str) -> None:  # noqa: FBT001 - as above
    """True, False and None are written as Kubernetes writes them."""
    told = [Condition(ConditionType.READY, status, Reason.READY, "")]
    (found,) = merged_conditions([], told, generation=1, now=NOW)
    assert found == {
        "type": "Ready",
        "status": text,
        "reason": "Ready",
        "message": "",
        "lastTransitionTime": rfc3339(NOW),
        "observedGeneration": 1,
    }


def test_told_conditions_have_one_order_and_others_go() -> None:
    """`Ready` is the first, whoever tells; what an earlier pass told and this one does not is gone."""
    told = [
        Condition(ConditionType.READY, True, Reason.READY, ""),
        Condition(ConditionType.PUBLISHED, True, Reason.PUBLISHED, ""),
        Condition(ConditionType.GRANTED, True, Reason.GRANTED, ""),
        Condition(ConditionType.KEYCLOAK_SYNCED, True, Reason.SYNCED, ""),
    ]
    observed = [held("Revoked", "False"), held("Granted", "True"), held("Ready", "False")]
    found = merged_conditions(observed, told, generation=1, now=NOW)
    assert [c["type"] for c in found] == ["Ready", "Granted", "KeycloakSynced", "Published"]
    assert [c["lastTransitionTime"] for c in found] == [rfc3339(NOW), BEFORE, rfc3339(NOW), rfc3339(NOW)]


@given(TOLD, TOLD)
def test_telling_the_same_again_changes_nothing(earlier: list[Condition], told: list[Condition]) -> None:
    """A second pass finds the very list that it would write, at any later instant, and in whatever order it tells."""
    first = merged_conditions([], earlier, generation=1, now=NOW - timedelta(days=1))
    once = merged_conditions(first, told, generation=3, now=NOW)
    for again in (told, told[::-1]):
        assert merged_conditions(once, again, generation=3, now=NOW + timedelta(hours=1)) == once
    assert json.loads(json.dumps(once)) == once
    assert {entry["type"] for entry in once} == {condition.type for condition in told}
    for entry in once:
        before = condition_of(first, entry["type"])
        flipped = before is None or before["status"] != entry["status"]
        assert entry["lastTransitionTime"] == (rfc3339(NOW) if flipped else rfc3339(NOW - timedelta(days=1)))


def test_a_message_is_cut_to_what_the_crd_admits() -> None:
    """A message of any length fits the 4,096 characters of the schema."""
    told = [Condition(ConditionType.READY, False, Reason.CONFLICT, "x" * 5000)]
    (found,) = merged_conditions([], told, generation=1, now=NOW)
    assert found["message"] == "x" * 4096


def test_a_condition_is_found_by_its_type() -> None:
    """The condition of a type is found wherever it stands; none is None."""
    observed = [held("Ready", "True"), held("Granted", "False")]
    assert condition_of(observed, ConditionType.GRANTED) == observed[1]
    assert condition_of(observed, ConditionType.REVOKED) is None
    assert condition_of([{}], ConditionType.READY) is None


@pytest.mark.parametrize(
    ("status", "reason", "message", "told"),
    [
        pytest.param(True, Reason.READY, "as it was", True, id="the same"),
        pytest.param(False, Reason.READY, "as it was", False, id="another status"),
        pytest.param(None, Reason.READY, "as it was", False, id="not known any more"),
        pytest.param(True, Reason.PUBLISHED, "as it was", False, id="another reason"),
        pytest.param(True, Reason.READY, "as it is", False, id="another message"),
    ],
)
def test_a_condition_is_told_if_status_reason_and_message_are(
    status: bool | None,  # noqa: FBT001 - as above
    reason: Reason,
    message: str,
    *,
    told: bool,
) -> None:
    """What the status says already is recognised; its transition and generation do not matter."""
    assert is_told(held("Ready", "True"), Condition(ConditionType.READY, status, reason, message)) is told


def test_nothing_tells_nothing() -> None:
    """A condition that no status holds is not told."""
    assert not is_told(None, Condition(ConditionType.READY, True, Reason.READY, ""))


@given(TOLD)
def test_what_was_merged_is_told(told: list[Condition]) -> None:
    """Every condition that was written, a cut message included, is recognised in the status."""
    for condition in told:
        longer = Condition(condition.type, condition.status, condition.reason, condition.message + "x" * 5000)
        (found,) = merged_conditions([], [longer], generation=1, now=NOW)
        assert is_told(found, longer)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds
def test_instants_are_written_as_kubernetes_writes_them(instant: datetime) -> None:
    """An instant is whole seconds in UTC with a `Z`, and reads back as that second."""
    text = rfc3339(instant)
    assert len(text) == len("2026-03-01T12:00:00Z")
    assert datetime.fromisoformat(text) == instant.replace(microsecond=0)


def _classes(root: type[Error]) -> set[type[Error]]:
    """Return the classes of `fedid.errors`; those that tests make of their own are none of its business."""
    found = {root}.union(*(_classes(one) for one in root.__subclasses__()))
    return {one for one in found if one.__module__ == root.__module__}


@pytest.mark.parametrize("error", sorted(_classes(Error) - {Error}, key=str))
def test_every_error_class_has_a_reason_of_the_closed_list_or_is_internal(error: type[Error]) -> None:
    """What a condition says of an error class is a documented reason; only those never told have none."""
    told = reason_of(error("x", backend="vault") if issubclass(error, errors.BackendError) else error("x"))
    unlisted = {errors.BackendError, errors.StaleObjectError}
    assert (told is Reason.INTERNAL_ERROR) == (error in unlisted)
    if error not in unlisted:
        assert told == error.reason


def test_a_reason_that_the_raiser_knows_better_wins() -> None:
    """The more exact reason of an error is the one that is told; one that is not documented becomes internal."""
    assert reason_of(errors.InvalidSpecError("x", reason=Reason.TOKEN_MISSING)) is Reason.TOKEN_MISSING
    assert reason_of(errors.BackendUnavailableError("x", backend="vault", reason="Weather")) is Reason.INTERNAL_ERROR
    assert reason_of(Error("x")) is Reason.INTERNAL_ERROR


@pytest.mark.parametrize("word", [*Reason, *ConditionType])
def test_every_word_is_what_the_api_admits(word: str) -> None:
    """Types and reasons are CamelCase as the API conventions and the CRDs want them."""
    assert word[0].isupper()
    assert word.isalnum()
    assert word.isascii()
    assert len(word) <= 63
