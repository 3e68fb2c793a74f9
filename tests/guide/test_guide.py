"""The guide, typed from the first page to the last on a stack that holds nothing of fedid."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.conftest import seen_progress
from tests.guide.pages import ORDER, difference, page, steps_of
from tests.guide.session import Session
from tests.testbed.bringup import down, up
from tests.testbed.node.requirements import node_problem, node_wanted
from tests.testbed.paths import REPOSITORY
from tests.testbed.server import plain_environment
from tests.testbed.stack import Stack
from tests.testbed.suite import guide_name

BLOCK_SECONDS = 240.0
"""More than the longest wait in any block."""
NEEDED = ("bash", "curl", "jq", "openssl")
SMALL_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""kcadm.sh starts a Java for each command."""


@pytest.fixture(scope="module")
def bare(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack with a node, Keycloak and Vault, and nothing of fedid in the cluster."""
    if not node_wanted():
        pytest.skip(f"the operator of the guide is a pod. {node_problem() or 'NODE=0 asks for no node.'}")
    if missing := [tool for tool in NEEDED if shutil.which(tool) is None]:
        pytest.skip(f"the guide needs {', '.join(missing)}")
    progress = seen_progress(request)
    stack = up(guide_name(), operator=False, with_chart=False, progress=progress)
    yield stack
    if not os.environ.get("FEDID_KEEP_STACK"):
        down(stack.name, progress=progress)


@pytest.fixture(scope="module")
def reader(bare: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Somebody who has sourced the stack's environment and types."""
    home, blocks = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("blocks")
    environment = {
        **plain_environment(),
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "JAVA_HOME": str(bare.binaries.java_home),
        "KC_OPTS": f"-Duser.home={home} {SMALL_JVM}",
    }
    session = Session(blocks, environment, REPOSITORY)
    session.run(f'source "{bare.paths.env}"\n', seconds=10)
    yield session
    session.close()


@pytest.fixture(scope="module")
def done() -> list[str]:
    """The pages that went as written."""
    return []


@pytest.mark.parametrize("name", ORDER)
def test_the_page_goes_as_written(name: str, reader: Session, done: list[str]) -> None:
    """Every command of the page succeeds, and prints what the page shows."""
    before = ORDER[: ORDER.index(name)]
    if missing := [former for former in before if former not in done]:
        pytest.fail(f"{missing[0]} did not go as written, and {name} builds on it")
    for step in steps_of(page(name)):
        printed = reader.run(step.script, seconds=BLOCK_SECONDS)
        wrong = None if step.shown is None else difference(step.shown, printed)
        assert wrong is None, f"{step.place}: {wrong}"
    done.append(name)


def test_nothing_is_left(bare: Stack, reader: Session, done: list[str]) -> None:
    """After the last page the cluster and Vault know nothing of fedid."""
    assert list(ORDER) == done, "not every page went as written"
    kinds = "crds,clusterroles,clusterrolebindings,validatingadmissionpolicies,namespaces"
    left = reader.run(f"kubectl get {kinds} --output name | grep fedid || true\n", seconds=30)
    assert left == ""
    assert "jwt-federation/" not in bare.vault("GET", "/v1/sys/auth")["data"]
