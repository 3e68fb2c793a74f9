"""Whole rounds of Flower: `flwr run` as a bot, at a SuperLink with accounts, on a SuperNode with what is mounted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedid.domain.super_node import NodeStatus
from tests.contract.super_links import SuperLink, SuperNode
from tests.e2e.flower import (
    LIST_NODES,
    REFUSED,
    command_line,
    flwr,
    link_with_accounts,
    node_of,
    super_node,
    where,
)
from tests.e2e.operating import Proxies, grant, own_federation
from tests.e2e.rotating import annotate
from tests.e2e.tenancy import Tenant, bot
from tests.e2e.waiting import eventually
from tests.testbed.stack import Stack

UNAUTHENTICATED = "Authentication failed"
APP = Path(__file__).with_name("programs") / "flower_round"


@pytest.fixture(scope="module")
def link(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuperLink]:
    """A SuperLink that asks Keycloak who calls, and runs the server's part of apps."""
    with link_with_accounts(stack, tmp_path_factory.mktemp("link"), "subprocess") as started:
        yield started


@pytest.fixture
def federation(stack: Stack, proxies: Proxies, tenant: Tenant, link: SuperLink) -> Iterator[str]:
    """A Federation that lets tenants register SuperNodes there, and looks at everything every few seconds."""
    rule = grant(superlinkUrls=[where(link)["url"]])
    defaults = {"resyncPeriod": "5s", "tokenLifetime": "10m"}
    with own_federation(stack, proxies, "rounds", grants=[rule], defaults=defaults) as name:
        yield name
        tenant.clean()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[SuperNode]:
    """A SuperNode that runs apps; it ends with the test."""
    made = SuperNode(tmp_path / "node", isolation="subprocess")
    yield made
    made.stop()


class Trainer:
    """A bot's two pods by what they mount: one that runs `flwr`, and one that is a SuperNode."""

    def __init__(self, tenant: Tenant, node: SuperNode, folder: Path) -> None:
        """Lay the app where a person would have it."""
        self._tenant = tenant
        self._node = node
        self.home = folder / "flwr"
        self.home.mkdir()
        self._app = shutil.copytree(APP, folder / "app")

    def mount(self) -> None:
        """Bring the files of both to what their Secrets hold."""
        self._node.mount(self._files("node"))
        for key, text in self._files("cli").items():
            (self.home / key).write_text(text)

    def _files(self, name: str) -> dict[str, str]:
        found: dict[str, str] = (self._tenant.secret(name) or {})["text"]
        return found

    def run(self, rounds: int) -> str:
        """Have the app run, and return what was said until its end."""
        done = flwr(self.home, "run", str(self._app), "--run-config", f"rounds={rounds}", "--stream")
        return done.stdout + done.stderr

    def nodes(self) -> dict[str, str]:
        """Return the status of each node of the bot's account, by its id."""
        done = flwr(self.home, *LIST_NODES)
        assert done.returncode == 0, done.stdout + done.stderr
        return {one["node-id"]: one["status"] for one in json.loads(done.stdout)["nodes"]}


def test_rounds_before_and_after_a_rotation_and_none_after_the_end(
    tenant: Tenant, federation: str, link: SuperLink, node: SuperNode, tmp_path: Path
) -> None:
    """Weights come back trained; another key, and they do again; deleted, neither SuperNode nor `flwr` is let in."""
    trainer = Trainer(tenant, node, tmp_path)
    tenant.apply(bot("trainer", federationRef={"name": federation}))
    tenant.apply(super_node("node", link, node.folder, account="Bot", rotation={"overlap": "1s"}))
    tenant.apply(command_line("cli", link, trainer.home))
    first = node_of(tenant, "node")
    tenant.ready("PodIdentity", "cli")
    trainer.mount()
    node.start()
    assert "weights [1.0, 1.0, 1.0]" in (said := trainer.run(1)), said
    assert trainer.nodes() == {first: NodeStatus.ONLINE}

    annotate(tenant, "node", kind="PodIdentity", rotate="secret-1")
    second = node_of(tenant, "node", other_than=first)
    key = (node.folder / "supernode.key").read_text()
    tenant.mounted("node", "supernode.key", lambda text: text != key)
    node.stop()
    trainer.mount()
    node.start()
    eventually(lambda: trainer.nodes().get(second) == NodeStatus.ONLINE, "the SuperNode online with the new key")
    assert "weights [2.0, 2.0, 2.0]" in (said := trainer.run(2)), said
    eventually(lambda: trainer.nodes()[first] == NodeStatus.UNREGISTERED, "the former key ended")

    tenant.delete("PodIdentity", "node")
    tenant.gone("PodIdentity", "node")
    node.wait()  # it is refused at its next pull, and ends
    assert REFUSED not in node.log
    node.start()
    assert node.wait() == 1, "nor is it let in again"
    assert REFUSED in node.log
    tenant.delete("BotClient", "trainer")
    tenant.gone("BotClient", "trainer")
    assert "Successfully started run" not in (said := trainer.run(1))
    assert UNAUTHENTICATED in said, said
