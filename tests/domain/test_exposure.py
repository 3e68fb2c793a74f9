"""What a status tells of credentials in use, and of an end that is not proven."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fedid.domain.exposure import credentials_in_use, proof_seconds, unproven_since

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT_NOON = "2026-01-01T12:00:00Z"
MADE = {"issuedAt": AT_NOON}
FINALIZER = "fedid.io/revoke"


def body(kind: str, status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Return an object with this status."""
    return {"kind": kind, "metadata": {"name": "a", **metadata}, "status": status}


@pytest.mark.parametrize(
    ("kind", "status", "found"),
    [
        pytest.param("BotClient", {"tokens": [{"name": "t", **MADE}]}, [("jwt", "t")], id="a token"),
        pytest.param(
            "BotClient", {"tokens": [{"name": "t", "fingerprint": "f", **MADE}]}, [("opaque", "t")], id="an opaque one"
        ),
        pytest.param("BotClient", {"secret": MADE}, [("bot_secret", "")], id="a secret"),
        pytest.param("BotClient", {"secret": {**MADE, "keyId": "k"}}, [("private_key", "")], id="a key"),
        pytest.param("BotClient", {"secret": {"version": 1}}, [], id="a ServiceAccount, which has no secret"),
        pytest.param("PodIdentity", {"oidcClient": MADE}, [("server_secret", "")], id="a server's client"),
        pytest.param("PodIdentity", {"oidcClient": {"publicClientId": "p"}}, [], id="a public one"),
        pytest.param("PodIdentity", {"superNode": MADE}, [("node_key", "")], id="a SuperNode"),
        pytest.param("FederationUser", {"userId": "u"}, [], id="a user"),
        pytest.param("BotClient", {}, [], id="nothing yet"),
    ],
)
def test_which_credentials_are_in_use(kind: str, status: dict[str, Any], found: list[tuple[str, str]]) -> None:
    """Each by its kind and when it was made; of what is to end none counts any more."""
    told = body(kind, status)
    assert [(life.kind, life.name) for life in credentials_in_use(told)] == found
    assert {life.issued_at for life in credentials_in_use(told)} <= {NOON}
    assert credentials_in_use({**told, "metadata": {"name": "a", "deletionTimestamp": AT_NOON}}) == ()
    assert credentials_in_use(body(kind, {**status, "revocation": {"startedAt": AT_NOON}})) == ()


@pytest.mark.parametrize(
    ("told", "since"),
    [
        pytest.param(body("BotClient", {}, finalizers=[FINALIZER]), None, id="nobody asked"),
        pytest.param(
            body("BotClient", {}, finalizers=[FINALIZER], deletionTimestamp=AT_NOON), NOON, id="a deletion just begun"
        ),
        pytest.param(body("BotClient", {}, deletionTimestamp=AT_NOON), None, id="nothing was ever made"),
        pytest.param(body("FederationUser", {"revocation": {"startedAt": AT_NOON}}), NOON, id="a suspension"),
        pytest.param(
            body("FederationUser", {"revocation": {"startedAt": AT_NOON, "provenAt": AT_NOON}}), None, id="proven"
        ),
        pytest.param(body("Federation", {}, finalizers=[FINALIZER], deletionTimestamp=AT_NOON), None, id="no identity"),
    ],
)
def test_since_when_an_end_is_unproven(told: dict[str, Any], since: datetime | None) -> None:
    """From the request to the proof, where something may have been made."""
    assert unproven_since(told) == since


def test_a_proof_is_measured_where_it_is_first_told() -> None:
    """From the request on, and by no later write."""
    begun, proven = ({"startedAt": AT_NOON, **more} for more in ({}, {"provenAt": "2026-01-01T12:00:07Z"}))
    before, after = (body("BotClient", {"revocation": revocation}) for revocation in (begun, proven))
    now = datetime(2026, 1, 1, 12, 0, 7, tzinfo=UTC)
    assert proof_seconds(before, after, now) == 7
    assert proof_seconds(after, after, now) is None
    assert proof_seconds(before, before, now) is None
