"""Tests of what is sent to change a status, and of what a status says."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedid.domain.conditions import Condition, ConditionType, Reason
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT
from fedid.reconcile.status import kept_conditions, merge_patch, ready_at_generation, write_status
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

PLAIN = st.one_of(st.booleans(), st.integers(), st.text(max_size=3))
VALUES: st.SearchStrategy[Any] = st.recursive(
    PLAIN,
    lambda children: st.one_of(
        st.lists(children, max_size=3), st.dictionaries(st.sampled_from("abc"), children, max_size=3)
    ),
    max_leaves=8,
)
"""What a status can hold; the API server drops nulls."""
STATUSES = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def patched(target: object, patch: object) -> object:
    """Apply a JSON merge patch, word by word as RFC 7386 section 2 defines it."""
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Any] = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = patched(result.get(name), value)
    return result


def paths(patch: Mapping[str, Any], below: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return where a patch sets or removes something."""
    found = set()
    for name, value in patch.items():
        if isinstance(value, dict) and value:
            found |= paths(value, (*below, name))
        else:
            found.add((*below, name))
    return found


@settings(deadline=None)
@given(STATUSES, STATUSES)
def test_the_patch_leads_from_one_status_to_the_other(observed: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Whatever is observed and wanted, applying the patch to the one gives the other, and touches neither here."""
    before = copy.deepcopy((observed, wanted))
    patch = merge_patch(observed, wanted)
    assert patched(observed, patch) == wanted
    assert (observed, wanted) == before


@settings(deadline=None)
@given(STATUSES, STATUSES)
def test_the_patch_is_empty_if_and_only_if_nothing_differs(observed: dict[str, Any], wanted: dict[str, Any]) -> None:
    """What is as wanted is not written."""
    assert (merge_patch(observed, wanted) == {}) == (observed == wanted)
    assert merge_patch(wanted, copy.deepcopy(wanted)) == {}


@settings(deadline=None)
@given(STATUSES, STATUSES)
def test_the_patch_names_nothing_that_is_right_already(observed: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Each place that the patch names differs between the two."""
    for path in paths(merge_patch(observed, wanted)):
        one: Any = observed
        other: Any = wanted
        for name in path:
            one = one.get(name) if isinstance(one, dict) else None
            other = other.get(name) if isinstance(other, dict) else None
        assert one != other


@pytest.mark.parametrize(
    ("observed", "wanted", "patch"),
    [
        pytest.param({}, {"a": 1}, {"a": 1}, id="a field comes"),
        pytest.param({"a": 1}, {}, {"a": None}, id="a field goes"),
        pytest.param({"a": 1}, {"a": 2}, {"a": 2}, id="a field changes"),
        pytest.param({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}, id="a field that stays is not named"),
        pytest.param({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {"a": {"y": None}}, id="a field within a field goes"),
        pytest.param({"a": {"x": 1}}, {"a": 1}, {"a": 1}, id="an object becomes a value"),
        pytest.param({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}, id="a value becomes an object"),
        pytest.param({"a": {"x": 1}}, {"a": {}}, {"a": {"x": None}}, id="an object becomes empty"),
        pytest.param({"a": [1, 2]}, {"a": [2]}, {"a": [2]}, id="a list is replaced as a whole"),
    ],
)
def test_the_patch_is_the_smallest(observed: dict[str, Any], wanted: dict[str, Any], patch: dict[str, Any]) -> None:
    """A patch names what changes and removes by null."""
    assert merge_patch(observed, wanted) == patch


def body(*conditions: Mapping[str, Any], generation: int = 2, observed: int | None = 2) -> dict[str, Any]:
    """Return an object with these conditions."""
    return {
        "kind": "BotClient",
        "metadata": {"name": "trainer", "namespace": "site-a", "uid": "1", "generation": generation},
        "status": {"conditions": list(conditions), "observedGeneration": observed},
    }


def held(kind: str, status: str, reason: str = "Ready") -> dict[str, Any]:
    """Return a condition as an earlier pass wrote it."""
    return {"type": kind, "status": status, "reason": reason, "message": "m", "lastTransitionTime": "then"}


@pytest.mark.parametrize(
    ("found", "ready"),
    [
        pytest.param(body(held("Ready", "True")), True, id="Ready, of the spec as it is"),
        pytest.param(body(held("Ready", "True"), observed=1), False, id="Ready, of an earlier spec"),
        pytest.param(body(held("Ready", "True"), observed=None), False, id="Ready, of nobody knows what"),
        pytest.param(body(held("Ready", "False")), False, id="not Ready"),
        pytest.param(body(held("Ready", "Unknown")), False, id="Ready is not known"),
        pytest.param(body(held("Granted", "True")), False, id="another condition"),
        pytest.param({**body(), "status": None}, False, id="no status"),
    ],
)
def test_ready_is_of_the_spec_as_it_is(found: dict[str, Any], *, ready: bool) -> None:
    """An object is ready if its status says so of this very generation."""
    assert ready_at_generation(found) is ready


def test_conditions_that_go_on_holding_are_kept_as_they_are() -> None:
    """The asked types are kept with status, reason and message, but the one that is told anew, and no others."""
    found = body(
        held("Ready", "True"),
        held("Granted", "False", "NotGranted"),
        held("KeycloakSynced", "Unknown", "Progressing"),
        held("Published", "True", "Published"),
        held("Revoked", "True", "Proven"),
    )
    parts = (ConditionType.PUBLISHED, ConditionType.GRANTED, ConditionType.KEYCLOAK_SYNCED)
    granted = Condition(ConditionType.GRANTED, False, Reason.NOT_GRANTED, "m")
    synced = Condition(ConditionType.KEYCLOAK_SYNCED, None, Reason.PROGRESSING, "m")
    published = Condition(ConditionType.PUBLISHED, True, Reason.PUBLISHED, "m")
    assert kept_conditions(found, parts) == [published, granted, synced]
    assert kept_conditions(found, parts, but=ConditionType.GRANTED) == [published, synced]
    assert kept_conditions({**found, "status": None}, parts) == []


async def test_two_passes_over_one_object_undo_nothing_of_each_other() -> None:
    """Each writes over what the other has written by then, however their requests meet."""
    operator = SmallOperator()
    await operator.settle()
    key = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {})
    body = operator.cluster.bodies[key]
    ready = Condition(ConditionType.READY, True, Reason.READY, "well")
    synced = {"object": "service:grid", "count": 1}
    await asyncio.gather(
        write_status(operator.world, body, None, {"openFga": synced}),
        write_status(operator.world, body, [ready], {"clientId": "trainer"}),
        write_status(operator.world, body, None, {"federation": "local"}),
    )
    status = operator.cluster.bodies[key]["status"]
    assert [one["type"] for one in status["conditions"]] == ["Ready", "OpenFgaSynced"]
    assert (status["openFga"], status["clientId"], status["federation"]) == (synced, "trainer", "local")
