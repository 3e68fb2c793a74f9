"""What ends leaves a receipt of what was seen, before it is let go, and only one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.realm import SecretPolicy
from fedid.domain.receipt import ReceiptLimits
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER, POD_IDENTITY
from fedid.errors import BackendDeniedError, BackendRejectedError, BackendUnavailableError
from fedid.reconcile.receipts import prune_receipts
from tests.reconcile.small_operator import NAMESPACE, SmallOperator
from tests.reconcile.test_server_clients import CLIENT, RULE

RECEIPT = "RevocationReceipt"
BOT_SPEC = {"tokens": [{"name": "default", "lifetime": "10m"}]}
USER_SPEC = {"username": "ana"}
SERVER_SPEC = {
    "role": "server",
    "oidcClient": CLIENT,
    "platform": {"generic": {"files": {"secret": "{clientSecret}"}}},
}
KINDS = {BOT_CLIENT: BOT_SPEC, FEDERATION_USER: USER_SPEC, POD_IDENTITY: SERVER_SPEC}
HOUR = timedelta(hours=1)
EACH_KIND = pytest.mark.parametrize("kind", sorted(KINDS))


def receipts(operator: SmallOperator) -> list[dict[str, Any]]:
    """Return what every receipt says, in the order of their names."""
    return [body["spec"] for key, body in sorted(operator.cluster.bodies.items()) if key.kind == RECEIPT]


def lines(operator: SmallOperator) -> list[Any]:
    """Return the lines of the log that are receipts."""
    return [line for line in operator.audited if line["step"] == RECEIPT]


async def living(kind: str) -> SmallOperator:
    """Return an operator with one identity that is Ready."""
    operator = SmallOperator()
    spec = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": [RULE]})
    operator.cluster.apply(kind, NAMESPACE, "one", KINDS[kind])
    await operator.advance(5)
    assert operator.status(kind, "one")["conditions"][0]["status"] == "True"
    assert receipts(operator) == []
    return operator


def change(operator: SmallOperator, kind: str, **fields: Any) -> None:
    """Change the spec of the identity."""
    operator.cluster.apply(kind, NAMESPACE, "one", {**KINDS[kind], **fields})


@EACH_KIND
async def test_a_deletion_leaves_what_was_seen(kind: str) -> None:
    """Who, why, what was presented where, what answered, and until when something may be taken; in the log as well."""
    operator = await living(kind)
    uid = operator.cluster.bodies[ObjectKey(kind, NAMESPACE, "one")]["metadata"]["uid"]
    operator.cluster.delete(kind, NAMESPACE, "one")
    await operator.advance(10)

    (found,) = receipts(operator)
    assert found["object"] == {"kind": kind, "namespace": NAMESPACE, "name": "one", "uid": uid}
    assert (found["cause"], found["federation"]) == ("Deleted", "local")
    answers = [one["answer"] for one in found["evidence"]]
    issuer = operator.provider.realm.issuer_url
    assert all(issuer in one["presentedTo"] or "Vault" in one["presentedTo"] for one in found["evidence"])
    if kind == FEDERATION_USER:
        assert answers[0].startswith("there, with")
        assert "404" in answers[1]
    else:
        assert answers[0] == "accepted"
        assert "refused (invalid_client)" in answers
        assert "gone (404)" in answers
        assert found["provenAt"] < found["remains"]["latestExpiry"]
    (line,) = lines(operator)
    assert (line["evidence"], line["proven_at"]) == (found["evidence"], found["provenAt"])
    (event,) = [one for one in operator.cluster.events if one.reason == "RevocationProven"]
    assert event.message.endswith(f"; receipt {line['receipt']}")


@EACH_KIND
async def test_the_receipt_comes_before_the_finalizer_and_once(kind: str) -> None:
    """A process that ends before or after it was written leaves one receipt, and the object goes."""
    for moment in ("before", "after"):
        for operation in ("create_receipt", "set_finalizers"):
            operator = await living(kind)
            operator.cluster.delete(kind, NAMESPACE, "one")
            operator.cluster.failures.add(operation, BackendUnavailableError("cut", backend="kubernetes"), at=moment)
            await operator.advance(1)
            operator.restart()
            await operator.advance(30)

            assert len(receipts(operator)) == 1, (moment, operation)
            assert ObjectKey(kind, NAMESPACE, "one") not in operator.cluster.bodies
            order = [call.operation for call in operator.cluster.writes]
            assert order.count("create_receipt") == 1
            assert order[-1] == "set_finalizers", (moment, operation)


@pytest.mark.parametrize(
    "error",
    [BackendDeniedError("no right", backend="kubernetes"), BackendRejectedError("no CRD", backend="kubernetes")],
)
async def test_what_refuses_receipts_holds_up_nothing(error: Any) -> None:
    """The log tells all of it then, and an Event what is missing."""
    operator = await living(BOT_CLIENT)
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "one")
    operator.cluster.failures.add("create_receipt", error, times=None)
    await operator.advance(10)

    assert ObjectKey(BOT_CLIENT, NAMESPACE, "one") not in operator.cluster.bodies
    (line,) = lines(operator)
    assert (line["result"], line["error"]) == ("failed", error.message)
    assert line["evidence"]
    (event,) = [one for one in operator.cluster.events if one.reason == "ReceiptRefused"]
    assert error.message in event.message


async def test_an_api_server_that_is_away_holds_the_object() -> None:
    """As any other write does: nothing is let go before its receipt is there."""
    operator = await living(BOT_CLIENT)
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "one")
    operator.cluster.failures.add("create_receipt", BackendUnavailableError("away", backend="kubernetes"), times=3)
    await operator.advance(0.1)
    assert ObjectKey(BOT_CLIENT, NAMESPACE, "one") in operator.cluster.bodies
    await operator.advance(60)
    assert ObjectKey(BOT_CLIENT, NAMESPACE, "one") not in operator.cluster.bodies
    assert len(receipts(operator)) == 1


@pytest.mark.parametrize("kind", [BOT_CLIENT, FEDERATION_USER])
async def test_each_withdrawal_has_a_receipt_of_its_own(kind: str) -> None:
    """Suspended twice and then expired, it leaves three; in between, a second look leaves none."""
    operator = await living(kind)
    past = {"expiresAt": operator.clock.now().isoformat()}
    ends = [({"suspend": True}, "Suspended"), ({"suspend": True}, "Suspended"), (past, "Expired")]
    for count, (fields, cause) in enumerate(ends, 1):
        change(operator, kind, **fields)
        await operator.advance(30)
        await operator.look()
        assert len(receipts(operator)) == count
        assert cause in {one["cause"] for one in receipts(operator)}
        change(operator, kind)
        await operator.advance(30)
    assert [one["cause"] for one in receipts(operator)].count("Suspended") == 2


@EACH_KIND
async def test_a_grant_that_goes_leaves_one(kind: str) -> None:
    """The namespace is nobody's any more, so everything is withdrawn."""
    operator = await living(kind)
    spec = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": []})
    await operator.advance(60)
    await operator.look()
    await operator.advance(60)
    assert [one["cause"] for one in receipts(operator)] == ["Withdrawn"]


async def test_what_is_revoked_now_leaves_one() -> None:
    """The annotation ends all that is valid; what is made then is another's."""
    operator = await living(BOT_CLIENT)
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "one", BOT_SPEC, annotations={"fedid.io/revoke-now": "leak-1"})
    await operator.advance(30)
    assert [one["cause"] for one in receipts(operator)] == ["RevokedNow"]


async def test_what_is_given_up_is_told_as_unproven() -> None:
    """Without `provenAt`, with who gave it up and why, and with what may have stayed."""
    operator = await living(BOT_CLIENT)
    operator.world.force_release = True
    operator.provider.failures.add("*", BackendUnavailableError("away", backend="keycloak"), times=None)
    annotations = {"fedid.io/force-release": "FL-18"}
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "one", BOT_SPEC, annotations=annotations)
    operator.cluster.delete(BOT_CLIENT, NAMESPACE, "one")
    await operator.advance(30)

    (found,) = receipts(operator)
    assert found["cause"] == "ForceReleased"
    assert "provenAt" not in found
    notes = " ".join(found["remains"]["notes"])
    assert "FL-18" in notes
    assert "client site-a.one" in notes


async def test_renewals_leave_none() -> None:
    """Tokens that merely expire are not worth a receipt: there would be thousands."""
    operator = await living(BOT_CLIENT)
    await operator.advance(3600)
    assert receipts(operator) == []


async def test_the_oldest_go_and_the_unproven_stay() -> None:
    """Beyond their number or their age, oldest first."""
    operator = SmallOperator()
    for number in range(4):
        operator.cluster.apply(RECEIPT, None, f"proven-{number}", {"provenAt": "2026-01-01T12:00:00Z"})
        operator.cluster.apply(RECEIPT, None, f"unproven-{number}", {"cause": "ForceReleased"})
        operator.clock.seconds += 3600

    async def pruned(keep: int, hours: float) -> list[str]:
        limits = ReceiptLimits(keep, hours * HOUR)
        await prune_receipts(operator.cluster, operator.clock, limits)
        return [key.name for key in sorted(operator.cluster.bodies) if key.kind == RECEIPT]

    unproven = [f"unproven-{number}" for number in range(4)]
    assert await pruned(4, 100) == [*(f"proven-{number}" for number in range(4)), *unproven]
    assert await pruned(3, 100) == ["proven-1", "proven-2", "proven-3", *unproven]
    assert await pruned(3, 2.5) == ["proven-2", "proven-3", *unproven]
    assert await pruned(3, 0.5) == unproven


async def test_a_rotated_secret_leaves_one_with_its_refusal() -> None:
    """When the former one ends, not when the next one comes; a process that ends in between leaves no second one."""
    for moment in ("before", "after"):
        operator = await living(BOT_CLIENT)
        operator.provider.realm.secret_policy = SecretPolicy("two", timedelta(days=3650), timedelta(days=365))
        rotation = {**BOT_SPEC, "secretRotation": {"overlap": "10m"}}
        operator.cluster.apply(BOT_CLIENT, NAMESPACE, "one", rotation, annotations={"fedid.io/rotate": "secret-1"})
        await operator.advance(60)
        assert receipts(operator) == []
        operator.cluster.failures.add("create_receipt", BackendUnavailableError("cut", backend="kubernetes"), at=moment)
        await operator.advance(700)
        operator.restart()
        await operator.look()
        await operator.advance(60)

        (found,) = receipts(operator)
        assert (found["cause"], found["evidence"][0]["answer"]) == ("Rotated", "refused (invalid_client)")
        assert "startedAt" not in found
        assert "until they expire" in found["remains"]["notes"][0]
        assert [one.reason for one in operator.cluster.events if one.reason == "CredentialEnded"] == ["CredentialEnded"]


async def test_a_secret_without_an_overlap_is_seen_refused_too() -> None:
    """Where the realm cannot keep two, the former one ends at once, and that is seen."""
    operator = await living(BOT_CLIENT)
    rotation = {**BOT_SPEC, "secretRotation": {"allowInterruption": True}}
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "one", rotation, annotations={"fedid.io/rotate": "secret-1"})
    await operator.advance(60)
    (found,) = receipts(operator)
    assert found["evidence"][0]["credential"] == "replaced bot secret of client site-a.one"


async def test_a_rotated_key_leaves_one_by_its_id() -> None:
    """Of the key that is not listed any more."""
    operator = SmallOperator()
    spec = {**BOT_SPEC, "authentication": {"privateKeyJwt": {}}, "secretRotation": {"overlap": "10m"}}
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "one", spec)
    await operator.advance(5)
    former = operator.status(BOT_CLIENT, "one")["secret"]["keyId"]
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "one", spec, annotations={"fedid.io/rotate": "secret-1"})
    await operator.advance(800)
    (found,) = receipts(operator)
    assert [one["credential"] for one in found["evidence"]] == [f"private key {former}"]


async def test_a_token_that_is_taken_out_of_the_spec_leaves_one() -> None:
    """It was good, is revoked, and seen refused."""
    operator = await living(BOT_CLIENT)
    change(operator, BOT_CLIENT, tokens=[{"name": "other", "lifetime": "10m"}])
    await operator.advance(30)
    (found,) = receipts(operator)
    assert (found["cause"], found["evidence"][0]["answer"]) == ("Withdrawn", "refused (401)")
    assert found["evidence"][0]["credential"].startswith("token default (")


async def test_a_token_that_says_too_much_leaves_one() -> None:
    """An audience that went takes the token with it that names it."""
    operator = SmallOperator()
    spec = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    granted = [{"namespaces": {"names": [NAMESPACE]}, "audiences": ["superlink"]}]
    operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": granted})
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "one", {**BOT_SPEC, "audiences": ["superlink"]})
    await operator.advance(5)
    change(operator, BOT_CLIENT)
    await operator.advance(30)
    (found,) = receipts(operator)
    assert (found["cause"], found["evidence"][0]["answer"]) == ("Withdrawn", "refused (401)")
