"""Tests of what a Federation says of OpenFGA, and of the condition that its part of a status stands for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fedid.domain.conditions import Condition, ConditionType, Reason
from fedid.domain.openfga import OpenFgaAccess, RelationTuple, parse_openfga_access, problem, with_openfga
from fedid.errors import BackendDeniedError, BackendUnavailableError, InvalidSpecError

KEY = {"presharedKey": {"secretName": "fedid-openfga"}}
TOLD = {"url": "https://openfga.example.org/", "storeId": "s", "auth": KEY}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 1, 1, 13, tzinfo=UTC)
READY = Condition(ConditionType.READY, True, Reason.READY, "well")


def test_what_a_federation_says_of_openfga() -> None:
    """The URL has no slash at its end; what is not said is None."""
    assert parse_openfga_access({}) is None
    expected = OpenFgaAccess("https://openfga.example.org", "s", None, None, "fedid-openfga")
    assert parse_openfga_access({"openFga": TOLD}) == expected
    open_ = parse_openfga_access({"openFga": {**TOLD, "auth": {"none": {}}, "modelId": "m", "caBundle": "c"}})
    assert open_ == OpenFgaAccess("https://openfga.example.org", "s", "m", "c", None)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"url": None}, "spec.openFga.url is missing"),
        ({"storeId": None}, "spec.openFga.storeId is missing"),
        ({"auth": None}, "spec.openFga.auth is missing"),
        ({"auth": {}}, "needs exactly one of"),
        ({"auth": {"none": {}, "presharedKey": {"secretName": "s"}}}, "needs exactly one of"),
        ({"auth": {"presharedKey": {}}}, "spec.openFga.auth.presharedKey.secretName is missing"),
    ],
)
def test_what_cannot_be_meant(changed: dict[str, Any], what: str) -> None:
    """The message names the field."""
    with pytest.raises(InvalidSpecError, match=what):
        parse_openfga_access({"openFga": {**TOLD, **changed}})


def test_a_tuple_is_written_as_openfga_writes_it() -> None:
    """So that a message can be compared with its log."""
    assert str(RelationTuple("flwr_aid:a", "has_access", "service:grid")) == "service:grid#has_access@flwr_aid:a"


def test_a_problem_is_told_since_it_began() -> None:
    """Another reason is another problem; another sentence is not."""
    away = BackendUnavailableError("no answer", backend="openfga")
    first = problem(away, None, NOON)
    assert first == {"reason": "BackendUnavailable", "message": "no answer", "since": "2026-01-01T12:00:00Z"}
    timeout = BackendUnavailableError("timeout", backend="openfga")
    assert problem(timeout, first, LATER) == {**first, "message": "timeout"}
    assert problem(BackendDeniedError("no", backend="openfga"), first, LATER)["since"] == "2026-01-01T13:00:00Z"


@pytest.mark.parametrize("about", [ConditionType.OPENFGA_READY, ConditionType.OPENFGA_SYNCED])
def test_a_condition_follows_from_its_part_of_the_status(about: ConditionType) -> None:
    """It comes and goes with that part, whatever was told of it before; the others stay."""
    before = [READY, Condition(about, True, Reason.SYNCED, "of before")]
    assert with_openfga(before, about, None) == [READY]
    wrong = {"problem": {"reason": "Conflict", "message": "a stranger", "since": "2026-01-01T12:00:00Z"}}
    told = Condition(about, False, Reason.CONFLICT, "a stranger (since 2026-01-01T12:00:00Z)")
    assert with_openfga(before, about, wrong) == [READY, told]
    unknown = {"problem": {**wrong["problem"], "reason": "OfALaterVersion"}}
    assert with_openfga([], about, unknown)[0].reason is Reason.PROGRESSING
    (well,) = with_openfga([], about, {"store": "grid", "count": 1, "object": "service:grid"})
    assert well.status is True
    assert well.message in {
        "Store grid of OpenFGA answers",
        "OpenFGA lets 1 account into service:grid by tuples of fedid",
    }
