"""What every `Cluster` must do: the fake, and a real API server seen as the chart's ServiceAccount."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fedid.domain.epoch import Epoch, RememberedEpoch
from fedid.domain.naming import ObjectKey
from fedid.domain.receipt import Cause, Presented, Receipt
from fedid.domain.resources import GROUP_VERSION
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendDeniedError, BackendRejectedError, StaleObjectError
from tests.contract.cluster_worlds import (
    CLUSTERS,
    FEDERATION_SPEC,
    OPERATOR_NAMESPACE,
    POD_IDENTITY_SPEC,
    ClusterWorld,
    SeenEvent,
    cluster_world,
    owned_secret,
)

BOT = "BotClient"
OURS, OTHERS = "fedid.io/revoke", "example.org/hold"


@pytest.fixture(params=CLUSTERS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[ClusterWorld]:
    """Yield one cluster after the other."""
    async with cluster_world(request) as made:
        yield made


@pytest.fixture
def owner(world: ClusterWorld) -> Mapping[str, Any]:
    """Return a PodIdentity."""
    return world.apply("PodIdentity", "trainer", POD_IDENTITY_SPEC)


def meta(body: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return an object's metadata."""
    assert body is not None
    metadata: Mapping[str, Any] = body["metadata"]
    return metadata


# --- receipts


def receipt_of(uid: str) -> Receipt:
    """Return the receipt of a bot."""
    key, noon = ObjectKey(BOT, "site-a", "trainer"), datetime(2026, 1, 1, 12, tzinfo=UTC)
    seen = Presented("bot secret of client a", "token endpoint of https://kc", "refused (invalid_client)", noon)
    return Receipt(key, uid, "local", Cause.DELETED, "", noon, noon, (seen,), noon, ("a note",))


async def test_a_receipt_is_written_once(world: ClusterWorld) -> None:
    """What the operator makes is taken as it is, whatever is optional in it; again, it is there already."""
    receipt = receipt_of(str(uuid.uuid4()))
    bare = replace(receipt, what="bare", federation=None, started_at=None, evidence=(), latest_expiry=None, notes=())

    assert await world.cluster.create_receipt(receipt.body())
    assert not await world.cluster.create_receipt(receipt.body())
    assert await world.cluster.create_receipt(bare.body())
    listed = {meta(one)["name"]: one for one in await world.cluster.listing("RevocationReceipt")}
    assert listed[receipt.name]["spec"] == receipt.spec()
    assert meta(listed[receipt.name])["labels"]["fedid.io/object-namespace"] == "site-a"
    assert listed[bare.name]["spec"] == bare.spec()


async def test_only_the_very_receipt_is_deleted(world: ClusterWorld) -> None:
    """By its uid; what is gone is gone."""
    receipt = receipt_of(str(uuid.uuid4()))
    await world.cluster.create_receipt(receipt.body())

    async def found() -> list[Mapping[str, Any]]:
        listed = await world.cluster.listing("RevocationReceipt")
        return [meta(one) for one in listed if meta(one)["name"] == receipt.name]

    (made,) = await found()
    await world.cluster.delete_receipt(receipt.name, str(uuid.uuid4()))
    assert await found() == [made]
    await world.cluster.delete_receipt(receipt.name, made["uid"])
    assert await found() == []
    await world.cluster.delete_receipt(receipt.name, made["uid"])


# --- custom resources


async def test_an_object_is_read_afresh(world: ClusterWorld) -> None:
    """What was applied is read; what was not is None."""
    applied = world.apply(BOT, "a", {"description": "x"})

    found = await world.cluster.read(BOT, world.namespace, "a")

    assert found is not None
    assert (found["kind"], found["apiVersion"]) == (BOT, GROUP_VERSION)
    assert (meta(found)["uid"], found["spec"]) == (meta(applied)["uid"], applied["spec"])
    assert await world.cluster.read(BOT, world.namespace, "b") is None
    assert await world.cluster.read(BOT, "no-such-namespace", "a") is None


async def test_cluster_scoped_objects_are_read(world: ClusterWorld) -> None:
    """A Federation has no namespace."""
    name = f"contract-{uuid.uuid4().hex[:8]}"
    applied = world.apply("Federation", name, FEDERATION_SPEC, scoped=False)

    assert meta(await world.cluster.read("Federation", None, name))["uid"] == meta(applied)["uid"]


async def test_a_listing_has_all_of_a_kind(world: ClusterWorld) -> None:
    """A listing goes over all namespaces and tells kind and version of each object, as a single read does."""
    applied = {str(meta(world.apply(BOT, f"bot-{n}", {}))["uid"]) for n in range(3)}

    found = {str(meta(body)["uid"]): body for body in await world.cluster.listing(BOT)}

    assert applied <= found.keys()
    assert {(body["kind"], body["apiVersion"]) for body in found.values()} == {(BOT, GROUP_VERSION)}


async def test_namespaces_are_listed_with_their_labels(world: ClusterWorld) -> None:
    """Grants select namespaces by label."""
    world.label_namespace({"fedid.io/tenant": "true"})

    found = {meta(body)["name"]: body for body in await world.cluster.listing("Namespace")}

    assert found[world.namespace]["kind"] == "Namespace"
    assert meta(found[world.namespace])["labels"]["fedid.io/tenant"] == "true"


async def test_finalizers_are_set_and_taken_away(world: ClusterWorld) -> None:
    """Each write returns the object as it then is, from which the next one starts."""
    body = world.apply(BOT, "a", {})

    with_ours = await world.cluster.set_finalizers(body, (OURS, OTHERS))
    assert meta(with_ours)["finalizers"] == [OURS, OTHERS]
    assert with_ours is not None
    without = await world.cluster.set_finalizers(with_ours, ())

    assert not meta(without).get("finalizers")
    assert not meta(world.body(BOT, "a")).get("finalizers")


async def test_finalizers_of_a_changed_object_are_stale(world: ClusterWorld) -> None:
    """Who has not seen the newest version might take away somebody's finalizer."""
    body = world.apply(BOT, "a", {})
    world.apply(BOT, "a", {"description": "changed"})

    with pytest.raises(StaleObjectError):
        await world.cluster.set_finalizers(body, (OURS,))

    assert not meta(world.body(BOT, "a")).get("finalizers")


async def test_finalizers_of_a_recreated_object_are_stale(world: ClusterWorld) -> None:
    """An object of the same name is another one."""
    body = world.apply(BOT, "a", {})
    world.delete(BOT, "a")
    world.apply(BOT, "a", {})

    with pytest.raises(StaleObjectError):
        await world.cluster.set_finalizers(body, (OURS,))


async def test_finalizers_of_what_is_gone_are_none(world: ClusterWorld) -> None:
    """An object that is gone needs no finalizer."""
    body = world.apply(BOT, "a", {})
    world.delete(BOT, "a")

    assert await world.cluster.set_finalizers(body, (OURS,)) is None


async def test_the_last_finalizer_lets_a_deleted_object_go(world: ClusterWorld) -> None:
    """Taking ours away answers the object while another's holds it, and None once nothing does."""
    body = await world.cluster.set_finalizers(world.apply(BOT, "a", {}), (OURS, OTHERS))
    world.delete(BOT, "a")
    body = await world.cluster.read(BOT, world.namespace, "a")
    assert body is not None
    assert meta(body)["deletionTimestamp"]

    body = await world.cluster.set_finalizers(body, (OTHERS,))
    assert meta(body)["finalizers"] == [OTHERS]
    assert body is not None
    assert await world.cluster.set_finalizers(body, ()) is None

    assert world.body(BOT, "a") is None


async def test_a_deleted_object_takes_no_new_finalizer(world: ClusterWorld) -> None:
    """Once deletion has begun nothing more can hold it."""
    await world.cluster.set_finalizers(world.apply(BOT, "a", {}), (OTHERS,))
    world.delete(BOT, "a")
    body = await world.cluster.read(BOT, world.namespace, "a")
    assert body is not None

    with pytest.raises(BackendRejectedError):
        await world.cluster.set_finalizers(body, (OTHERS, OURS))


async def test_a_status_is_merged(world: ClusterWorld) -> None:
    """A status patch sets, replaces and (by None) removes, leaves the rest, and is no change of the spec."""
    body = world.apply(BOT, "a", {"description": "x"})
    first = await world.cluster.patch_status(body, {"clientId": "a", "observedGeneration": 1})
    assert first is not None

    second = await world.cluster.patch_status(first, {"clientId": None, "clientUuid": "u"})

    assert second is not None
    assert second["status"] == {"observedGeneration": 1, "clientUuid": "u"}
    assert second["spec"] == {"description": "x"}
    assert meta(second)["generation"] == meta(body)["generation"]


async def test_an_equal_status_changes_nothing(world: ClusterWorld) -> None:
    """A patch that says what is there already makes no new version, so no event."""
    first = await world.cluster.patch_status(world.apply(BOT, "a", {}), {"clientId": "a"})
    assert first is not None

    second = await world.cluster.patch_status(first, {"clientId": "a"})

    assert meta(second)["resourceVersion"] == meta(first)["resourceVersion"]


async def test_a_status_is_written_although_the_spec_has_moved_on(world: ClusterWorld) -> None:
    """Only we write statuses, so a spec that changed meanwhile is no reason to look again; it stays as it is."""
    body = world.apply(BOT, "a", {"description": "old"})
    world.apply(BOT, "a", {"description": "new"})

    written = await world.cluster.patch_status(body, {"clientId": "a"})

    assert written is not None
    assert (written["spec"], written["status"]) == ({"description": "new"}, {"clientId": "a"})
    assert meta(written)["generation"] == 2


async def test_a_recreated_object_never_gets_the_status_of_the_former(world: ClusterWorld) -> None:
    """The uid decides, not the name."""
    body = world.apply(BOT, "a", {})
    world.delete(BOT, "a")
    world.apply(BOT, "a", {})

    assert await world.cluster.patch_status(body, {"clientId": "a"}) is None

    assert "status" not in (world.body(BOT, "a") or {})


async def test_the_status_of_what_is_gone_is_none(world: ClusterWorld) -> None:
    """There is nothing to write to."""
    body = world.apply(BOT, "a", {})
    world.delete(BOT, "a")

    assert await world.cluster.patch_status(body, {"clientId": "a"}) is None


# --- Secrets


async def test_a_secret_is_created_once(world: ClusterWorld, owner: Mapping[str, Any]) -> None:
    """A Secret is created with its owner and read back as it was asked for; a second create finds the name taken."""
    wanted = owned_secret(owner)

    created = await world.cluster.create_secret(wanted)

    assert created is not None
    assert created == replace(wanted, uid=created.uid, resource_version=created.resource_version)
    assert await world.cluster.read_secret(world.namespace, "mounted") == created
    assert await world.cluster.create_secret(replace(wanted, data={})) is None
    assert world.secret_data("mounted") == {"token": "t-1", "client.env": "A=ü\n"}


async def test_a_strangers_secret_is_neither_read_nor_overwritten(
    world: ClusterWorld, owner: Mapping[str, Any]
) -> None:
    """A Secret that no PodIdentity controls shows that it is there, and nothing that is in it."""
    uid = world.put_secret("mounted", {"password": "theirs"})

    found = await world.cluster.read_secret(world.namespace, "mounted")

    assert found is not None
    assert (found.uid, found.owner_uid, found.data) == (uid, None, {})
    assert await world.cluster.create_secret(owned_secret(owner)) is None
    assert world.secret_data("mounted") == {"password": "theirs"}


async def test_an_absent_secret_is_none(world: ClusterWorld) -> None:
    """Nothing is there."""
    assert await world.cluster.read_secret(world.namespace, "absent") is None
    assert await world.cluster.read_secret("no-such-namespace", "absent") is None


async def test_a_replaced_secret_keeps_nothing(world: ClusterWorld, owner: Mapping[str, Any]) -> None:
    """Keys, labels and annotations that are not asked for any more go."""
    part_of = {"fedid.io/part-of": owner["metadata"]["name"]}
    created = await world.cluster.create_secret(owned_secret(owner, labels={**part_of, "old": "1"}))
    assert created is not None
    wanted = replace(created, data={"other": Sensitive("2")}, labels={**part_of, "a": "b"}, annotations={})

    written = await world.cluster.replace_secret(wanted)

    assert written == replace(wanted, resource_version=written.resource_version)
    assert written.resource_version != created.resource_version
    assert world.secret_data("mounted") == {"other": "2"}


@pytest.mark.parametrize("case", ["other version", "other uid", "gone"])
async def test_replacing_another_secret_is_stale(world: ClusterWorld, owner: Mapping[str, Any], case: str) -> None:
    """Only the very Secret that was read is replaced."""
    created = await world.cluster.create_secret(owned_secret(owner))
    assert created is not None
    assert created.uid is not None
    if case == "other version":
        await world.cluster.replace_secret(replace(created, annotations={"a": "b"}))
    else:
        await world.cluster.delete_secret(world.namespace, "mounted", created.uid)
    if case == "other uid":
        await world.cluster.create_secret(owned_secret(owner))

    with pytest.raises(StaleObjectError):
        await world.cluster.replace_secret(replace(created, data={"x": Sensitive("lost")}))

    assert world.secret_data("mounted") == (None if case == "gone" else {"token": "t-1", "client.env": "A=ü\n"})


async def test_replacing_needs_preconditions(world: ClusterWorld, owner: Mapping[str, Any]) -> None:
    """Without uid and version a replace would hit whatever has the name: that is a bug of the caller."""
    with pytest.raises(ValueError, match="needs the uid"):
        await world.cluster.replace_secret(owned_secret(owner))


@pytest.mark.parametrize(
    "change",
    [pytest.param({"immutable": True}, id="it was immutable"), pytest.param({"type": "example.org/t"}, id="its type")],
)
async def test_what_cannot_be_changed_is_refused(
    world: ClusterWorld, owner: Mapping[str, Any], change: dict[str, Any]
) -> None:
    """An immutable Secret and a Secret's type stay until it is created anew; the flag is read."""
    created = await world.cluster.create_secret(replace(owned_secret(owner), **change))
    assert created is not None
    assert created.immutable is ("immutable" in change)

    with pytest.raises(BackendRejectedError) as caught:
        await world.cluster.replace_secret(replace(created, data={"x": Sensitive("lost")}, type="Opaque"))

    assert "lost" not in caught.value.message


async def test_only_the_very_secret_is_deleted(world: ClusterWorld, owner: Mapping[str, Any]) -> None:
    """Another uid under the name stays; deleting what is gone succeeds."""
    created = await world.cluster.create_secret(owned_secret(owner))
    assert created is not None
    assert created.uid is not None

    await world.cluster.delete_secret(world.namespace, "mounted", str(uuid.uuid4()))
    assert world.secret_data("mounted") is not None

    await world.cluster.delete_secret(world.namespace, "mounted", created.uid)
    assert world.secret_data("mounted") is None
    await world.cluster.delete_secret(world.namespace, "mounted", created.uid)


async def test_a_secret_goes_with_its_owner(world: ClusterWorld, owner: Mapping[str, Any]) -> None:
    """The owner reference is one that the garbage collector follows."""
    await world.cluster.create_secret(owned_secret(owner))

    world.delete("PodIdentity", "trainer")

    world.wait_for(lambda: world.secret_data("mounted") is None)


async def test_a_namespace_that_is_being_deleted_takes_nothing_new(
    world: ClusterWorld, owner: Mapping[str, Any]
) -> None:
    """Creating is refused with a reason of its own; an Event is dropped; what is there is still read or gone."""
    world.end_namespace()

    with pytest.raises(BackendDeniedError) as caught:
        await world.cluster.create_secret(owned_secret(owner, "late"))
    assert caught.value.reason == "NamespaceTerminating"
    await world.cluster.emit(owner, reason="Late", message="nobody hears", warning=False, action="Test")
    assert await world.cluster.read_secret(world.namespace, "late") is None
    await world.cluster.delete_secret(world.namespace, "late", str(uuid.uuid4()))


async def test_a_secret_in_no_namespace_is_refused(world: ClusterWorld, owner: Mapping[str, Any]) -> None:
    """A namespace that is gone is told like one that is going."""
    with pytest.raises(BackendDeniedError) as caught:
        await world.cluster.create_secret(owned_secret(owner, namespace="no-such-namespace"))

    assert caught.value.reason == "NamespaceTerminating"


# --- the operator's own


async def test_our_own_secrets_are_read_with_their_data(world: ClusterWorld) -> None:
    """What a Federation refers to lies in the operator's namespace and is nobody's child."""
    name = f"contract-{uuid.uuid4().hex[:8]}"
    world.put_secret(name, {"client-id": "fedid", "client-secret": "s"}, namespace=OPERATOR_NAMESPACE)

    found = await world.cluster.read_own_secret(name)

    assert found == {"client-id": Sensitive("fedid"), "client-secret": Sensitive("s")}
    assert await world.cluster.read_own_secret("absent") is None


async def test_the_installation_has_one_id(world: ClusterWorld) -> None:
    """However often and at the same time it is asked for, it is the same UUID."""
    ids = await asyncio.gather(*(world.cluster.installation_id() for _ in range(5)))

    assert len(set(ids)) == 1
    assert str(uuid.UUID(ids[0])) == ids[0]


async def test_epochs_are_remembered_by_federation(world: ClusterWorld) -> None:
    """What is written is read back, beside that of others; what was never written, or is emptied, holds nothing."""
    cluster, name, other = world.cluster, f"one-{uuid.uuid4()}", f"other.{uuid.uuid4()}"
    await cluster.installation_id()
    assert (await cluster.remembered_epoch(name)).epochs == ()

    nothing = await cluster.remembered_epoch(name)
    begun = await cluster.remember_epoch(name, replace(nothing, begun=Epoch(1, "a")))
    held = await cluster.remember_epoch(name, replace(begun, held=Epoch(1, "a"), begun=Epoch(2, "b")))
    neighbour = await cluster.remembered_epoch(other)
    await cluster.remember_epoch(other, replace(neighbour, held=Epoch(7, "c")))

    assert (await cluster.remembered_epoch(name)).epochs == held.epochs == (Epoch(1, "a"), Epoch(2, "b"))
    assert (await cluster.remembered_epoch(other)).epochs == (Epoch(7, "c"),)
    newest = await cluster.remembered_epoch(name)
    await cluster.remember_epoch(name, RememberedEpoch(version=newest.version))
    assert (await cluster.remembered_epoch(name)).epochs == ()
    assert len({await cluster.installation_id() for _ in range(2)}) == 1


async def test_of_two_who_remember_an_epoch_one_is_stale(world: ClusterWorld) -> None:
    """A replica that was paused overwrites nothing of the one that leads."""
    cluster, name = world.cluster, f"one-{uuid.uuid4()}"
    await cluster.installation_id()
    seen = await cluster.remembered_epoch(name)
    await cluster.remember_epoch(name, replace(seen, held=Epoch(2, "b")))

    with pytest.raises(StaleObjectError):
        await cluster.remember_epoch(name, replace(seen, held=Epoch(1, "a")))

    assert (await cluster.remembered_epoch(name)).held == Epoch(2, "b")


async def test_an_event_is_told(world: ClusterWorld) -> None:
    """An Event lies where `kubectl describe` looks for it."""
    body = world.apply(BOT, "a", {})

    await world.cluster.emit(body, reason="Ready", message="all is well", warning=False, action="Reconcile")
    await world.cluster.emit(body, reason="Conflict", message="m" * 1024, warning=True, action="Reconcile")

    uid = meta(body)["uid"]
    assert sorted(world.events(uid), key=lambda event: event.reason) == [
        SeenEvent(uid, "Conflict", "m" * 1024, warning=True, action="Reconcile"),
        SeenEvent(uid, "Ready", "all is well", warning=False, action="Reconcile"),
    ]


async def test_an_event_about_a_cluster_scoped_object_is_told(world: ClusterWorld) -> None:
    """Such Events lie in the namespace `default`."""
    body = world.apply("Federation", f"contract-{uuid.uuid4().hex[:8]}", FEDERATION_SPEC, scoped=False)

    await world.cluster.emit(body, reason="Ready", message="all is well", warning=False, action="Reconcile")

    uid = meta(body)["uid"]
    assert world.events(uid, scoped=False) == [SeenEvent(uid, "Ready", "all is well", False, "Reconcile")]
