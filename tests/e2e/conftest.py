"""The running product: one operator for all end-to-end tests, a namespace for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.consumers.consumer import Consumers
from tests.e2e.authority import Authority
from tests.e2e.eavesdropping import Ledger
from tests.e2e.operating import Proxies, apply_federation, federation, federation_ready
from tests.e2e.people import Browser
from tests.e2e.running import Operator, operator_for
from tests.e2e.tenancy import Tenant
from tests.testbed.stack import Stack


@pytest.fixture(scope="session")
def authority(stack: Stack) -> Authority:
    """Keycloak and Vault as a platform team sees them."""
    return Authority(stack)


@pytest.fixture(scope="session")
def proxies(stack: Stack) -> Iterator[Proxies]:
    """A proxy before each backend."""
    started = Proxies.start(stack)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def ledger(stack: Stack, proxies: Proxies) -> Ledger:
    """Every credential of the run, from its first request on."""
    made = Ledger(stack)
    made.listen(proxies)
    return made


@pytest.fixture(scope="session")
def the_operator(
    stack: Stack, proxies: Proxies, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """The operator with the Federation `local` Ready; at the end nothing of the run holds a credential."""
    process = operator_for(stack, proxies, tmp_path_factory.mktemp("operator-logs"))
    process.start()
    apply_federation(stack, federation(stack, proxies, defaults={"resyncPeriod": "10m", "tokenLifetime": "10m"}))
    federation_ready(stack, "local")
    yield process
    proxies.heal()
    if process.running:
        assert process.stop() == 0, "the operator did not stop cleanly"
    ledger.assert_none_in(ledger.texts(process))


@pytest.fixture
def operator(the_operator: Operator, proxies: Proxies) -> Iterator[Operator]:
    """The operator, running and with healthy backends at the start of each test."""
    proxies.heal()
    if not the_operator.running:
        the_operator.start()
    yield the_operator
    proxies.heal()
    if not the_operator.running:
        the_operator.start()


@pytest.fixture
def tenant(stack: Stack, operator: Operator) -> Iterator[Tenant]:
    """A namespace with the tenant label."""
    del operator
    made = Tenant.create(stack)
    yield made
    made.clean()


@pytest.fixture
def stranger(stack: Stack, operator: Operator) -> Iterator[Tenant]:
    """A namespace that no grant is about."""
    del operator
    made = Tenant.create(stack, labelled=False)
    yield made
    made.clean()


@pytest.fixture(scope="module")
def browser(platforms: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all people of a module, since one that nobody needs takes a share of the cores all the same.

    It knows nobody at the start of a login.
    """
    with ExitStack() as ending:
        yield Browser.start(Consumers(platforms, tmp_path_factory.mktemp("browser"), ending))
