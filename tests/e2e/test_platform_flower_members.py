"""A real OpenFGA, asked what a SuperLink up to 1.33 asks it: who is in, and who is out at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fedid.domain.openfga import RelationTuple
from fedid.domain.resources import TUPLES_FINALIZER
from tests.contract.openfga_server import OpenFgaServer, openfga_server
from tests.e2e.eavesdropping import Ledger
from tests.e2e.foundations import OwnSecret
from tests.e2e.operating import Proxies, federation_condition, grant, own_federation
from tests.e2e.tenancy import Body, Tenant, bot, unique, user
from tests.e2e.waiting import eventually
from tests.testbed.forwarding import Tls
from tests.testbed.proxy import Proxy
from tests.testbed.stack import Stack

GRID = {"grid": "blue"}
SELECTED = {"selector": {"matchLabels": GRID}}


@dataclass(frozen=True, slots=True)
class OpenFga:
    """The server, one store in it, and the way that the operator has to it."""

    server: OpenFgaServer
    store: str
    proxy: Proxy

    def lets_in(self, subject: str, object_: str) -> bool:
        """Ask what a SuperLink asks."""
        return self.server.allowed(self.store, account(subject, object_))


@pytest.fixture(scope="module")
def openfga(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenFga]:
    """OpenFGA with Flower's model; the operator reaches it through a proxy of the same certificate."""
    with openfga_server(tmp_path_factory.mktemp("openfga")) as server:
        certificate = server.folder / "tls.crt"
        with Proxy(server.url, Tls(certificate, certificate, server.folder / "tls.key")) as proxy:
            yield OpenFga(server, server.make_store(), proxy)


@pytest.fixture
def federation(stack: Stack, proxies: Proxies, tenant: Tenant, openfga: OpenFga, ledger: Ledger) -> Iterator[str]:
    """A Federation that writes there with a preshared key, and grants objects of the namespace's name."""
    secret = OwnSecret(stack, unique("openfga"))
    secret.hold(preshared_key=openfga.server.key)
    ledger.add(openfga.server.key)
    told = {
        "url": openfga.proxy.url,
        "storeId": openfga.store,
        "caBundle": openfga.server.ca_bundle,
        "auth": {"presharedKey": {"secretName": secret.name}},
    }
    rule = grant(oidcFlows=["device"], openFgaObjects=["service:{namespace}-*"])
    with own_federation(stack, proxies, "openfga", grants=[rule], openFga=told) as name:
        yield name
        openfga.proxy.accept()
        tenant.clean()
    secret.remove()


def account(subject: str, object_: str) -> RelationTuple:
    """Return the tuple of an account."""
    return RelationTuple(f"flwr_aid:{subject}", "has_access", object_)


def super_link(federation: str, store: str, object_: str) -> Body:
    """Return a SuperLink that lets in bots and people with the label."""
    block = {"url": "http://openfga.fl:8080", "storeId": store, "modelId": "m", "object": object_, "users": SELECTED}
    spec = {
        "role": "server",
        "federationRef": {"name": federation},
        "oidcClient": {},
        "accepts": SELECTED,
        "platform": {"flower": {"superLink": {"version": "1.33", "openFga": block}}},
    }
    return {"kind": "PodIdentity", "metadata": {"name": "superlink"}, "spec": spec}


def labelled(manifest: Body) -> Body:
    """Return a manifest that the SuperLink selects."""
    return {**manifest, "metadata": {**manifest["metadata"], "labels": GRID}}


@pytest.fixture
def members(tenant: Tenant, federation: str, openfga: OpenFga) -> tuple[str, str, str]:
    """Return the object of a SuperLink and the subjects of a bot and a person that it lets in."""
    object_, name = f"service:{tenant.namespace}-grid", {"name": federation}
    person = user(unique("ana"), federationRef=name)
    tenant.apply(labelled(bot("trainer", federationRef=name)), labelled({**person, "metadata": {"name": "ana"}}))
    tenant.apply(super_link(federation, openfga.store, object_))
    trainer = tenant.ready("BotClient", "trainer")["status"]["serviceAccountSubject"]
    ana = tenant.ready("FederationUser", "ana")["status"]["userId"]
    for subject in (trainer, ana):
        eventually(lambda subject=subject: openfga.lets_in(subject, object_), f"{subject} let in")
    tenant.ready("PodIdentity", "superlink")
    return object_, trainer, ana


def test_who_is_deleted_is_out_and_the_proof_says_so(
    stack: Stack, tenant: Tenant, federation: str, openfga: OpenFga, members: tuple[str, str, str]
) -> None:
    """The bot, the person, and with the SuperLink everybody; a stranger's tuple stays what it is."""
    object_, trainer, ana = members
    assert (federation_condition(stack, federation, "OpenFgaReady") or {}).get("status") == "True"
    told = (tenant.get("PodIdentity", "superlink") or {})["status"]["openFga"]
    assert {one["subject"]: one["state"] for one in told["members"]} == {trainer: "Written", ana: "Written"}
    openfga.server.write(openfga.store, account("stranger", object_))

    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    assert not openfga.lets_in(trainer, object_), "the bot went before its tuple"
    assert openfga.lets_in(ana, object_)
    proof = tenant.event("superlink", "RevocationProven")["message"]
    assert f"BotClient/{tenant.namespace}/trainer may not use {object_} any more" in proof
    assert "read back as absent, and Check answers that they are not allowed" in proof

    tenant.delete("PodIdentity", "superlink")
    tenant.gone("PodIdentity", "superlink")
    assert not openfga.lets_in(ana, object_)
    assert openfga.lets_in("stranger", object_)


def test_openfga_away_holds_up_what_it_has_to_prove_and_nothing_else(
    stack: Stack, tenant: Tenant, federation: str, openfga: OpenFga, members: tuple[str, str, str]
) -> None:
    """The bot is refused at the authority and stays with a condition; what needs no OpenFGA is made meanwhile."""
    object_, trainer, ana = members
    openfga.proxy.refuse()
    eventually(
        lambda: (federation_condition(stack, federation, "OpenFgaReady") or {}).get("status") == "False",
        "OpenFgaReady False",
    )
    tenant.delete("BotClient", "trainer")
    waiting = tenant.reason("BotClient", "trainer", "WaitingForVerifiers")
    assert "OpenFGA may still hold tuples of it" in waiting["message"]
    assert "since" in waiting["message"]
    assert tenant.reason("PodIdentity", "superlink", "BackendUnavailable", "OpenFgaSynced")
    assert openfga.lets_in(trainer, object_)
    tenant.apply(bot("other", federationRef={"name": federation}))
    tenant.ready("BotClient", "other")

    tenant.delete("PodIdentity", "superlink")
    held = eventually(
        lambda: (
            (body := tenant.get("PodIdentity", "superlink"))
            and body["metadata"]["finalizers"] == [TUPLES_FINALIZER]
            and body
        ),
        "the SuperLink held by its tuples alone",
    )
    assert held["metadata"]["deletionTimestamp"]

    openfga.proxy.accept()
    tenant.gone("BotClient", "trainer")
    tenant.gone("PodIdentity", "superlink")
    for subject in (trainer, ana):
        assert not openfga.lets_in(subject, object_)
