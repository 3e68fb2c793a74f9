"""The audit: one line for each privileged side effect, with the object, the rules that allow it, and no credential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION_USER, POD_IDENTITY
from fedid.errors import BackendError, BackendRejectedError, BackendUnavailableError
from tests.reconcile.small_operator import NAMESPACE
from tests.reconcile.test_grants import Estate

RULES = ({"audiences": ["*"]}, {"realmRoles": ["fl-client"]}, {"realmRoles": ["fl-*"], "groups": ["/sites/*"]})
FIRST = ["step", "object", "uid", "federation", "grants", "result"]


def lines(estate: Estate, step: str) -> list[Mapping[str, Any]]:
    """Return the lines of a step."""
    return [line for line in estate.operator.audited if line["step"] == step]


async def estate_of_all() -> Estate:
    """Return an estate with a bot, a user and what a pod mounts, all made."""
    estate = Estate(*RULES)
    estate.bot("fl-client", "fl-admin")
    estate.user("/sites/a", realmRoles=["fl-client"])
    files = {"generic": {"files": {"token": "{token}"}}}
    spec = {"role": "client", "botClientRef": {"name": "trainer"}, "platform": files}
    estate.operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec)
    await estate.operator.settle()
    return estate


async def test_each_line_says_who_what_and_by_which_rule() -> None:
    """The first fields are always the same; a role names the very rules that cover it."""
    estate = await estate_of_all()
    uid = estate.operator.cluster.bodies[ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")]["metadata"]["uid"]
    (roles,) = lines(estate, "AddRoles")
    assert dict(roles) == {
        "step": "AddRoles",
        "object": f"BotClient/{NAMESPACE}/trainer",
        "uid": uid,
        "federation": "local",
        "grants": [1, 2],
        "result": "done",
        "roles": ["fl-admin", "fl-client"],
    }
    (created,) = lines(estate, "CreateUser")
    assert (created["grants"], created["groups"], created["username"]) == ([2], ["/sites/a"], "ana")
    (mapped,) = lines(estate, "MapRoles")
    assert (mapped["grants"], mapped["roles"]) == ([1], ["fl-client"])
    (secret,) = lines(estate, "WriteSecret")
    assert (secret["object"], secret["keys"]) == (f"PodIdentity/{NAMESPACE}/trainer", ["token"])
    for line in estate.operator.audited:
        assert [name for name in FIRST if name in line] == list(line)[: len(set(FIRST) & set(line))]
        assert {"step", "object", "uid", "result"} <= line.keys()


async def test_no_line_for_what_changes_nothing() -> None:
    """Another look and a restart have no effect, and no line."""
    estate = await estate_of_all()
    before = len(estate.operator.audited)
    await estate.operator.look()
    estate.operator.restart()
    await estate.operator.settle()
    assert estate.operator.audited[before:] == []


async def test_no_credential() -> None:
    """Neither the bot secret nor a token is in any line."""
    estate = await estate_of_all()
    text = str(estate.operator.audited)
    client = estate.realm.client(f"{NAMESPACE}.trainer")
    assert client is not None
    assert client.secret is not None
    assert client.secret.reveal() not in text
    assert not any(token in text for token in estate.realm.tokens)


async def test_an_end_needs_no_rule() -> None:
    """What is deleted, or withdrawn as a whole, names the object and no rule."""
    estate = await estate_of_all()
    estate.operator.cluster.delete(FEDERATION_USER, NAMESPACE, "ana")
    estate.rules()
    await estate.operator.advance(10)
    ends = [*lines(estate, "DeleteClient"), *lines(estate, "RevocationReceipt")]
    assert {line["object"].split("/")[0] for line in ends} == {BOT_CLIENT, FEDERATION_USER}
    assert [line for line in ends if "grants" in line] == []


@pytest.mark.parametrize(
    ("error", "results"),
    [
        (BackendRejectedError("no", backend="keycloak"), ["failed", "done"]),
        (BackendUnavailableError("lost", backend="keycloak", outcome_unknown=True), ["unknown", "done"]),
        (BackendUnavailableError("away", backend="keycloak"), ["done"]),
    ],
)
async def test_a_refusal_and_a_lost_answer_are_told(error: BackendError, results: list[str]) -> None:
    """With their reason; what never reached a backend had no effect, and has no line."""
    estate = Estate(*RULES)
    estate.operator.provider.failures.add("add_roles", error)
    estate.bot("fl-client")
    await estate.operator.advance(30)
    told = lines(estate, "AddRoles")
    assert [line["result"] for line in told] == results
    assert [line["reason"] for line in told[:-1]] == [error.reason] * (len(results) - 1)
