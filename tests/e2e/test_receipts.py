"""What is gone leaves a receipt on real servers: deleted, suspended, rotated, and with its whole namespace."""

from __future__ import annotations

from tests.chart.judging import OURS
from tests.e2e.authority import Authority, claims_of
from tests.e2e.rotating import annotate
from tests.e2e.running import Operator
from tests.e2e.tenancy import Body, Tenant, bot, pod_identity, user
from tests.e2e.waiting import eventually
from tests.testbed.keycloak_realm import REALM

REFUSED = "refused (invalid_client)"


def receipts(tenant: Tenant, **wanted: str) -> list[Body]:
    """Return what the receipts about the tenant's namespace say, found by their label, oldest first."""
    query = f"labelSelector=fedid.io%2Fobject-namespace%3D{tenant.namespace}"
    listed = tenant.stack.kube("GET", f"{OURS}/revocationreceipts?{query}")["items"]
    specs = [one["spec"] for one in sorted(listed, key=lambda one: str(one["metadata"]["creationTimestamp"]))]
    return [one for one in specs if {"name": one["object"]["name"], "cause": one["cause"]}.items() >= wanted.items()]


def the_receipt(tenant: Tenant, **wanted: str) -> Body:
    """Wait for the one receipt of this object and cause."""
    eventually(lambda: receipts(tenant, **wanted), f"a receipt of {wanted}")
    (found,) = receipts(tenant, **wanted)
    return found


def test_a_deletion_and_a_suspension_tell_what_was_refused(
    operator: Operator, tenant: Tenant, authority: Authority
) -> None:
    """The very token that was mounted, by its id, at the very realm; and the user, by what was there before."""
    del operator
    tenant.apply(bot("gone"), bot("rests"), pod_identity("gone"), user(person := f"ana-{tenant.namespace}"))
    for name in ("gone", "rests"):
        tenant.ready("BotClient", name)
    tenant.ready("PodIdentity", "gone")
    tenant.ready("FederationUser", person)
    claims = claims_of(tenant.mounted("gone", "token"))
    tenant.apply(bot("rests", suspend=True))
    for kind, name in (("BotClient", "gone"), ("FederationUser", person)):
        tenant.delete(kind, name)
        tenant.gone(kind, name)

    (found,) = receipts(tenant, name="gone")
    assert (found["cause"], found["federation"]) == ("Deleted", "local")
    answers = {one["credential"]: one for one in found["evidence"]}
    token = answers[f"token default ({claims['jti']})"]
    assert token["answer"] == "refused (401)"
    assert f"/realms/{REALM}" in token["presentedTo"]
    assert token["presentedTo"].startswith("Admin API of")
    assert answers[f"bot secret of client {tenant.namespace}.gone"]["answer"] == REFUSED
    assert found["evidence"][0]["answer"] == "accepted"
    assert answers["entries with our owner mark"]["answer"] == "gone (404)"
    assert found["remains"]["latestExpiry"] > found["provenAt"] >= found["startedAt"]
    (of_user,) = receipts(tenant, name=person)
    assert "there, with" in of_user["evidence"][0]["answer"]
    assert "answers 404" in of_user["evidence"][1]["answer"]
    tenant.reason("BotClient", "rests", "Suspended")
    rests = the_receipt(tenant, name="rests")
    assert rests["cause"] == "Suspended"
    assert authority.client(f"{tenant.namespace}.rests") is None
    assert claims["jti"] not in str(rests)


def test_a_rotation_tells_which_credential_ended(operator: Operator, tenant: Tenant) -> None:
    """The former private key, by its id, and the token that was taken out of the spec, by its own."""
    del operator
    rotation = {"authentication": {"privateKeyJwt": {}}, "secretRotation": {"overlap": "10s"}}
    tenant.apply(bot("signs", **rotation), bot("narrows"), pod_identity("narrows"))
    key_id = tenant.ready("BotClient", "signs")["status"]["secret"]["keyId"]
    tenant.ready("BotClient", "narrows")
    token_id = claims_of(tenant.mounted("narrows", "token"))["jti"]
    annotate(tenant, "signs", rotate="secret-1")
    tenant.apply(bot("narrows", audiences=[]))

    rotated = the_receipt(tenant, name="signs", cause="Rotated")
    assert [(one["credential"], one["answer"]) for one in rotated["evidence"]] == [(f"private key {key_id}", REFUSED)]
    withdrawn = the_receipt(tenant, name="narrows", cause="Withdrawn")
    assert [one["credential"] for one in withdrawn["evidence"]] == [f"token default ({token_id})"]
    assert tenant.event("signs", "CredentialEnded")["message"].count("receipt ") == 1


def test_a_namespace_that_is_gone_left_its_receipts(operator: Operator, tenant: Tenant) -> None:
    """Events are refused there, and its objects are gone; what was seen of each is still told."""
    del operator
    tenant.apply(bot("trainer"), pod_identity("trainer"), user(person := f"eva-{tenant.namespace}"))
    tenant.ready("PodIdentity", "trainer")
    tenant.ready("FederationUser", person)
    path = f"/api/v1/namespaces/{tenant.namespace}"
    tenant.stack.kube("DELETE", path)
    for name in ("trainer", person):
        assert the_receipt(tenant, name=name)["cause"] == "Deleted"
