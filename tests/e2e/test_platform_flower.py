"""Flower's own SuperLink and SuperNode with what the operator makes for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedid.domain.super_node import NodeRecord, NodeStatus
from tests.contract.super_links import SuperLink, SuperNode, super_link
from tests.e2e.authority import Authority
from tests.e2e.flower import LIST_NODES, REFUSED, command_line, flwr, link_with_accounts, node_of, super_node
from tests.e2e.operating import Proxies, grant, own_federation
from tests.e2e.rotating import annotate
from tests.e2e.tenancy import Body, Tenant, bot
from tests.e2e.waiting import eventually
from tests.testbed.stack import Stack


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuperLink]:
    """A SuperLink that keeps its state in memory."""
    with super_link(tmp_path_factory.mktemp("superlink")) as started:
        yield started


@pytest.fixture
def federation(stack: Stack, proxies: Proxies, tenant: Tenant, running: SuperLink) -> Iterator[str]:
    """A Federation that lets tenants register SuperNodes there, and looks at everything every few seconds."""
    rule = grant(superlinkUrls=[f"https://{running.address}"])
    defaults = {"resyncPeriod": "5s", "tokenLifetime": "10m"}
    with own_federation(stack, proxies, "flower", grants=[rule], defaults=defaults) as name:
        yield name
        tenant.clean()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[SuperNode]]:
    """The SuperNodes of a test; all are ended with it."""
    made = [SuperNode(tmp_path / name) for name in ("first", "second")]
    yield made
    for node in made:
        node.stop()


def listed(link: SuperLink) -> dict[str, NodeRecord]:
    """Return what the SuperLink lists, by node id."""

    async def ask() -> tuple[NodeRecord, ...]:
        registry = link.registry()
        try:
            return await registry.nodes()
        finally:
            await registry.aclose()

    return {str(node.node_id): node for node in asyncio.run(ask())}


def has_status(link: SuperLink, node_id: str, *wanted: NodeStatus) -> bool:
    """Tell whether the SuperLink says one of these of a node."""
    node = listed(link).get(node_id)
    return node is not None and node.status in wanted


def test_the_life_of_a_supernode(
    tenant: Tenant, federation: str, running: SuperLink, authority: Authority, nodes: list[SuperNode]
) -> None:
    """Registered, online; another key under way; a SuperLink that forgot it all; deleted, and refused from then on."""
    first, second = nodes
    mount = first.folder
    tenant.apply(bot("trainer", federationRef={"name": federation}))
    tenant.apply(super_node("trainer", running, mount, rotation={"overlap": "1s"}))
    node_id = node_of(tenant, "trainer")
    assert has_status(running, node_id, NodeStatus.REGISTERED)
    entry = authority.vault(f"fedid/{tenant.namespace}/pods/trainer/keys/supernode") or {}
    files = (tenant.secret("trainer") or {})["text"]
    assert set(files) == {"supernode.key", "supernode.pub", "supernode.args", "superlink", "ca.crt"}
    assert entry["private_key"] == files["supernode.key"]

    first.mount(files)
    first.start()
    eventually(lambda: has_status(running, node_id, NodeStatus.ONLINE), "the SuperNode online")

    annotate(tenant, "trainer", rotate="secret-1", kind="PodIdentity")
    new_id = node_of(tenant, "trainer", other_than=node_id)
    assert has_status(running, node_id, NodeStatus.ONLINE), "the former key ended before anybody had the new one"
    tenant.mounted("trainer", "supernode.key", lambda text: text != files["supernode.key"])
    second.mount({**(tenant.secret("trainer") or {})["text"]})
    second.mount({"supernode.args": files["supernode.args"].replace(str(mount), str(second.folder))})
    second.start()
    eventually(lambda: has_status(running, new_id, NodeStatus.ONLINE), "the SuperNode online with the new key")
    eventually(lambda: has_status(running, node_id, NodeStatus.UNREGISTERED), "the former key unregistered")

    key_before = (tenant.secret("trainer") or {})["text"]["supernode.key"]
    running.stop()
    running.start()
    again = eventually(lambda: next((i for i, n in listed(running).items() if n.good), None), "registered again")
    assert again not in {node_id, new_id}
    assert node_of(tenant, "trainer", other_than=new_id) == again
    assert (tenant.secret("trainer") or {})["text"]["supernode.key"] == key_before
    second.wait()  # the SuperLink does not know its session; kubelet would start it anew
    second.start()
    eventually(lambda: has_status(running, again, NodeStatus.ONLINE), "online with the key that it has")

    tenant.delete("PodIdentity", "trainer")
    tenant.gone("PodIdentity", "trainer")
    assert has_status(running, again, NodeStatus.UNREGISTERED)
    assert authority.vault_metadata(f"fedid/{tenant.namespace}/pods/trainer/keys/supernode") is None
    assert again in tenant.event("trainer", "RevocationProven")["message"]
    second.stop()
    second.start()
    assert second.wait() == 1
    assert REFUSED in second.log


@pytest.fixture(scope="module")
def with_accounts(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuperLink]:
    """A SuperLink that asks Keycloak who calls."""
    with link_with_accounts(stack, tmp_path_factory.mktemp("accounts")) as started:
        yield started


@pytest.fixture
def accounts_federation(stack: Stack, proxies: Proxies, tenant: Tenant, with_accounts: SuperLink) -> Iterator[str]:
    """A Federation that lets tenants register SuperNodes at that one."""
    rule = grant(superlinkUrls=[f"https://{with_accounts.address}"])
    with own_federation(stack, proxies, "accounts", grants=[rule]) as name:
        yield name
        tenant.clean()


def test_a_bots_account(tenant: Tenant, accounts_federation: str, with_accounts: SuperLink, tmp_path: Path) -> None:
    """The node is the bot's own, and `flwr` acts as the bot with the mounted files, until the bot is suspended."""
    home = tmp_path / "flwr"
    home.mkdir()
    tenant.apply(bot("trainer", federationRef={"name": accounts_federation}))
    tenant.apply(super_node("node", with_accounts, tmp_path, account="Bot"))
    tenant.apply(command_line("cli", with_accounts, home))
    node_id = node_of(tenant, "node")
    tenant.ready("PodIdentity", "cli")
    for key, text in (tenant.secret("cli") or {})["text"].items():
        (home / key).write_text(text)

    (shown,) = json.loads(flwr(home, *LIST_NODES).stdout)["nodes"]
    assert (shown["node-id"], shown["status"]) == (node_id, NodeStatus.REGISTERED)
    assert shown["owner-name"] == f"{tenant.namespace}.trainer"

    tenant.apply(bot("trainer", federationRef={"name": accounts_federation}, suspend=True))
    assert node_id in _proof(tenant, "node")["message"], "only with the bot's own token could it be ended"
    tenant.emptied("cli")
    tenant.reason("BotClient", "trainer", "Suspended")
    assert '"nodes"' not in flwr(home, *LIST_NODES).stdout, "the token that was mounted before is still taken"


def test_a_superlink_that_is_not_granted(tenant: Tenant, running: SuperLink, nodes: list[SuperNode]) -> None:
    """Without a rule nothing is registered, and the condition says which one is missing."""
    tenant.apply(bot("trainer"), super_node("trainer", running, nodes[0].folder))
    told = tenant.reason("PodIdentity", "trainer", "NotGranted")["message"]
    assert f"superlinkUrls: https://{running.address}" in told, told
    assert tenant.secret("trainer") is None
    body = tenant.get("PodIdentity", "trainer") or {}
    assert "finalizers" not in body["metadata"]


def test_the_bots_suspension_ends_the_node(
    tenant: Tenant, federation: str, running: SuperLink, nodes: list[SuperNode]
) -> None:
    """What the bot may not use any more its SuperNode may not either; called off, there is another key."""
    wanted = bot("trainer", federationRef={"name": federation})
    tenant.apply(wanted, super_node("trainer", running, nodes[0].folder))
    node_id = node_of(tenant, "trainer")
    tenant.apply(bot("trainer", federationRef={"name": federation}, suspend=True))
    eventually(lambda: has_status(running, node_id, NodeStatus.UNREGISTERED), "the node unregistered")
    tenant.emptied("trainer")
    assert node_id in _proof(tenant, "trainer")["message"]
    tenant.apply(wanted)
    assert has_status(running, node_of(tenant, "trainer", other_than=node_id), NodeStatus.REGISTERED)


def _proof(tenant: Tenant, name: str) -> Body:
    def look() -> Body | None:
        told = tenant.condition("PodIdentity", name, "Revoked")
        return told if told is not None and told["status"] == "True" else None

    return eventually(look, "the proof")
