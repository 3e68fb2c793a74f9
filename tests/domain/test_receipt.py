"""What a receipt tells of an end, and by which name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.receipt import Cause, Presented, Receipt, cause_of, evidence_fields, evidence_in, receipt_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = ObjectKey("BotClient", "site-a", "trainer")
RECEIPT = Receipt(KEY, "uid", "local", Cause.SUSPENDED, "then", NOON, NOON)
SEEN = Presented("token default (a)", "Admin API of https://kc", "refused (401)", NOON)


def body(*, deleting: bool = False, **revocation: Any) -> dict[str, Any]:
    """Return a bot of which this much is recorded."""
    metadata = {"namespace": "site-a", "name": "trainer", "uid": "uid"} | (
        {"deletionTimestamp": "x"} if deleting else {}
    )
    return {"kind": "BotClient", "metadata": metadata, "status": {"federation": "local", "revocation": revocation}}


@pytest.mark.parametrize(
    "other",
    [
        replace(RECEIPT, uid="other"),
        replace(RECEIPT, cause=Cause.EXPIRED),
        replace(RECEIPT, what="later"),
        replace(RECEIPT, object=replace(KEY, kind="FederationUser")),
    ],
    ids=["another object", "another cause", "another time", "another kind"],
)
def test_another_end_has_another_name(other: Receipt) -> None:
    """And the same end the same one, whatever else is known of it by then."""
    assert other.name != RECEIPT.name
    assert replace(RECEIPT, proven_at=None, evidence=(SEEN,), notes=("a",), federation=None).name == RECEIPT.name


@pytest.mark.parametrize("name", ["a", "a" * 253, "a" * 119 + "." + "b" * 100, "a" * 118 + "-." + "b" * 100])
def test_a_name_is_one_that_kubernetes_takes(name: str) -> None:
    """Also of an object whose own is as long as can be."""
    found = replace(RECEIPT, object=ObjectKey("BotClient", "n" * 63, name)).name
    assert len(found) <= 253
    assert all(part and part[0] not in "-." and part[-1] not in "-." for part in found.split("."))


@pytest.mark.parametrize(
    ("object_", "cause"),
    [
        (body(deleting=True, reason="Suspended"), Cause.DELETED),
        (body(reason="Suspended"), Cause.SUSPENDED),
        (body(reason="Expired"), Cause.EXPIRED),
        (body(reason="RevokedNow"), Cause.REVOKED_NOW),
        (body(reason="NotGranted"), Cause.WITHDRAWN),
        (body(), Cause.WITHDRAWN),
    ],
)
def test_the_cause_is_what_the_object_tells(object_: dict[str, Any], cause: Cause) -> None:
    """A deletion is told as one whatever was begun before it."""
    assert cause_of(object_) is cause


def test_what_was_recorded_is_told_again_alike() -> None:
    """What one process wrote into the status, another tells, with what it sees itself behind it."""
    recorded = body(startedAt="2026-01-01T11:00:00Z", provenAt="2026-01-01T12:00:00Z", evidence=evidence_fields([SEEN]))
    assert evidence_in(recorded["status"]["revocation"]) == (SEEN,)
    more = replace(SEEN, credential="entries")
    spec = receipt_of(recorded, Cause.DELETED, seen=[more], proven_at=datetime(2030, 1, 1, tzinfo=UTC)).spec()
    assert spec["evidence"] == evidence_fields([SEEN, more])
    assert (spec["startedAt"], spec["provenAt"]) == ("2026-01-01T11:00:00Z", "2026-01-01T12:00:00Z")
    assert "remains" not in spec


def test_another_credential_is_not_told_with_what_was_recorded() -> None:
    """A rotation is about one credential; what the status records is about the whole identity."""
    recorded = body(
        startedAt="2026-01-01T11:00:00Z", evidence=evidence_fields([SEEN]), latestExpiry="2026-01-01T13:00:00Z"
    )
    spec = receipt_of(recorded, Cause.ROTATED, proven_at=NOON, recorded=False).spec()
    assert {"evidence", "startedAt", "remains"}.isdisjoint(spec)


def test_what_was_given_up_is_never_proven() -> None:
    """Although a part of it was seen."""
    recorded = body(provenAt="2026-01-01T12:00:00Z", evidence=evidence_fields([SEEN]))
    spec = receipt_of(recorded, Cause.FORCE_RELEASED, notes=["client a"], proven_at=NOON).spec()
    assert "provenAt" not in spec
    assert spec["evidence"] == evidence_fields([SEEN])


def test_more_than_fits_is_counted() -> None:
    """The API server takes 64 answers and 32 notes, none twice, of 1024 characters."""
    notes = ["", "same", "same", *(f"{number}" + "x" * 2000 for number in range(40))]
    spec = replace(RECEIPT, evidence=(SEEN,) * 70, notes=tuple(notes)).spec()
    told = spec["remains"]["notes"]
    assert len(spec["evidence"]) == 64
    assert told[:2] == ["6 more answers were seen than a receipt holds", "same"]
    assert told[-1] == "and 11 more; the log of the operator has them"
    assert len(told) == len(set(told)) == 32
    assert max(map(len, told)) == 1024
